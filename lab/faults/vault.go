package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"breakwater/internal/fault"
	"breakwater/internal/poll"

	"github.com/hashicorp/vault/api"
)

// Vaults are the faults of the target's secret store.
func Vaults(e Env) fault.Set {
	v := e.Target.Vault
	return fault.Set{
		sealed(e.Target),
		tokenDenied(v),
		deleted("vault.sentinel-deleted", "the sentinel secret is deleted", v, v.Sentinel),
		deleted("vault.routing-deleted", "a group's routing secret is deleted", v, e.Group.Secret),
		keepsNoVersions(v),
		overwritten("vault.routing-overwritten", "a group's routing secret leads elsewhere", v, e.Group.Secret, func(data map[string]any) {
			for k := range data {
				data[k] = "elsewhere"
			}
		}),
		overwritten("vault.routing-key-added", "a group's routing secret has a key too many", v, e.Group.Secret, func(data map[string]any) {
			data["override"] = "elsewhere"
		}),
	}
}

func (v Vault) there() map[string]string {
	return map[string]string{"vault's address": v.Address, "vault's root token": v.Token, "vault's mount": v.Mount}
}

// with adds to what a fault needs.
func with(m map[string]string, what, value string) map[string]string {
	m = maps.Clone(m)
	m[what] = value
	return m
}

// sealed seals the server. Its keys are its own: it is unsealed by a restart.
func sealed(r Region) fault.Fault {
	v, restart := r.Vault, down("", "", r, VaultSystem)
	var k kept[struct{}]
	return fault.Fault{
		Name: "vault.sealed", Doc: "the secret store is sealed",
		Available: func() error { return errors.Join(restart.Available(), needs(v.there())()) },
		Inject: func(ctx context.Context) error {
			c, err := v.client()
			if err != nil {
				return err
			}
			if err := k.put(struct{}{}); err != nil {
				return err
			}
			if err := c.Sys().SealWithContext(ctx); err != nil {
				return fmt.Errorf("seal %s: %w", v.Address, err)
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				if err := restart.Inject(ctx); err != nil {
					return err
				}
				return restart.Heal(ctx)
			})
		},
	}
}

// tokenDenied takes everything from the policy of recovery's token.
func tokenDenied(v Vault) fault.Fault {
	var k kept[string]
	return fault.Fault{
		Name: "vault.token-denied", Doc: "recovery's token may read nothing",
		Available: needs(with(v.there(), "policy of recovery's token", v.Policy)),
		Inject: func(ctx context.Context) error {
			c, err := v.client()
			if err != nil {
				return err
			}
			was, err := c.Sys().GetPolicyWithContext(ctx, v.Policy)
			if err != nil {
				return err
			}
			if err := k.put(was); err != nil {
				return err
			}
			return c.Sys().PutPolicyWithContext(ctx, v.Policy, fmt.Sprintf("path %q { capabilities = [\"deny\"] }", v.Mount+"/*"))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(was string) error {
				c, err := v.client()
				if err != nil {
					return err
				}
				return c.Sys().PutPolicyWithContext(ctx, v.Policy, was)
			})
		},
	}
}

// keepsNoVersions puts a KV version 1 mount in the place of the one with the secrets, which it
// moves aside.
func keepsNoVersions(v Vault) fault.Fault {
	const aside = "moved-aside"
	var k kept[struct{}]
	return fault.Fault{
		Name: "vault.mount-unversioned", Doc: "the mount of the secrets is one of KV version 1",
		Available: needs(with(v.there(), "sentinel secret", v.Sentinel)),
		Inject: func(ctx context.Context) error {
			c, err := v.client()
			if err != nil {
				return err
			}
			if err := k.put(struct{}{}); err != nil {
				return err
			}
			if err := c.Sys().RemountWithContext(ctx, v.Mount, aside); err != nil {
				return err
			}
			return c.Sys().MountWithContext(ctx, v.Mount, &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}})
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				c, err := v.client()
				if err != nil {
					return err
				}
				if err := c.Sys().UnmountWithContext(ctx, v.Mount); err != nil {
					return err
				}
				if err := c.Sys().RemountWithContext(ctx, aside, v.Mount); err != nil {
					return err
				}
				// It refuses everything for a moment, while it sets itself up.
				return poll.Until(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
					_, err := v.get(ctx, v.Sentinel)
					return err == nil, err
				})
			})
		},
	}
}

// deleted deletes the current version of a secret, and undeletes it.
func deleted(name fault.Name, doc string, v Vault, path string) fault.Fault {
	var k kept[int]
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(with(v.there(), "secret for "+string(name), path)),
		Inject: func(ctx context.Context) error {
			now, err := v.get(ctx, path)
			if err != nil {
				return err
			}
			if err := k.put(now.VersionMetadata.Version); err != nil {
				return err
			}
			c, err := v.client()
			if err != nil {
				return err
			}
			return c.KVv2(v.Mount).Delete(ctx, path)
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(version int) error {
				c, err := v.client()
				if err != nil {
					return err
				}
				return c.KVv2(v.Mount).Undelete(ctx, path, []int{version})
			})
		},
	}
}

// overwritten writes a secret changed, and as it was once more: versions only grow.
func overwritten(name fault.Name, doc string, v Vault, path string, change func(map[string]any)) fault.Fault {
	var k kept[map[string]any]
	put := func(ctx context.Context, data map[string]any) error {
		c, err := v.client()
		if err != nil {
			return err
		}
		_, err = c.KVv2(v.Mount).Put(ctx, path, data)
		return err
	}
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(with(v.there(), "secret for "+string(name), path)),
		Inject: func(ctx context.Context) error {
			now, err := v.get(ctx, path)
			if err != nil {
				return err
			}
			if err := k.put(now.Data); err != nil {
				return err
			}
			data := maps.Clone(now.Data)
			change(data)
			return put(ctx, data)
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(was map[string]any) error { return put(ctx, was) })
		},
	}
}

func (v Vault) get(ctx context.Context, path string) (*api.KVSecret, error) {
	c, err := v.client()
	if err != nil {
		return nil, err
	}
	now, err := c.KVv2(v.Mount).Get(ctx, path)
	if err != nil {
		return nil, err
	}
	if now.Data == nil {
		return nil, fmt.Errorf("secret %s/%s is deleted already", v.Mount, path)
	}
	return now, nil
}
