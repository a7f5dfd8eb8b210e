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
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
)

// deriving is an entry that a run wants in its ledger, beside all from which it follows.
type deriving struct {
	*chain
	ledger.Entry
	compiled *runbook.Compiled
	pinned   *estate.Estate
	stage    *runbook.Stage
	step     *runbook.Step
}

// derive refuses an entry that says more than this worker finds to be so. Before its head
// is signed, an approval is counted again, a verdict is read out of the documents that it
// rests on, and an end out of the entries before it. The kinds asked, refused, note,
// obligation and intent grant nothing: they are in the ledger as the workflow reported them.
func (h *Host) derive(ctx context.Context, c *chain, e ledger.Entry) error {
	d := deriving{chain: c, Entry: e}
	err := d.fits()
	if err == nil && e.Kind != ledger.RunStarted && e.Kind != ledger.Compiled {
		err = d.open(ctx, h)
	}
	if err == nil {
		switch e.Kind {
		case ledger.RunStarted:
			err = d.started(ctx)
		case ledger.Compiled:
			err = d.compiledTo(ctx)
		case ledger.Resumed:
			err = d.resumed()
		case ledger.Lock:
			err = d.locked(ctx)
		case ledger.Planned:
			err = d.planned(ctx)
		case ledger.GateOpened:
			err = d.gateOpened()
		case ledger.Decided:
			err = d.decided()
		case ledger.GateClosed:
			err = d.gateClosed()
		case ledger.Outcome:
			err = d.outcome(ctx)
		case ledger.Observed:
			err = d.observed(ctx)
		case ledger.RunEnded:
			err = d.ended()
		case ledger.Asked, ledger.Refused, ledger.Note, ledger.Obligation, ledger.Intent:
		}
	}
	if err != nil {
		return fmt.Errorf("entry %d (%s) of run %s is not signed: %w", e.Seq, e.Kind, c.run, err)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{action.ErrRefused}, args...)...)
}

// aheadMost is how far an entry's time may be ahead of this worker's clock.
const aheadMost = 5 * time.Minute

// fits refuses what has no place in the chain.
func (d *deriving) fits() error {
	first := map[ledger.Kind]int64{ledger.RunStarted: 1, ledger.Compiled: 2}
	at, ok := first[d.Kind]
	switch {
	case d.view.Ended:
		return refuse("the run has ended")
	case ok != (d.Seq <= 2) || ok && at != d.Seq:
		return refuse("a ledger begins with %s and %s, and has each once", ledger.RunStarted, ledger.Compiled)
	case time.Until(d.Time) > aheadMost: // an approval would be honoured for longer
		return fmt.Errorf("its time is %s, and it is %s: set the clocks", d.Time.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
	}
	return nil
}

// open reads what the run was compiled to, and which part of it the entry is about.
func (d *deriving) open(ctx context.Context, h *Host) error {
	var err error
	if d.compiled, d.pinned, err = h.files(ctx, d.chain, d.view.Files, d.view.EstateDigest); err != nil {
		return err
	}
	if d.Step != "" {
		var ok bool
		if d.stage, d.step, ok = d.compiled.Step(d.Step); !ok || d.stage.ID != d.Stage {
			d.stage, d.step = nil, nil
			if d.Kind != ledger.Intent && d.Kind != ledger.Outcome && d.Kind != ledger.Observed {
				return nil // a question names its stage twice, and an obligation where it is from
			}
			return refuse("stage %q of the run has no step %q", d.Stage, d.Step)
		}
		return nil
	}
	if i := slices.IndexFunc(d.compiled.Stages, func(s runbook.Stage) bool { return s.ID == d.Stage }); i >= 0 {
		d.stage = &d.compiled.Stages[i]
	}
	return nil
}

func body[B any](e ledger.Entry) (B, error) {
	var b B
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return b, refuse("its body cannot be read: %w", err)
	}
	return b, nil
}

// planned must have the root, and ask to accept, what the documents of the plan come to.
func (d *deriving) planned(ctx context.Context) error {
	b, err := body[wire.PlannedBody](d.Entry)
	if err != nil {
		return err
	}
	kind := ledger.DocPlan
	if b.Undo {
		kind = "undo-" + kind
	}
	var leaves []ledger.Leaf
	var accepts []action.Acceptance
	for _, ref := range d.Docs {
		f, err := d.fact(ctx, ref)
		if err != nil {
			return err
		}
		stage, _, ok := d.compiled.Step(f.step)
		if f.kind != kind && f.kind != "" || !ok || !b.Undo && stage.ID != d.Stage {
			return refuse("document %s is no plan of it", ref.Key)
		}
		leaves = append(leaves, f.leaf)
		for _, a := range f.accepts {
			if !slices.ContainsFunc(accepts, func(have action.Acceptance) bool { return have.ID == a.ID }) {
				accepts = append(accepts, a)
			}
		}
	}
	if root := ledger.Root(leaves); root != b.Root || !slices.Equal(leaves, b.Leaves) {
		return refuse("its root is %s, and its documents have %s", b.Root, root)
	}
	if !slices.Equal(accepts, b.Accepts) {
		return refuse("it asks to accept %v, and its documents %v", b.Accepts, accepts)
	}
	return nil
}

// gateOpened must ask those whom the runbook names about a plan that the ledger has.
func (d *deriving) gateOpened() error {
	b, err := body[wire.GateBody](d.Entry)
	if err != nil {
		return err
	}
	direction := authority.Direction(b.Gate == wire.UndoGate)
	if open := d.view.Open(); open != nil {
		return refuse("gate %s, attempt %d, is open still", open.Gate, open.Attempt)
	}
	if b.Gate != d.Stage && b.Gate != wire.UndoGate {
		return refuse("gate %q is none of stage %q", b.Gate, d.Stage)
	}
	p, ok := d.view.Plan(d.Stage, direction, b.Root)
	if !ok || p.Attempt > b.Attempt {
		return refuse("the ledger has no plan of root %s and attempt %d", b.Root, b.Attempt)
	}
	a := authority.Approval(d.compiled, d.Stage, direction)
	if a == nil {
		return refuse("the runbook asks nobody about stage %q", d.Stage)
	}
	role, _ := d.compiled.Role(a.Role)
	if least := approval.Quorum(a.Quorum, d.view.Run.Mode == action.ModeLive, false); b.Role != a.Role || b.Quorum < least || b.Method != string(role.Method) {
		return refuse("the runbook asks %d of %s (%s), and it %d of %s (%s)", least, a.Role, role.Method, b.Quorum, b.Role, b.Method)
	}
	return nil
}

// gateClosed may say approved where enough people have signed, and may stop at any time.
func (d *deriving) gateClosed() error {
	b, err := body[wire.GateBody](d.Entry)
	if err != nil {
		return err
	}
	g := d.view.Open()
	if g == nil || g.Gate != b.Gate || g.Attempt != b.Attempt || g.Root != b.Root {
		return refuse("gate %s, attempt %d, with root %s is not open", b.Gate, b.Attempt, b.Root)
	}
	if b.How != string(approval.Approve) {
		return nil
	}
	return d.view.Quorum(d.compiled, d.estates(), g)
}

// outcome must be what the documents say that was done.
func (d *deriving) outcome(ctx context.Context) error {
	b, err := body[wire.OutcomeBody](d.Entry)
	if err != nil {
		return err
	}
	fs, err := d.ofStep(ctx, ledger.DocOutcome, b.Undo)
	if err != nil {
		return err
	}
	var n int64
	for _, f := range fs {
		n += f.mutations
	}
	if n != b.Mutations {
		return refuse("it says that %d things were changed, and its documents %d", b.Mutations, n)
	}
	return nil
}

// ofStep reads the documents of an entry about a step, which must be of that kind.
func (d *deriving) ofStep(ctx context.Context, kind string, undo bool) ([]fact, error) {
	if undo {
		kind = "undo-" + kind
	}
	var all []fact
	for _, ref := range d.Docs {
		f, err := d.fact(ctx, ref)
		if err != nil {
			return nil, err
		}
		if d.step == nil || f.step != d.step.ID || f.kind != kind && f.kind != "" {
			return nil, refuse("document %s is no %s of step %q", ref.Key, kind, d.Step)
		}
		all = append(all, f)
	}
	return all, nil
}
