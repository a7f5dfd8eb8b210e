package routing

import (
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
	"breakwater/internal/secret"
	"breakwater/internal/verdict"
)

func (s room) routingActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "routing.secret", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs: []string{"access.read-only"},
		Doc:   "Point a group's clients at the target: its routing secret there gets the target's whole value, by check-and-set.",
		Plan:  s.planRouting, Apply: s.applyRouting, Verify: s.verifyRouting,
		Undo: &action.Undo[action.None]{Plan: s.planRoutingBack, Apply: s.applyRouting, Verify: s.verifyRouting},
		RedWhen: []action.Red{
			{Fault: "vault.routing-overwritten", Want: verdict.Fail},
			{Fault: "vault.routing-key-added", Want: verdict.Fail},
			{Fault: "vault.routing-deleted", Want: verdict.Fail},
			{Fault: "vault.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// routingPlan is a write of one of the estate's values. It names the value by its
// region, so that no secret text enters the ledger, whatever lies in the store.
type routingPlan struct {
	Value string `json:"value"` // the region whose value is to be read
	Seen  int    `json:"seen"`  // version
}

// routingWas is what to put back: Value is empty where what lay there was none of
// the estate's values, and only the store still has it, as version Seen.
type routingWas struct {
	Value string `json:"value,omitempty"`
	Seen  int    `json:"seen"`
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
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// found says what lies there, without its text.
func (r routed) found() string {
	switch {
	case r.now.Version == 0:
		return "no such secret"
	case r.now.Data == nil:
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
	return r.change(c, routingPlan{Value: c.Run.Target, Seen: r.now.Version}, routingWas{Value: r.is, Seen: r.now.Version})
}

// change is the plan of a write.
func (r routed) change(c action.Call[action.None], p routingPlan, was routingWas) (action.Change, error) {
	ch := action.Change{
		Summary:       fmt.Sprintf("Clients of %s keep what they read: %s", c.Item.Name, r.found()),
		Preconditions: []action.Precondition{{Resource: "secret " + r.String(), Version: strconv.Itoa(p.Seen)}},
	}
	if r.is != p.Value {
		var value []string
		for _, k := range slices.Sorted(maps.Keys(r.Values[p.Value])) {
			value = append(value, k+"="+r.Values[p.Value][k])
		}
		ch.Summary = fmt.Sprintf("Point the clients of %s at %s", c.Item.Name, p.Value)
		ch.Effects = []action.EffectLine{{
			On: "secret " + r.String(), Do: "write the whole value for " + p.Value + " (" + strings.Join(value, ", ") + ")",
			From: r.found(), To: fmt.Sprintf("version %d", p.Seen+1),
		}}
	}
	var err error
	if ch.Data, err = action.Encode(p); err == nil {
		ch.Undo, err = action.Encode(was)
	}
	return ch, err
}

// planRoutingBack plans to write the value that lay there before as a new
// version, over ours and over nobody else's.
func (s room) planRoutingBack(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	was, err := action.Decode[routingWas](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	r, err := s.routing(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	switch {
	case r.Routing == nil:
		return unrouted(c.Item.Name), nil
	case was.Value == "" && r.now.Version == was.Seen:
		data, err := action.Encode(routingPlan{Seen: was.Seen})
		return action.Change{Summary: fmt.Sprintf("%s is untouched: %s", r, r.found()), Data: data}, err
	case was.Value == "":
		return action.Change{}, fmt.Errorf("%w: what %s held as version %d is no region's value, and no secret's text is kept in the ledger; bring that version back by hand: %s",
			action.ErrRefused, r, was.Seen, r.store.BringBack(r.Secret, was.Seen))
	case r.is != was.Value && r.is != c.Run.Target:
		return action.Change{}, fmt.Errorf("%w: %s is %s, neither what this run wrote nor what it found; look who wrote it, and decide by hand", action.ErrMoved, r, r.found())
	}
	return r.change(c, routingPlan{Value: was.Value, Seen: r.now.Version}, routingWas{Value: r.is, Seen: r.now.Version})
}

// applyRouting writes the planned value, forth or back, if the secret is still at
// the version that the plan saw.
func (s room) applyRouting(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	p, err := action.Decode[routingPlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	if p.Value == "" {
		return action.Outcome{Summary: c.Plan.Summary}, nil
	}
	r, err := s.routing(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	switch {
	case r.Routing == nil:
		return action.Outcome{}, fmt.Errorf("%w: the plan writes the routing secret of %s, and the estate has none", action.ErrRefused, c.Item.Name)
	case r.holds(p.Value):
		return action.Outcome{Summary: fmt.Sprintf("%s holds the value for %s already, at version %d", r, p.Value, r.now.Version)}, nil
	case r.now.Version != p.Seen:
		return action.Outcome{}, fmt.Errorf("%w: %s is at version %d, and the plan saw version %d; plan again", action.ErrMoved, r, r.now.Version, p.Seen)
	}
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{}, err
	}
	value := map[string]any{}
	for k, v := range r.Values[p.Value] {
		value[k] = v
	}
	now, err := r.store.Write(ctx, r.Secret, value, p.Seen)
	if errors.Is(err, secret.ErrChanged) {
		return action.Outcome{}, fmt.Errorf("%w: %w", action.ErrMoved, err)
	}
	if err != nil {
		return action.Outcome{}, err
	}
	return action.Outcome{Summary: fmt.Sprintf("%s holds the value for %s, as version %d", r, p.Value, now.Version), Mutations: 1}, nil
}

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
		return []action.Observation{action.Saw(what, "a routing secret, if the estate names one", "the estate names none", ok)}, nil
	}
	want := "the whole value for " + p.Value
	if p.Value == "" {
		want = fmt.Sprintf("version %d, which this run never wrote over", p.Seen)
	}
	if _, err := c.Estate.RegionNamed(c.Run.Target); err != nil {
		return nil, err
	}
	store, err := s.Secrets(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	now, err := store.Read(ctx, g.Routing.Secret)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.Value != "":
		return []action.Observation{action.Saw(what, want, err.Error(), false)}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	case p.Value == "":
		return []action.Observation{action.Saw(what, want, fmt.Sprintf("version %d", now.Version), now.Version == p.Seen)}, nil
	}
	differs := differences(g.Routing.Values[p.Value], now.Data)
	got := fmt.Sprintf("version %d, as wanted", now.Version)
	if len(differs) > 0 {
		got = fmt.Sprintf("version %d: %s", now.Version, strings.Join(differs, ", "))
	}
	obs := []action.Observation{action.Saw(what, want, got, len(differs) == 0)}
	what = "the version read is the secret's current one"
	want = fmt.Sprintf("a version after %d", p.Seen)
	least := p.Seen + 1
	if len(c.Plan.Effects) == 0 {
		want, least = fmt.Sprintf("version %d or later", p.Seen), p.Seen
	}
	current, err := store.Current(ctx, g.Routing.Secret)
	if err != nil {
		return append(obs, action.Unknown(c.Run, c.Run.Target, what, want, err, "")), nil
	}
	return append(obs, action.Saw(what, want, fmt.Sprintf("version %d, and its metadata says %d", now.Version, current),
		now.Version == current && current >= least)), nil
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
