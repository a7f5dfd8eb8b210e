package routing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/reach"
	"breakwater/internal/secret"
	"breakwater/internal/verdict"
)

func (s room) routingActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "routing.secret", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsRouting()},
		Needs:    []string{"access.read-only"},
		Doc: "Point a group's clients at the target: its routing secret there gets the target's whole value, by check-and-set. " +
			"Undo has clients read what they read before: another region's value, the older version that only the store still has, or nothing.",
		Things: secretOf, Plan: s.planRouting, Apply: s.applyRouting, Verify: s.verifyRouting,
		Undo: &action.Undo[action.None]{Plan: s.planRoutingBack, Apply: s.applyRouting, Verify: s.verifyRouting, Show: showRouting},
		Show: showRouting,
		Rules: []action.Rule{
			{Do: "write", Says: "the secret is written once, as the version after the one that the plan saw", Sends: []string{"write {on}"}},
			{Do: "delete", Says: "its newest version is deleted, and can be undeleted", Sends: []string{"delete {on}"}},
		},
		Permits: permit.WritesRouting(permit.Target),
		RedWhen: []action.Red{
			{Fault: "vault.routing-overwritten", Want: verdict.Fail},
			{Fault: "vault.routing-key-added", Want: verdict.Fail},
			{Fault: "vault.routing-deleted", Want: verdict.Fail},
			{Fault: "vault.mount-unversioned", Want: verdict.Fail},
			{Fault: "vault.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// routingPlan is a write of one of the estate's values, or what takes one back. It names
// the value by its region, so that no secret text enters the ledger, whatever lies in the
// store.
type routingPlan struct {
	Value   string `json:"value"` // the region whose value is to be read
	Seen    int    `json:"seen"`  // version
	Was     state  `json:"was,omitempty"`
	Restore int    `json:"restore,omitempty"` // the version whose content is to be read again
	Delete  bool   `json:"delete,omitempty"`  // nothing is to be read
}

var showRouting = action.Shows[routingPlan, routingWas]()

// routingWas is what to put back: Value is empty where what lay there was none of
// the estate's values, and only the store still has it, as version Seen.
type routingWas struct {
	Value string `json:"value,omitempty"`
	Seen  int    `json:"seen"`
	Was   state  `json:"was,omitempty"` // empty where an older release planned
}

// state is what readers of a secret find.
type state string

const (
	nothing state = "nothing" // there never was a secret
	deleted state = "deleted" // or destroyed: there is a version, and no content
	content state = "content"
)

// secretOf is the routing secret of a group.
func secretOf(r action.Request) (names []string, none string) {
	if g, ok := r.Estate.Group(r.Item.Name); ok && g.Routing == nil {
		return nil, "the estate names no routing secret of " + r.Item.Name
	}
	return []string{"the routing secret of " + r.Item.Name}, ""
}

// routed is a group's secret at the target.
type routed struct {
	*estate.Routing
	store secret.Store
	now   secret.Secret
	is    string // the region whose value it holds exactly; empty for none
}

func (r routed) String() string {
	return secret.Place(r.store, r.Secret)
}

// routing reads the item's secret. A group without routing has a nil Routing.
func (s room) routing(ctx context.Context, c action.Call[action.None]) (routed, error) {
	g, ok := c.Estate.Group(c.Item.Name)
	if !ok {
		return routed{}, fmt.Errorf("%w: the estate has no group %q", action.ErrRefused, c.Item.Name)
	}
	if g.Routing == nil {
		return routed{}, nil
	}
	store, err := s.Secrets(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return routed{}, err
	}
	r := routed{Routing: g.Routing, store: store}
	r.now, err = store.Read(ctx, r.Secret)
	switch {
	case errors.Is(err, reach.ErrMisconfigured): // no retry cures it
		return routed{}, fmt.Errorf("%w: %w", action.ErrRefused, err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return routed{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		// The target's name wins where two regions have the same value.
		if r.holds(name) && (r.is == "" || name == c.Run.Target) {
			r.is = name
		}
	}
	return r, nil
}

// holds reports whether the secret is exactly the value of a region.
func (r routed) holds(region string) bool {
	want := r.Values[region]
	return len(want) > 0 && len(differences(want, r.now.Data)) == 0
}

// state is what readers find.
func (r routed) state() state {
	switch {
	case r.now.Version == 0:
		return nothing
	case r.now.Data == nil:
		return deleted
	}
	return content
}

// seen is the version that a plan has seen. What was deleted then and is undeleted since
// has the same number, and is another.
func (r routed) seen() string {
	if r.state() == deleted {
		return fmt.Sprintf("%d, deleted", r.now.Version)
	}
	return strconv.Itoa(r.now.Version)
}

// found says what lies there, without its text.
func (r routed) found() string {
	switch {
	case r.state() == nothing:
		return "no such secret"
	case r.state() == deleted:
		return fmt.Sprintf("version %d, deleted", r.now.Version)
	case r.is == "":
		return fmt.Sprintf("version %d, which is no region's value", r.now.Version)
	}
	return fmt.Sprintf("version %d, the value for %s", r.now.Version, r.is)
}

func unrouted(group string) action.Change {
	return action.Change{Summary: group + " has no routing secret in the estate: its clients are told otherwise"}
}

func (s room) planRouting(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	r, err := s.routing(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	if r.Routing == nil {
		return unrouted(c.Item.Name), nil
	}
	if len(r.Values[c.Run.Target]) == 0 {
		return action.Change{}, fmt.Errorf("%w: routing of group %s has no value for %s; add it to the estate", action.ErrRefused, c.Item.Name, c.Run.Target)
	}
	undo, err := s.foretold(ctx, r)
	if err != nil {
		return action.Change{}, err
	}
	return r.change(c, routingPlan{Value: c.Run.Target, Seen: r.now.Version, Was: r.state()}, undo)
}

// change is the plan of a write of a region's value. undo says how that is taken back.
func (r routed) change(c action.Call[action.None], p routingPlan, undo string) (action.Change, error) {
	ch := action.Change{
		Summary:       fmt.Sprintf("Clients of %s keep what they read: %s", c.Item.Name, r.found()),
		Preconditions: []action.Precondition{{Resource: "secret " + r.String(), Version: r.seen()}},
	}
	if r.is != p.Value {
		var value []string
		for _, k := range slices.Sorted(maps.Keys(r.Values[p.Value])) {
			value = append(value, k+"="+r.Values[p.Value][k])
		}
		ch.Summary = fmt.Sprintf("Point the clients of %s at %s%s", c.Item.Name, p.Value, undo)
		ch.Effects = []action.EffectLine{{
			On: "secret " + r.String(), Do: "write the whole value for " + p.Value + " (" + strings.Join(value, ", ") + ")",
			From: r.found(), To: fmt.Sprintf("version %d", p.Seen+1),
		}}
	}
	return r.encode(ch, p)
}

// encode completes a plan.
func (r routed) encode(ch action.Change, p routingPlan) (action.Change, error) {
	var err error
	if ch.Data, err = action.Encode(p); err == nil {
		ch.Undo, err = action.Encode(routingWas{Value: r.is, Seen: r.now.Version, Was: r.state()})
	}
	return ch, err
}

// applyRouting writes the planned value, forth or back, if the secret is still as the
// plan saw it.
func (s room) applyRouting(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	p, err := action.Decode[routingPlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	if p.Value == "" && !p.Delete && p.Restore == 0 {
		return action.Outcome{Summary: c.Plan.Summary}, nil
	}
	r, err := s.routing(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	switch {
	case r.Routing == nil:
		return action.Outcome{}, fmt.Errorf("%w: the plan writes the routing secret of %s, and the estate has none", action.ErrRefused, c.Item.Name)
	case p.Delete || p.Restore > 0:
		return r.takeBack(ctx, c, p)
	case r.holds(p.Value):
		return action.Outcome{Summary: fmt.Sprintf("%s holds the value for %s already, at version %d", r, p.Value, r.now.Version)}, nil
	case r.now.Version != p.Seen || p.Was != "" && p.Was != r.state():
		return action.Outcome{}, fmt.Errorf("%w: %s is %s, and the plan saw version %d (%s); plan again", action.ErrMoved, r, r.found(), p.Seen, cmp.Or(p.Was, content))
	}
	value := map[string]any{}
	for k, v := range r.Values[p.Value] {
		value[k] = v
	}
	return r.write(ctx, c, value, p.Seen, "the value for "+p.Value)
}

// write writes a content as the version after seen.
func (r routed) write(ctx context.Context, c action.Call[action.None], value map[string]any, seen int, what string) (action.Outcome, error) {
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{}, err
	}
	now, err := r.store.Write(ctx, r.Secret, value, seen)
	if errors.Is(err, secret.ErrChanged) {
		return action.Outcome{}, fmt.Errorf("%w: %w", action.ErrMoved, err)
	}
	if err != nil {
		return action.Outcome{}, err
	}
	return action.Outcome{Summary: fmt.Sprintf("%s holds %s, as version %d", r, what, now.Version), Mutations: 1}, nil
}

// differences names the keys that are not as wanted, without their text.
func differences(want map[string]string, got map[string]any) []string {
	var ds []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		switch v, there := got[k]; {
		case !there:
			ds = append(ds, k+" is missing")
		case v != want[k]:
			ds = append(ds, k+" is another")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, wanted := want[k]; !wanted {
			ds = append(ds, k+" should not be there")
		}
	}
	return ds
}
