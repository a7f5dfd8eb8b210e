package host

import (
	"context"
	"fmt"

	"breakwater/internal/authority"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/wire"
)

// stateKey is where a run keeps what it hands on.
func stateKey(run ledger.Run, execution int) string {
	return ledger.DocKey(run, "continued", "", execution, "state")
}

// keepState keeps what a run hands on when it continues as new. It counts once an entry of
// the chain names it.
func (h *Host) keepState(ctx context.Context, in wire.StateInput) (wire.StateResult, error) {
	defer reading(ctx)()
	c, err := h.chain(ctx, in.Estate, 0)
	if err != nil {
		return wire.StateResult{}, err
	}
	raw, err := ledger.Encode(in.State)
	if err != nil {
		return wire.StateResult{}, err
	}
	ref, _, err := store.PutDoc(ctx, c.ledger, c.signer, c.trusted, stateKey(c.run, in.Execution), raw)
	return wire.StateResult{Doc: ref}, err
}

// readState gives an execution what the one before handed on: what the chain of this
// workflow and first run names last, and nothing else.
func (h *Host) readState(ctx context.Context, in wire.StateInput) (wire.StateResult, error) {
	defer reading(ctx)()
	c, err := h.chain(ctx, in.Estate, 0)
	if err != nil {
		return wire.StateResult{}, err
	}
	var res wire.StateResult
	execution := 0
	c.mu.Lock()
	err = c.readOn(ctx)
	c.mu.Unlock()
	if err != nil {
		return res, err
	}
	c.read(func(v *authority.View) { execution, res.Doc, res.Head = v.Continued, v.State, v.StateHead })
	if execution == 0 || execution != in.Execution {
		return res, fmt.Errorf("%w: run %s is to go on as execution %d, and by its ledger the last one that it handed on is %d", errBadInput, c.run, in.Execution, execution)
	}
	raw, err := store.GetDoc(ctx, c.ledger, c.trusted, res.Doc)
	res.State = raw
	return res, err
}
