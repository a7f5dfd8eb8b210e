// Package host serves actions as Temporal activities, one per phase. It is the only
// place that knows both.
//
// Rules that hold for every action live here: the plan is the approved one, the epoch
// holds, documents go to the ledger, the first answer of an attempt stays.
package host

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/plural"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/activity"
	"golang.org/x/crypto/ssh"
)

// Estates hands out the estates that this worker is configured for.
type Estates interface {
	// Load reads the estate of that name as it is now. An unknown name wraps
	// fs.ErrNotExist.
	Load(ctx context.Context, name string) (*estate.Estate, error)
	// Ledger opens the estate's ledger.
	Ledger(ctx context.Context, e *estate.Estate) (store.Store, error)
	// Signer is the worker's key for the heads and documents of the estate's ledger.
	Signer(ctx context.Context, e *estate.Estate) (ssh.Signer, error)
}

// Host serves a catalogue.
type Host struct {
	Catalogue *action.Catalogue
	Runbooks  []*runbook.Runbook
	Estates   Estates

	read sync.Map // digest → decoded document: compiled runs and estates
}

// Registry is the part of a Temporal worker, or of its test environment, that
// the Host needs.
type Registry interface {
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Register serves every phase of every action, and the run's own activities. Those
// that need the query engine are among them for runs that were compiled before
// these had a task queue of their own.
func (h *Host) Register(r Registry) {
	for _, d := range h.Catalogue.All() {
		h.register(r, d)
	}
	own := func(name string, f any) { r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name}) }
	own(wire.CompileRun, h.compile)
	own(wire.AppendEntry, h.appendEntry)
	own(wire.AcquireLock, h.acquireLock)
	own(wire.ReleaseLock, h.releaseLock)
}

// RegisterQueries serves every phase of the actions that need the query engine,
// for a worker of [wire.QueryQueue].
func (h *Host) RegisterQueries(r Registry) {
	for _, d := range h.Catalogue.All() {
		if d.Runs == action.OnQueries {
			h.register(r, d)
		}
	}
}

func (h *Host) register(r Registry, d *action.Definition) {
	phase := func(p wire.Phase, f any) {
		r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: wire.Activity(d.Name, p)})
	}
	phase(wire.PlanPhase, func(ctx context.Context, in wire.PhaseInput) (wire.PlanResult, error) {
		return h.plan(ctx, d, in, wire.PlanPhase)
	})
	phase(wire.VerifyPhase, func(ctx context.Context, in wire.PhaseInput) (wire.VerifyResult, error) {
		return h.verify(ctx, d, in, wire.VerifyPhase)
	})
	if d.IsCheck() {
		return
	}
	phase(wire.ApplyPhase, func(ctx context.Context, in wire.PhaseInput) (wire.ApplyResult, error) {
		return h.apply(ctx, d, in, wire.ApplyPhase)
	})
	if !d.CanUndo() {
		return
	}
	phase(wire.UndoPlanPhase, func(ctx context.Context, in wire.PhaseInput) (wire.PlanResult, error) {
		return h.plan(ctx, d, in, wire.UndoPlanPhase)
	})
	phase(wire.UndoApplyPhase, func(ctx context.Context, in wire.PhaseInput) (wire.ApplyResult, error) {
		return h.apply(ctx, d, in, wire.UndoApplyPhase)
	})
	phase(wire.UndoVerifyPhase, func(ctx context.Context, in wire.PhaseInput) (wire.VerifyResult, error) {
		return h.verify(ctx, d, in, wire.UndoVerifyPhase)
	})
}

// begin is a phase of which nothing was read yet. It heartbeats from now on, since reading
// may take longer than a worker may be silent.
func begin(ctx context.Context, d *action.Definition, in wire.PhaseInput, p wire.Phase) (b *batch, stop func()) {
	b = &batch{in: in, def: d, phase: p, run: ledger.Run{Workflow: in.Run.Workflow, FirstRun: in.Run.FirstRun}}
	b.said.Store("reading the run")
	b.resume(ctx)
	return b, alive(ctx, b.heartbeat)
}

// open resolves a phase input. What it reads from the ledger is held against the
// digests in the input.
func (h *Host) open(ctx context.Context, b *batch) error {
	in := b.in
	e, err := document[estate.Estate](ctx, h, in.Files.Estate, in.Run)
	if err != nil {
		return err
	}
	b.estate = e
	if b.ledger, err = h.Estates.Ledger(ctx, e); err != nil {
		return err
	}
	now, err := h.Estates.Load(ctx, e.Estate)
	if err != nil {
		return err
	}
	if b.signer, b.trusted, err = h.keys(ctx, now); err != nil {
		return err
	}
	if b.compiled, err = document[runbook.Compiled](ctx, h, in.Files.Compiled, in.Run); err != nil {
		return err
	}
	for _, f := range b.compiled.Lacks {
		b.lacks = append(b.lacks, f.Lack)
	}
	var ok bool
	if b.stage, b.step, ok = b.compiled.Step(in.Step); !ok {
		return fmt.Errorf("%w: the compiled run has no step %q", action.ErrRefused, in.Step)
	}
	all := e.Items(b.step.Each, b.step.Filter(b.stage.Tier, in.Run.Groups))
	if in.From < 0 || in.To > len(all) || in.From >= in.To {
		return fmt.Errorf("%w: step %q has %s, asked for %d to %d", action.ErrRefused, in.Step, plural.Of(len(all), "item"), in.From, in.To)
	}
	b.items = all[in.From:in.To]
	b.label = b.items[0].Name
	if len(b.items) > 1 {
		b.label = fmt.Sprintf("%s..%s", b.items[0].Name, b.items[len(b.items)-1].Name)
	}
	return nil
}

// keys are the worker's key for the documents of an estate's ledger, and the keys whose
// documents count: those of the estate as this worker has it now.
func (h *Host) keys(ctx context.Context, now *estate.Estate) (ssh.Signer, []sshsig.Key, error) {
	signer, err := h.Estates.Signer(ctx, now)
	if err != nil {
		return nil, nil, err
	}
	trusted, err := now.Ledger.Trusted(time.Now())
	return signer, trusted, err
}

// document reads a document that was pinned when the run was compiled, once per
// worker. The estate tells where its ledger is, so the first read of an estate
// goes through the configured one of the same name; its digest must match.
func document[T any](ctx context.Context, h *Host, ref ledger.DocRef, run action.Run) (*T, error) {
	have, _ := h.read.Load(ref.SHA256)
	if v, ok := have.(*T); ok {
		return v, nil
	}
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return nil, err
	}
	e, err := h.Estates.Load(ctx, id.Item)
	if err != nil {
		return nil, fmt.Errorf("estate %q of run %s: %w", id.Item, run.Workflow, err)
	}
	s, err := h.Estates.Ledger(ctx, e)
	if err != nil {
		return nil, err
	}
	trusted, err := e.Ledger.Trusted(time.Now())
	if err != nil {
		return nil, err
	}
	raw, err := store.GetDoc(ctx, s, trusted, ref)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("read %s: %w", ref.Key, err)
	}
	h.read.Store(ref.SHA256, v)
	return v, nil
}
