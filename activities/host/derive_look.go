package host

import (
	"context"
	"slices"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/authority"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
)

// observed may be worse than its documents, and never better: each item that it counts as
// seen must have a document that says so.
func (d *deriving) observed(ctx context.Context) error {
	b, err := body[wire.ObservedBody](d.Entry)
	if err != nil {
		return err
	}
	if d.stage == nil {
		return refuse("the run has no stage %q", d.Stage)
	}
	var owed, open []string
	if d.step != nil {
		owed, open, err = d.stepSeen(ctx, b.Undo)
	} else {
		owed, open, err = d.stageSeen(ctx)
	}
	if err != nil {
		return err
	}
	for _, id := range owed {
		if b.Verdict.Clear() || len(b.Owed) > 0 && !slices.Contains(b.Owed, id) {
			return refuse("it says %s, and by its documents something is unknown that people must accept: %s", b.Verdict, id)
		}
	}
	for _, item := range open {
		switch {
		case b.Verdict.Clear():
			return refuse("it says %s, and no document shows that %s passed", b.Verdict, item)
		case len(b.Red) > 0 && b.RedMore == 0 && !slices.Contains(b.Red, item):
			return refuse("it does not name %s among what did not pass", item)
		case len(b.Owed) > 0:
			return refuse("it says that %v is all that is owed, and %s did not pass", b.Owed, item)
		}
	}
	return nil
}

// stepSeen is what the last look at each item of the step left unproven.
func (d *deriving) stepSeen(ctx context.Context, undo bool) (owed, open []string, err error) {
	if _, err := d.ofStep(ctx, ledger.DocObserved, undo); err != nil {
		return nil, nil, err
	}
	looks := map[string]wire.Look{}
	before := d.view.Docs(d.Step, ledger.Observed, authority.Direction(undo))
	for _, ref := range slices.Concat(before, d.Docs) {
		f, err := d.fact(ctx, ref)
		if err != nil {
			return nil, nil, err
		}
		for item, l := range f.looks {
			looks[item] = l
		}
	}
	owed, open = unclear(d.itemsOf(d.stage, d.step), looks)
	return owed, within(d.Step, open), nil
}

// stageSeen is what a stage that only looks left unproven. Its plan is its look.
func (d *deriving) stageSeen(ctx context.Context) (owed, open []string, err error) {
	if !d.stage.ChecksOnly() {
		return nil, nil, refuse("stage %q does more than look: each of its steps has a look of its own", d.Stage)
	}
	looks := map[string]map[string]wire.Look{}
	for _, ref := range d.Docs {
		f, err := d.fact(ctx, ref)
		if err != nil {
			return nil, nil, err
		}
		if f.kind != ledger.DocPlan && f.kind != "" {
			return nil, nil, refuse("document %s is no look of the stage", ref.Key)
		}
		if looks[f.step] == nil {
			looks[f.step] = map[string]wire.Look{}
		}
		for item, l := range f.looks {
			looks[f.step][item] = l
		}
	}
	for i := range d.stage.Steps {
		st := &d.stage.Steps[i]
		own, left := unclear(d.itemsOf(d.stage, st), looks[st.ID])
		owed, open = append(owed, own...), append(open, within(st.ID, left)...)
	}
	return owed, open, nil
}

// within names items as "STEP/ITEM".
func within(step string, items []string) []string {
	for i := range items {
		items[i] = step + "/" + items[i]
	}
	return items
}

func (d *deriving) itemsOf(s *runbook.Stage, st *runbook.Step) []string {
	var names []string
	for _, i := range d.pinned.Items(st.Each, st.Filter(s.Tier, d.view.Run.Groups)) {
		names = append(names, i.Name)
	}
	return names
}

// decided must be a vote that counts at the open gate, or what else a person may say.
func (d *deriving) decided() error {
	b, err := body[wire.DecisionBody](d.Entry)
	if err != nil {
		return err
	}
	verb := approval.Verb(b.Decision)
	switch verb {
	case approval.Approve, approval.Reject:
	case approval.Waive, approval.TakeBack, approval.Done:
		return d.answered(b)
	default:
		return nil // it adds no authority and accepts no risk
	}
	g := d.view.Open()
	if g == nil {
		return refuse("no gate is open, so that nobody can %s", verb)
	}
	gate := func(role estate.Role) (approval.Gate, error) { return d.view.Gate(d.compiled, g, role) }
	j, err := d.weigh("gate "+g.Gate, g.Role, gate, g.Votes, g.Root, b)
	if err == nil && j.Outcome != approval.Counted && j.Outcome != approval.Settled {
		err = refuse("the decision does not count: %s", j.Reason)
	}
	return err
}

// weigh judges a decision at a gate or a question, after the votes that it has, by the role
// as the estate of the run names it.
func (d *deriving) weigh(what, name string, open func(estate.Role) (approval.Gate, error), votes []authority.Vote, root string, b wire.DecisionBody) (approval.Judgement, error) {
	role, ok := d.pinned.Role(name)
	if !ok {
		return approval.Judgement{}, refuse("role %q of %s is not in the estate of the run", name, what)
	}
	at, err := open(*role)
	if err != nil {
		return approval.Judgement{}, refuse("%w", err)
	}
	_, j := authority.After(at, votes, root).Judge(d.heard(), authority.Decision(b, root), approval.Who{})
	return j, nil
}

// heard is when a decision arrived, as far as its expiry goes: no earlier than now, whatever
// time the entry gives itself.
func (d *deriving) heard() time.Time {
	if now := time.Now(); now.After(d.Time) {
		return now
	}
	return d.Time
}

// answered must be an answer that counts at the open question. One that does not say that
// more people are needed must be the one that settles it.
func (d *deriving) answered(b wire.DecisionBody) error {
	ask, gate := d.view.Ask, d.view.Open()
	if gate != nil && b.Gate == gate.Gate { // asked for at a gate: its plan is approved at a gate of its own
		return nil
	}
	if ask == nil || ask.Ask != b.Gate {
		return refuse("the run asks nothing to which %s is an answer", b.Decision)
	}
	j, err := d.weigh("question "+ask.Ask, ask.Role, d.view.Question, ask.Votes, ask.Root, b)
	if err != nil {
		return err
	}
	if j.Outcome != approval.Settled && (j.Outcome != approval.Counted || !b.Missing) {
		return refuse("the decision does not count: %s", j.Reason)
	}
	return nil
}
