package system

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"breakwater/internal/credential"
	"breakwater/internal/estate"
	"breakwater/internal/secret"
	"breakwater/internal/secret/vault"
)

// Secrets opens a region's secret store as recovery itself.
func (s *Systems) Secrets(ctx context.Context, e *estate.Estate, name string) (secret.Store, error) {
	c, r, err := s.vault(ctx, e, name)
	if err != nil {
		return nil, err
	}
	return c.Mount(r.Vault.Mount), nil
}

// vault connects to the server that keeps a region's secrets.
func (s *Systems) vault(ctx context.Context, e *estate.Estate, name string) (*vault.Client, *estate.Region, error) {
	r, err := e.RegionNamed(name)
	if err != nil {
		return nil, nil, err
	}
	if r.Vault == nil {
		return nil, nil, fmt.Errorf("region %s has no vault in estate %s: %w", name, e.Estate, fs.ErrNotExist)
	}
	// The vault's own token never lies in a vault.
	v, err := credential.Resolver{Base: s.Folder}.Resolve(ctx, string(r.Vault.Credentials), "the vault of "+name)
	if err != nil {
		return nil, nil, err
	}
	token, err := v.Only("token")
	if err != nil {
		return nil, nil, err
	}
	c, err := s.vaults.get(r.Vault.Address+" "+token, func() (*vault.Client, error) {
		return vault.New(vault.Config{Address: r.Vault.Address, Token: token})
	})
	return c, r, err
}

// Credentials resolves a reference. Those in a vault are read from the vault of
// the region that needs them, in whichever mount the reference names.
func (s *Systems) Credentials(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, wanted string) (credential.Values, error) {
	r := credential.Resolver{Base: s.Folder}
	if strings.HasPrefix(string(ref), string(credential.Vault)+":") {
		c, _, err := s.vault(ctx, e, region)
		if err != nil {
			return credential.Values{}, err
		}
		r.Vault = func(ctx context.Context, mount, path string) (map[string]any, error) {
			now, err := c.Mount(mount).Read(ctx, path)
			return now.Data, err
		}
	}
	return r.Resolve(ctx, string(ref), wanted)
}
