package workflows

import (
	"encoding/json"
	"errors"
	"fmt"

	"breakwater/internal/ledger"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// continued is the input of a run that continues one: nobody types it, and it grants
// nothing. The state is read from the ledger of this workflow and first run.
type continued struct {
	Continue *position `json:"_continue"`
}

// position is where a run goes on.
type position struct {
	Execution int    `json:"execution"` // how often it has continued
	Estate    string `json:"estate"`    // whose ledger holds the state
	Engine    int    `json:"engine"`    // of the interpreter that the run was begun with
}

// changeEngine is the marker in a history that names the engine of its run.
const changeEngine = "engine"

// knows makes a task fail, before its first command, whose run is not of this engine: a
// worker of the right release may then take it, and the run is none the worse. The marker
// is written for the run's engine, and the SDK refuses to go on past a marker of a version
// that the code does not know.
func knows(ctx workflow.Context, run, engine int) {
	workflow.GetVersion(ctx, changeEngine, workflow.Version(run), workflow.Version(run))
	workflow.GetVersion(ctx, changeEngine, workflow.Version(engine), workflow.Version(engine))
}

// restore goes on where the execution before stopped. That there was one, the server says;
// what it left, the ledger of this workflow and first run. What arrives meanwhile is judged
// after what had arrived before.
func (r *run) restore(ctx workflow.Context, at position) (wire.Result, error) {
	r.clerk = true // judges nothing before the state is there
	r.Status = wire.Status{State: wire.StateRunning, Estate: at.Estate, Doing: "reading where the run stands"}
	r.locking = true // a live run holds the lock, and this one may be one
	if err := r.listen(ctx); err != nil {
		return wire.Result{}, err
	}
	var res wire.StateResult
	if err := r.alone(ctx, "read where the run stands", wire.ReadState, wire.StateInput{Estate: at.Estate, Execution: at.Execution}, &res, wire.ErrTypeBadInput); err != nil {
		var stop *errStop
		if errors.As(err, &stop) { // a person ended it without
			left := wire.Result{Verdict: verdict.Unknown, Summary: stop.kind + ": " + stop.why, Unrecorded: r.lost}
			return left, temporal.NewNonRetryableApplicationError(left.Summary, stop.kind, nil, left)
		}
		return wire.Result{}, err
	}
	arrived := r.Inbox
	r.carried = carried{}
	if err := json.Unmarshal(res.State, &r.carried); err != nil {
		return wire.Result{}, fmt.Errorf("read where the run stands: %w", err)
	}
	r.Inbox = append(r.Inbox, arrived...)
	r.locking = r.Run.Epoch > 0
	r.Chain, r.stored, r.execution, r.clerk = ledger.Chain{Head: res.Head}, res.Head.Seq, at.Execution, false
	r.Status.Head = res.Head.String()
	return r.goOn(ctx)
}

// continueAsNew hands the state on, between stages and never under an open gate: it is kept
// in the ledger, an entry names it, and the next execution is told its number.
func (r *run) continueAsNew(ctx workflow.Context) error {
	r.Status.Proven = r.Status.Proven[max(0, len(r.Status.Proven)-20):]
	for {
		if err := r.judged(ctx); err != nil {
			return err
		}
		if err := r.tell(ctx); err != nil {
			return err
		}
		if err := r.stopped(ctx); err != nil {
			return err
		}
		state, err := json.Marshal(r.carried)
		if err != nil {
			return fmt.Errorf("continue as new: %w", err)
		}
		r.execution++
		heard := r.heard
		var kept wire.StateResult
		in := wire.StateInput{Estate: r.Compiled.Estate, Execution: r.execution, State: state}
		if err := r.alone(ctx, "keep where the run stands", wire.KeepState, in, &kept); err != nil {
			return err
		}
		if err := r.record(ctx, ledger.Resumed, "", "", wire.ResumedBody{Execution: r.execution, Engine: r.Engine}, kept.Doc); err != nil {
			return err
		}
		if err := r.stopped(ctx); err != nil {
			return err
		}
		if r.quiet(ctx) && r.heard == heard { // else what has arrived meanwhile is not in what was kept
			break
		}
	}
	input, err := json.Marshal(continued{Continue: &position{Execution: r.execution, Estate: r.Compiled.Estate, Engine: r.Engine}})
	if err != nil {
		return fmt.Errorf("continue as new: %w", err)
	}
	return workflow.NewContinueAsNewError(ctx, r.Run.Runbook, json.RawMessage(input))
}
