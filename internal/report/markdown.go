package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"breakwater/internal/plural"
	"breakwater/internal/shell"
)

// column is how wide prose gets.
const column = 80

// page is a Markdown document in the making. Whatever is not written by this
// package goes through md or code.
type page struct{ strings.Builder }

// md makes plain text of s, with nothing in it that Markdown or HTML would read.
func md(s string) string {
	rs := []rune(clean(s))
	var b strings.Builder
	for i, r := range rs {
		word := func(at int) bool {
			return at >= 0 && at < len(rs) && (unicode.IsLetter(rs[at]) || unicode.IsDigit(rs[at]))
		}
		switch {
		case r == '<':
			b.WriteString("&lt;")
			continue
		case r == '&':
			b.WriteString("&amp;")
			continue
		case r == '_' && word(i-1) && word(i+1): // within a name it means nothing
		case strings.ContainsRune("\\`*_[]|~!>", r), strings.ContainsRune("#+-=", r) && i == 0:
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// code makes a code span of s, also inside a table.
func code(s string) string {
	if s == "" {
		return ""
	}
	s = strings.NewReplacer("`", "'", "|", "¦").Replace(clean(s))
	return "`" + s + "`"
}

func (p *page) heading(s string) { fmt.Fprintf(p, "\n## %s\n\n", s) }

// prose writes a paragraph, broken at the column. The first line gets first in
// front, the others as much space.
func (p *page) prose(first, text string) {
	indent, at := strings.Repeat(" ", len(first)), 0
	for i, w := range strings.Fields(text) {
		switch {
		case i == 0:
			p.WriteString(first)
			at = len(first)
		case at+1+len([]rune(w)) > column:
			w = inert(w)
			p.WriteString("\n" + indent)
			at = len(indent)
		default:
			p.WriteByte(' ')
			at++
		}
		p.WriteString(w)
		at += len([]rune(w))
	}
	p.WriteString("\n")
}

// inert keeps a word that comes to stand at the beginning of a line from
// beginning a heading or a list there.
func inert(w string) string {
	if strings.ContainsRune("#+-=", rune(w[0])) {
		return "\\" + w
	}
	if n := len(w) - len(strings.TrimLeft(w, "0123456789")); n > 0 && n < len(w) && (w[n] == '.' || w[n] == ')') {
		return w[:n] + "\\" + w[n:]
	}
	return w
}

func (p *page) table(head ...string) {
	p.row(head...)
	p.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
}

func (p *page) row(cells ...string) { p.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

// Markdown writes the report for people who read it in a terminal, a ticket or a
// repository. Prose is broken at 80 columns; tables are as wide as they are.
func (r Report) Markdown(w io.Writer) error {
	p := &page{}
	fmt.Fprintf(p, "# %s: %s\n\n", md(r.Runbook), md(r.headline()))
	p.prose("", "**"+md(r.Summary)+"**")
	if m := r.missed(); m != "" {
		p.WriteByte('\n')
		p.prose("", "**"+m+"**")
	}
	p.WriteByte('\n')
	r.facts(p)
	r.mdObligations(p)
	r.mdClock(p)
	r.mdRecovery(p)
	r.mdStages(p)
	r.mdPeople(p)
	r.mdFindings(p)
	r.mdEvidence(p)
	if _, err := io.WriteString(w, p.String()); err != nil {
		return fmt.Errorf("write the report of %s as Markdown: %w", r.Run, err)
	}
	return nil
}

// facts says which run this was.
func (r Report) facts(p *page) {
	for _, f := range r.identity() {
		p.prose("- ", f[0]+": "+md(f[1]))
	}
}

// identity is what names the run, as pairs of a word and a value.
func (r Report) identity() [][2]string {
	facts := [][2]string{{"mode", string(r.Mode)}, {"regions", r.route()}, {"estate", r.Estate}}
	if len(r.Groups) > 0 {
		facts = append(facts, [2]string{"groups", strings.Join(r.Groups, ", ")})
	}
	if r.Incident != "" {
		facts = append(facts, [2]string{"incident", r.Incident})
	}
	if r.OutageStart != nil {
		facts = append(facts, [2]string{"outage", moment(*r.OutageStart)})
	}
	if r.DetectedAt != nil {
		facts = append(facts, [2]string{"detected", moment(*r.DetectedAt)})
	}
	facts = append(facts, [2]string{"started", strings.TrimSpace(moment(r.Started) + " " + r.StartedBy.By())})
	if r.Ended != nil {
		facts = append(facts, [2]string{"ended", moment(*r.Ended)})
	} else {
		facts = append(facts, [2]string{"ended", "not yet; this is what was known at " + moment(r.AsOf)})
	}
	if r.TakenOver != nil {
		facts = append(facts, [2]string{"taken over", r.TakenOver.Sentence()})
	}
	return append(facts, [2]string{"exercised", r.Exercised.sentence()},
		[2]string{"run", r.Run.String()})
}

func (r Report) mdObligations(p *page) {
	p.heading("Left to prove")
	if len(r.Obligations) == 0 {
		p.prose("", "Nothing.")
	}
	for _, o := range r.Obligations {
		p.prose("- ", fmt.Sprintf("**%s** %s (%s). Owner: %s", md(o.ID), md(o.What), md(o.Title), md(owner(o))))
	}
	for _, w := range r.Waived {
		p.prose("- ", fmt.Sprintf("**waived, and not proven**: %s, by %s: %s", md(w.Item), md(strings.Join(w.By, ", ")), md(w.Reason)))
	}
}

func (r Report) mdClock(p *page) {
	p.heading("Clock")
	p.table("part", "seconds", "what it was")
	for _, x := range parts(r.Time) {
		p.row(x.Name, fmt.Sprintf("%.1f", x.Seconds), x.What)
	}
	p.row("**total**", fmt.Sprintf("**%.1f**", r.Time.Total), "")
	if len(r.Milestones) > 0 {
		p.WriteString("\n")
		p.table("tier", "milestone", "reached after", "RTO")
		for _, m := range r.Milestones {
			p.row(tierName(m.Tier), md(m.Name), m.when(), objective(m.Met, m.RTOSeconds))
		}
	}
	for _, t := range r.Tiers {
		if t.Until != "" && r.Mode != "plan" {
			p.WriteByte('\n')
			p.prose("", fmt.Sprintf("%s, %s: %s.", t.name(), md(t.until()), brief(t.Time)))
		}
	}
	for _, n := range r.Notes {
		p.WriteByte('\n')
		p.prose("", "Note: "+md(n))
	}
}

func tierName(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func (t Tier) name() string { return fmt.Sprintf("Tier %d", t.Tier) }

// until says what the tier's clock ended with.
func (t Tier) until() string {
	switch {
	case t.Reached:
		return t.Until + " reached after " + duration(t.Time.Total)
	case t.Until == "":
		return duration(t.Time.Total)
	}
	return t.Until + " not reached after " + duration(t.Time.Total)
}

func (r Report) mdRecovery(p *page) {
	p.heading("Recovery")
	if len(r.Cuts)+len(r.Recovery) == 0 {
		p.prose("", "No recovery point was recorded.")
		return
	}
	for _, c := range r.Cuts {
		p.prose("- ", fmt.Sprintf("**%s** (tier %s) comes back to %s, bound by %s: %s",
			md(c.Group), tierName(c.Tier), c.At.Format("2006-01-02 15:04:05.000Z"), code(c.Binding), md(c.Reason)))
	}
	p.WriteByte('\n')
	p.table("dataset", "kind", "group", "tier", "recovery point", "lost", "in time", "RPO")
	for _, l := range r.Recovery {
		p.row(code(l.Dataset), md(l.Kind), md(l.Group), tierName(l.Tier), pointOf(l.Loss), md(lost(l.Loss)), lostSeconds(l.Loss), objective(l.Met, l.RPOSeconds))
	}
}

func (r Report) mdStages(p *page) {
	p.heading("Stages")
	if n := r.Exercised.Nothing; n > 0 {
		p.prose("", r.Exercised.sentence()+".")
		p.WriteByte('\n')
	}
	for _, s := range r.Stages {
		took := "not reached"
		if s.Started != nil {
			took = fmt.Sprintf("%s, %s", clockTime(*s.Started), duration(s.seconds()))
		}
		fmt.Fprintf(p, "### %s (%s)\n\n", md(s.name()), took)
		p.table("step", "action", "state", "items", "changes", "attempts")
		for _, st := range s.Steps {
			p.row(md(st.Title), code(st.Action), md(string(st.State)), fmt.Sprint(st.Items), fmt.Sprint(st.Mutations), fmt.Sprint(st.Attempts))
		}
		p.WriteByte('\n')
		troubles := p.Len()
		for _, st := range s.Steps {
			if len(st.None) > 0 {
				p.prose("- ", fmt.Sprintf("%s, nothing to do: %s", md(st.Title), md(strings.Join(st.None, "; "))))
			}
			for _, t := range st.Tries {
				if !t.Verdict.Clear() {
					p.prose("- ", fmt.Sprintf("%s, attempt %d: %s. %s", md(st.Title), t.Attempt, t.Verdict, md(strings.Join(append(append([]string{}, t.Errors...), t.Findings...), "; "))))
				}
			}
		}
		if p.Len() > troubles {
			p.WriteByte('\n')
		}
	}
}

func (r Report) mdPeople(p *page) {
	p.heading("Approvals")
	if len(r.Approvals) == 0 {
		p.prose("", "None.")
	} else {
		p.table("gate", "decision", "who", "role", "proof", "at", "after")
		for _, a := range r.Approvals {
			p.row(md(gateName(a)), md(a.Decision), md(a.Who), md(quorumOf(a)), md(a.Proof), clockTime(a.At), duration(a.WaitedSeconds))
		}
	}
	for _, a := range r.Refusals {
		p.WriteByte('\n')
		p.prose("", fmt.Sprintf("At %s %s of %s did not count: %s", clockTime(a.At), md(orWord(a.Decision, "a message")), md(orWord(a.Who, "somebody unnamed")), md(a.Outcome)))
	}
	for _, a := range r.Asked {
		p.WriteByte('\n')
		p.prose("", fmt.Sprintf("Asked at %s: %s %s", clockTime(a.At), md(a.Question), md(a.reply())))
	}
}

// reply says what became of a question.
func (a Asked) reply() string {
	if a.Answered == nil {
		return "Nobody answered."
	}
	s := fmt.Sprintf("Answer: %s, by %s after %s.", a.Answer, orWord(a.Who, "somebody unnamed"), duration(a.WaitedSeconds))
	if a.Reason != "" {
		s += " Reason: " + a.Reason
	}
	return s
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}

func gateName(a Approval) string {
	if a.Gate == "" {
		return "the run"
	}
	return fmt.Sprintf("%s, attempt %d", a.Gate, a.Attempt)
}

func quorumOf(a Approval) string {
	if a.Role == "" {
		return ""
	}
	return fmt.Sprintf("%s (%d needed)", a.Role, a.Quorum)
}

func (r Report) mdFindings(p *page) {
	p.heading("Observations")
	p.prose("", r.Seen.sentence())
	p.WriteByte('\n')
	if len(r.Observations) == 0 {
		return
	}
	p.table("verdict", "step", "item", "what", "want", "got")
	for _, o := range r.Observations {
		p.row(o.Verdict.String(), md(r.title(o.Step)), code(o.Item), md(o.What), md(o.Want), md(o.Got))
	}
}

// sentence says how many observations there were, and how many are listed.
func (c Counts) sentence() string {
	none := ""
	if c.Nothing > 0 {
		none = fmt.Sprintf(", %d of which there was nothing to look at", c.Nothing)
	}
	return fmt.Sprintf("%d passed, %d failed, %d unknown%s; %d are listed: all that did not pass, and at most %d that did.",
		c.Passed, c.Failed, c.Unknown, none, c.Listed, passesMost)
}

// sentence says how much of the runbook ran.
func (e Exercised) sentence() string {
	s := fmt.Sprintf("%d of %s", e.Steps, plural.Of(e.Of, "step"))
	if e.Nothing > 0 {
		s += fmt.Sprintf(", %d proven; %d had nothing to do", e.Proven, e.Nothing)
	}
	return s
}

func (r Report) mdEvidence(p *page) {
	p.heading("Evidence")
	e := r.Ledger
	p.prose("", md(e.sentence())+".")
	if e.Fault != nil {
		p.WriteByte('\n')
		p.prose("", md(e.Fault.String()))
	}
	p.WriteByte('\n')
	p.prose("- ", "head: "+code(e.Head))
	p.prose("- ", "runbook: "+code(r.RunbookDigest))
	p.prose("- ", "estate: "+code(r.EstateDigest))
	if len(e.Kinds) > 0 {
		p.WriteByte('\n')
		p.prose("", md(e.words()))
		p.WriteByte('\n')
		p.table("entries", "how many", "whose word")
		for _, k := range e.Kinds {
			p.row(string(k.Kind), fmt.Sprint(k.Entries), k.word())
		}
	}
	p.WriteString("\nTo verify it again, against keys that you trust:\n\n```\n" + r.verifyCommand() + "\n```\n")
	if e.Signature != "" {
		fmt.Fprintf(p, "\nThe head of entry %d was signed:\n\n```\n%s\n```\n", e.SignedAt, strings.ReplaceAll(strings.TrimSpace(e.Signature), "```", "'''"))
	}
}

// verifyCommand is what a reader types to check the evidence.
func (r Report) verifyCommand() string {
	return shell.Command("breakwater", "verify-evidence", clean(r.Run.Workflow))
}
