package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/plural"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
)

// same reports whether the entry's body is what this worker would have written, by what
// says so.
func (d *deriving) same(want any, what string) error {
	raw, err := json.Marshal(want)
	if err != nil {
		return err
	}
	if raw, err = ledger.Canonical(raw); err != nil {
		return err
	}
	if !bytes.Equal(raw, d.Body) {
		return refuse("it says other things than %s", what)
	}
	return nil
}

const foundBy = wire.CompileRun + " found when it made the run"

// started must be what run:compile was started with.
func (d *deriving) started(ctx context.Context) error {
	var was wire.StartedBody
	if err := d.madeByCompile(ctx, docStarted, nil, &was); err != nil {
		return err
	}
	return d.same(was, foundBy)
}

// compiledTo must be what run:compile made for this run.
func (d *deriving) compiledTo(ctx context.Context) error {
	names := []string{docCompiled, docEstate, docRunbook}
	if len(d.Docs) != len(names) {
		return refuse("it names %s, and %d are due: %v", plural.Of(len(d.Docs), "document"), len(names), names)
	}
	var c runbook.Compiled
	var e estate.Estate
	for i, into := range []any{&c, &e, new(runbook.Runbook)} {
		if err := d.madeByCompile(ctx, names[i], &d.Docs[i], into); err != nil {
			return err
		}
	}
	digest, err := e.Digest()
	if err != nil {
		return err
	}
	if digest != c.EstateDigest || e.Estate != d.estate.Estate {
		return refuse("the estate that it names is not the one that the run was compiled for")
	}
	return d.same(compiledBody(&c), foundBy)
}

// madeByCompile reads a document that run:compile keeps, and holds a reference against it.
func (d *deriving) madeByCompile(ctx context.Context, name string, ref *ledger.DocRef, into any) error {
	key := compiledKey(d.run, d.estate.Estate, name)
	is, raw, err := store.FindDoc(ctx, d.ledger, d.trusted, key)
	if err != nil {
		return fmt.Errorf("read what %s kept: %w", wire.CompileRun, err)
	}
	if ref != nil && is != *ref {
		return refuse("%s has digest %s, and the entry says %s with %s", key, is.SHA256, ref.Key, ref.SHA256)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return refuse("%s cannot be read: %w", key, err)
	}
	return nil
}

func (d *deriving) resumed() error {
	b, err := body[wire.ResumedBody](d.Entry)
	if err != nil {
		return err
	}
	if b.Execution != d.view.Continued+1 || len(d.Docs) != 1 || d.Docs[0].Key != stateKey(d.run, b.Execution) {
		return refuse("it is to hand on execution %d with the state that is kept for it", d.view.Continued+1)
	}
	return nil
}

// locked must be what the lock's object says.
func (d *deriving) locked(ctx context.Context) error {
	b, err := body[wire.LockBody](d.Entry)
	if err != nil {
		return err
	}
	state, err := store.NewLock(d.ledger, d.estate.Estate).State(ctx)
	if err != nil {
		return err
	}
	mine := state.Holder != nil && state.Holder.Run == d.run && state.Epoch == b.Epoch
	switch {
	case d.view.Run.Mode != action.ModeLive:
		return refuse("a run of mode %s holds no lock", d.view.Run.Mode)
	case b.Held && !mine:
		return refuse("the lock of estate %s is at epoch %d and not held by this run at epoch %d", d.estate.Estate, state.Epoch, b.Epoch)
	case !b.Held && (mine || state.Epoch < b.Epoch):
		return refuse("the lock of estate %s, at epoch %d, was not given back by this run at epoch %d", d.estate.Estate, state.Epoch, b.Epoch)
	}
	var want *wire.TakeOver // two people's signatures, judged again
	if b.Held {
		if want, err = d.takenOver(d.pinned, state); err != nil {
			return err
		}
	}
	return d.same(wire.LockBody{Held: b.Held, Epoch: b.Epoch, Taken: want}, "the lock of the estate says")
}

// ended may claim a pass where every step is concluded.
func (d *deriving) ended() error {
	b, err := body[wire.EndedBody](d.Entry)
	if err != nil {
		return err
	}
	if !b.Verdict.Clear() || d.view.Run.Mode == action.ModePlan { // a plan claims to have planned, and nothing else
		return nil
	}
	for _, s := range d.compiled.Stages {
		for _, st := range s.Steps {
			if err := d.view.Concluded(s, st); err != nil {
				return refuse("the run is to end as %q, and %w", b.How, err)
			}
		}
	}
	return nil
}
