package routing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"breakwater/internal/action"
	"breakwater/internal/plural"
	"breakwater/internal/secret"
)

// leastKept is how many versions a store must keep for an older content to be written
// again and held against the older version then: that one, ours, and the new one.
const leastKept = 3

// foretold says in the plan what an undo will be able to do, where that is not to write
// another region's value.
func (s room) foretold(ctx context.Context, r routed) (string, error) {
	switch {
	case r.is != "":
		return "", nil
	case r.state() != content:
		return "; undo deletes that again, since clients find nothing there now", nil
	}
	b, err := r.store.Book(ctx, r.Secret)
	switch {
	case err != nil:
		return "", err
	case b.Most == 1:
		return fmt.Sprintf("; no undo can bring version %d back, which is no region's value: the store keeps one version", r.now.Version), nil
	case b.Most > 0 && b.Most < leastKept:
		return fmt.Sprintf("; undo is by hand, since the store keeps %s: %s", plural.Of(b.Most, "version"), r.store.BringBack(r.Secret, r.now.Version, secret.Kept)), nil
	}
	return fmt.Sprintf("; undo writes version %d again, whose content only the store has", r.now.Version), nil
}

// planRoutingBack plans to have clients read what they read before, by a new version over
// ours and over nobody else's, or by the deletion of ours where they found nothing.
func (s room) planRoutingBack(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	was, err := action.Decode[routingWas](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	r, err := s.routing(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	b, err := s.book(ctx, r)
	if err != nil {
		return action.Change{}, err
	}
	found := was.found(b)
	switch {
	case r.Routing == nil:
		return unrouted(c.Item.Name), nil
	case was.Value == "" && r.now.Version == was.Seen:
		data, err := action.Encode(routingPlan{Seen: was.Seen})
		return action.Change{Summary: fmt.Sprintf("%s is untouched: %s", r, r.found()), Data: data}, err
	case was.Value == "" && found != content:
		return r.planDelete(ctx, c)
	case was.Value == "":
		return r.planRestore(ctx, c, was.Seen, b)
	case r.is != was.Value && r.is != c.Run.Target:
		return action.Change{}, r.movedOn()
	}
	return r.change(c, routingPlan{Value: was.Value, Seen: r.now.Version, Was: r.state()}, "")
}

// book reads the store's book of the secret.
func (s room) book(ctx context.Context, r routed) (secret.Book, error) {
	if r.Routing == nil {
		return secret.Book{}, nil
	}
	return r.store.Book(ctx, r.Secret)
}

// found is what readers found before the run. A plan of an older release does not say,
// and then the store's book does, as of now.
func (w routingWas) found(b secret.Book) state {
	switch is := b.State(w.Seen); {
	case w.Was != "":
		return w.Was
	case w.Seen == 0:
		return nothing
	case is == secret.Deleted, is == secret.Destroyed:
		return deleted
	}
	return content
}

func (r routed) movedOn() error {
	return fmt.Errorf("%w: %s is %s, neither what this run wrote nor what it found; look who wrote it, and decide by hand", action.ErrMoved, r, r.found())
}

// planDelete plans to delete the version that this run wrote.
func (r routed) planDelete(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	if r.state() == content && r.is != c.Run.Target {
		return action.Change{}, r.movedOn()
	}
	ch := action.Change{
		Summary:       fmt.Sprintf("Clients of %s find nothing, as before: %s", c.Item.Name, r.found()),
		Preconditions: []action.Precondition{{Resource: "secret " + r.String(), Version: r.seen()}},
	}
	if r.state() == content {
		err := r.store.MayDelete(ctx, r.Secret)
		if errors.Is(err, fs.ErrPermission) {
			return action.Change{}, fmt.Errorf("%w: %w; let it, and plan again, or do it by hand: %s", action.ErrRefused, err, r.store.Remove(r.Secret))
		}
		if err != nil {
			return action.Change{}, err
		}
		ch.Summary = fmt.Sprintf("Delete the version that points the clients of %s at %s: they find nothing then, as before", c.Item.Name, c.Run.Target)
		ch.Effects = []action.EffectLine{{
			On: "secret " + r.String(), Do: "delete that version, which can be undeleted", From: r.found(), To: fmt.Sprintf("version %d, deleted", r.now.Version),
		}}
	}
	return r.encode(ch, routingPlan{Delete: true, Seen: r.now.Version, Was: r.state()})
}

// planRestore plans to write an older version's content again, which no ledger has.
func (r routed) planRestore(ctx context.Context, c action.Call[action.None], version int, b secret.Book) (action.Change, error) {
	no := func(why, then string) (action.Change, error) {
		return action.Change{}, fmt.Errorf("%w: what %s held as version %d is no region's value, and no secret's text is kept in the ledger: %s; %s",
			action.ErrRefused, r, version, why, then)
	}
	ch := action.Change{
		Summary:       fmt.Sprintf("Clients of %s read what version %d held already: %s", c.Item.Name, version, r.found()),
		Preconditions: []action.Precondition{{Resource: "secret " + r.String(), Version: r.seen()}},
	}
	plan := routingPlan{Restore: version, Seen: r.now.Version, Was: r.state()}
	if r.state() == content && r.is != c.Run.Target {
		old, err := r.store.Version(ctx, r.Secret, version)
		if err == nil && reflect.DeepEqual(old.Data, r.now.Data) {
			return r.encode(ch, plan)
		}
		return action.Change{}, r.movedOn()
	}
	switch is := b.State(version); {
	case is == secret.Deleted:
		return no("the store has it as deleted by somebody since", "bring it back by hand: "+r.store.BringBack(r.Secret, version, is))
	case is != secret.Kept:
		return no(fmt.Sprintf("the store has it no more (%s)", r.lost(is, b)),
			fmt.Sprintf("write by hand what clients need: %s; or let them find nothing: %s", r.store.Fill(r.Secret), r.store.Remove(r.Secret)))
	case b.Most > 0 && b.Most < leastKept:
		return no(fmt.Sprintf("the store keeps %s, so that one cannot be held against it afterwards", plural.Of(b.Most, "version")),
			"bring it back by hand: "+r.store.BringBack(r.Secret, version, is))
	}
	ch.Summary = fmt.Sprintf("Clients of %s read again what version %d held, which is no region's value", c.Item.Name, version)
	ch.Effects = []action.EffectLine{{
		On: "secret " + r.String(), Do: fmt.Sprintf("write the content of version %d again", version), From: r.found(), To: fmt.Sprintf("version %d", r.now.Version+1),
	}}
	return r.encode(ch, plan)
}

// lost says why a version is no more.
func (r routed) lost(is secret.State, b secret.Book) string {
	if is == secret.Destroyed {
		return "destroyed"
	}
	return fmt.Sprintf("it keeps %s", plural.Of(b.Most, "version"))
}

// takeBack does what planDelete or planRestore planned, if the secret is as that saw it.
func (r routed) takeBack(ctx context.Context, c action.Call[action.None], p routingPlan) (action.Outcome, error) {
	moved := func() (action.Outcome, error) {
		return action.Outcome{}, fmt.Errorf("%w: %s is %s, and the plan saw version %d (%s); plan again", action.ErrMoved, r, r.found(), p.Seen, cmp.Or(p.Was, content))
	}
	if p.Delete {
		switch {
		case r.now.Version != p.Seen:
			return moved()
		case r.state() != content:
			return action.Outcome{Summary: fmt.Sprintf("clients find nothing at %s: %s", r, r.found())}, nil
		}
		if err := c.Guard(ctx); err != nil {
			return action.Outcome{}, err
		}
		if err := r.store.Delete(ctx, r.Secret, p.Seen); err != nil {
			return action.Outcome{}, err
		}
		return action.Outcome{Summary: fmt.Sprintf("version %d of %s is deleted", p.Seen, r), Mutations: 1}, nil
	}
	old, err := r.store.Version(ctx, r.Secret, p.Restore)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return action.Outcome{}, fmt.Errorf("%w: %w; plan again", action.ErrMoved, err)
	case err != nil:
		return action.Outcome{}, err
	case reflect.DeepEqual(r.now.Data, old.Data):
		return action.Outcome{Summary: fmt.Sprintf("%s holds what version %d held already, at version %d", r, p.Restore, r.now.Version)}, nil
	case r.now.Version != p.Seen || p.Was != r.state():
		return moved()
	}
	return r.write(ctx, c, old.Data, p.Seen, fmt.Sprintf("what version %d held", p.Restore))
}
