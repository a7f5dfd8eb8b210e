package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"breakwater/internal/plural"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// jsonView writes each changed status as a line.
type jsonView struct {
	a    *app
	last string
}

func (v *jsonView) show(s wire.Status, problem string) {
	if problem != "" {
		v.a.line("problem", struct {
			Run     string `json:"run"`
			Problem string `json:"problem"`
		}{s.Run.Workflow, problem})
		return
	}
	if now := key(s); now != v.last {
		v.last = now
		v.a.line("status", s)
	}
}

func (v *jsonView) end() {}

// key is what two statuses must differ in to be worth another line: all but the
// forecast, which moves with the clock.
func key(s wire.Status) string {
	s.Finish = nil
	raw, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// lines adds a line for each thing that changed: for logs and pipes.
type lines struct {
	out     io.Writer
	doing   string
	state   wire.State
	problem string
	steps   map[string]string
	proven  int
	refused time.Time
	gate    string
	ask     string
}

func (v *lines) add(format string, args ...any) {
	fmt.Fprintf(v.out, "%s  %s\n", time.Now().UTC().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func (v *lines) show(s wire.Status, problem string) {
	if problem != "" {
		if problem != v.problem {
			v.add("%s", strings.ReplaceAll(problem, "\n", " "))
		}
		v.problem = problem
		return
	}
	v.problem = ""
	changed := s.State != v.state || s.Doing != v.doing
	v.state, v.doing = s.State, s.Doing
	if changed && s.State != wire.StateEnded {
		v.add("%s: %s", s.State, s.Doing)
	}
	if v.steps == nil {
		v.steps = map[string]string{}
	}
	for _, st := range s.Stages {
		for _, step := range st.Steps {
			now := step.State
			if now == "running" {
				now = fmt.Sprintf("running, %d of %d proven", step.Verified, step.Items)
			}
			if now == wire.NothingToDo && len(step.None) > 0 {
				now += ": " + strings.Join(step.None, "; ")
			}
			if now != "" && now != v.steps[step.ID] {
				v.add("%s / %s: %s", st.Title, step.Title, now)
			}
			v.steps[step.ID] = now
		}
	}
	for _, p := range s.Proven[min(v.proven, len(s.Proven)):] {
		v.add("proven: %s", p)
	}
	v.proven = len(s.Proven)
	for _, r := range s.Refusals {
		if r.Time.After(v.refused) {
			v.add("%s: %s", orUnnamed(r.Who), r.Reason)
			v.refused = r.Time
		}
	}
	v.waiting(s)
	if changed && s.State == wire.StateEnded { // what led to the end comes before it
		v.add("%s: %s", s.State, s.Doing)
	}
}

// waiting says what the run waits for, once per gate and question.
func (v *lines) waiting(s wire.Status) {
	gate := ""
	if g := s.Gate; g != nil {
		gate = fmt.Sprint(g.ID, g.Attempt, len(g.Approved))
		if gate != v.gate {
			v.add("gate %s, attempt %d: %d of %d approved; members of %s: %s", g.ID, g.Attempt, len(g.Approved), g.Quorum, g.Role, strings.Join(g.Members, ", "))
			v.add("  %s --key FILE", cmd("approve", s.Run.Workflow))
		}
	}
	ask := ""
	if q := s.Ask; q != nil {
		ask = q.ID
		if ask != v.ask {
			v.add("%s asked: %s", q.Owner, q.Question)
			for _, f := range q.Findings {
				v.add("  found: %s", f)
			}
			v.add("  %s %s", cmd("decide", s.Run.Workflow), strings.Join(q.Choices, "|"))
		}
	}
	v.gate, v.ask = gate, ask
}

func (v *lines) end() {}

func orUnnamed(who string) string {
	if who == "" {
		return "somebody unnamed"
	}
	return who
}

// screen draws the picture anew in place, and leaves the last one standing.
type screen struct {
	out   io.Writer
	size  func() (width, height int)
	drawn int // lines on the screen
}

func (v *screen) show(s wire.Status, problem string) {
	width, height := v.size()
	text := picture(s, problem, time.Now(), width, height-1, colours())
	up := ""
	if v.drawn > 0 {
		up = fmt.Sprintf("\x1b[%dA", v.drawn)
	}
	fmt.Fprint(v.out, up+"\r\x1b[J"+text+"\n")
	v.drawn = strings.Count(text, "\n") + 1
}

func (v *screen) end() {}

// styles are how the parts of a picture look.
type styles struct{ title, good, bad, wait, dim func(...string) string }

func plainStyles() styles {
	same := func(s ...string) string { return strings.Join(s, " ") }
	return styles{same, same, same, same, same}
}

func colours() styles {
	st := func(c string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(c)) }
	return styles{
		title: lipgloss.NewStyle().Bold(true).Render, good: st("2").Render, bad: st("1").Bold(true).Render,
		wait: st("3").Bold(true).Render, dim: lipgloss.NewStyle().Faint(true).Render,
	}
}

// picture is a run on one screen: no line is wider, and there are no more lines
// than fit, the stages that are far from now left out first.
func picture(s wire.Status, problem string, now time.Time, width, height int, st styles) string {
	head := headLines(s, problem, now, width, st)
	wait := waitLines(s, width, st)
	tail := tailLines(s, width, st)
	room := height - len(head) - len(wait) - len(tail)
	stages := stageLines(s, room, st)
	stages = stages[:max(0, min(room, len(stages)))] // what waits matters more
	all := append(head, stages...)
	all = append(append(all, wait...), tail...)
	for i, l := range all {
		// Commands are to be pasted: their line is left whole.
		if strings.HasPrefix(l, "  breakwater ") && height >= 1000 {
			continue
		}
		all[i] = ansi.Truncate(l, width, "…")
	}
	return strings.Join(all, "\n")
}

func headLines(s wire.Status, problem string, now time.Time, width int, st styles) []string {
	state := st.title(string(s.State))
	switch s.State {
	case wire.StateGate, wire.StateAsking, wire.StateLedger:
		state = st.wait(strings.ToUpper(strings.ReplaceAll(string(s.State), "-", " ")))
	case wire.StateEnded:
		switch s.Verdict {
		case verdict.Pass:
			state = st.good("ENDED: pass")
		case verdict.Nothing:
			state = st.dim("ENDED: " + wire.NothingToDo)
		case verdict.Unknown:
			state = st.wait("ENDED: unknown")
		default:
			state = st.bad("ENDED: " + s.Verdict.String())
		}
	case "":
		state = st.dim("not known yet")
	}
	out := []string{st.title(s.Run.Workflow) + "  " + state}
	if s.Run.Runbook != "" {
		about := fmt.Sprintf("%s of %s, mode %s", s.Run.Runbook, s.Estate, s.Run.Mode)
		if s.Run.Source != "" {
			about += fmt.Sprintf(", %s to %s", s.Run.Source, s.Run.Target)
		}
		if s.Run.Incident != "" {
			about += ", " + s.Run.Incident
		}
		out = append(out, about)
		times := fmt.Sprintf("running for %s", ago(now.Sub(s.Run.Started)))
		if s.State == wire.StateEnded {
			times = "started " + s.Run.Started.UTC().Format("2006-01-02 15:04:05 UTC")
		} else if finish := finish(s, now); !finish.IsZero() {
			times += fmt.Sprintf("; would finish at %s UTC if nobody were waited for", finish.UTC().Format("15:04:05"))
		}
		out = append(out, st.dim(times))
	}
	if s.Doing != "" && (s.State == wire.StateRunning || s.State == wire.StateStarting) {
		out = append(out, wrap("now: "+s.Doing, width, "     ")...)
	}
	if problem != "" {
		for i, l := range wrap(strings.ReplaceAll(problem, "\n", " "), width, "  ") {
			if i < 4 {
				out = append(out, st.bad(l))
			}
		}
	}
	return append(out, "")
}

// finish is the forecast as of now: what people take at a gate comes on top. It
// is zero where there is none that holds.
func finish(s wire.Status, now time.Time) time.Time {
	switch {
	case s.Finish == nil:
		return time.Time{}
	case s.Gate != nil && now.After(s.Gate.Opened):
		return s.Finish.Add(now.Sub(s.Gate.Opened))
	case s.Finish.Before(now):
		return time.Time{}
	}
	return *s.Finish
}

// stageLines shows the stages, with the steps of the one that is at work. Where
// there is no room for all, those around it.
func stageLines(s wire.Status, room int, st styles) []string {
	if len(s.Stages) == 0 {
		return nil
	}
	at := min(s.Current, len(s.Stages)-1)
	steps := s.Stages[at].Steps
	if s.Gate != nil || s.State == wire.StateEnded { // the gate lists them
		steps = nil
	}
	from, to := 0, len(s.Stages)
	if to+len(steps)+1 > room {
		most := max(1, room-len(steps)-3) // two lines say what was left out
		from = max(0, min(at-1, to-most))
		to = min(to, from+most)
	}
	var out []string
	if from > 0 {
		out = append(out, st.dim(fmt.Sprintf("  … %s before", plural.Of(from, "stage"))))
	}
	for i := from; i < to; i++ {
		stage := s.Stages[i]
		ok, none := 0, 0
		for _, step := range stage.Steps {
			switch step.State {
			case "proven", "obligation":
				ok++
			case wire.NothingToDo:
				none++
			}
		}
		mark := "  "
		if i == at && s.State != wire.StateEnded {
			mark = "> "
		}
		word := stage.State
		switch word {
		case "proven":
			word = st.good(word)
		case "waiting":
			word = st.wait(word)
		case wire.NothingToDo:
			word = st.dim(word)
		}
		line := fmt.Sprintf("%s%-38s %s", mark, stage.Title, word)
		if ok > 0 && stage.State != "proven" {
			line += fmt.Sprintf(" %d of %d proven", ok, len(stage.Steps))
		}
		if none > 0 && none < len(stage.Steps) {
			line += st.dim(fmt.Sprintf(", %d %s", none, wire.NothingToDo))
		}
		out = append(out, line)
		if i == at {
			for _, step := range steps {
				out = append(out, stepLine(step, st))
			}
		}
	}
	if n := len(s.Stages) - to; n > 0 {
		out = append(out, st.dim(fmt.Sprintf("  … %s to come", plural.Of(n, "stage"))))
	}
	return append(out, "")
}

func stepLine(step wire.StepStatus, st styles) string {
	word := step.State
	switch word {
	case "proven":
		word = st.good(word)
	case "failed":
		word = st.bad(word)
	case "unknown":
		word = st.wait(word)
	case wire.NothingToDo:
		word = st.dim(word)
	case "running":
		word = st.title(fmt.Sprintf("%d of %d applied, %d proven", step.Applied, step.Items, step.Verified))
	case "planned":
		word = fmt.Sprintf("planned, %s", count(step.Items, "item"))
	}
	title := ansi.Truncate(step.Title, 44, "…")
	return fmt.Sprintf("    - %-44s %s", title, word)
}

// waitLines says what the run waits for, and the command that answers.
func waitLines(s wire.Status, width int, st styles) []string {
	var out []string
	if g := s.Gate; g != nil {
		for _, l := range wrap(fmt.Sprintf("Gate %q, attempt %d, needs %s by %s", g.Stage, g.Attempt, people(g.Quorum), g.Role), width, "  ") {
			out = append(out, st.wait(l))
		}
		who := "members: " + strings.Join(g.Members, ", ")
		if len(g.Approved) > 0 {
			who += "; approved by " + strings.Join(g.Approved, ", ")
		}
		out = append(out, wrap(who, width, "  ")...)
		for _, p := range g.Plan {
			if p.Items == 0 {
				out = append(out, st.dim(fmt.Sprintf("  %s: %s", p.Step, wire.NothingToDo)))
				continue
			}
			out = append(out, fmt.Sprintf("  %s: %s, %s", p.Step, count(p.Items, "item"), count(int(p.Effects), "change")))
		}
		for _, c := range g.Changed[:min(3, len(g.Changed))] {
			out = append(out, wrap("  changed since the last attempt: "+c, width, "    ")...)
		}
		for _, l := range g.Losses[:min(4, len(g.Losses))] {
			out = append(out, wrap("  gives up "+l.Dataset+": "+l.Words(), width, "    ")...)
		}
		for _, c := range g.Accepts {
			out = append(out, wrap("  approving accepts: "+c.Sentence, width, "    ")...)
		}
		out = append(out, "  "+cmd("approve", s.Run.Workflow)+" --key FILE", "")
	}
	if q := s.Ask; q != nil {
		for _, l := range wrap(q.Owner+" is asked: "+q.Question, width, "  ") {
			out = append(out, st.wait(l))
		}
		for _, f := range q.Findings {
			out = append(out, wrap("  found: "+f, width, "    ")...)
		}
		out = append(out, "  "+cmd("decide", s.Run.Workflow)+" "+strings.Join(q.Choices, "|"), "")
	}
	if n := len(s.Refusals); n > 0 {
		r := s.Refusals[n-1]
		out = append(out, wrap(fmt.Sprintf("at %s %s: %s", r.Time.UTC().Format("15:04:05"), orUnnamed(r.Who), r.Reason), width, "  ")...)
		out = append(out, "")
	}
	return out
}

// tailLines says what has been proven last, and what is left.
func tailLines(s wire.Status, width int, st styles) []string {
	var out []string
	if n := len(s.Proven); n > 0 {
		out = append(out, st.good("last proven: ")+s.Proven[n-1])
	}
	if n := len(s.Obligations); n > 0 {
		out = append(out, st.wait(fmt.Sprintf("%s open: ", count(n, "obligation")))+s.Obligations[n-1].What)
	}
	if s.State == wire.StateEnded && s.Why != "" {
		out = append(out, wrap("why: "+s.Why, width, "  ")...)
	}
	if s.State == wire.StateEnded && s.Why == "" && s.Doing != "" {
		out = append(out, wrap(s.Doing, width, "  ")...)
	}
	if s.Head != "" {
		out = append(out, st.dim("ledger head "+ansi.Truncate(s.Head, 24, "…")))
	}
	return out
}

func people(n int) string {
	if n == 1 {
		return "one approval"
	}
	return plural.Of(n, "approval")
}

// count is a number of things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// wrap breaks text into lines of at most width, the later ones behind indent.
// Spaces within a line stay as they are.
func wrap(text string, width int, indent string) []string {
	lead := text[:len(text)-len(strings.TrimLeft(text, " "))]
	line, gap := lead, ""
	var out []string
	for word := range strings.SplitSeq(strings.ReplaceAll(text[len(lead):], "\n", " "), " ") {
		switch {
		case word == "":
			gap += " "
			continue
		case strings.TrimSpace(line) != "" && ansi.StringWidth(line+gap+word) > width:
			out = append(out, line)
			line, gap = indent, ""
		}
		line, gap = line+gap+word, " "
	}
	return append(out, line)
}
