package workflows

import (
	"encoding/json"
	"fmt"
	"strings"

	"breakwater/internal/approval"
	"breakwater/internal/clip"
	"breakwater/internal/plural"
	"breakwater/internal/shell"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/workflow"
)

// detailsMost keeps the current details short enough for the UI, which sends
// them as part of an address.
const detailsMost = 4000

// show makes the status visible in the UI. It sends no command, so it may be
// called as often as anything changes.
func (r *run) show(ctx workflow.Context) {
	r.Status.Run = r.Run
	s := r.view()
	workflow.SetCurrentDetails(ctx, Details(s, s.Open))
}

// Details is the status as the UI shows it, in Markdown: what the run is doing,
// what a person must do now, and what has been proven. Every command and every
// id stands in a code span or block, since the UI's renderer makes dashes and
// quotes of its own anywhere else.
func Details(s wire.Status, g *approval.Gate) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "## %s\n\n%s\n\n", headline(s), s.Doing)
	if s.Finish != nil && s.State != wire.StateEnded {
		fmt.Fprintf(b, "Would finish at `%s` if nobody were waited for.\n\n", s.Finish.Format("15:04:05 MST"))
	}
	if s.Paused != nil {
		writePaused(b, s.Paused)
	}
	if s.Ask != nil {
		writeAsk(b, s, g)
	}
	if s.Gate != nil {
		writeGate(b, s, g)
	}
	for _, x := range s.Refusals {
		fmt.Fprintf(b, "> Refused at `%s`: %s\n\n", x.Time.Format("15:04:05"), span(x.Reason))
	}
	if s.Refused > 0 {
		fmt.Fprintf(b, "> and %d more were refused, which are only counted\n\n", s.Refused)
	}
	writeStages(b, s)
	if len(s.Waived) > 0 {
		b.WriteString("### Waived, and not proven\n\n")
		for _, w := range s.Waived[:min(len(s.Waived), 8)] {
			fmt.Fprintf(b, "* %s: %s\n", span(w.Item), span(strings.Join(w.By, ", ")+": "+w.Reason))
		}
		if n := len(s.Waived) - 8; n > 0 {
			fmt.Fprintf(b, "* and %d more\n", n)
		}
		b.WriteString("\n")
	}
	if len(s.Proven) > 0 {
		b.WriteString("### Proven\n\n")
		for _, p := range s.Proven[max(0, len(s.Proven)-8):] {
			fmt.Fprintf(b, "* %s\n", p)
		}
		b.WriteString("\n")
	}
	if idle := idles(s); len(idle) > 0 {
		b.WriteString("### Nothing to do\n\n")
		for _, l := range idle[max(0, len(idle)-8):] {
			fmt.Fprintf(b, "* %s\n", l)
		}
		b.WriteString("\n")
	}
	if len(s.Obligations) > 0 {
		b.WriteString("### Left to prove\n\n")
		for _, o := range s.Obligations[:min(len(s.Obligations), 5)] {
			fmt.Fprintf(b, "* `%s` %s\n", o.ID, o.What)
		}
		if n := len(s.Obligations) - 5; n > 0 {
			fmt.Fprintf(b, "* and %d more\n", n)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "Ledger head `%s`\n", clip.Bytes(s.Head, 24))
	return clip.Bytes(b.String(), detailsMost)
}

// idles are the steps with nothing to do, and why.
func idles(s wire.Status) []string {
	var all []string
	for _, stage := range s.Stages {
		tier := ""
		if stage.Tier > 0 {
			tier = fmt.Sprintf(", tier %d", stage.Tier)
		}
		for _, st := range stage.Steps {
			if st.State == wire.NothingToDo {
				all = append(all, fmt.Sprintf("%s%s: %s", st.Title, tier, strings.Join(st.None, "; ")))
			}
		}
	}
	return all
}

func headline(s wire.Status) string {
	switch s.State {
	case wire.StateGate:
		return "WAITING FOR APPROVAL"
	case wire.StateAsking:
		return "WAITING FOR A DECISION"
	case wire.StateLedger:
		return "WAITING FOR THE LEDGER"
	case wire.StateEnded:
		switch s.Verdict {
		case verdict.Pass:
			return "ENDED: PASS"
		case verdict.Nothing:
			return "ENDED: NOTHING TO DO"
		case verdict.Unknown:
			return "ENDED: UNKNOWN"
		}
		return "ENDED: NOT PROVEN"
	default:
		if s.Paused != nil {
			return "PAUSED"
		}
		return "RUNNING"
	}
}

func writePaused(b *strings.Builder, p *wire.PauseStatus) {
	fmt.Fprintf(b, "**Paused** by %s: %s. Nothing more is begun", span(p.By), span(orNone(p.Reason)))
	if p.Open != nil {
		fmt.Fprintf(b, "; what lets it go on:\n\n```\n%s\n```", p.Open.Command(approval.Resume))
	}
	b.WriteString("\n\n")
}

func writeAsk(b *strings.Builder, s wire.Status, g *approval.Gate) {
	fmt.Fprintf(b, "**%s**\n\n", s.Ask.Question)
	for _, f := range s.Ask.Findings {
		fmt.Fprintf(b, "* %s\n", span(f))
	}
	fmt.Fprintf(b, "\nAsked: %s. Answer with one of:\n\n```\n", s.Ask.Owner)
	for _, c := range s.Ask.Choices {
		if g != nil {
			fmt.Fprintln(b, g.Command(approval.Verb(c)))
		} else {
			fmt.Fprintln(b, shell.Command("breakwater", "decide", s.Run.Workflow, c))
		}
	}
	fmt.Fprintf(b, "```\n\nor send the signal `decide` with\n\n```\n{\"gate\":%q,\"decision\":%q,\"by\":\"YOUR-NAME\"}\n```\n\n", s.Ask.ID, s.Ask.Choices[0])
	if len(s.Ask.Items) > 0 {
		fmt.Fprintf(b, "What may be waived, by two people: %s\n\n", span(clip.Bytes(strings.Join(s.Ask.Items, ", "), 300)))
	}
	for _, why := range s.Ask.NotOffered {
		fmt.Fprintf(b, "* %s\n", span(why))
	}
}

func writeGate(b *strings.Builder, s wire.Status, g *approval.Gate) {
	v := s.Gate
	fmt.Fprintf(b, "**%s** needs %d of `%s` (%s)", v.Stage, v.Quorum, v.Role, strings.Join(v.Members, ", "))
	if len(v.Approved) > 0 {
		fmt.Fprintf(b, "; approved by %s", strings.Join(v.Approved, ", "))
	}
	fmt.Fprintf(b, ".\n\nPlan `%s`, attempt %d:\n\n", clip.Bytes(v.Root, 16), v.Attempt)
	for _, p := range v.Plan {
		if p.Items == 0 {
			fmt.Fprintf(b, "* **%s**: %s\n", p.Step, wire.NothingToDo)
			continue
		}
		fmt.Fprintf(b, "* **%s**: %s, %s", p.Step, plural.Of(p.Items, "item"), plural.Of(p.Effects, "change"))
		for _, t := range p.Summary[:min(len(p.Summary), 3)] {
			fmt.Fprintf(b, "; %s", span(clip.Bytes(t, 240)))
		}
		b.WriteString("\n")
	}
	for _, c := range v.Changed[:min(len(v.Changed), 3)] {
		fmt.Fprintf(b, "* **changed since the last attempt:** %s\n", span(c))
	}
	for _, l := range v.Losses[:min(len(v.Losses), 4)] {
		fmt.Fprintf(b, "* **gives up** `%s`: %s\n", l.Dataset, l.Words())
	}
	for _, a := range v.Accepts {
		fmt.Fprintf(b, "* **approving accepts:** %s\n", a.Sentence)
	}
	for _, why := range v.NotOffered {
		fmt.Fprintf(b, "* %s\n", span(why))
	}
	fmt.Fprintf(b, "\nApprove, after the command recomputed the plan from the ledger:\n\n```\n%s --as NAME --key FILE\n```\n\n", shell.Command("breakwater", "approve", s.Run.Workflow))
	if g == nil {
		return
	}
	sample, err := json.MarshalIndent(sampleOf(g.Sample(approval.Approve)), "", "  ")
	if err == nil {
		fmt.Fprintf(b, "or send the signal `approve` (`breakwater approve --print` makes it) with\n\n```\n%s\n```\n\n", sample)
	}
}

// sampleOf leaves the plan's root at its first digits, which are enough.
func sampleOf(d approval.Decision) approval.Decision {
	d.Plan = clip.Bytes(d.Plan, 16)
	return d
}

func writeStages(b *strings.Builder, s wire.Status) {
	b.WriteString("### Stages\n\n")
	for _, st := range s.Stages {
		ok, none, of := 0, 0, len(st.Steps)
		doing := ""
		for _, step := range st.Steps {
			switch step.State {
			case "proven", "obligation":
				ok++
			case wire.NothingToDo:
				none++
			case "running":
				doing = fmt.Sprintf(", %s %d of %d", step.Action, step.Verified, step.Items)
			}
		}
		state := st.State
		if state == "" {
			state = "to come"
		}
		fmt.Fprintf(b, "* %s: **%s**, %d of %s proven", st.Title, state, ok, plural.Of(of, "step"))
		if none > 0 {
			fmt.Fprintf(b, ", %d with nothing to do", none)
		}
		b.WriteString(doing + "\n")
	}
	b.WriteString("\n")
}

// span puts text that may hold anything into a code span.
func span(s string) string {
	return "`" + strings.ReplaceAll(strings.ReplaceAll(s, "`", "'"), "\n", " ") + "`"
}
