package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/report"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// TestNothingAndUnknownAreTold: a step without items, also where an earlier release
// recorded it as a pass, and a check with nothing to look at are neither proven nor
// failed; what could not be looked at is unknown, in every form of the report.
func TestNothingAndUnknownAreTold(t *testing.T) {
	const none = "the estate names no secret store in us-west-2"
	b := newBook(t, folder(t))
	b.compiled, b.estate = failover(t, "orders")
	for i := range b.compiled.Stages {
		for j := range b.compiled.Stages[i].Steps {
			if s := &b.compiled.Stages[i].Steps[j]; s.Action == "storage.fence" {
				s.Items, s.Names = 0, nil
			}
		}
	}
	b.start(action.ModeLive, ptr(outage.Add(time.Minute)))
	idle, look := b.planDoc("declare/region.probe", "lab", action.Nothing("the secret store serves", "a secret store", none)),
		b.planDoc("declare/estate.preflight", "lab", saw("credentials work", "all", "all", true))
	b.plan("declare", idle, look)
	b.entry(ledger.Observed, "declare", "", wire.ObservedBody{Attempt: 1, Verdict: verdict.Pass, Passed: 1, Nothing: 1}, idle, look)
	b.plan("fence")
	const fence = "fence/storage.fence"
	b.entry(ledger.Intent, "fence", fence, wire.IntentBody{Attempt: 1})
	b.entry(ledger.Outcome, "fence", fence, wire.OutcomeBody{Attempt: 1})
	b.entry(ledger.Observed, "fence", fence, wire.ObservedBody{Attempt: 1, Verdict: verdict.Pass})
	unseen := action.Observation{What: "rows and hash", Want: "1,204 rows", Got: "connection refused", Verdict: verdict.Unknown, Cause: action.CauseOther}
	b.observe("restore@tier-1", "restore@tier-1/access.golden-queries", "orders", 1, b.worked(wire.VerifyPhase, 1.5), false, unseen)
	b.end(verdict.Unknown, wire.ErrTypeAborted, "aborted by alice")
	r := b.report()
	got := told(t, r)
	for step, want := range map[string]report.State{
		"declare: region.probe": report.NothingToDo, "declare: estate.preflight": report.Proven, "fence: storage.fence": report.NothingToDo,
		"restore@tier-1: access.golden-queries": report.NotKnown,
	} {
		if got.States[step] != want {
			t.Errorf("%s is %q, want %q", step, got.States[step], want)
		}
	}
	if e := r.Exercised; e.Proven != 1 || e.Nothing != 2 {
		t.Errorf("counted: %+v", e)
	}
	if r.Seen.Nothing != 1 || r.Seen.Passed != 1 || r.Seen.Unknown != 1 || r.Seen.Failed != 0 {
		t.Errorf("observations: %+v", r.Seen)
	}
	var text, mark, page bytes.Buffer
	b.must(r.Text(&text, 80))
	b.must(r.Markdown(&mark))
	b.must(r.HTML(&page))
	for form, want := range map[*bytes.Buffer][]string{
		&text: {"UNKNOWN", "1 proven; 2 had nothing to do"},
		&mark: {"UNKNOWN", "2 had nothing to do", none, "| nothing to do |", "| unknown |", "of which there was nothing to look at"},
		&page: {`class="verdict unknown"`, "2 had nothing to do", none, `<span class="tag none">nothing to do</span>`, `<span class="tag unknown">unknown</span>`, "What there was none of (1 listed)"},
	} {
		for _, w := range want {
			if !strings.Contains(form.String(), w) {
				t.Errorf("%q is not in\n%s", w, form)
			}
		}
	}
	if strings.Contains(page.String(), `class="tag fail"`) {
		t.Error("the page shows something as failed, and nothing did")
	}
	for i, l := range strings.Split(text.String(), "\n") {
		if len([]rune(l)) > 80 {
			t.Errorf("line %d is %d wide: %s", i, len([]rune(l)), l)
		}
	}
}

// TestARunOfNothingIsTold: it is no pass and no failure.
func TestARunOfNothingIsTold(t *testing.T) {
	b := newBook(t, folder(t))
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, nil)
	b.end(verdict.Nothing, wire.NothingToDo, "")
	r := b.report()
	if got := told(t, r); !strings.HasPrefix(got.Headline, "NOTHING TO DO") {
		t.Errorf("it begins with %q", got.Headline)
	}
	var page bytes.Buffer
	b.must(r.HTML(&page))
	if !strings.Contains(page.String(), `class="verdict none"`) {
		t.Error("the page has another colour than that of nothing")
	}
}
