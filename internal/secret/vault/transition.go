package vault

import (
	"context"

	"breakwater/internal/secret"
)

// What is not yet asked through the port. It goes with its last caller.

var (
	ErrChanged    = secret.ErrChanged
	ErrSealed     = secret.ErrSealed
	ErrNotServing = secret.ErrNotServing
)

type (
	Secret = secret.Secret
	Health = secret.Health
)

func (c *Client) Address() string { return c.address }

func (c *Client) Read(ctx context.Context, mount, path string) (Secret, error) {
	return c.Mount(mount).Read(ctx, path)
}

func (c *Client) Data(ctx context.Context, mount, path string) (map[string]any, error) {
	s, err := c.Read(ctx, mount, path)
	return s.Data, err
}

func (c *Client) Current(ctx context.Context, mount, path string) (int, error) {
	return c.Mount(mount).Current(ctx, path)
}

func (c *Client) WriteCAS(ctx context.Context, mount, path string, data map[string]any, seen int) (Secret, error) {
	return c.Mount(mount).Write(ctx, path, data, seen)
}

func (c *Client) Health(ctx context.Context) (Health, error) { return c.Mount("").Health(ctx) }

func (c *Client) Readable(ctx context.Context, mount, path string) (Health, error) {
	h, err := c.Health(ctx)
	if err == nil {
		err = secret.Readable(ctx, c.Mount(mount), path)
	}
	return h, err
}
