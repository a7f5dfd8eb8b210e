package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/report"
	"breakwater/internal/runbook"
	"breakwater/internal/takeover"
	"breakwater/internal/wire"
	"breakwater/lab/server/miniotest"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"
)

// claim is a take-over of the estate from a run, as people signed it some time ago. A name
// that is no member's is a stranger's.
func (b *bench) claim(from ledger.Run, epoch int64, run string, ago time.Duration, who ...string) takeover.Signed {
	b.t.Helper()
	c := takeover.Signed{Statement: takeover.Statement{
		Estate: "lab", Epoch: epoch, Holder: from, Run: run, Runbook: "RegionalFailover", Role: "incident-commander",
		Reason: "its Temporal is gone", At: time.Now().UTC().Add(-ago).Truncate(time.Second),
	}}
	b.countersign(&c, who...)
	return c
}

// countersign adds people's signatures.
func (b *bench) countersign(c *takeover.Signed, who ...string) {
	b.t.Helper()
	for _, name := range who {
		n := byte(77)
		if i := slices.Index(people, name); i >= 0 {
			n = byte(i)
		}
		sig, err := c.Statement.Sign(signer(b.t, n))
		if err != nil {
			b.t.Fatal(err)
		}
		c.Signatures = append(c.Signatures, sig)
	}
}

// takeOver takes the estate from a run, as two people do who began two minutes ago.
func (b *bench) takeOver(from ledger.Run, epoch int64, run string) {
	b.t.Helper()
	lock, c := store.NewLock(b.ledger, "lab"), b.claim(from, epoch, run, 2*time.Minute, "ana")
	if err := lock.Claim(b.t.Context(), c, time.Now(), nil); err != nil {
		b.t.Fatal(err)
	}
	b.countersign(&c, "ben")
	if _, err := lock.TakeOver(b.t.Context(), c, time.Now()); err != nil {
		b.t.Fatal(err)
	}
}

// plant writes into the lock what its format allows, as whoever can write to the ledger may.
func (b *bench) plant(edit func(*store.LockState)) error {
	key := ledger.LockKey("lab")
	raw, err := b.ledger.Get(b.t.Context(), key)
	if err != nil {
		return err
	}
	var s store.LockState
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	edit(&s)
	fresh, err := ledger.Encode(s)
	if err != nil {
		return err
	}
	return b.ledger.Swap(b.t.Context(), key, raw, fresh)
}

// startAs begins a live run under an id.
func (b *bench) startAs(id, book, input string) client.WorkflowRun {
	b.t.Helper()
	r, err := b.client.ExecuteWorkflow(b.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: b.queue}, book, json.RawMessage(input))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func runOf(r client.WorkflowRun) ledger.Run {
	return ledger.Run{Workflow: r.GetID(), FirstRun: r.GetRunID()}
}

// A claim lies where many can write. It stops the holder only if a member of the role that
// may take over signed it, about this run, a while ago at most.
func TestAClaimStopsTheHolderIfAMemberSignedIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	var me ledger.Run
	var once sync.Once
	b.model.guarding = func(ctx context.Context, a string, guard func(context.Context) error) error {
		if a != "storage.fence" {
			return guard(ctx)
		}
		once.Do(func() {
			claim := func(edit func(*takeover.Signed), who ...string) *takeover.Signed {
				c := b.claim(me, 1, "new", 0)
				if edit != nil {
					edit(&c)
				}
				b.countersign(&c, who...)
				return &c
			}
			late := func(c *takeover.Signed) { c.Statement.At = c.Statement.At.Add(-takeover.Valid) }
			cleo := func(c *takeover.Signed) { c.Statement.Role = "data-owner" }
			for _, tc := range []struct {
				what  string
				claim *takeover.Signed
				says  string // empty where it stops nobody
			}{
				{"one that nobody signed", claim(nil), ""},
				{"one that a stranger signed", claim(nil, "mallory"), ""},
				{"one that a stranger signed before a member", claim(nil, "mallory", "ana"), ""},
				{"one of another role", claim(cleo, "cleo"), ""},
				{"one for another runbook of another role", claim(func(c *takeover.Signed) { cleo(c); c.Statement.Runbook = "TableRollback" }, "cleo"), ""},
				{"one for a runbook that there is not", claim(func(c *takeover.Signed) { c.Statement.Runbook = "Mine" }, "ana"), ""},
				{"one about another run", claim(func(c *takeover.Signed) { c.Statement.Holder.FirstRun = "f" }, "ana"), ""},
				{"one about another epoch", claim(func(c *takeover.Signed) { c.Statement.Epoch = 7 }, "ana"), ""},
				{"one about another estate", claim(func(c *takeover.Signed) { c.Statement.Estate = "production" }, "ana"), ""},
				{"one that came to nothing", claim(late, "ana"), ""},
				{"one of a clock that is wrong", claim(func(c *takeover.Signed) { c.Statement.At = c.Statement.At.Add(time.Hour) }, "ana"), ""},
				{"one that a member signed", claim(nil, "ana"), "ana signed at"},
				{"none", nil, ""},
			} {
				if err := b.plant(func(s *store.LockState) { s.Claim = tc.claim }); err != nil {
					t.Errorf("%s: %v", tc.what, err)
				}
				err := guard(ctx)
				switch {
				case (err != nil) != (tc.says != ""):
					t.Errorf("%s: the holder is stopped with %v", tc.what, err)
				case err == nil:
				case !strings.Contains(err.Error(), tc.says), !strings.Contains(err.Error(), "its Temporal is gone"), !strings.Contains(err.Error(), "answer retry after"),
					!strings.Contains(err.Error(), tc.claim.Statement.Lapses().Format(time.RFC3339)):
					t.Errorf("%s: it says %v", tc.what, err)
				}
			}
		})
		return guard(ctx)
	}
	r := b.start("RegionalFailover", liveInput)
	me = runOf(r)
	if res, err := b.carry(r, nil); err != nil || res.Verdict.String() != "pass" {
		t.Errorf("the run ended with %+v, %v", res, err)
	}
}

// A holder that one person stopped asks, and says by whom and until when; it goes on by a
// retry if nobody else signs.
func TestAHolderThatIsClaimedGoesOnByRetry(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	var me ledger.Run
	var once sync.Once
	b.model.break_(func(a, _ string, p wire.Phase) error {
		if a == "storage.fence" && p == wire.PlanPhase && me.FirstRun != "" {
			once.Do(func() {
				if err := store.NewLock(b.ledger, "lab").Claim(t.Context(), b.claim(me, 1, "new", 0, "ben"), time.Now(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	})
	r := b.start("RegionalFailover", liveInput)
	b.model.mu.Lock()
	me = runOf(r)
	b.model.mu.Unlock()
	asked := ""
	res, err := b.carry(r, func(s wire.Status) approval.Decision {
		asked += strings.Join(s.Ask.Findings, "\n")
		if done := b.fences(); len(done) > 0 {
			t.Errorf("fenced by a run that is stopped: %v", done)
		}
		// Half an hour later.
		if err := b.plant(func(s *store.LockState) { s.Claim.Statement.At = s.Claim.Statement.At.Add(-takeover.Valid) }); err != nil {
			t.Error(err)
		}
		return approval.Decision{Verb: approval.Retry}
	})
	if err != nil || res.Verdict.String() != "pass" {
		t.Errorf("the run ended with %+v, %v", res, err)
	}
	for _, says := range []string{"is being taken over: ben signed at", "run new of RegionalFailover", "its Temporal is gone", "answer retry after"} {
		if !strings.Contains(asked, says) {
			t.Errorf("it was asked with %q, which does not say %q", asked, says)
		}
	}
}

// The holder freezes in the middle of an Apply, on a real object store. Two people take the
// estate over, and the run that they signed for does the same. When the holder thaws, it
// changes nothing, and ends by saying who took the estate from it, and why.
func TestAFrozenHolderThawsAfterItsEstateWasTakenOver(t *testing.T) {
	t.Parallel()
	minio := miniotest.Shared(t)
	b := newBench(t, shipped(t))
	b.ledger = store.NewS3(minio.Client(t).Bucket(minio.Bucket(t, "ledger", true)), "lab")
	b.host.Estates = estates{e: b.estate, ledger: b.ledger, key: signer(t, 99)}
	var waited atomic.Int64
	b.host.Wait = func(_ context.Context, d time.Duration) error { waited.Store(max(waited.Load(), int64(d))); return nil }
	thaw, ended := b.freeze("storage.fence")
	t.Cleanup(thaw)
	frozen, freezing := make(chan struct{}), b.model.guarding
	var once sync.Once
	b.model.guarding = func(ctx context.Context, a string, guard func(context.Context) error) error {
		if a == "storage.fence" {
			once.Do(func() { close(frozen) })
		}
		return freezing(ctx, a, guard)
	}

	first := b.start("RegionalFailover", liveInput)
	from := runOf(first)
	s := b.until(first, "the gate of the fence", func(s wire.Status) bool { return s.Gate != nil })
	for s.Gate != nil && s.Gate.ID != "fence" {
		b.approve(first, s)
		at := s.Gate.ID
		s = b.until(first, "the next gate", func(s wire.Status) bool { return s.Gate != nil && s.Gate.ID != at })
	}
	b.approve(first, s)
	select {
	case <-frozen:
	case <-t.Context().Done():
	}
	id := "second-" + b.queue
	b.takeOver(from, 1, id)

	second := b.startAs(id, "RegionalFailover", liveInput)
	res, err := b.carry(second, nil)
	if err != nil || res.Verdict.String() != "pass" {
		t.Fatalf("the run that took over ended with %+v, %v", res, err)
	}
	if w := time.Duration(waited.Load()); w < takeover.Wait-time.Minute || w > takeover.Wait {
		t.Errorf("before its first change it waited %s, want the rest of %s", w, takeover.Wait)
	}
	thaw()
	if late := <-ended; late == nil {
		t.Error("the former holder was let go on")
	}
	_, err = b.carry(first, func(s wire.Status) approval.Decision {
		t.Errorf("the former holder asks: %+v", s.Ask)
		return approval.Decision{Verb: approval.Abort}
	})
	endedAs(t, err, wire.ErrTypeFenced)
	for _, says := range []string{"was taken over from run " + from.String() + " at epoch 1", "by ana and ben", "for run " + id, "its Temporal is gone"} {
		if !strings.Contains(errText(err), says) {
			t.Errorf("it ended with %v, which does not say %q", err, says)
		}
	}
	for key, n := range b.model.effects {
		if n != 1 {
			t.Errorf("%s changed %d times", key, n)
		}
	}
	if n := len(b.fences()); n == 0 {
		t.Error("nothing was fenced")
	}

	// Whoever has the ledger alone can tell who took the estate over, and hold it against
	// their keys.
	keys, err := b.estate.Ledger.Trusted(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rep, err := report.Build(t.Context(), b.ledger, runOf(second), keys)
	if err != nil {
		t.Fatal(err)
	}
	if tk := rep.TakenOver; tk == nil || tk.From != from || strings.Join(tk.By, " ") != "ana ben" || !tk.Proven() || !rep.Ledger.Verified {
		t.Errorf("the report has %+v; verified %v", tk, rep.Ledger.Fault)
	}
	if rep, err = report.Build(t.Context(), b.ledger, from, keys); err != nil || rep.TakenOver != nil || !rep.Ledger.Verified {
		t.Errorf("the report of the former holder has %+v, %v", rep.TakenOver, err)
	}
}

// What lies in the lock is not believed where it says that a run lost its estate: it stops,
// and asks. Only two people's signatures end it.
func TestALockThatSomebodyElseChangedAsks(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*bench, ledger.Run, *store.LockState){
		"another holder": func(_ *bench, _ ledger.Run, s *store.LockState) {
			s.Epoch, s.Holder = 2, &store.Holder{Run: ledger.Run{Workflow: "theirs", FirstRun: "f"}}
		},
		"taken over by one": func(b *bench, me ledger.Run, s *store.LockState) {
			c := b.claim(me, 1, "theirs", 2*time.Minute, "ana", "mallory")
			s.Epoch, s.Holder, s.Taken = 2, &store.Holder{Run: ledger.Run{Workflow: "theirs"}}, &c
		},
		"taken over from another run": func(b *bench, me ledger.Run, s *store.LockState) {
			c := b.claim(ledger.Run{Workflow: me.Workflow, FirstRun: "f"}, 1, "theirs", 2*time.Minute, "ana", "ben")
			s.Epoch, s.Holder, s.Taken = 2, &store.Holder{Run: ledger.Run{Workflow: "theirs"}}, &c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			r := b.start("RegionalFailover", liveInput)
			s := b.until(r, "a gate", func(s wire.Status) bool { return s.Gate != nil })
			if err := b.plant(func(l *store.LockState) { edit(b, runOf(r), l) }); err != nil {
				t.Fatal(err)
			}
			b.approve(r, s)
			asked := ""
			_, err := b.carry(r, func(s wire.Status) approval.Decision {
				asked += strings.Join(s.Ask.Findings, "\n")
				return approval.Decision{Verb: approval.Abort}
			})
			endedAs(t, err, wire.ErrTypeAborted)
			if !strings.Contains(asked, "no two people signed a take-over") || !strings.Contains(asked, "breakwater lock show lab") {
				t.Errorf("it was asked with %q", asked)
			}
			if done := b.fences(); len(done) > 0 {
				t.Errorf("fenced: %v", done)
			}
		})
	}
}

// A lock that was taken over waits for the run that was signed for, and for no other.
func TestOnlyTheRunThatWasSignedForTakesOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	from, id := ledger.Run{Workflow: "old", FirstRun: "f"}, "new-"+b.queue
	lock := store.NewLock(b.ledger, "lab")
	if _, err := lock.Acquire(t.Context(), store.Holder{Run: from, Runbook: "RegionalFailover", Mode: "live", Source: "us-east-1", Target: "us-west-2"}, nil); err != nil {
		t.Fatal(err)
	}
	held := func(what, says string, r client.WorkflowRun) {
		t.Helper()
		err := r.Get(t.Context(), nil)
		endedAs(t, err, wire.ErrTypeHeld)
		if !strings.Contains(errText(err), says) {
			t.Errorf("%s: %v, want it to say %q", what, err, says)
		}
	}
	held("before", "breakwater lock show lab", b.start("RegionalFailover", liveInput))
	b.takeOver(from, 1, id)
	start := "breakwater start RegionalFailover --estate lab --mode live --id " + "'" + id + "'"
	if !strings.Contains(id, "/") && !strings.Contains(id, " ") {
		start = "breakwater start RegionalFailover --estate lab --mode live --id " + id
	}
	held("another id", start, b.start("RegionalFailover", liveInput))
	held("another runbook", "not for run "+id+" of RestoreFromBackup", b.startAs(id, "RestoreFromBackup",
		`{"estate":"lab","mode":"live","incident":"INC-1","source":"us-east-1","target":"us-west-2","at":"2026-11-21T03:04:05Z"}`))

	// As whoever can write to the ledger would have it.
	var good store.LockState
	for what, edit := range map[string]func(*takeover.Signed){
		"nobody signed":    func(c *takeover.Signed) { c.Signatures = nil },
		"one signed":       func(c *takeover.Signed) { c.Signatures = c.Signatures[:1] },
		"one signed twice": func(c *takeover.Signed) { c.Signatures[1] = c.Signatures[0] },
		"of another role": func(c *takeover.Signed) {
			c.Statement.Role = "data-owner"
			c.Signatures = nil
			b.countersign(c, "cleo", "dora")
		},
		"signed two days ago":  func(c *takeover.Signed) { *c = b.claim(from, 1, id, 48*time.Hour, "ana", "ben") },
		"signed for another":   func(c *takeover.Signed) { c.Statement.Run = "other" },
		"about another epoch":  func(c *takeover.Signed) { c.Statement.Epoch = 4 },
		"about another estate": func(c *takeover.Signed) { c.Statement.Estate = "production" },
	} {
		if err := b.plant(func(s *store.LockState) {
			if good.Taken == nil {
				good = *s
			}
			c := takeover.Signed{Statement: good.Taken.Statement, Signatures: slices.Clone(good.Taken.Signatures)}
			edit(&c)
			s.Taken = &c
		}); err != nil {
			t.Fatal(err)
		}
		r := b.startAs(id, "RegionalFailover", liveInput)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		endedAs(t, r.Get(ctx, nil), wire.ErrTypeHeld)
		cancel()
		if s, err := lock.State(t.Context()); err != nil || s.Holder.Run.FirstRun != "" {
			t.Errorf("%s: the lock was given away: %+v, %v", what, s, err)
		}
	}
	if err := b.plant(func(s *store.LockState) { *s = good }); err != nil {
		t.Fatal(err)
	}

	// The run that was signed for may say nothing else in its ledger than who took it over.
	said := b.rogue(id, "RegionalFailover", func(ctx workflow.Context) ([]string, error) { return b.lieAboutTheLock(ctx) })
	if want := []string{"refused", "refused", "refused", "refused", "accepted"}; !slices.Equal(said, want) {
		t.Errorf("entries of the lock were %v, want %v", said, want)
	}
}

// lieAboutTheLock takes the lock as a run of ours does, and tells different stories of it.
func (b *bench) lieAboutTheLock(ctx workflow.Context) ([]string, error) {
	var made wire.CompileResult
	if err := b.ask(ctx, wire.CompileRun, map[string]any{"input": json.RawMessage(liveInput), "engine": runbook.Engine}, &made); err != nil {
		return nil, err
	}
	info := workflow.GetInfo(ctx)
	c := ledger.NewChain(ledger.Run{Workflow: info.WorkflowExecution.ID, FirstRun: info.FirstRunID})
	compiled := wire.CompiledBody{
		Runbook: made.Compiled.Runbook, RunbookDigest: made.Compiled.RunbookDigest, Estate: made.Compiled.Estate,
		EstateDigest: made.Compiled.EstateDigest, Mode: made.Compiled.Input.Mode, Input: made.Compiled.Input,
	}
	var lock wire.LockResult
	err := errors.Join(
		b.forge(ctx, &c, ledger.RunStarted, "", made.Started),
		b.forge(ctx, &c, ledger.Compiled, "", compiled, made.Files.Compiled, made.Files.Estate, made.Runbook),
		b.ask(ctx, wire.AcquireLock, wire.LockInput{Estate: "lab"}, &lock),
	)
	if err != nil || lock.Taken == nil {
		return nil, errors.Join(err, errors.New("it was not taken over"))
	}
	other, alone := *lock.Taken, *lock.Taken
	other.By = []string{"ana", "cleo"}
	alone.Signatures = alone.Signatures[:1]
	reason := *lock.Taken
	reason.Statement.Reason = "none"
	var said []string
	for _, taken := range []*wire.TakeOver{nil, &other, &alone, &reason, lock.Taken} {
		word := "accepted"
		if err := b.forge(ctx, &c, ledger.Lock, "", wire.LockBody{Held: true, Epoch: lock.Epoch, Taken: taken}); err != nil {
			word = "refused"
		}
		said = append(said, word)
	}
	return said, nil
}
