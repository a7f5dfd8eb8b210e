package report_test

import (
	"bytes"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/report"
	"breakwater/internal/verdict"
)

// TestWhoseWord: the report says of each kind of entry whether a worker found by itself
// what it says. In a run of an interpreter from before that, none was.
func TestWhoseWord(t *testing.T) {
	for engine, derived := range map[int]bool{1: false, 2: true} {
		b := newBook(t, folder(t))
		b.compiled, b.estate = failover(t, "orders")
		b.compiled.Engine = engine
		b.start(action.ModeLive, nil)
		b.entry(ledger.Intent, "fence", "fence/storage.fence", nil)
		b.end(verdict.Unknown, "Aborted", "aborted by alice")
		r := b.report()
		want := map[ledger.Kind]bool{ledger.RunStarted: derived, ledger.Compiled: derived, ledger.Intent: false, ledger.RunEnded: derived}
		seen := map[ledger.Kind]bool{}
		for _, k := range r.Ledger.Kinds {
			if seen[k.Kind] = true; k.Derived != want[k.Kind] && k.Kind != ledger.Lock || k.Entries < 1 {
				t.Errorf("engine %d: %+v", engine, k)
			}
		}
		for k := range want {
			if !seen[k] {
				t.Errorf("engine %d: %s is not there: %+v", engine, k, r.Ledger.Kinds)
			}
		}
		sentence := "Those of the kinds intent are as the workflow reported them"
		if !derived {
			sentence = "was reported by the workflow; the workers signed it as it came"
		}
		for form, write := range map[string]func(report.Report, *bytes.Buffer) error{
			"Markdown": func(r report.Report, b *bytes.Buffer) error { return r.Markdown(b) },
			"HTML":     func(r report.Report, b *bytes.Buffer) error { return r.HTML(b) },
		} {
			var out bytes.Buffer
			b.must(write(r, &out))
			text := strings.Join(strings.Fields(out.String()), " ")
			if !strings.Contains(text, sentence) || !strings.Contains(text, "reported by the workflow") || strings.Contains(text, "derived by a worker<") != (derived && form == "HTML") {
				t.Errorf("engine %d, %s: %s", engine, form, text[max(0, len(text)-2500):])
			}
		}
	}
}
