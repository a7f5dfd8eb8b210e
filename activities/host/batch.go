package host

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/activity"
	"golang.org/x/crypto/ssh"
)

// batch is a phase of a step on some of its items, with everything resolved.
type batch struct {
	in       wire.PhaseInput
	def      *action.Definition
	phase    wire.Phase
	chain    *chain
	run      ledger.Run
	as       action.Run // the run as its ledger has it
	compiled *runbook.Compiled
	stage    *runbook.Stage
	step     *runbook.Step
	estate   *estate.Estate
	lacks    []estate.Lack // what it lacks for the run
	ledger   store.Store
	signer   ssh.Signer   // of documents
	trusted  []sshsig.Key // whose documents count
	items    []estate.Item
	label    string                    // of the batch
	plans    map[string]planned        // the approved ones, by item
	priors   map[string]action.Outcome // what Apply left, by item
	turn     []byte                    // that this attempt took
	leaf     ledger.Leaf               // of the plan that it was given
	left     []ledger.DocRef           // the documents that it left
	total    atomic.Int64
	said     atomic.Value // string: the last sentence of progress

	mu    sync.Mutex
	saved map[string]json.RawMessage // by item: how far it is, for the next attempt
}

// savedAtMost is how much of one item a heartbeat carries.
const savedAtMost = 64 << 10

// heartbeat says that the worker lives, with the last sentence and what is saved. Temporal
// gives both to the next attempt, if this one ends without an answer.
func (b *batch) heartbeat(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.saved) == 0 {
		activity.RecordHeartbeat(ctx, b.said.Load())
		return
	}
	activity.RecordHeartbeat(ctx, b.said.Load(), b.saved)
}

// resume takes up what the attempt before has saved. What cannot be read is as if there
// were none.
func (b *batch) resume(ctx context.Context) {
	var said string
	var saved map[string]json.RawMessage
	if !activity.HasHeartbeatDetails(ctx) || activity.GetHeartbeatDetails(ctx, &said, &saved) != nil {
		return
	}
	b.saved = saved
}

// save keeps how far an item is.
func (b *batch) save(item string, halfway any) {
	raw, err := json.Marshal(halfway)
	if err != nil || len(raw) > savedAtMost {
		return // what was saved before is still true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.saved == nil {
		b.saved = map[string]json.RawMessage{}
	}
	b.saved[item] = raw
}

// beat is how often an activity says that its worker lives.
const beat = time.Second

// alive heartbeats until the returned function is called, so that a dead worker
// is noticed within seconds. A hang is bounded by the activity's time limit.
func alive(ctx context.Context, heartbeat func(context.Context)) (stop func()) {
	done := make(chan struct{})
	heartbeat(ctx)
	go func() {
		t := time.NewTicker(beat)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-t.C:
				heartbeat(ctx)
			}
		}
	}()
	return func() { close(done) }
}

// say heartbeats with a sentence.
func (b *batch) say(ctx context.Context, format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	b.said.Store(s)
	b.heartbeat(ctx)
}

// request is what the action is called with for one item.
func (b *batch) request(ctx context.Context, item estate.Item) action.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return action.Request{
		Run: b.as, Stage: b.stage.ID, Step: b.step.ID, Title: b.step.Title, Item: item, Estate: b.estate, Lacks: b.lacks,
		Records: records{b}, Parts: parts{b},
		Progress: func(done, total int64, sentence string) {
			b.say(ctx, "%s: %s (%d of %d)", item, sentence, done, total)
		},
		Guard:  b.guard,
		Save:   func(halfway any) { b.save(item.Name, halfway) },
		Resume: b.saved[item.Name],
	}
}

// key is where a document about an item lies that this attempt leaves.
func (b *batch) key(item, name string) string { return b.keyAt(b.in.Attempt, item, name) }

func (b *batch) keyAt(attempt int, item, name string) string {
	if b.undoes() {
		name = "undo-" + name
	}
	return ledger.DocKey(b.run, b.step.ID, item, attempt, name)
}

// undoes reports whether the phase is one of taking back.
func (b *batch) undoes() bool {
	return b.phase == wire.UndoPlanPhase || b.phase == wire.UndoApplyPhase || b.phase == wire.UndoVerifyPhase
}

type planned struct {
	wire.PlanDoc
	digest string
}

// give puts the approved plan, and in an undo what was done, into a request.
func (b *batch) give(r *action.Request) (digest string, err error) {
	p, ok := b.plans[r.Item.Name]
	if !ok && b.plans != nil {
		return "", fmt.Errorf("%w: the approved plan of step %q says nothing about %s", action.ErrRefused, b.step.Title, r.Item)
	}
	if ok {
		r.Plan, digest = &p.Change, p.digest
	}
	if o, ok := b.priors[r.Item.Name]; ok {
		r.Prior = &o
	}
	return digest, nil
}

// point names a crash point of the step, as the tests derive it from the
// compiled run.
func (b *batch) point(where string) string {
	return fmt.Sprintf("%s/%s/%s", b.step.ID, b.phase, where)
}

// parts keeps parts of plans in the run's ledger.
type parts struct{ *batch }

// Put keeps a part.
func (p parts) Put(ctx context.Context, part []byte) (string, error) {
	return store.PutPart(ctx, p.ledger, p.run, part)
}

// Get reads a part.
func (p parts) Get(ctx context.Context, digest string) ([]byte, error) {
	return store.GetPart(ctx, p.ledger, p.run, digest)
}
