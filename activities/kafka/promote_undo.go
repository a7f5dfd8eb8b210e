package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/plural"
)

// consumerBack puts a group back to where it was before kafka.promote.
type consumerBack struct {
	Group  string            `json:"group"`
	Back   kafka.Offsets     `json:"back,omitempty"`   // had another commit
	Forget []kafka.Partition `json:"forget,omitempty"` // had none
	Seen   kafka.Offsets     `json:"seen"`             // of both, where this plan saw it
	Denied string            `json:"denied,omitempty"` // this run denies this principal to commit, which ends first
	Hold   *hold.Hold        `json:"hold,omitempty"`
}

// offsets are where the group is to be of what this undo moves.
func (b consumerBack) offsets() kafka.Offsets {
	at := maps.Clone(b.Back)
	if at == nil {
		at = kafka.Offsets{}
	}
	for _, p := range b.Forget {
		at[p] = hold.NoCommit
	}
	return at
}

func (s room) planDemoteGroup(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	p, err := action.Decode[ConsumerPlan](c.Plan.Data)
	if err != nil {
		return action.Change{}, err
	}
	was, err := action.Decode[consumerWas](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	g, err := s.toPlace(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	d := consumerBack{Group: p.Group, Back: kafka.Offsets{}, Seen: kafka.Offsets{}}
	ch := action.Change{Preconditions: []action.Precondition{g.seen()}}
	planned := p.offsets()
	for _, at := range slices.SortedFunc(maps.Keys(planned), kafka.Partition.Compare) {
		now, committed := g.committed[at]
		before, had := was.Committed[at]
		if committed == had && now == before {
			continue // never placed, or back already
		}
		if !committed || now != planned[at] && !p.Hold.DidSync(at, now) {
			return action.Change{}, fmt.Errorf("%w: %s is at %d in %v (committed: %t), neither where this run placed it nor where it was; look who read with it, and decide by hand",
				action.ErrMoved, g.on(), now, at, committed)
		}
		d.Seen[at] = now
		e := action.EffectLine{On: fmt.Sprintf("%s, %v", g.on(), at), Do: "commit what it had", From: fmt.Sprint(now), To: fmt.Sprint(before)}
		if had {
			d.Back[at] = before
		} else {
			d.Forget = append(d.Forget, at)
			e.Do, e.To = "delete the commit, since it had none", "no commit"
		}
		ch.Effects = append(ch.Effects, e)
	}
	ch.Summary = fmt.Sprintf("%s is where it was before", p.Group)
	if n := len(ch.Effects); n > 0 {
		ch.Summary = fmt.Sprintf("Put %s back in %s", p.Group, plural.Of(n, "partition"))
	}
	if d.Denied, err = g.denied(ctx, was); err != nil {
		return action.Change{}, err
	}
	if d.Hold, err = s.holdOf(ctx, c, g, d.offsets(), false); err != nil {
		return action.Change{}, err
	}
	if d.Denied != "" {
		ch.Summary += "; the denial of " + d.Denied + " is taken away first"
		ch.Effects = append([]action.EffectLine{{On: g.barred(d.Denied), Do: "take away that it is denied READ"}}, ch.Effects...)
		if d.Hold != nil { // what is seen behind a bar says nothing of how it is without one
			d.Hold.Bar, d.Hold.Why = nil, "the denial is taken away"
		}
	}
	ch.Summary += d.Hold.Note(held(c), atOnce)
	ch.Data, err = action.Encode(d)
	return ch, err
}

// denied is the principal that this run denies to commit for the group; empty if the
// denial is gone, or never came.
func (g consumer) denied(ctx context.Context, was consumerWas) (string, error) {
	if was.Denial == "" {
		return "", nil
	}
	access, err := g.k.Access(ctx, was.Denial, g.Name)
	if err != nil || !access.Denied {
		return "", err
	}
	return was.Denial, nil
}

// open takes a denial away, and tells how many that were.
func (g consumer) open(ctx context.Context, c action.Call[action.None], principal string) (int64, error) {
	still, err := g.denied(ctx, consumerWas{Denial: principal})
	if err != nil || still == "" {
		return 0, err
	}
	if err := c.Guard(ctx); err != nil {
		return 0, err
	}
	return 1, g.k.AllowCommits(ctx, principal, g.Name)
}

func (s room) applyDemoteGroup(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	d, err := action.Decode[consumerBack](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	g, err := s.placing(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	left, to := kafka.Offsets{}, d.offsets()
	for at, seen := range d.Seen {
		now := g.at(at)
		switch {
		case now == to[at]:
			continue
		case !g.Idle(), now != seen && !d.Hold.DidSync(at, now):
			return action.Outcome{}, fmt.Errorf("%w: %s is %s and at %d in %v (committed: %t), and the plan saw it idle at %d; plan again",
				action.ErrMoved, g.on(), g.State, now, at, now != hold.NoCommit, seen)
		}
		left[at] = to[at]
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is back in %s", d.Group, plural.Of(len(d.Seen), "partition"))}
	// Before the group is placed: whether it stays must be seen without the denial.
	if out.Mutations, err = g.open(ctx, c, d.Denied); err != nil {
		return out, err
	}
	return s.keep(ctx, c, g, out, left, to, d.Hold)
}

// verifyDemoteGroup reads through a new connection where the group stands.
func (s room) verifyDemoteGroup(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	d, err := action.Decode[consumerBack](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	what := d.Group + " is where it was before"
	want := fmt.Sprintf("%s, and no commit in %s", offsetsText(d.Back), plural.Of(len(d.Forget), "partition"))
	k, end, err := s.FreshKafka(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	defer end()
	now, err := k.CommittedOffsets(ctx, d.Group)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	var wrong []string
	for _, at := range slices.SortedFunc(maps.Keys(d.Back), kafka.Partition.Compare) {
		if o, ok := now[at]; !ok || o != d.Back[at] {
			wrong = append(wrong, fmt.Sprintf("%v at %d (committed: %t)", at, o, ok))
		}
	}
	for _, at := range d.Forget {
		if o, ok := now[at]; ok {
			wrong = append(wrong, fmt.Sprintf("%v at %d", at, o))
		}
	}
	obs := []action.Observation{action.Conclude(what, want, offsetsText(now), wrong, 1)}
	if d.Denied == "" {
		return obs, nil
	}
	what, want = fmt.Sprintf("%s is no longer denied to move %s", d.Denied, d.Group), "the denial is gone"
	access, err := k.Access(ctx, d.Denied, d.Group)
	if err != nil {
		return append(obs, action.Unknown(c.Run, c.Run.Target, what, want, err, "")), nil
	}
	return append(obs, action.Saw(what, want, map[bool]string{true: "it stands", false: "so"}[access.Denied], !access.Denied)), nil
}
