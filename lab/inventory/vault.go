package inventory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// vault notes the policies, the mounts, and of each secret of a KV mount the digest of
// what it holds, at which version, and what became of the versions before.
func (t *taken) vault(ctx context.Context, place string, v Vault) error {
	c, err := api.NewClient(&api.Config{Address: v.Address, Timeout: 20 * time.Second})
	if err != nil {
		return fmt.Errorf("vault of %s: %w", place, err)
	}
	c.SetToken(v.Token)
	policies, err := c.Sys().ListPoliciesWithContext(ctx)
	if err != nil {
		return fmt.Errorf("vault of %s: list policies: %w", place, err)
	}
	for _, name := range policies {
		text, err := c.Sys().GetPolicyWithContext(ctx, name)
		if err == nil {
			err = t.note(place, VaultPolicy, name, text)
		}
		if err != nil {
			return fmt.Errorf("vault of %s: policy %s: %w", place, name, err)
		}
	}
	mounts, err := c.Sys().ListMountsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("vault of %s: list mounts: %w", place, err)
	}
	for path, m := range mounts {
		if err := t.note(place, Mount, path, []any{m.Type, m.Options}); err != nil {
			return err
		}
		if m.Type == "kv" {
			if err := t.secrets(ctx, place, c, strings.TrimSuffix(path, "/"), ""); err != nil {
				return fmt.Errorf("vault of %s: %w", place, err)
			}
		}
	}
	return nil
}

// secrets walks a folder of a mount.
func (t *taken) secrets(ctx context.Context, place string, c *api.Client, mount, folder string) error {
	list, err := c.Logical().ListWithContext(ctx, mount+"/metadata/"+folder)
	if err != nil {
		return fmt.Errorf("list %s/%s: %w", mount, folder, err)
	}
	if list == nil {
		return nil
	}
	keys, ok := list.Data["keys"].([]any)
	if !ok {
		return fmt.Errorf("list %s/%s: it answers %v", mount, folder, list.Data)
	}
	for _, k := range keys {
		path := folder + fmt.Sprint(k)
		if strings.HasSuffix(path, "/") {
			err = t.secrets(ctx, place, c, mount, path)
		} else {
			err = t.secret(ctx, place, c.KVv2(mount), mount, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *taken) secret(ctx context.Context, place string, kv *api.KVv2, mount, path string) error {
	m, err := kv.GetMetadata(ctx, path)
	if err != nil {
		return fmt.Errorf("secret %s: %w", path, err)
	}
	state := func(v api.KVVersionMetadata) string {
		switch {
		case v.Destroyed:
			return "destroyed"
		case !v.DeletionTime.IsZero():
			return "deleted"
		}
		return "there"
	}
	states := map[string]string{}
	for n, v := range m.Versions {
		states[n] = state(v)
	}
	value := "nothing"
	if states[fmt.Sprint(m.CurrentVersion)] == "there" {
		s, err := kv.Get(ctx, path)
		if err != nil {
			return fmt.Errorf("secret %s: %w", path, err)
		}
		raw, err := json.Marshal(s.Data)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(raw)
		value = "what has the SHA-256 " + hex.EncodeToString(sum[:])
	}
	text, err := json.Marshal([]any{states, m.CustomMetadata, m.CASRequired, m.MaxVersions})
	if err != nil {
		return err
	}
	return t.note(place, Secret, mount+"/"+path, fmt.Sprintf("%s at version %d, versions %s", value, m.CurrentVersion, text))
}
