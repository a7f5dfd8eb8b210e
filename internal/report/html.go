package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"breakwater/internal/verdict"
)

//go:embed page.html
var pageSource string

// pageTemplate escapes by context: whatever a table is called, it stays text.
var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"duration": duration, "number": number, "moment": moment, "clock": clockTime,
	"lost": lost, "lostSeconds": lostSeconds, "point": pointOf, "objective": objective, "owner": owner,
	"tier": tierName, "orWord": orWord, "clean": clean, "tone": tone, "gateName": gateName, "quorumOf": quorumOf,
	"reply": Asked.reply, "sentence": Evidence.sentence, "words": Evidence.words, "word": Kind.word, "counts": Counts.sentence, "name": Stage.name, "until": Tier.until,
	"when": Milestone.when, "brief": brief, "tierTitle": Tier.name, "proved": func(a Approval) bool { return !strings.Contains(a.Proof, "NOT") },
	"cut":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000Z") },
	"short": func(s string) string { return fit(clean(s), 200) },
	"plain": func(s Step) bool { return s.State == Proven || s.State == TakenBack },
	"state": stateTone, "none": func(s Step) string { return strings.Join(s.None, "; ") },
}).Parse(pageSource))

// segment is one rectangle of a bar, in thousandths of its width.
type segment struct {
	Class, Title string
	X, Width     float64
}

// view is what the page shows, beside the report itself.
type view struct {
	Report
	Headline, Missed, Tone, Command string
	Identity                        [][2]string
	Parts                           []part
	Bar                             []segment
	Reach                           []reach
	Lanes                           []lane
	Findings, Passed, Nothing       []Observation
	MoreFindings                    int
	ShowClock                       bool
}

// reach is a milestone against its objective.
type reach struct {
	Milestone
	Used, Limit float64 // thousandths of the bar
}

// lane is a stage on the timeline.
type lane struct {
	Stage
	Seconds  float64
	Segments []segment
	Troubles []trouble
}

// trouble is a finding of a step, shown under its stage.
type trouble struct{ Step, Attempt, Text, Tone string }

// findingsPage is how many observations that did not pass the page lists; the
// JSON has all of them.
const findingsPage = 300

// HTML writes the report as one page that needs nothing else: no script, no
// font, no picture from anywhere. It can be kept, mailed and printed.
func (r Report) HTML(w io.Writer) error {
	v := view{
		Report: r, Headline: r.headline(), Missed: r.missed(), Tone: tone(r.Verdict), Command: r.verifyCommand(),
		Identity: r.identity(), Parts: parts(r.Time), ShowClock: r.Time.Total > 0,
	}
	v.bar()
	v.reached()
	v.lanes()
	for _, o := range r.Observations {
		switch o.Verdict {
		case verdict.Pass:
			v.Passed = append(v.Passed, o)
		case verdict.Nothing:
			v.Nothing = append(v.Nothing, o)
		default:
			v.Findings = append(v.Findings, o)
		}
	}
	if n := len(v.Findings) - findingsPage; n > 0 {
		v.Findings, v.MoreFindings = v.Findings[:findingsPage], n
	}
	if err := pageTemplate.Execute(w, v); err != nil {
		return fmt.Errorf("write the report of %s as HTML: %w", r.Run, err)
	}
	return nil
}

// Title finds a step's words.
func (v view) Title(step string) string { return v.title(step) }

// StageTitle finds a stage's words.
func (v view) StageTitle(id string) string { return v.stageTitle(id) }

func (v *view) bar() {
	x := 0.0
	for _, p := range v.Parts {
		if p.Seconds <= 0 {
			continue
		}
		width := p.Seconds / v.Time.Total * 1000
		v.Bar = append(v.Bar, segment{Class: p.Name, Title: p.Name + ": " + duration(p.Seconds), X: x, Width: width})
		x += width
	}
}

func (v *view) reached() {
	for _, m := range v.Milestones {
		all := max(m.RTOSeconds, m.Seconds)
		r := reach{Milestone: m}
		if all > 0 {
			r.Used, r.Limit = m.Seconds/all*1000, m.RTOSeconds/all*1000
		}
		v.Reach = append(v.Reach, r)
	}
}

// lanes puts every stage on one line of time, from the start of the run on.
func (v *view) lanes() {
	end := v.AsOf
	if v.Ended != nil {
		end = *v.Ended
	}
	whole := end.Sub(v.Started).Seconds()
	for _, s := range v.Stages {
		l := lane{Stage: s, Seconds: s.seconds()}
		add := func(class, title string, from, to time.Time) {
			x, until := from.Sub(v.Started).Seconds()/whole, to.Sub(v.Started).Seconds()/whole
			x, until = max(0, min(1, x)), max(0, min(1, until))
			l.Segments = append(l.Segments, segment{class, title, x * 1000, max(2, (until-x)*1000)})
		}
		if whole > 0 && s.Started != nil {
			add("overhead", s.name()+": "+duration(l.Seconds), *s.Started, *s.Ended)
			spans := slices.Clone(s.Spans)
			order := []string{"verify", "execute", "wait"} // what outranks is drawn later
			for _, kind := range order {
				for _, i := range spans {
					if string(i.Kind) == kind {
						add(kind, kind+": "+duration(i.End.Sub(i.Start).Seconds()), i.Start, i.End)
					}
				}
			}
		}
		for _, p := range s.Steps {
			for _, t := range p.Tries {
				if t.Verdict.Clear() {
					continue
				}
				for _, f := range append(slices.Clone(t.Errors), t.Findings...) {
					l.Troubles = append(l.Troubles, trouble{p.Title, fmt.Sprint(t.Attempt), f, tone(t.Verdict)})
				}
			}
			if len(p.Tries) == 0 {
				for _, f := range p.Findings {
					l.Troubles = append(l.Troubles, trouble{p.Title, fmt.Sprint(max(1, p.Attempts)), f, tone(p.Verdict)})
				}
			}
		}
		v.Lanes = append(v.Lanes, l)
	}
}

// tone is the colour of a verdict; the word always stands beside it.
func tone(v verdict.Verdict) string {
	if v == verdict.Nothing {
		return "none"
	}
	return v.String()
}

func stateTone(s State) string {
	switch s {
	case Proven, TakenBack:
		return "pass"
	case NotProven, NotTakenBack:
		return "fail"
	case WithObligation, Began, NotKnown:
		return "unknown"
	default:
		return "none"
	}
}
