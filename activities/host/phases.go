package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/crash"
	"breakwater/internal/ledger"
	"breakwater/internal/wire"
)

func (h *Host) plan(ctx context.Context, d *action.Definition, in wire.PhaseInput, p wire.Phase) (wire.PlanResult, error) {
	res := wire.PlanResult{Interval: wire.Interval{Phase: p, Start: time.Now().UTC()}}
	b, stop := begin(ctx, d, in, p)
	defer stop()
	undo := p == wire.UndoPlanPhase
	err := h.open(ctx, b)
	if err == nil && undo {
		err = errors.Join(b.readPlans(ctx), b.readPriors(ctx))
	}
	if err != nil {
		return res, err
	}
	// What a person is told says why something is unknown; the plan does not, since that
	// text differs from one look to the next.
	var look []action.Observation
	var red wire.Look
	var mu sync.Mutex
	told := map[string][]action.Observation{}
	var docs []contents
	res.Doc, res.Failures, err = each(ctx, b, ledger.DocPlan, func(ctx context.Context, r action.Request) (wire.PlanDoc, error) {
		doc := wire.PlanDoc{Step: b.step.ID, Action: d.Name, Item: r.Item, With: b.step.With}
		var err error
		switch {
		case undo:
			if _, err = b.give(&r); err == nil {
				doc.Change, err = d.UndoPlan(ctx, r, b.step.With)
			}
		case d.IsCheck():
			crash.Point(b.point("before"))
			if doc.Found, err = d.Verify(ctx, r, b.step.With); err == nil {
				crash.Point(b.point("after"))
			}
			mu.Lock()
			told[r.Item.Name] = doc.Found
			mu.Unlock()
			doc.Found = stable(doc.Found)
			doc.Change = action.Change{Summary: sentence(r.Item, doc.Found), Accepts: accepts(b.as, doc.Found)}
		default:
			doc.Change, err = d.Plan(ctx, r, b.step.With)
		}
		return doc, err
	}, func(doc wire.PlanDoc) {
		docs = append(docs, contents{Step: doc.Step, Item: doc.Item, Change: doc.Change, Found: doc.Found})
		res.Effects += int64(len(doc.Change.Effects))
		if len(res.Summaries) < wire.Shown {
			res.Summaries = append(res.Summaries, doc.Change.Summary)
		}
		for _, a := range doc.Change.Accepts {
			if !slices.Contains(res.Accepts, a) {
				res.Accepts = append(res.Accepts, a)
			}
		}
		if doc.Change.Loss != nil {
			res.Losses = append(res.Losses, *doc.Change.Loss)
		}
		if found, ok := told[doc.Item.Name]; ok && slices.Equal(stable(found), doc.Found) {
			doc.Found = found
		}
		look = append(look, doc.Found...)
		if d.IsCheck() && !action.Worst(doc.Found).Clear() {
			red.Reds(doc.Item.Name)
		}
	})
	if err != nil {
		return res, err
	}
	is, err := b.chain.remember(res.Doc, b.left, docs)
	if err != nil {
		return res, err
	}
	res.Leaf = is.leaf
	if d.IsCheck() {
		l := summarize(look)
		l.Red, l.RedMore = red.Red, red.RedMore
		res.Look = &l
	}
	res.Interval.End = time.Now().UTC()
	return res, nil
}

func (h *Host) apply(ctx context.Context, d *action.Definition, in wire.PhaseInput, p wire.Phase) (wire.ApplyResult, error) {
	res := wire.ApplyResult{Interval: wire.Interval{Phase: p, Start: time.Now().UTC()}}
	b, stop := begin(ctx, d, in, p)
	defer stop()
	if err := h.open(ctx, b); err != nil {
		return res, err
	}
	if in.Plan == nil {
		return res, fmt.Errorf("%w: step %q has no approved plan", action.ErrRefused, b.step.Title)
	}
	err := errors.Join(b.readPlans(ctx), b.readPriors(ctx))
	if err == nil {
		err = b.mayApply(ctx)
	}
	if err == nil {
		err = b.takeTurn(ctx, h)
	}
	if err != nil {
		return res, err
	}
	var docs []contents
	res.Doc, res.Failures, err = each(ctx, b, ledger.DocOutcome, func(ctx context.Context, r action.Request) (wire.OutcomeDoc, error) {
		doc := wire.OutcomeDoc{Step: b.step.ID, Action: d.Name, Item: r.Item, Start: time.Now().UTC()}
		var err error
		if doc.Plan, err = b.give(&r); err != nil {
			return doc, err
		}
		if err := b.guard(ctx); err != nil {
			return doc, err
		}
		crash.Point(b.point("before"))
		do := d.Apply
		if p == wire.UndoApplyPhase {
			do = d.UndoApply
		}
		if doc.Outcome, err = do(ctx, r, b.step.With); err != nil {
			return doc, err
		}
		crash.Point(b.point("after"))
		doc.End = time.Now().UTC()
		return doc, nil
	}, func(doc wire.OutcomeDoc) {
		docs = append(docs, contents{Step: doc.Step, Item: doc.Item, Outcome: doc.Outcome})
		res.Mutations += doc.Outcome.Mutations
		if len(res.Summaries) < wire.Shown {
			res.Summaries = append(res.Summaries, doc.Outcome.Summary)
		}
	})
	if err == nil {
		_, err = b.chain.remember(res.Doc, b.left, docs)
	}
	res.Interval.End = time.Now().UTC()
	return res, err
}

func (h *Host) verify(ctx context.Context, d *action.Definition, in wire.PhaseInput, p wire.Phase) (wire.VerifyResult, error) {
	res := wire.VerifyResult{Interval: wire.Interval{Phase: p, Start: time.Now().UTC()}}
	b, stop := begin(ctx, d, in, p)
	defer stop()
	if err := h.open(ctx, b); err != nil {
		return res, err
	}
	if err := b.readPlans(ctx); err != nil {
		return res, err
	}
	not, err := b.skipped(ctx)
	if err != nil {
		return res, err
	}
	var all []action.Observation
	var red wire.Look
	var docs []contents
	res.Doc, res.Failures, err = each(ctx, b, ledger.DocObserved, func(ctx context.Context, r action.Request) (wire.ObservedDoc, error) {
		doc := wire.ObservedDoc{Step: b.step.ID, Action: d.Name, Item: r.Item, Start: time.Now().UTC()}
		if err := not[r.Item.Name]; err != nil {
			return doc, err
		}
		var err error
		if doc.Plan, err = b.give(&r); err != nil {
			return doc, err
		}
		look := d.Verify
		if p == wire.UndoVerifyPhase {
			look = d.UndoVerify
		}
		if d.IsCheck() {
			crash.Point(b.point("before"))
		}
		if doc.Observations, err = look(ctx, r, b.step.With); err != nil {
			return doc, err
		}
		if d.IsCheck() {
			crash.Point(b.point("after"))
		}
		doc.Verdict, doc.End = action.Worst(doc.Observations), time.Now().UTC()
		return doc, nil
	}, func(doc wire.ObservedDoc) {
		docs = append(docs, contents{Step: doc.Step, Item: doc.Item, Observations: doc.Observations})
		all = append(all, doc.Observations...)
		if !doc.Verdict.Clear() {
			red.Reds(doc.Item.Name)
		}
	})
	if err == nil {
		_, err = b.chain.remember(res.Doc, b.left, docs)
	}
	res.Look = summarize(all)
	res.Look.Red, res.Look.RedMore = red.Red, red.RedMore
	res.Interval.End = time.Now().UTC()
	return res, err
}
