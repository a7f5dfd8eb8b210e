package host

import (
	"cmp"
	"context"
	"encoding/json"
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

// The documents that a run is made with, each under [compiledKey].
const (
	docStarted  = "started"
	docCompiled = "compiled"
	docEstate   = "estate"
	docRunbook  = "runbook"
)

func compiledKey(run ledger.Run, estate, name string) string {
	return ledger.DocKey(run, "compiled", estate, 1, name)
}

func compiledBody(c *runbook.Compiled) wire.CompiledBody {
	return wire.CompiledBody{
		Runbook: c.Runbook, RunbookDigest: c.RunbookDigest, Estate: c.Estate, EstateDigest: c.EstateDigest, Mode: c.Input.Mode, Input: c.Input,
	}
}

// compile reads the runbook and the estate, checks the input against both, and
// keeps all three in the ledger. Nothing else is touched.
func (h *Host) compile(ctx context.Context, in wire.CompileInput) (wire.CompileResult, error) {
	defer reading(ctx)()
	var res wire.CompileResult
	bad := func(format string, args ...any) (wire.CompileResult, error) {
		return res, fmt.Errorf("%w: "+format, append([]any{errBadInput}, args...)...)
	}
	if in.Engine != runbook.Engine { // tried again until the right one takes it
		return res, fmt.Errorf("this worker is of engine %d, and the interpreter that asks of engine %d: a worker of that release must do it", runbook.Engine, in.Engine)
	}
	name, err := runbook.EstateOf(in.Input)
	if err != nil {
		return bad("%w", err)
	}
	e, err := h.Estates.Load(ctx, name)
	if err != nil { // a file that is missing or wrong: no retry mends it
		return bad("%w", err)
	}
	by, err := h.caller(ctx)
	if err != nil {
		return res, err
	}
	i := slices.IndexFunc(h.Runbooks, func(rb *runbook.Runbook) bool { return rb.Name == by.runbook })
	if i < 0 {
		return bad("this worker has no runbook %q", by.runbook)
	}
	rb := h.Runbooks[i]
	input, err := runbook.ParseInput(rb, e, in.Input)
	if err != nil {
		return bad("%w", err)
	}
	who, err := h.starter(ctx, by)
	if err != nil {
		return res, err
	}
	if who.Schedule != "" && input.Mode == action.ModeLive {
		return bad("mode live was refused: Schedule %q started this run, and only a person starts the real thing; use mode plan or drill in the Schedule", who.Schedule)
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
	keep := func(name string, v any) (ref ledger.DocRef) {
		raw, encErr := ledger.Encode(v)
		if encErr == nil {
			ref, raw, encErr = store.PutDoc(ctx, s, signer, trusted, compiledKey(by.run, e.Estate, name), raw)
		}
		if encErr == nil { // the first one stays, and is what this run is
			encErr = json.Unmarshal(raw, v)
		}
		err = errors.Join(err, encErr)
		return ref
	}
	res.Started = wire.StartedBody{Run: by.begin(input), Input: in.Input, Scheduled: who.Schedule != "", Starter: who}
	if input.Mode == action.ModeLive {
		state, err := store.NewLock(s, e.Estate).State(ctx)
		if err != nil {
			return res, err
		}
		res.Started.Lost = lostBefore(state, by)
	}
	keep(docStarted, &res.Started)
	res.Files = wire.Files{Compiled: keep(docCompiled, c), Estate: keep(docEstate, e)}
	res.Runbook = keep(docRunbook, rb)
	res.Run, res.Compiled = res.Started.Run, *c
	return res, err
}

// reading heartbeats for an activity of the run itself, from before it reads anything: a
// slow store is then told from a dead worker.
func reading(ctx context.Context) (stop func()) {
	return alive(ctx, func(ctx context.Context) { activity.RecordHeartbeat(ctx) })
}

// begin is what Temporal and the input say of a run.
func (c caller) begin(in runbook.Input) action.Run {
	return action.Run{
		Namespace: c.namespace, Workflow: c.run.Workflow, FirstRun: c.run.FirstRun, Runbook: c.runbook, Started: c.started.UTC(),
		Mode: in.Mode, Source: in.Source(), Target: in.Target(), Incident: in.Incident, Groups: in.Groups,
		OutageStart: in.OutageStart, DetectedAt: in.DetectedAt, SourceDeadSince: in.SourceDeadSince,
	}
}

// appendEntry stores an entry that this worker finds to be true, and the signed head after
// it. Asked again with the same entry it is done; with another one in its place the ledger
// is forked.
func (h *Host) appendEntry(ctx context.Context, in wire.AppendInput) error {
	defer reading(ctx)()
	entry, err := ledger.ParseEntry(in.Entry)
	if err != nil {
		return fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	if entry.Kind == ledger.Outcome || entry.Kind == ledger.Observed {
		crash.Point(fmt.Sprintf("%s/%s/returned", cmp.Or(entry.Step, entry.Stage), entry.Kind)) // a stage that only looks has one entry for all its steps
	}
	c, err := h.chain(ctx, in.Estate, 0)
	if err != nil {
		return err
	}
	if entry.Run != c.run || in.Head != (ledger.Head{Run: c.run, Seq: entry.Seq, Hash: ledger.Digest(in.Entry)}) {
		return refuse("an entry of run %s, with head %s, was to be written by run %s", entry.Run, in.Head, c.run)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry.Seq > c.view.Head.Seq+1 {
		if err := c.readOn(ctx); err != nil {
			return err
		}
	}
	if entry.Seq > c.view.Head.Seq+1 {
		return fmt.Errorf("entry %d of run %s: the ledger is signed up to entry %d: what is between is not written yet", entry.Seq, c.run, c.view.Head.Seq)
	}
	if entry.Seq <= c.view.Head.Seq { // written before, or forked
		return c.append(ctx, in.Head, in.Entry)
	}
	if entry.Prev != c.view.Head.Hash {
		return fmt.Errorf("%w at entry %d of run %s: it was to follow %s, and what is signed is %s", store.ErrForked, entry.Seq, c.run, entry.Prev, c.view.Head)
	}
	if err := h.derive(ctx, c, entry); err != nil {
		return err
	}
	if err := c.append(ctx, in.Head, in.Entry); err != nil {
		return err
	}
	if err := c.view.Add(entry, in.Head); err != nil {
		return err
	}
	if c.view.Ended {
		h.memory().runs.Remove(ofEstate{c.run, in.Estate})
	}
	return nil
}
