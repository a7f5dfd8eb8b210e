package report_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"pgregory.net/rapid"
)

// TestHostileNames gives a table a name that every form could mistake for its
// own language.
func TestHostileNames(t *testing.T) {
	name := "o\"'<script>alert(1)</script>|x`y`\x1b[31m\u202e](javascript:alert(2))\n# T\n</style></svg><!--" + strings.Repeat(" # T", 30)
	r := whole(t, memory{}, name).report()
	r.Why, r.Incident, r.Run.Workflow = name, name, "wf-"+name
	var html, markdown, text, js bytes.Buffer
	for _, err := range []error{r.HTML(&html), r.Markdown(&markdown), r.Text(&text, 200), r.JSON(&js)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(html.String(), "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the page does not show the name")
	}
	for form, out := range map[string]string{"HTML": html.String(), "Markdown": markdown.String(), "JSON": js.String()} {
		for _, bad := range []string{"<script", "<!--", "](javascript"} {
			if bad == "](javascript" && form != "Markdown" {
				continue // means something in Markdown alone
			}
			if i := strings.Index(outsideCode(form, out), bad); i >= 0 {
				t.Errorf("the %s form has %q in it", form, bad)
			}
		}
	}
	if strings.Count(html.String(), "</style>") != 1 {
		t.Error("the name ends the page's style")
	}
	if made := regexp.MustCompile(`(?m)^ *# T`).FindAllString(markdown.String(), -1); len(made) > 0 {
		t.Errorf("the name makes %d headings", len(made))
	}
	for form, out := range map[string]string{"HTML": html.String(), "Markdown": markdown.String(), "text": text.String()} {
		for _, c := range out {
			if unicode.IsControl(c) && c != '\n' || c == '\u202e' {
				t.Errorf("the %s form has control character %U", form, c)
				break
			}
		}
	}
	for line := range strings.Lines(markdown.String()) { // a cell too many moves all that follow
		if strings.HasPrefix(line, "| ") && strings.Contains(line, "script") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") > 9 {
			t.Errorf("the name makes cells: %s", line)
		}
	}
}

// outsideCode leaves out code blocks and spans of Markdown, in which nothing has a meaning.
func outsideCode(form, out string) string {
	if form != "Markdown" {
		return out
	}
	var b strings.Builder
	prose := ""
	for i, block := range strings.Split(out, "\n```\n") {
		if i%2 == 0 {
			prose += block
		}
	}
	for i, part := range strings.Split(strings.NewReplacer("\\`", "", `\]`, "").Replace(prose), "`") {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

func TestPageNeedsNothingElse(t *testing.T) {
	var page bytes.Buffer
	if err := whole(t, memory{}, "orders").report().HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, outside := range []string{"http://", "https://", "src=", "href=", "url(", "@import", "<script", "<link", "<img"} {
		if strings.Contains(page.String(), outside) {
			t.Errorf("the page has %q in it", outside)
		}
	}
}

func TestTextFits(t *testing.T) {
	r := whole(t, memory{}, "orders").report()
	for range 5 { // many of everything
		r.Milestones = append(r.Milestones, r.Milestones...)
		r.Recovery = append(r.Recovery, r.Recovery...)
		r.Obligations = append(r.Obligations, r.Obligations...)
	}
	r.Summary = "NotProven: something"
	for _, width := range []int{0, 60, 100} {
		var out bytes.Buffer
		if err := r.Text(&out, width); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for line := range strings.Lines(out.String()) {
			lines++
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > max(width, 40) {
				t.Errorf("at width %d a line has %d characters: %s", width, n, line)
			}
		}
		if lines > 25 {
			t.Errorf("at width %d it has %d lines", width, lines)
		}
	}
}

// TestPassesAreCapped shows that a large run lists all that did not pass, and of
// the rest a few of every step.
func TestPassesAreCapped(t *testing.T) {
	b := newBook(t, memory{})
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, nil)
	const step = "restore@tier-1/table.promote"
	var docs []ledger.DocRef
	for i := range 700 {
		docs = append(docs, b.doc(step, fmt.Sprint(i), 1, ledger.DocObserved, wire.ObservedDoc{
			Step: step, Item: thing(fmt.Sprint(i)), Observations: []action.Observation{saw("whole", "all", "all", i%2 == 0)},
		}))
	}
	b.entry(ledger.Observed, "restore@tier-1", step, wire.ObservedBody{Attempt: 1, Verdict: verdict.Fail, Passed: 350, Failed: 350, Findings: []string{"1: x"}}, docs...)
	b.observe("fence", "fence/storage.fence", "lake", 1, nil, false, saw("denied", "denied", "denied", true))
	r := b.report()
	bad, fence := 0, 0
	for _, o := range r.Observations {
		if o.Verdict != verdict.Pass {
			bad++
		}
		if o.Step == "fence/storage.fence" {
			fence++
		}
	}
	if bad != 350 || fence != 1 || len(r.Observations) != 550 || r.Seen.Passed != 351 || r.Seen.Failed != 350 || r.Seen.Listed != 550 {
		t.Errorf("%d did not pass, %d of the fence, %d listed, counts %+v", bad, fence, len(r.Observations), r.Seen)
	}
}

// TestTimeAddsUp: whatever the run did when, the parts of every clock add up to
// its whole.
func TestTimeAddsUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBook(t, memory{})
		b.compiled, b.estate = failover(t, "orders")
		var detected *time.Time
		if rapid.Bool().Draw(rt, "detected") { // perhaps before the outage, or after the start
			detected = ptr(outage.Add(time.Duration(rapid.IntRange(-100, 300).Draw(rt, "at")) * time.Second))
		}
		b.start(action.ModeLive, detected)
		stages := b.compiled.Stages
		for range rapid.IntRange(0, 8).Draw(rt, "entries") {
			s := rapid.SampledFrom(stages).Draw(rt, "stage")
			b.pass(float64(rapid.IntRange(0, 50).Draw(rt, "pause")))
			switch rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0:
				b.plan(s.ID)
			case 1:
				b.open(s.ID, "incident-commander", 1)
			case 2:
				b.close(s.ID, "incident-commander", 1, "approve")
			case 3: // by a worker whose clock is off
				start := b.now.Add(time.Duration(rapid.IntRange(-500, 500).Draw(rt, "skew")) * time.Second)
				end := start.Add(time.Duration(rapid.IntRange(-5, 200).Draw(rt, "took")) * time.Second)
				b.observe(s.ID, s.Steps[0].ID, "x", 1, []wire.Interval{{Phase: wire.VerifyPhase, Start: start, End: end}}, false)
			case 4:
				b.milestone(s.ID, s.Milestone, s.Tier)
			}
		}
		if rapid.Bool().Draw(rt, "ended") {
			b.end(verdict.Pass, "proven", "")
		}
		r := b.report()
		clocks := map[string][]float64{"run": {r.Time.Detect, r.Time.Decide, r.Time.Wait, r.Time.Execute, r.Time.Verify, r.Time.Overhead, r.Time.Total}}
		for _, x := range r.Tiers {
			clocks[fmt.Sprint("tier ", x.Tier)] = []float64{x.Time.Detect, x.Time.Decide, x.Time.Wait, x.Time.Execute, x.Time.Verify, x.Time.Overhead, x.Time.Total}
		}
		for name, c := range clocks {
			sum := 0.0
			for _, part := range c[:6] {
				if part < 0 {
					rt.Errorf("%s has a part of %v s", name, part)
				}
				sum += part
			}
			if d := sum - c[6]; d > 1e-6 || d < -1e-6 {
				rt.Errorf("the parts of the %s's time make %v s, the whole is %v s", name, sum, c[6])
			}
		}
		from := r.Started
		if r.OutageStart != nil {
			from = *r.OutageStart
		}
		if got := r.AsOf.Sub(from).Seconds(); r.Ended == nil && r.Time.Total != got {
			rt.Errorf("the whole is %v s, want %v s", r.Time.Total, got)
		}
	})
}
