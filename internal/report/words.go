package report

import (
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/clip"
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// clean makes text that came from outside safe to print.
func clean(s string) string { return clip.Clean(s) }

// duration is seconds as people say them.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	switch {
	case d < 0:
		return "-" + duration(-seconds)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		if d = d.Round(time.Second); d%time.Minute == 0 {
			return fmt.Sprintf("%d min", int(d.Minutes()))
		}
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		if d = d.Round(time.Minute); d%time.Hour == 0 {
			return fmt.Sprintf("%d h", int(d.Hours()))
		}
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// moment is a point in time, to the second; clockTime leaves the date out.
func moment(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04:05Z") }

// number writes n with its thousands apart.
func number(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// lost says an interval of a loss; what nobody can bound is said to be so.
func lost(l recovery.Loss) string {
	switch c := l.Count; {
	case l.LeftOut():
		return "unknown"
	case c.AtMost == nil:
		return fmt.Sprintf("at least %s %s, no upper bound", number(c.AtLeast), l.Unit)
	case *c.AtMost == 0 && l.Exact:
		return "nothing"
	case *c.AtMost == c.AtLeast && l.Exact:
		return fmt.Sprintf("exactly %s %s", number(c.AtLeast), l.Unit)
	default:
		return fmt.Sprintf("%s to %s %s", number(c.AtLeast), number(*c.AtMost), l.Unit)
	}
}

// lostSeconds says how far back a dataset went.
func lostSeconds(l recovery.Loss) string {
	switch s := l.Seconds; {
	case l.LeftOut():
		return "unknown"
	case s.AtMost == nil:
		return fmt.Sprintf("at least %s, no upper bound", duration(s.AtLeast))
	case *s.AtMost == s.AtLeast:
		return duration(s.AtLeast)
	default:
		return duration(s.AtLeast) + " to " + duration(*s.AtMost)
	}
}

// pointOf is the recovery point of a dataset in words.
func pointOf(l recovery.Loss) string {
	if l.LeftOut() {
		return "did not come back here"
	}
	at := l.RecoveryPoint.UTC().Format("15:04:05.000Z")
	if l.Version != nil {
		return fmt.Sprintf("version %d, %s", *l.Version, at)
	}
	return "mirrored to " + at
}

// objective says how something stands against an objective in seconds.
func objective(met verdict.Verdict, seconds float64) string {
	switch {
	case seconds <= 0:
		return "no objective"
	case met == verdict.Pass:
		return "met (" + duration(seconds) + ")"
	case met == verdict.Fail:
		return "missed (" + duration(seconds) + ")"
	}
	return "unknown (" + duration(seconds) + ")"
}

// headline is the verdict in a few words, for the top of every form.
func (r Report) headline() string {
	word := strings.ToUpper(r.Verdict.String())
	switch {
	case r.Verdict == verdict.Nothing:
		return strings.ToUpper(wire.NothingToDo)
	case r.How == "running":
		return word + ": still running"
	case r.Verdict == verdict.Pass && r.Mode == action.ModePlan:
		return word + ": planned, nothing was changed"
	case r.Verdict == verdict.Pass && r.Mode == action.ModeDrill:
		return word + " (drill)"
	}
	return word
}

// open says how many obligations there are.
func (r Report) open() string {
	switch n := len(r.Obligations); n {
	case 0:
		return "no obligation open"
	case 1:
		return "1 obligation open"
	default:
		return fmt.Sprintf("%s open", plural.Of(n, "obligation"))
	}
}

// missed says how many objectives were missed: a run may prove everything that
// it did, too late.
func (r Report) missed() string {
	var words []string
	count := func(n int, what string) {
		switch {
		case n == 1:
			words = append(words, "1 "+what+" missed")
		case n > 1:
			words = append(words, fmt.Sprintf("%d %ss missed", n, what))
		}
	}
	rto, rpo := 0, 0
	for _, m := range r.Milestones {
		if m.Met == verdict.Fail {
			rto++
		}
	}
	for _, l := range r.Recovery {
		if l.Met == verdict.Fail {
			rpo++
		}
	}
	count(rto, "RTO")
	count(rpo, "RPO")
	return strings.Join(words, ", ")
}

// route is from where to where the run moved.
func (r Report) route() string {
	if r.Source == "" && r.Target == "" {
		return "no regions named"
	}
	return r.Source + " to " + r.Target
}

// owner is who answers for an obligation.
func owner(o action.Obligation) string {
	if o.Owner == "" {
		return "NO OWNER"
	}
	if o.Due == "" {
		return o.Owner + ", no date"
	}
	return o.Owner + ", due " + o.Due
}

// part is one part of the clock, in the order in which it is shown.
type part struct {
	Name, What string
	Seconds    float64
}

func parts(t recovery.Breakdown) []part {
	return []part{
		{"detect", "from the outage to the alarm", t.Detect},
		{"decide", "from the alarm to the start of the run", t.Decide},
		{"wait", "a gate or a question was open", t.Wait},
		{"execute", "planning, applying, taking back", t.Execute},
		{"verify", "looking at the real systems", t.Verify},
		{"overhead", "nothing ran and nobody was asked", t.Overhead},
	}
}

// title finds a step's words by its id, and its stage's.
func (r Report) title(step string) string {
	for _, s := range r.Stages {
		for _, p := range s.Steps {
			if p.ID == step {
				return p.Title
			}
		}
	}
	return step
}

// stageTitle finds a stage's words by its id, with its tier.
func (r Report) stageTitle(id string) string {
	for _, s := range r.Stages {
		if s.ID == id {
			return s.name()
		}
	}
	return id
}

func (s Stage) name() string {
	if s.Tier > 0 {
		return fmt.Sprintf("%s, tier %d", s.Title, s.Tier)
	}
	return s.Title
}

// seconds is how long the stage took; 0 where it was not reached.
func (s Stage) seconds() float64 {
	if s.Started == nil || s.Ended == nil {
		return 0
	}
	return s.Ended.Sub(*s.Started).Seconds()
}
