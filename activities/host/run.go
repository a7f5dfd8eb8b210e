package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/crash"
	"breakwater/internal/credential"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/activity"
)

// errBadInput is in the chain of an error about what a person typed.
var errBadInput = errors.New("bad input")

// compile reads the runbook and the estate, checks the input against both, and
// keeps all three in the ledger. Nothing else is touched.
func (h *Host) compile(ctx context.Context, in wire.CompileInput) (wire.CompileResult, error) {
	defer reading(ctx)()
	var res wire.CompileResult
	bad := func(format string, args ...any) (wire.CompileResult, error) {
		return res, fmt.Errorf("%w: "+format, append([]any{errBadInput}, args...)...)
	}
	i := slices.IndexFunc(h.Runbooks, func(rb *runbook.Runbook) bool { return rb.Name == in.Run.Runbook })
	if i < 0 {
		return bad("this worker has no runbook %q", in.Run.Runbook)
	}
	rb := h.Runbooks[i]
	name, err := runbook.EstateOf(in.Input)
	if err != nil {
		return bad("%w", err)
	}
	e, err := h.Estates.Load(ctx, name)
	if err != nil { // a file that is missing or wrong: no retry mends it
		return bad("%w", err)
	}
	input, err := runbook.ParseInput(rb, e, in.Input)
	if err != nil {
		return bad("%w", err)
	}
	if in.Scheduled && input.Mode == action.ModeLive {
		return bad("mode live was refused: a Schedule started this run, and only a person starts the real thing; use mode plan or drill in the Schedule")
	}
	c, err := runbook.Compile(rb, e, h.Catalogue, input)
	if err != nil {
		return bad("%w", err)
	}
	s, err := h.Estates.Ledger(ctx, e)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, credential.ErrReference) {
		return bad("the ledger cannot be opened: %w", err) // missing credentials
	} else if err != nil {
		return res, err
	}
	signer, trusted, err := h.keys(ctx, e)
	if err != nil {
		return res, err
	}
	run := ledger.Run{Workflow: in.Run.Workflow, FirstRun: in.Run.FirstRun}
	keep := func(name string, v any) (ref ledger.DocRef) {
		raw, encErr := ledger.Encode(v)
		if encErr == nil {
			ref, _, encErr = store.PutDoc(ctx, s, signer, trusted, ledger.DocKey(run, "compiled", e.Estate, 1, name), raw)
		}
		err = errors.Join(err, encErr)
		return ref
	}
	res = wire.CompileResult{
		Run: in.Run, Compiled: *c,
		Files:   wire.Files{Compiled: keep("compiled", c), Estate: keep("estate", e)},
		Runbook: keep("runbook", rb),
	}
	return res, err
}

// reading heartbeats for an activity of the run itself, from before it reads anything: a
// slow store is then told from a dead worker.
func reading(ctx context.Context) (stop func()) {
	return alive(ctx, func(ctx context.Context) { activity.RecordHeartbeat(ctx) })
}

// appendEntry stores an entry and the signed head after it. Asked again with the
// same entry it is done; with another one in its place the ledger is forked.
func (h *Host) appendEntry(ctx context.Context, in wire.AppendInput) error {
	defer reading(ctx)()
	entry, err := ledger.ParseEntry(in.Entry)
	if err != nil {
		return fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	if entry.Kind == ledger.Outcome || entry.Kind == ledger.Observed {
		crash.Point(fmt.Sprintf("%s/%s/returned", cmp.Or(entry.Step, entry.Stage), entry.Kind)) // a stage that only looks has one entry for all its steps
	}
	e, err := h.Estates.Load(ctx, in.Estate)
	if err != nil {
		return err
	}
	s, err := h.Estates.Ledger(ctx, e)
	if err != nil {
		return err
	}
	key, err := h.Estates.Signer(ctx, e)
	if err != nil {
		return err
	}
	if err := store.Append(ctx, s, in.Head, in.Entry); err != nil {
		return err
	}
	head, err := ledger.SignHead(key, in.Head)
	if err != nil {
		return err
	}
	return store.PutHead(ctx, s, head)
}

func (h *Host) lock(ctx context.Context, name string) (store.Lock, error) {
	e, err := h.Estates.Load(ctx, name)
	if err != nil {
		return store.Lock{}, err
	}
	s, err := h.Estates.Ledger(ctx, e)
	if err != nil {
		return store.Lock{}, err
	}
	return store.NewLock(s, name), nil
}

// acquireLock takes the estate for a live run. The same run gets the same epoch
// again.
func (h *Host) acquireLock(ctx context.Context, in wire.LockInput) (wire.LockResult, error) {
	defer reading(ctx)()
	l, err := h.lock(ctx, in.Estate)
	if err != nil {
		return wire.LockResult{}, err
	}
	epoch, err := l.Acquire(ctx, store.Holder{
		Run:     ledger.Run{Workflow: in.Run.Workflow, FirstRun: in.Run.FirstRun},
		Runbook: in.Run.Runbook, Mode: string(in.Run.Mode), Source: in.Run.Source, Target: in.Run.Target, Since: in.Run.Started,
	})
	return wire.LockResult{Epoch: epoch}, err
}

// releaseLock gives the estate back. A run that no longer holds it is done.
func (h *Host) releaseLock(ctx context.Context, in wire.LockInput) error {
	defer reading(ctx)()
	l, err := h.lock(ctx, in.Estate)
	if err != nil {
		return err
	}
	return l.Release(ctx, ledger.Run{Workflow: in.Run.Workflow, FirstRun: in.Run.FirstRun})
}
