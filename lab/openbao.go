package lab

import (
	"context"
	"fmt"
	"maps"
	"time"

	vault "github.com/hashicorp/vault/api"

	"breakwater/internal/permit"
	"breakwater/lab/server"
)

func (l *Lab) startBao(ctx context.Context, bin, region string) error {
	name := "bao-" + region
	c := server.Command{Bin: bin, Args: []string{"-addr", l.addr(name), "-data", l.path("data", name)}}
	return l.ensure(ctx, name, c, func(ctx context.Context) error { return server.Answers(ctx, "http://"+l.addr(name)+"/v1/sys/health") })
}

// furnishBao makes the KV mount, the groups' secrets as they read while the
// primary is active, and recovery's own token.
func (l *Lab) furnishBao(ctx context.Context, region string) error {
	fail := func(doing string, err error) error {
		return fmt.Errorf("furnish OpenBao of %s: %s: %w", region, doing, err)
	}
	root, err := l.rootToken(region)
	if err != nil {
		return fail("read its root token", err)
	}
	cfg := vault.DefaultConfig()
	cfg.Address = "http://" + l.addr("bao-"+region)
	c, err := vault.NewClient(cfg)
	if err != nil {
		return fail("connect", err)
	}
	c.SetToken(root)
	mounts, err := c.Sys().ListMountsWithContext(ctx)
	if err != nil {
		return fail("list its mounts", err)
	}
	if mounts[vaultMount+"/"] == nil {
		if err := c.Sys().MountWithContext(ctx, vaultMount, &vault.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
			return fail("mount KV version 2", err)
		}
	}
	secrets := map[string]map[string]any{sentinel: {"region": region, "readable": "yes"}}
	for _, g := range groups() {
		value := map[string]any{}
		for k, v := range l.routing(g)[Primary] {
			value[k] = v
		}
		secrets[g.secret()] = value
	}
	for path, value := range secrets {
		// The mount refuses for a moment while it makes itself a version 2.
		wait, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := until(wait, 20*time.Millisecond, func(ctx context.Context) error {
			_, err := c.KVv2(vaultMount).Put(ctx, path, value, vault.WithCheckAndSet(0))
			return err
		})
		cancel()
		if err != nil {
			return fail("write secret "+path, err)
		}
	}
	may, err := l.granted(region, permit.Vault)
	if err != nil {
		return fail("find what its token may", err)
	}
	if err := c.Sys().PutPolicyWithContext(ctx, recoveryUser, may.Text()); err != nil {
		return fail("write the policy", err)
	}
	renewable := false
	made, err := c.Auth().Token().CreateOrphanWithContext(ctx, &vault.TokenCreateRequest{
		Policies: []string{recoveryUser}, DisplayName: recoveryUser, TTL: "720h", Renewable: &renewable,
	})
	if err != nil {
		return fail("make recovery's token", err)
	}
	return l.state.change(func(k *kept) {
		k.Tokens = maps.Clone(k.Tokens)
		k.Tokens[region] = made.Auth.ClientToken
	})
}

// routing is what a group's secret holds while a region is active.
func (l *Lab) routing(g group) map[string]map[string]string {
	values := map[string]map[string]string{}
	for _, region := range Regions() {
		values[region] = map[string]string{
			"region":            region,
			"bootstrap_servers": l.brokerAddrs(region).Client,
			"topic":             g.topic,
			"s3_endpoint":       "http://" + l.addr("minio-"+region),
			"s3_bucket":         buckets()[region],
		}
	}
	return values
}
