package host

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"golang.org/x/crypto/ssh"
)

// slowEstates answers nothing before somebody has heard of the worker.
type slowEstates struct{ heard <-chan struct{} }

var errHeard, errSilent = errors.New("somebody heard of the worker"), errors.New("nobody heard of the worker")

func (s slowEstates) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case <-s.heard:
		return errHeard
	case <-ctx.Done():
		return errSilent
	}
}

func (s slowEstates) Load(ctx context.Context, _ string) (*estate.Estate, error) {
	return nil, s.wait(ctx)
}
func (s slowEstates) Ledger(ctx context.Context, _ *estate.Estate) (store.Store, error) {
	return nil, s.wait(ctx)
}
func (s slowEstates) Signer(ctx context.Context, _ *estate.Estate) (ssh.Signer, error) {
	return nil, s.wait(ctx)
}

// TestHeartbeatsBeginBeforeReading: an estate, a runbook or a document may take longer to
// read than a worker may be silent, so each activity is heard of before it reads anything.
func TestHeartbeatsBeginBeforeReading(t *testing.T) {
	phase := wire.PhaseInput{Estate: "lab"}
	chain := ledger.NewChain(ledger.Run{Workflow: "w", FirstRun: "f"})
	entry, head, err := chain.Append(ledger.Entry{Time: time.Unix(1, 0), Kind: ledger.Note})
	if err != nil {
		t.Fatal(err)
	}
	for name, input := range map[string]any{
		wire.CompileRun:   wire.CompileInput{Engine: runbook.Engine, Input: []byte(`{"estate":"lab"}`)},
		wire.AppendEntry:  wire.AppendInput{Estate: "lab", Head: head, Entry: entry},
		wire.AcquireLock:  wire.LockInput{Estate: "lab"},
		wire.ReleaseLock:  wire.LockInput{Estate: "lab"},
		"thing.do:plan":   phase,
		"thing.do:apply":  phase,
		"thing.do:verify": phase,
	} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan struct{})
			catalogue := action.NewCatalogue()
			type none = struct{}
			action.Add(catalogue, action.Action[none]{
				Name: "thing.do", Effect: action.Mutates,
				Apply: func(context.Context, action.Call[none]) (action.Outcome, error) { return action.Outcome{}, nil },
			})
			h := &Host{Catalogue: catalogue, Runbooks: []*runbook.Runbook{{Name: "Book"}}, Estates: slowEstates{heard}}
			env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
			h.Register(env)
			once := sync.OnceFunc(func() { close(heard) })
			env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { once() })
			_, err := env.ExecuteActivity(name, input)
			if err == nil || !strings.Contains(err.Error(), errHeard.Error()) {
				t.Errorf("%s ended with %v", name, err)
			}
		})
	}
}
