package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"breakwater/internal/clip"
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
)

// Text writes the report's outcome for a terminal of that many columns: the
// verdict, the milestones, what was lost and what is left to prove, in at most
// 25 lines. A width below 40 counts as 40.
func (r Report) Text(w io.Writer, width int) error {
	width = max(width, 40)
	var out strings.Builder
	line := func(format string, args ...any) {
		out.WriteString(fit(clean(fmt.Sprintf(format, args...)), width))
		out.WriteByte('\n')
	}
	// some writes the first few lines of a list, and how many it left out.
	some := func(title string, n, most int, each func(i int)) {
		if n == 0 {
			return
		}
		line("%s", title)
		for i := range min(n, most) {
			each(i)
		}
		if n > most {
			line("  and %d more", n-most)
		}
	}
	line("%s", strings.Join(slices.DeleteFunc([]string{r.headline(), r.open(), r.missed()}, func(s string) bool { return s == "" }), "; "))
	if !strings.HasPrefix(r.Summary, "pass") {
		line("%s", r.Summary)
	}
	if r.Exercised.Nothing > 0 {
		line("exercised %s", r.Exercised.sentence())
	}
	line("%s of estate %s, %s, %s", r.Runbook, r.Estate, r.Mode, r.route())
	line("took %s", duration(r.Time.Total))
	if r.Time.Total > 0 {
		line("  %s", brief(r.Time))
	}
	some("Milestones", len(r.Milestones), 5, func(i int) {
		m := r.Milestones[i]
		line("  tier %d  %-12s %-14s %s", m.Tier, m.Name, m.when(), objective(m.Met, m.RTOSeconds))
	})
	some("Lost", len(r.Recovery), 5, func(i int) {
		l := r.Recovery[i]
		back := strings.TrimSuffix(lostSeconds(l.Loss), ", no upper bound")
		line("  %-16s %s; %s; RPO %s", l.Dataset, lost(l.Loss), back, objective(l.Met, l.RPOSeconds))
	})
	some("Left to prove", len(r.Obligations), 3, func(i int) {
		o := r.Obligations[i]
		line("  %s %s (%s)", o.ID, o.What, owner(o))
	})
	some("Waived, and not proven", len(r.Waived), 5, func(i int) {
		w := r.Waived[i]
		line("  %s, by %s: %s", w.Item, strings.Join(w.By, ", "), w.Reason)
	})
	line("Evidence: %s", r.Ledger.state())
	_, err := io.WriteString(w, out.String())
	if err != nil {
		return fmt.Errorf("write the report of %s as text: %w", r.Run, err)
	}
	return nil
}

// when is when a milestone was reached, counted from the start of the clock.
func (m Milestone) when() string {
	if m.At == nil {
		return "not reached"
	}
	return duration(m.Seconds)
}

// brief names the parts of the clock that took any time.
func brief(t recovery.Breakdown) string {
	var words []string
	for _, p := range parts(t) {
		if p.Seconds > 0 {
			words = append(words, p.Name+" "+duration(p.Seconds))
		}
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// state says what the evidence is worth, in short.
func (e Evidence) state() string {
	if e.Verified {
		return fmt.Sprintf("verified, head %s", fit(e.Head, 24))
	}
	return e.sentence()
}

// sentence says what the evidence is worth.
func (e Evidence) sentence() string {
	switch {
	case e.Fault != nil:
		return fmt.Sprintf("NOT VERIFIED, entry %d: %s", e.Fault.Seq, e.Fault.Wrong)
	case e.Verified:
		return fmt.Sprintf("%s and %d documents verified, signed by %s", plural.Of(e.Entries, "entry"), e.Documents, strings.Join(e.Signers, ", "))
	}
	return "NOT VERIFIED"
}

// word says whose word the entries are.
func (k Kind) word() string {
	if k.Derived {
		return "derived by a worker"
	}
	return "reported by the workflow"
}

// words says whose word the entries are, in a sentence.
func (e Evidence) words() string {
	var reported []string
	derived := 0
	for _, k := range e.Kinds {
		if k.Derived {
			derived++
			continue
		}
		reported = append(reported, string(k.Kind))
	}
	switch {
	case derived == 0:
		return "What the entries say was reported by the workflow; the workers signed it as it came."
	case len(reported) == 0:
		return "What the entries say was derived by a worker, from documents, signatures and the lock, before it signed them."
	}
	return "What the entries say was derived by a worker, from documents, signatures and the lock, before it signed them. Those of the kinds " +
		strings.Join(reported, ", ") + " are as the workflow reported them, and nothing was done on their word."
}

// fit shortens s to that many characters.
func fit(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return strings.TrimRight(s, " ")
	}
	return clip.Text(s, width-1)
}
