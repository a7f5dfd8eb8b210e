package report_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/report"
	"breakwater/internal/runbook"
	"breakwater/internal/takeover"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// TestTakenOver: the report says from whom a run took its estate, who signed that and why,
// and holds both signatures against the keys of the estate again.
func TestTakenOver(t *testing.T) {
	from := ledger.Run{Workflow: "the-old-one", FirstRun: "f"}
	for name, tc := range map[string]struct {
		edit   func(*wire.TakeOver)
		proven bool
	}{
		"as it was signed":     {func(*wire.TakeOver) {}, true},
		"one signature":        {func(o *wire.TakeOver) { o.Signatures = o.Signatures[:1] }, false},
		"one signature twice":  {func(o *wire.TakeOver) { o.Signatures[1] = o.Signatures[0] }, false},
		"another reason":       {func(o *wire.TakeOver) { o.Statement.Reason = "another" }, false},
		"other names":          {func(o *wire.TakeOver) { o.By = []string{"alice", "carol"} }, false},
		"for another run":      {func(o *wire.TakeOver) { signTakeOver(t, o, func(s *takeover.Statement) { s.Run = "another" }) }, false},
		"for another runbook":  {func(o *wire.TakeOver) { signTakeOver(t, o, func(s *takeover.Statement) { s.Runbook = "another" }) }, false},
		"about another epoch":  {func(o *wire.TakeOver) { signTakeOver(t, o, func(s *takeover.Statement) { s.Epoch = 8 }) }, false},
		"about another estate": {func(o *wire.TakeOver) { signTakeOver(t, o, func(s *takeover.Statement) { s.Estate = "production" }) }, false},
		"of another role":      {func(o *wire.TakeOver) { signTakeOver(t, o, func(s *takeover.Statement) { s.Role = "data-owner" }) }, false},
	} {
		b := newBook(t, folder(t))
		b.compiled, b.estate = failover(t, "orders")
		r := action.Run{Namespace: "default", Workflow: run.Workflow, FirstRun: run.FirstRun, Runbook: "RegionalFailover", Mode: action.ModeLive, Started: b.now}
		b.entry(ledger.RunStarted, "", "", wire.StartedBody{Run: r, Input: json.RawMessage(`{"estate":"lab"}`)})
		book := runbook.Runbook{Name: "RegionalFailover", Blocks: []runbook.Block{{Stages: []runbook.StageDecl{{}}}}}
		book.Blocks[0].Stages[0].Approval = &runbook.Approval{Role: "incident-commander"}
		b.entry(ledger.Compiled, "", "", wire.CompiledBody{Runbook: "RegionalFailover", Estate: "lab", Mode: action.ModeLive},
			b.doc("run", "lab", 1, "compiled", b.compiled), b.doc("run", "lab", 1, "estate", b.estate), b.doc("run", "lab", 1, "runbook", book))
		o := wire.TakeOver{By: []string{"alice", "bob"}, Signed: takeover.Signed{Statement: takeover.Statement{
			Estate: "lab", Epoch: 3, Holder: from, Run: run.Workflow, Runbook: "RegionalFailover", Role: "incident-commander", Reason: "its <b>Temporal</b> is gone", At: b.now,
		}}}
		signTakeOver(t, &o, func(*takeover.Statement) {})
		tc.edit(&o)
		b.entry(ledger.Lock, "", "", wire.LockBody{Held: true, Epoch: 4, Taken: &o})
		b.end(verdict.Unknown, "Aborted", "aborted by alice")
		rep := b.report()
		got := rep.TakenOver
		if got == nil || got.From != from || got.Epoch != o.Statement.Epoch || !slices.Equal(got.By, o.By) || got.Proven() != tc.proven {
			t.Errorf("%s: %+v, want it proven: %v", name, got, tc.proven)
			continue
		}
		alone, err := report.ReadTakenOver(t.Context(), b.to, run)
		if err != nil || alone == nil || alone.Sentence() != got.Sentence() {
			t.Errorf("%s: read alone it is %+v, %v", name, alone, err)
		}
		for form, write := range map[string]func(*bytes.Buffer) error{
			"Markdown": func(b *bytes.Buffer) error { return rep.Markdown(b) },
			"HTML":     func(b *bytes.Buffer) error { return rep.HTML(b) },
		} {
			var out bytes.Buffer
			b.must(write(&out))
			text := strings.Join(strings.Fields(out.String()), " ")
			for _, want := range []string{"from run the-old-one/f at epoch", strings.Join(o.By, " and "), strings.Fields(got.Proof)[1] + " "} {
				if !strings.Contains(text, want) {
					t.Errorf("%s, %s does not say %q", name, form, want)
				}
			}
			if strings.Contains(text, "<b>Temporal") {
				t.Errorf("%s: %s takes a reason for markup", name, form)
			}
		}
	}
}

// signTakeOver signs what edit makes of a take-over, as alice and bob do.
func signTakeOver(t *testing.T, o *wire.TakeOver, edit func(*takeover.Statement)) {
	t.Helper()
	edit(&o.Statement)
	o.Signatures = nil
	for _, who := range []string{"alice", "bob"} {
		sig, err := o.Statement.Sign(key(t, who))
		if err != nil {
			t.Fatal(err)
		}
		o.Signatures = append(o.Signatures, sig)
	}
}
