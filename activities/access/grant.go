package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/policy"
)

// access gives one level of rights on a group's tables at the target, and takes
// it back. At MinIO that is one policy per group and level, attached to users.
type access struct {
	s     room
	level accessLevel
}

type accessLevel string

const (
	readLevel  accessLevel = "read"
	writeLevel accessLevel = "write" // with reading
)

// grant is a change of one policy and of who has it, forth or back.
type grant struct {
	Policy string     `json:"policy"` // empty: nothing to change
	Users  []string   `json:"users"`
	From   grantState `json:"from"`
	To     grantState `json:"to"`
	// Could read without this policy.
	Could []string `json:"could,omitempty"`
}

var showGrant = action.Shows[grant, grant]()

// grantRules are for every change of a grant.
var grantRules = []action.Rule{
	{Do: "write", Says: "the policy is written as the line says", Sends: []string{"write {on}"}},
	{Do: "remove", Says: "the policy is removed, after nobody has it", Sends: []string{"remove {on}"}},
	{Do: "attach", Says: "the user is given the policy", Sends: []string{"attach policy {data.policy}, {on}"}},
	{Do: "detach", Says: "the policy is taken from the user", Sends: []string{"detach policy {data.policy}, {on}"}},
}

// grantState is what there is of a grant.
type grantState struct {
	Doc string   `json:"doc"` // in canonical form; empty: no such policy
	Has []string `json:"has"` // those of the users that have it; sorted
	// Others are the users' other policies, without those of other grants of this
	// estate, which come and go beside this one.
	Others map[string][]string `json:"others"`
}

// see reads what there is of a grant.
func see(ctx context.Context, admin objectstore.Granter, granted string, users []string) (grantState, error) {
	st := grantState{Has: []string{}, Others: map[string][]string{}}
	doc, err := admin.Policy(ctx, granted)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return st, err
	default:
		text, err := policy.Canonical(doc)
		if err != nil {
			return st, fmt.Errorf("policy %s: %w", granted, err)
		}
		st.Doc = string(text)
	}
	for _, name := range users {
		u, err := admin.User(ctx, name)
		if err != nil {
			return st, err
		}
		st.Others[name] = []string{}
		for _, p := range u.Policies {
			switch {
			case p == granted:
				st.Has = append(st.Has, name)
			case len(p) < len(grantMark) || p[:len(grantMark)] != grantMark:
				st.Others[name] = append(st.Others[name], p)
			}
		}
	}
	return st, nil
}

func (st grantState) sameOthers(o grantState) bool {
	return maps.EqualFunc(st.Others, o.Others, slices.Equal[[]string])
}

// administrator of the target's policies.
func (a access) administrator(ctx context.Context, c action.Call[action.None]) (objectstore.Granter, error) {
	r, err := c.Estate.RegionNamed(c.Run.Target)
	if err != nil {
		return nil, err
	}
	if err := a.s.AccessAt(r); err != nil {
		return nil, fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	return a.s.Granter(ctx, c.Estate, c.Run.Target)
}

func (a access) plan(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	sc, err := a.scene(c)
	if err != nil {
		return action.Change{}, err
	}
	if why := sc.empty(); why != "" {
		return action.Change{Summary: why}, nil
	}
	admin, err := a.administrator(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	g := grant{Policy: policyName(c.Estate.Estate, sc.group.Group, a.level), Users: names(sc.readers)}
	if a.level == writeLevel {
		g.Users = names(sc.writers)
	}
	if g.From, err = see(ctx, admin, g.Policy, g.Users); err != nil {
		return action.Change{}, fmt.Errorf("who has which policy in %s: %w", c.Run.Target, err)
	}
	g.To = grantState{Has: append([]string{}, g.Users...), Others: g.From.Others}
	if g.To.Doc, err = policyDocument(sc.places, a.level); err != nil {
		return action.Change{}, err
	}
	if len(g.effects(c.Run.Target)) > 0 {
		if g.Could, err = a.could(ctx, c, sc); err != nil {
			return action.Change{}, err
		}
	}
	var verb string
	switch a.level {
	case readLevel:
		verb = fmt.Sprintf("read, and nobody write, %s in %s", sc.group.Group, c.Run.Target)
	case writeLevel:
		verb = fmt.Sprintf("read and write %s in %s", sc.group.Group, c.Run.Target)
	}
	return g.change(c.Run.Target, "Let "+orNobody(g.Users)+" "+verb)
}

// change is the plan of a grant.
func (g grant) change(region, summary string) (action.Change, error) {
	ch := action.Change{Effects: g.effects(region)}
	ch.Summary = summary + "; there is no concurrency control for policies: they are read, written and read again"
	if len(ch.Effects) == 0 {
		ch.Summary = summary + ": that is so already"
	}
	b, err := json.Marshal(g.From)
	if err != nil {
		return ch, fmt.Errorf("plan policy %s: %w", g.Policy, err)
	}
	sum := sha256.Sum256(b)
	ch.Preconditions = []action.Precondition{{
		Resource: fmt.Sprintf("policy %s at %s, and the policies of %s", g.Policy, region, orNobody(g.Users)),
		Version:  hex.EncodeToString(sum[:6]),
	}}
	if ch.Data, err = action.Encode(g); err == nil {
		ch.Undo, err = action.Encode(g)
	}
	return ch, err
}

// effects is what brings From to To.
func (g grant) effects(region string) []action.EffectLine {
	var lines []action.EffectLine
	on := "policy " + g.Policy + " at " + region
	switch {
	case g.From.Doc == g.To.Doc:
	case g.To.Doc == "":
		lines = append(lines, action.EffectLine{On: on, Do: "remove"})
	default:
		lines = append(lines, action.EffectLine{On: on, Do: "write", From: g.From.Doc, To: g.To.Doc})
	}
	for _, name := range g.Users {
		had, has := slices.Contains(g.From.Has, name), slices.Contains(g.To.Has, name)
		switch {
		case has && !had:
			lines = append(lines, action.EffectLine{On: "user " + name + " at " + region, Do: "attach " + g.Policy})
		case had && !has:
			lines = append(lines, action.EffectLine{On: "user " + name + " at " + region, Do: "detach " + g.Policy})
		}
	}
	return lines
}

// planBack plans to bring a grant back to where it was.
func (a access) planBack(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	g, err := action.Decode[grant](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	if g.Policy == "" {
		return action.Change{Summary: c.Plan.Summary}, nil
	}
	admin, err := a.administrator(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	now, err := see(ctx, admin, g.Policy, g.Users)
	if err != nil {
		return action.Change{}, err
	}
	if now.Doc != g.From.Doc && now.Doc != g.To.Doc {
		return action.Change{}, fmt.Errorf("%w: policy %s is neither what this run wrote nor what it found; look who changed it, and decide by hand", action.ErrMoved, g.Policy)
	}
	was := g.From
	was.Others = now.Others // what others changed meanwhile stays theirs
	return grant{Policy: g.Policy, Users: g.Users, From: now, To: was, Could: g.Could}.
		change(c.Run.Target, fmt.Sprintf("Take the level %s on %s in %s back from %s", a.level, c.Item, c.Run.Target, orNobody(g.Users)))
}

// apply brings a grant from what the plan saw to what it wants, forth or back.
// What an earlier attempt has done is left; what somebody else has done stops it.
func (a access) apply(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	var out action.Outcome
	g, err := action.Decode[grant](c.Plan.Data)
	if err != nil {
		return out, err
	}
	if g.Policy == "" {
		return action.Outcome{Summary: c.Plan.Summary}, nil
	}
	admin, err := a.administrator(ctx, c)
	if err != nil {
		return out, err
	}
	now, err := see(ctx, admin, g.Policy, g.Users)
	if err != nil {
		return out, err
	}
	switch {
	case !now.sameOthers(g.From):
		return out, fmt.Errorf("%w: the other policies of %s in %s are not those that the plan saw; plan again", action.ErrMoved, orNobody(g.Users), c.Run.Target)
	case now.Doc != g.From.Doc && now.Doc != g.To.Doc:
		return out, fmt.Errorf("%w: policy %s is neither what the plan saw nor what it writes; plan again", action.ErrMoved, g.Policy)
	}
	do := func(f func() error) error {
		if err := c.Guard(ctx); err != nil {
			return err
		}
		if err := f(); err != nil {
			return err
		}
		out.Mutations++
		return nil
	}
	gone := g.To.Doc == ""
	if !gone && now.Doc != g.To.Doc {
		if err := do(func() error { return admin.SetPolicy(ctx, g.Policy, []byte(g.To.Doc)) }); err != nil {
			return out, err
		}
	}
	for _, name := range g.Users {
		had, has := slices.Contains(now.Has, name), slices.Contains(g.To.Has, name)
		change := admin.Attach
		if had == has {
			continue
		} else if had {
			change = admin.Detach
		}
		if err := do(func() error { return change(ctx, name, g.Policy) }); err != nil {
			return out, err
		}
	}
	if gone && now.Doc != "" {
		if err := do(func() error { return admin.RemovePolicy(ctx, g.Policy) }); err != nil {
			return out, err
		}
	}
	after, err := see(ctx, admin, g.Policy, g.Users)
	if err != nil {
		return out, fmt.Errorf("written, but reading it back: %w", err)
	}
	if after.Doc != g.To.Doc || !slices.Equal(after.Has, g.To.Has) || !after.sameOthers(g.From) {
		return out, fmt.Errorf("%w: policy %s was written, but somebody else changed it or its users at the same time; plan again", action.ErrMoved, g.Policy)
	}
	out.Summary = fmt.Sprintf("policy %s is with %s", g.Policy, orNobody(g.To.Has))
	return out, nil
}
