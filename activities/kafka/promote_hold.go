package kafka

import (
	"context"
	"errors"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/mirror"
	"breakwater/internal/shell"
)

// atOnce is how many consumer groups a run places at the same time, at least.
const atOnce = 10

// holdOf plans how a group is kept where it is to be. It is nil where no mirror can
// move it. Without deny no denial is put: one that stands is made use of.
func (s room) holdOf(ctx context.Context, c action.Call[action.None], g consumer, to kafka.Offsets, deny bool) (*hold.Hold, error) {
	src, err := c.Estate.RegionNamed(c.Run.Source)
	if err != nil {
		return nil, err
	}
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if errors.Is(err, mirror.ErrNone) || err == nil && src.Kafka == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := hold.Plan(ctx, m, g.k, g.Name, to, s.times)
	if err != nil || h == nil {
		return nil, err
	}
	if h.Bar, h.Why, err = s.barOf(ctx, c, g, m); err != nil {
		return nil, err
	}
	if h.Bar != nil && h.Bar.Put && !deny {
		h.Bar, h.Why = nil, "taking back denies nobody anything"
	}
	return h, nil
}

// mirrorsPrincipal is the mirror's principal at the target; empty if the estate names
// none.
func mirrorsPrincipal(c action.Call[action.None]) string {
	if r, ok := c.Estate.Region(c.Run.Target); ok && r.Connect != nil && r.Connect.Principal != nil {
		return r.Connect.Principal.Name
	}
	return ""
}

// barOf plans how the mirror is kept out of a group, or says why it is not.
func (s room) barOf(ctx context.Context, c action.Call[action.None], g consumer, m mirror.Mirror) (*hold.Bar, string, error) {
	name := mirrorsPrincipal(c)
	if name == "" {
		return nil, "the estate names no principal of the mirror (connect.principal)", nil
	}
	if w, ok := m.(mirror.Writer); ok {
		// A mirror that does not answer leaves the estate's word.
		if as, err := w.WritesAs(ctx); err == nil && as != "" && as != name {
			return nil, fmt.Sprintf("the mirror moves groups as %s, and connect.principal of the estate is %s", as, name), nil
		}
	}
	return hold.PlanBar(ctx, g.k, s.intruder(c), userOf(name), g.Name)
}

// userOf is a user's principal, as brokers name it.
func userOf(name string) string { return "User:" + name }

// intruder opens the target as the mirror's principal.
func (s room) intruder(c action.Call[action.None]) hold.Open {
	return func(ctx context.Context) (hold.Intruder, func(), error) {
		return s.KafkaAsMirror(ctx, c.Estate, c.Run.Target)
	}
}

// held is how many groups a run holds, as the item's step is made.
func held(c action.Call[action.None]) int {
	return len(c.Estate.Items(estate.ConsumerGroupKind, estate.Filter{Tier: c.Item.Tier, Groups: c.Run.Groups}))
}

// denies are the effects of a hold that puts a denial.
func (g consumer) denies(h *hold.Hold) []action.EffectLine {
	if h == nil || h.Bar == nil || !h.Bar.Put {
		return nil
	}
	b := h.Bar.Principal
	return []action.EffectLine{{On: g.barred(b), Do: "deny READ (an ACL), so that it cannot commit; before it is to sync the group again: " + lift(b, g.Name)}}
}

// barred names a principal's denial in plans.
func (g consumer) barred(principal string) string { return principal + " at " + g.on() }

// lift is the command that takes a denial away.
func lift(principal, group string) string {
	return shell.Command("kafka-acls", "--bootstrap-server", "BROKER", "--remove", "--deny-principal", principal, "--operation", "Read", "--group", group)
}

// keep puts the group where it is not yet, in the partitions left, and keeps it where
// it is to be. What was done is added to the outcome.
func (s room) keep(ctx context.Context, c action.Call[action.None], g consumer, out action.Outcome, left, to kafka.Offsets, h *hold.Hold) (action.Outcome, error) {
	kept, err := hold.Keeper{
		Groups: g.k, Group: g.Name, Region: g.region, Rights: g.k, Open: s.intruder(c), Guard: c.Guard, Progress: c.Progress,
	}.Keep(ctx, left, to, h)
	out.Mutations += kept.Mutations
	out.Summary += kept.Text
	if errors.Is(err, hold.ErrMoved) {
		err = fmt.Errorf("%w: %w", action.ErrMoved, err)
	}
	return out, err
}

// keptOut observes that the mirror's principal is kept out of the group, as its hold
// planned, by trying with its own credentials.
func (s room) keptOut(ctx context.Context, c action.Call[action.None], k *kafka.Client, group string, b *hold.Bar) action.Observation {
	what := fmt.Sprintf("%s may not move %s", b.Principal, group)
	want := fmt.Sprintf("a commit as it is refused, and one for group %s is not", hold.Beside)
	unknown := func(err error) action.Observation {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	as, end, err := s.intruder(c)(ctx)
	if err != nil {
		return unknown(err)
	}
	defer end()
	out, err := hold.KeptOut(ctx, as, group)
	switch {
	case err != nil:
		return unknown(err)
	case out || !b.Put:
		return action.Saw(what, want, map[bool]string{true: "so", false: "the commit was let in"}[out], out)
	}
	access, err := k.Access(ctx, b.Principal, group)
	if err != nil {
		return unknown(err)
	}
	if access.Denied { // nobody took it away: it never bound, and the group was watched
		return action.Saw(b.Principal+" is denied to move "+group, "the denial stands", "it stands, and does not bind: as of a super-user the group was watched instead", true)
	}
	return action.Saw(what, want, "the denial is gone, and the commit was let in", false)
}
