package host

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/authority"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/wire"
)

// readPlans reads the plan of every item of the batch, and the leaf that they are of a root.
// Whether that was approved is for [batch.mayApply] to say. An item may have no plan, if the
// rest of the batch was approved without it.
func (b *batch) readPlans(ctx context.Context) error {
	if b.in.Plan == nil {
		return nil
	}
	refs, err := store.Expand(ctx, b.ledger, b.trusted, *b.in.Plan)
	if err != nil {
		return err
	}
	if b.leaf, _, err = leafOf(b.run, *b.in.Plan, refs); err != nil {
		return err
	}
	b.plans = make(map[string]planned, len(refs))
	for _, ref := range refs {
		raw, err := store.GetDoc(ctx, b.ledger, b.trusted, ref)
		if err != nil {
			return err
		}
		var doc wire.PlanDoc
		if err := json.Unmarshal(raw, &doc); err != nil {
			return fmt.Errorf("read plan %s: %w", ref.Key, err)
		}
		if doc.Step != b.step.ID || doc.Action != b.def.Name {
			return refuse("plan %s is of step %s, not of %s", ref.Key, doc.Step, b.step.ID)
		}
		b.plans[doc.Item.Name] = planned{doc, ref.SHA256}
	}
	return nil
}

// mayApply refuses what the run's ledger does not allow to be done now.
func (b *batch) mayApply(ctx context.Context) error {
	act := authority.Act{
		Step: b.step.ID, Direction: authority.Direction(b.phase == wire.UndoApplyPhase), Attempt: b.in.Attempt,
		Effect: b.def.Effect, Drill: b.def.Drill, Leaf: b.leaf,
	}
	b.chain.mu.Lock()
	defer b.chain.mu.Unlock()
	if b.def.Effect == action.Mutates { // what was written since this was asked for counts, too
		if err := b.chain.readOn(ctx); err != nil {
			return err
		}
	}
	return b.chain.view.MayApply(b.compiled, authority.Estates{Pinned: b.estate, Present: b.chain.estate}, act, time.Now())
}

// knownPrior refuses an outcome to take back that the run's ledger does not have.
func (b *batch) knownPrior() error {
	if b.in.Prior == nil || !b.undoes() {
		return nil
	}
	known := false
	b.chain.read(func(v *authority.View) {
		known = slices.Contains(v.Docs(b.step.ID, ledger.Outcome, approval.Do), *b.in.Prior)
	})
	if !known {
		return refuse("the outcome %s to take back is none that the run's ledger has", b.in.Prior.Key)
	}
	return nil
}
