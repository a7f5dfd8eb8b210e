package host

import (
	"context"
	"slices"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/authority"
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

// decided must be a decision that counts where people are asked, by the estate that the run
// pinned and by the worker's present one. What adds no authority and accepts no risk is as
// the workflow reported it.
func (d *deriving) decided() error {
	b, err := body[wire.DecisionBody](d.Entry)
	if err != nil {
		return err
	}
	switch verb := approval.Verb(b.Decision); verb {
	case approval.Approve, approval.Reject, approval.Waive, approval.TakeBack, approval.Done, approval.Resume:
	case approval.Pause:
		if d.view.PausedBefore(b.Gate) {
			return refuse("the run was paused as %q before", b.Gate)
		}
		return nil
	default:
		return nil
	}
	p, err := d.view.Poll(d.compiled, d.estates(), b)
	if err != nil {
		return err
	}
	return p.Counts(d.heard(), b)
}

// estates are those by which decisions count.
func (d *deriving) estates() authority.Estates {
	return authority.Estates{Pinned: d.pinned, Present: d.estate}
}

// heard is when a decision arrived, as far as its expiry goes: no earlier than now, whatever
// time the entry gives itself.
func (d *deriving) heard() time.Time {
	if now := time.Now(); now.After(d.Time) {
		return now
	}
	return d.Time
}
