package routing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/secret"
)

// verifyRouting reads what clients would read, forth or back: every key, and no
// other; and asks the secret's metadata whether that is its current version.
func (s room) verifyRouting(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	p, err := action.Decode[routingPlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	what := "clients of " + c.Item.Name + " read where the data is"
	g, ok := c.Estate.Group(c.Item.Name)
	if !ok || g.Routing == nil {
		return nil, fmt.Errorf("%w: the estate has no routing secret of group %q", action.ErrRefused, c.Item.Name)
	}
	want := p.wants()
	unknown := func(err error) []action.Observation {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}
	}
	if _, err := c.Estate.RegionNamed(c.Run.Target); err != nil {
		return nil, err
	}
	store, err := s.Secrets(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return unknown(err), nil
	}
	now, err := store.Read(ctx, g.Routing.Secret)
	none := errors.Is(err, fs.ErrNotExist)
	switch {
	case errors.Is(err, secret.ErrMount), none && (p.Value != "" || p.Restore > 0):
		return []action.Observation{action.Saw(what, want, err.Error(), false)}, nil
	case err != nil && !none:
		return unknown(err), nil
	case p.Delete:
		got := fmt.Sprintf("nothing: version %d is deleted", now.Version)
		if !none {
			got = fmt.Sprintf("version %d, with content", now.Version)
		}
		return s.current(ctx, c, store, g.Routing.Secret, p, now, action.Saw(what, want, got, none))
	case p.Restore > 0:
		old, err := store.Version(ctx, g.Routing.Secret, p.Restore)
		if err != nil {
			return unknown(err), nil
		}
		same := reflect.DeepEqual(old.Data, now.Data)
		got := fmt.Sprintf("version %d, as wanted", now.Version)
		if !same {
			got = fmt.Sprintf("version %d, with another content", now.Version)
		}
		return s.current(ctx, c, store, g.Routing.Secret, p, now, action.Saw(what, want, got, same))
	case p.Value == "":
		return []action.Observation{action.Saw(what, want, fmt.Sprintf("version %d", now.Version), now.Version == p.Seen)}, nil
	}
	differs := differences(g.Routing.Values[p.Value], now.Data)
	got := fmt.Sprintf("version %d, as wanted", now.Version)
	if len(differs) > 0 {
		got = fmt.Sprintf("version %d: %s", now.Version, strings.Join(differs, ", "))
	}
	return s.current(ctx, c, store, g.Routing.Secret, p, now, action.Saw(what, want, got, len(differs) == 0))
}

// wants is what clients are to read.
func (p routingPlan) wants() string {
	switch {
	case p.Delete:
		return "nothing, as before"
	case p.Restore > 0:
		return fmt.Sprintf("what version %d held", p.Restore)
	case p.Value == "":
		return fmt.Sprintf("version %d, which this run never wrote over", p.Seen)
	}
	return "the whole value for " + p.Value
}

// current adds what the store's own book says of the version that was read.
func (s room) current(ctx context.Context, c action.Call[action.None], store secret.Store, path string, p routingPlan, now secret.Secret, read action.Observation) ([]action.Observation, error) {
	what := "the version read is the secret's current one"
	want, least := fmt.Sprintf("a version after %d", p.Seen), p.Seen+1
	switch {
	case p.Delete:
		want = fmt.Sprintf("version %d, and nothing of it to read", p.Seen)
	case len(c.Plan.Effects) == 0:
		want, least = fmt.Sprintf("version %d or later", p.Seen), p.Seen
	}
	b, err := store.Book(ctx, path)
	if err != nil {
		return []action.Observation{read, action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	is := b.State(b.Current)
	ok := b.Current >= least && is == secret.Kept
	if p.Delete {
		ok = b.Current == p.Seen && is != secret.Kept
	}
	got := fmt.Sprintf("version %d, and its metadata says %d, %s", now.Version, b.Current, is)
	return []action.Observation{read, action.Saw(what, want, got, ok && now.Version == b.Current)}, nil
}
