package workflows_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"
	"breakwater/workflows"

	"go.temporal.io/sdk/temporal"
)

// Ways to get a gate wrong: each is refused as documented, changes nothing, is shown, and
// stands in the ledger. The gate is the second one of a run with two gates in a row, so
// that the votes of the first are at hand, and is decided in the end.
func TestWaysToGetAGateWrong(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	// One key under two names: dora holds ben's.
	for i := range b.estate.Roles {
		if r := &b.estate.Roles[i]; r.Role == "incident-commander" {
			twin := r.Members[1]
			twin.Name = "dora"
			r.Members = append(r.Members, twin)
		}
	}
	other := b.start("RegionalFailover", strings.Replace(liveInput, `"live"`, `"drill"`, 1))
	r := b.start("RegionalFailover", liveInput)
	// Early: the gate is not open yet.
	first := b.atGate(r, "declare")
	early := b.sign(first, approval.Approve, "ana", r)
	early.Gate = "fence"
	if a := b.decide(r, early); a.Counted || !strings.Contains(a.Outcome, `this is "declare"`) {
		t.Errorf("early: %+v", a)
	}
	stale := b.sign(first, approval.Approve, "ana", r)
	b.approve(r, first)
	s := b.atGate(r, "fence")
	drill := b.until(other, "its first gate", func(s wire.Status) bool { return s.Gate != nil })

	raw := func(text string) any { return json.RawMessage(text) }
	good := func(edit func(*approval.Decision)) approval.Decision {
		d := b.sign(s, approval.Approve, "ana", r)
		edit(&d)
		return d
	}
	// signed signs another statement than the gate's and sends it as the gate's.
	signed := func(edit func(*approval.Statement)) approval.Decision {
		about := s.Open.Statement(approval.Approve)
		edit(&about)
		sig, err := about.Sign(signer(t, 0))
		if err != nil {
			t.Fatal(err)
		}
		return approval.Decision{Gate: s.Gate.ID, Attempt: s.Gate.Attempt, Verb: approval.Approve, Plan: s.Gate.Root, By: "ana", Signature: sig, Expires: about.Expires}
	}
	version1 := func() approval.Decision {
		a := s.Open.Spec.About
		text := "Breakwater decision, version 1\ndecision: approve\ngate: fence\nattempt: 1\nplan: " + a.Plan + "\nexpires: never\nworkflow: " + a.Run.Workflow +
			"\nfirst run: " + a.Run.FirstRun + "\nnamespace: default\nestate: " + a.Estate + "\nledger: " + a.Head + "\n"
		sig, err := sshsig.Sign(signer(t, 0), approval.Namespace, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return approval.Decision{Verb: approval.Approve, By: "ana", Signature: sig}
	}
	const mismatch, number = "does not match", "attempt 2 of the gate"
	ways := []struct {
		name string
		send any
		says string
	}{
		{"stale: of the gate before", stale, `for gate "declare"`},
		{"replayed under this gate's name", approval.Decision{Gate: "fence", Verb: approval.Approve, By: "ana", Signature: stale.Signature}, mismatch},
		{"of another attempt", good(func(d *approval.Decision) { d.Attempt = 2 }), number},
		{"signed for another attempt", signed(func(s *approval.Statement) { s.Attempt = 2 }), mismatch},
		{"of another plan", good(func(d *approval.Decision) { d.Plan = strings.Repeat("0", 64) }), "for plan 0000"},
		{"too little of the plan", good(func(d *approval.Decision) { d.Plan = d.Plan[:11] }), "for plan"},
		{"signed for another plan", signed(func(s *approval.Statement) { s.Plan = strings.Repeat("0", 64) }), mismatch},
		{"signed for another gate", signed(func(s *approval.Statement) { s.Gate = "declare" }), mismatch},
		{"signed for another run", signed(func(s *approval.Statement) { s.Run.FirstRun = "other" }), mismatch},
		{"signed for another workflow", signed(func(s *approval.Statement) { s.Run.Workflow = "other" }), mismatch},
		{"signed for another namespace", signed(func(s *approval.Statement) { s.Namespace = "other" }), mismatch},
		{"signed for another mode", signed(func(s *approval.Statement) { s.Mode = "drill" }), mismatch},
		{"signed for taking back", signed(func(s *approval.Statement) { s.Direction = approval.Undo }), mismatch},
		{"signed for another estate", signed(func(s *approval.Statement) { s.Estate = strings.Repeat("0", 64) }), mismatch},
		{"signed over another ledger", signed(func(s *approval.Statement) { s.Head = "1:abcd" }), mismatch},
		{"signed as a rejection", signed(func(s *approval.Statement) { s.Decision = approval.Reject }), mismatch},
		{"signed for some items", signed(func(s *approval.Statement) { s.Items = []string{"fence/2-storage.fence/lake"} }), mismatch},
		{"signed with an owner", signed(func(s *approval.Statement) { s.Owner = "ana" }), mismatch},
		{"of another run's gate", b.sign(drill, approval.Approve, "ana", other), `for gate "declare"`},
		{"expired", signed(func(s *approval.Statement) { s.Expires = time.Now().Add(-time.Minute).UTC().Truncate(time.Second) }), "expired"},
		{"with its expiry moved", good(func(d *approval.Decision) { d.Expires = time.Now().Add(time.Hour).UTC().Truncate(time.Second) }), mismatch},
		{"of version 1", version1(), mismatch},
		{"without a signature", good(func(d *approval.Decision) { d.Signature = "" }), "needs a signature"},
		{"without a name or a signature", good(func(d *approval.Decision) { d.Signature, d.By = "", "" }), "needs a signature"},
		{"with half a signature", good(func(d *approval.Decision) { d.Signature = d.Signature[:len(d.Signature)/2] }), "not an SSH signature"},
		{"under another's name", good(func(d *approval.Decision) { d.By = "ben" }), `signed with the key of "ana"`},
		{"by a stranger's key", b.sign(s, approval.Approve, "fay", r), "unknown signer"},
		{"by a member of another role", b.sign(s, approval.Approve, "cleo", r), "unknown signer"},
		{"with items", good(func(d *approval.Decision) { d.Items = []string{"fence/2-storage.fence/lake"} }), "not about single items"},
		{"with an owner", good(func(d *approval.Decision) { d.Owner = "ana" }), "go with done"},
		{"a retry", approval.Decision{Verb: approval.Retry}, "cannot be decided here"},
		{"a done", approval.Decision{Verb: approval.Done, By: "ana"}, "cannot be decided here"},
		{"a waive", approval.Decision{Verb: approval.Waive, By: "ana"}, "cannot be decided here"},
		{"an undo of nothing", approval.Decision{Verb: approval.TakeBack, By: "ana"}, "this run did nothing that would have to be taken back"},
		{"a resume of what goes on", approval.Decision{Verb: approval.Resume, By: "ana"}, "not paused"},
		{"an unknown verb", approval.Decision{Verb: "frobnicate"}, "cannot be decided here"},
		{"a note of nothing", approval.Decision{Verb: approval.Note}, "needs its text"},
		{"malformed", raw(`"approve reject"`), "neither an object nor a verb"},
		{"a list of two", raw(`["approve","approve"]`), "a list of 2"},
		{"a verb twice", raw(`{"decision":"reject","decision":"approve"}`), "stands twice"},
		{"a mistyped member", raw(`{"decision":"approve","expire":"2026-11-21T03:30:00Z"}`), "unknown field"},
		{"a number", raw(`7`), "neither an object nor a verb"},
		{"too long a reason", approval.Decision{Verb: approval.Approve, Reason: strings.Repeat("x", 5000)}, "its reason has 5000 bytes"},
		{"too long altogether", approval.Decision{Verb: approval.Approve, Reason: strings.Repeat("x", 100_000)}, "a decision has at most"},
	}
	if len(ways) < 40 {
		t.Fatalf("%d ways", len(ways))
	}
	for i, w := range ways {
		// By signal: what does not decode never passes an update.
		if err := b.client.SignalWorkflow(t.Context(), r.GetID(), "", wire.SignalDecide, w.send); err != nil {
			t.Fatal(err)
		}
		s := b.until(r, w.name, func(s wire.Status) bool {
			return len(s.Refusals) > 0 && strings.Contains(s.Refusals[len(s.Refusals)-1].Reason, w.says)
		})
		if s.Gate == nil || len(s.Gate.Approved) > 0 || len(b.model.applies) > 0 {
			t.Fatalf("%d, %s: the gate is %+v", i, w.name, s.Gate)
		}
		if d := workflows.Details(s, s.Open); !strings.Contains(d, "Refused at") {
			t.Errorf("%s is not in the details", w.name)
		}
	}
	// And those that need votes: the same person twice, by one key under two names, late.
	if a := b.decide(r, b.sign(s, approval.Approve, "ben", r)); !a.Counted {
		t.Fatal(a.Outcome)
	}
	if a := b.decide(r, b.sign(s, approval.Approve, "ben", r)); a.Counted || !strings.Contains(a.Outcome, "already") {
		t.Errorf("a duplicate: %+v", a)
	}
	twin := b.sign(s, approval.Approve, "ben", r)
	twin.By = "dora"
	if a := b.decide(r, twin); a.Counted || !strings.Contains(a.Outcome, "same person") {
		t.Errorf("one key under two names: %+v", a)
	}
	if a := b.decide(r, b.signed(s, approval.Decision{Verb: approval.Approve, By: "ana"})); !a.Counted {
		t.Fatal(a.Outcome) // the second person: it is decided
	}
	late := b.decide(r, b.sign(s, approval.Reject, "ana", r))
	if late.Counted {
		t.Errorf("late: %+v", late)
	}
	told := ""
	for _, d := range bodies[wire.DecisionBody](b, s, ledger.Refused) {
		for _, one := range append([]wire.DecisionBody{d}, d.Also...) {
			told += one.Outcome + "\n"
		}
	}
	if n := strings.Count(told, "\n"); n < len(ways)+3 {
		t.Errorf("the ledger tells of %d refusals, want each of %d and three more", n, len(ways))
	}
	for _, w := range ways {
		if !strings.Contains(told, w.says) {
			t.Errorf("%s is not in the ledger as %q", w.name, w.says)
		}
	}
	if err := b.client.SignalWorkflow(t.Context(), r.GetID(), "", wire.SignalAbort, nil); err != nil {
		t.Fatal(err)
	}
	var ended *temporal.ApplicationError
	if err := r.Get(t.Context(), nil); !errors.As(err, &ended) || ended.Type() != wire.ErrTypeAborted {
		t.Errorf("the run ended with %v", err)
	}
	b.decide(other, approval.Decision{Verb: approval.Abort})
}
