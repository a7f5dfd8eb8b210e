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
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/authority"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/plural"
	"breakwater/internal/runbook"
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
	// Wait lets time pass; nil waits by the clock.
	Wait func(context.Context, time.Duration) error
	// Server tells about workflows; nil asks by the worker's own client, which Temporal's
	// simulation has none of.
	Server Server

	remembered memory
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
	own(wire.KeepState, h.keepState)
	own(wire.ReadState, h.readState)
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
	b = &batch{in: in, def: d, phase: p}
	b.said.Store("reading the run")
	b.resume(ctx)
	return b, alive(ctx, b.heartbeat)
}

// open resolves a phase input: everything but what to work on comes from the run's ledger.
func (h *Host) open(ctx context.Context, b *batch) error {
	in := b.in
	var err error
	if b.chain, err = h.chain(ctx, in.Estate, in.Seq); err != nil {
		return err
	}
	b.chain.read(func(v *authority.View) { b.as = v.Run })
	if b.compiled, b.estate, err = h.pinned(ctx, b.chain); err != nil {
		return err
	}
	b.run, b.ledger, b.signer, b.trusted = b.chain.run, b.chain.ledger, b.chain.signer, b.chain.trusted
	for _, f := range b.compiled.Lacks {
		b.lacks = append(b.lacks, f.Lack)
	}
	var ok bool
	if b.stage, b.step, ok = b.compiled.Step(in.Step); !ok {
		return refuse("the compiled run has no step %q", in.Step)
	}
	if b.step.Action != b.def.Name {
		return refuse("step %q runs %s, not %s", in.Step, b.step.Action, b.def.Name)
	}
	all := b.estate.Items(b.step.Each, b.step.Filter(b.stage.Tier, b.as.Groups))
	// A turn is that of a batch, so that no other division of the items may be asked for.
	whole := slices.ContainsFunc(b.step.Batches(), func(x runbook.Batch) bool { return x.From == in.From && x.To == in.To })
	if !whole || in.To > len(all) {
		return refuse("step %q has %s and no batch %d to %d", in.Step, plural.Of(len(all), "item"), in.From, in.To)
	}
	b.items = all[in.From:in.To]
	b.label = b.items[0].Name
	if len(b.items) > 1 {
		b.label = fmt.Sprintf("%s..%s", b.items[0].Name, b.items[len(b.items)-1].Name)
	}
	return nil
}

// document reads a document that was pinned when the run was compiled, once per worker.
func document[T any](ctx context.Context, h *Host, c *chain, ref ledger.DocRef) (*T, error) {
	have, _ := h.memory().docs.Get(ref.SHA256)
	if v, ok := have.(*T); ok {
		return v, nil
	}
	raw, err := store.GetDoc(ctx, c.ledger, c.trusted, ref)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("read %s: %w", ref.Key, err)
	}
	h.memory().docs.Add(ref.SHA256, v)
	return v, nil
}
