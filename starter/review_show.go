package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/clip"
	"breakwater/internal/estate"
	"breakwater/internal/plural"
	"breakwater/internal/review"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// How much is shown of what may be many, unless all is asked for.
const (
	linesShown  = 12 // changes of an item, differences, losses
	namesShown  = 3  // items of a group
	groupsShown = 8  // kinds of change in a step
	nameWidth   = 40 // of an item's name
)

// styles are colours on a terminal, and plain text elsewhere.
func (a *app) styles(w io.Writer) styles {
	if terminal(w) {
		return colours()
	}
	return plainStyles()
}

// sheet is what a person reads before signing: no line is wider than a terminal, and
// nothing that came from outside moves its cursor.
type sheet struct {
	w  io.Writer
	st styles
}

func plain(s ...string) string { return strings.Join(s, " ") }

// put writes a text behind an indent, its further lines behind rest.
func (p sheet) put(style func(...string) string, indent, rest, text string) {
	for _, l := range wrap(indent+clip.Clean(text), 80, rest) {
		fmt.Fprintln(p.w, style(clip.Text(l, 300)))
	}
}

func (p sheet) line(text string)  { p.put(plain, "  ", "    ", text) }
func (p sheet) title(text string) { fmt.Fprintln(p.w); p.put(p.st.title, "", "  ", text) }

// fact writes a name and its value.
func (p sheet) fact(style func(...string) string, name, text string) {
	const width = 12
	for i, l := range wrap(strings.Repeat(" ", width)+clip.Clean(text), 80, strings.Repeat(" ", width)) {
		if i == 0 {
			l = fmt.Sprintf("  %-*s", width-2, name) + style(strings.TrimLeft(l, " "))
		}
		fmt.Fprintln(p.w, l)
	}
}

// show writes everything that is to be signed: which run, from where, what it does, what
// it gives up and accepts, and whom to call.
func (r *reviewed) show(w io.Writer, st styles, all bool, now time.Time) {
	p := sheet{w, st}
	r.showFacts(p, now)
	if len(r.differs) > 0 || !r.atHand {
		r.showEstate(p, all)
	}
	if len(r.body.Changed) > 0 {
		p.title("Changed since the last attempt")
		some(p, r.body.Changed, linesShown, all, "change", func(c string) { p.line(c) })
	}
	for _, s := range r.read {
		r.showStep(p, s, all)
	}
	r.showIdle(p)
	if len(r.lacking) > 0 {
		p.title("Not planned, and so not approved by this")
		some(p, r.lacking, linesShown, all, "item", func(why string) { p.put(p.st.bad, "  ", "    ", why) })
	}
	p.title("Whom to call")
	for _, c := range r.contacts {
		var who []string
		for _, m := range c.Members {
			who = append(who, strings.TrimSpace(m.Name+" "+m.Contact))
		}
		p.line(fmt.Sprintf("%s (%s): %s", c.Role, strings.Join(c.Why, "; "), orElse(strings.Join(who, ", "), "nobody")))
	}
	r.showLosses(p, all)
	if len(r.accepts) > 0 {
		p.title("Approving accepts")
		for _, a := range r.accepts {
			text := a.Sentence
			if n := len(a.Items); n > 0 {
				text = fmt.Sprintf("%d alike: %s (%s)", n, text, names(a.Items, all))
			}
			p.put(p.st.wait, "  ", "    ", text)
		}
	}
	fmt.Fprintln(w)
	p.put(p.st.title, "", "  ", r.short())
}

// short is all of it in a sentence, for whoever sees the last lines alone.
func (r *reviewed) short() string {
	items, effects, unlike := 0, 0, 0
	for _, s := range r.read {
		items, effects = items+s.Items, effects+s.Effects
		for i, g := range s.Groups {
			out := map[string]bool{}
			for _, o := range g.Outliers {
				for _, item := range o.Items {
					out[item] = true
				}
			}
			if unlike += len(out); i > 0 && len(g.Items) <= review.Few && len(s.Groups[0].Items) > review.Few {
				unlike += len(g.Items)
			}
		}
	}
	text := fmt.Sprintf("In short: %s, %s of %s", r.name(), plural.Of(effects, "change"), plural.Of(items, "item"))
	if unlike > 0 {
		text += fmt.Sprintf(", of which %s", plural.Of(unlike, "item", "stands out", "stand out"))
	}
	giving := 0
	for _, l := range r.losses {
		giving += len(l.Datasets)
	}
	if giving > 0 {
		text += fmt.Sprintf("; gives up data of %s", plural.Of(giving, "dataset"))
	}
	if n := len(r.lacking); n > 0 {
		text += fmt.Sprintf("; %s without a plan", plural.Of(n, "item", "is", "are"))
	}
	if n := len(r.accepts); n > 0 {
		text += fmt.Sprintf("; accepts %s", plural.Of(n, "risk"))
	}
	if n := len(r.differs); n > 0 {
		text += fmt.Sprintf("; for an estate that is not yours in %s", plural.Of(n, "field"))
	}
	return text + "."
}

// some writes the first few of a list, and how many more there are.
func some[T any](p sheet, list []T, most int, all bool, thing string, each func(T)) {
	for i, v := range list {
		if i == most && !all && len(list) > most+1 {
			p.put(p.st.wait, "  ", "    ", fmt.Sprintf("… and %s; see all with --all", plural.Of(len(list)-i, "more "+thing)))
			return
		}
		each(v)
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (r *reviewed) showFacts(p sheet, now time.Time) {
	f := r.facts
	p.put(p.st.title, "", "  ", fmt.Sprintf("%s: gate %s, attempt %d", r.name(), f.Gate, f.Attempt))
	r.showRun(p, now)
	asked := fmt.Sprintf("%s of %s, asked %s ago", people(f.Quorum), f.Role, ago(now.Sub(f.Opened)))
	if len(f.Approved) > 0 {
		asked += "; so far by " + strings.Join(f.Approved, ", ")
	}
	p.fact(plain, "needs", asked)
	if s, ok := r.stage(); ok && s.PointOfNoReturn && !r.body.Undo {
		p.fact(p.st.bad, "careful", "this stage is the point of no return: what it does is not taken back")
	}
	p.fact(plain, "plan", fmt.Sprintf("%s… recomputed from %s in the ledger: a match", r.body.Root[:min(12, len(r.body.Root))], plural.Of(len(r.docs), "document")))
}

// showRun says which run it is, and what vouches for that.
func (r *reviewed) showRun(p sheet, now time.Time) {
	f := r.facts
	p.fact(modeStyle(p.st, f.Mode), "mode", r.mode())
	p.fact(p.st.title, "regions", r.regions())
	p.fact(plain, "run", fmt.Sprintf("%s of %s", r.run, f.Runbook))
	if f.Incident != "" || f.Mode == action.ModeLive {
		p.fact(plain, "incident", orElse(f.Incident, "none"))
	}
	p.fact(plain, "started", fmt.Sprintf("%s %s, %s ago", moment(f.Started), orElse(f.By(), "by somebody"), ago(now.Sub(f.Started))))
	if f.OutageStart != nil {
		p.fact(plain, "outage", fmt.Sprintf("since %s, for %s", moment(*f.OutageStart), ago(now.Sub(*f.OutageStart))))
	}
	if f.DeadSince != nil {
		p.fact(p.st.wait, "dead", "the source is said to be dead since "+moment(*f.DeadSince))
	}
	scope := "all its groups"
	if len(f.Groups) > 0 {
		scope = "of its groups only " + plural.Few(f.Groups)
	}
	if r.atHand && len(r.differs) == 0 {
		scope += "; the same as the one here"
	}
	p.fact(plain, "estate", fmt.Sprintf("%s, %s", f.Estate, scope))
	c := r.checked
	p.fact(plain, "evidence", fmt.Sprintf("%s and %s as trusted workers signed them", countOf(c.Entries, "entry", "entries"), countOf(c.Docs, "document", "documents")))
}

func modeStyle(st styles, m action.Mode) func(...string) string {
	if m == action.ModeLive {
		return st.bad
	}
	return st.title
}

// mode is how far the run goes, in words that nobody takes for another.
func (r *reviewed) mode() string {
	switch r.facts.Mode {
	case action.ModeLive:
		return "LIVE: this changes the real systems"
	case action.ModeDrill:
		return "drill: nothing outside of a sandbox is changed"
	default:
		return string(r.facts.Mode) + ": nothing is changed"
	}
}

func (r *reviewed) regions() string {
	f := r.facts
	switch {
	case f.Source == "" && f.Target == "":
		return "none named"
	case f.Source == "" || f.Target == "":
		return orElse(f.Source, f.Target)
	}
	return f.Source + " -> " + f.Target
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// showEstate says that the estate which is signed for is not the reader's own.
func (r *reviewed) showEstate(p sheet, all bool) {
	fmt.Fprintln(p.w)
	if !r.atHand {
		p.put(p.st.wait, "", "  ", "No estate is at hand to hold the run's against; you accepted "+r.digest)
		return
	}
	p.put(p.st.bad, "", "  ", fmt.Sprintf("You accepted an estate that differs from the one here in %s:", countOf(int64(len(r.differs)), "field", "fields")))
	for _, l := range differenceLines(r.differs, all) {
		fmt.Fprintln(p.w, l)
	}
}

// differenceLines are the differences of two estates, as many of each matter as there
// is room for.
func differenceLines(all []estate.Difference, whole bool) []string {
	var out []string
	for _, m := range estate.Matters() {
		n := 0
		for _, d := range all {
			if d.Matter != m {
				continue
			}
			if n++; n > linesShown && !whole {
				continue
			}
			where, run, here := clip.Clean(d.Where), value(d.A), value(d.B)
			text := fmt.Sprintf("%s: %s here, %s in the run", where, orElse(here, "none"), orElse(run, "none"))
			switch {
			case d.A == "":
				text = fmt.Sprintf("%s: only here%s", where, after(here))
			case d.B == "":
				text = fmt.Sprintf("%s: only in the run%s", where, after(run))
			}
			out = append(out, wrap("  "+text, 80, "    ")...)
		}
		if n > linesShown+1 && !whole {
			out = append(out, fmt.Sprintf("  … and %d more about %s; --json has all", n-linesShown, m))
		}
	}
	return out
}

func after(what string) string {
	if what == "declared" || what == "" {
		return ""
	}
	return ", " + what
}

// value is a field of an estate for people: a key by its fingerprint, a long text by its
// two ends.
func value(s string) string {
	if k, err := sshsig.ParseSigner(s); err == nil {
		text := "key " + k.Key.Fingerprint()
		if options, _, more := strings.Cut(s, " ssh-"); more { // from when until when it signs
			text += " with " + clip.Clean(options)
		}
		return text
	}
	return clip.Middle(clip.Clean(s), 60)
}

// names are the first items of a group.
func names(items []string, all bool) string {
	cut := make([]string, len(items))
	for i, n := range items {
		cut[i] = clip.Middle(clip.Clean(n), nameWidth)
	}
	if len(cut) > namesShown+1 && !all {
		return fmt.Sprintf("%s and %d more", strings.Join(cut[:namesShown], ", "), len(cut)-namesShown)
	}
	return strings.Join(cut, ", ")
}

func (r *reviewed) showStep(p sheet, s review.Step, all bool) {
	head := fmt.Sprintf("%s (%s): %s", r.title(s.ID), s.Action, plural.Of(s.Items, "item"))
	if !s.Looks {
		head += fmt.Sprintf(", %s, %s", plural.Of(s.Effects, "change"), plural.Of(s.Preconditions, "precondition"))
	}
	p.title(head)
	shown, hidden := s.Groups, 0
	if len(shown) > groupsShown+1 && !all { // the largest, and those of the fewest: they stand out
		shown = append(slices.Clone(shown[:groupsShown/2]), shown[len(shown)-groupsShown/2:]...)
		for _, g := range s.Groups[groupsShown/2 : len(s.Groups)-groupsShown/2] {
			hidden += len(g.Items)
		}
	}
	for i, g := range shown {
		switch {
		case all || len(g.Items) <= review.Few:
			style, lead := plain, ""
			if len(s.Groups[0].Items) > review.Few && i > 0 {
				style, lead = p.st.wait, "unlike the others: "
			}
			for _, d := range g.Docs {
				r.showItem(p, style, lead, d, all)
			}
		default:
			r.showGroup(p, g)
		}
	}
	if hidden > 0 {
		p.put(p.st.bad, "  ", "    ", fmt.Sprintf("… and %d more kinds of change, of %s; see all with --all", len(s.Groups)-len(shown), plural.Of(hidden, "item")))
	}
}

// showGroup writes what is done to many items alike, and those that stand out.
func (r *reviewed) showGroup(p sheet, g review.Group) {
	does := g.Does
	if len(does) > linesShown {
		does = append(slices.Clone(does[:linesShown]), fmt.Sprintf("and %d more kinds of change; see all with --all", len(does)-linesShown))
	}
	text := strings.Join(does, "; ")
	if len(does) == 0 {
		text = wire.NothingToDo
	}
	p.line(fmt.Sprintf("%s: %s", g.Of(), text))
	p.put(p.st.dim, "    ", "      ", names(g.Items, false))
	for i, o := range g.Outliers {
		if i == linesShown {
			p.put(p.st.bad, "    ", "      ", fmt.Sprintf("… and %d more that stand out; see all with --all", len(g.Outliers)-i))
			break
		}
		verb := "stand out"
		if len(o.Items) == 1 {
			verb = "stands out"
		}
		p.put(p.st.wait, "    ", "      ", fmt.Sprintf("%s %s: %s", names(o.Items, false), verb, o.Why))
	}
}

// showItem writes the plan of one item in short.
func (r *reviewed) showItem(p sheet, style func(...string) string, lead string, d wire.PlanDoc, all bool) {
	text := d.Change.Summary
	if d.Item.Name != "" && !strings.Contains(text, d.Item.Name) {
		text = clip.Middle(d.Item.Name, nameWidth) + ": " + text
	}
	p.put(style, "  ", "    ", lead+text)
	for k, e := range d.Change.Effects {
		if k == linesShown && !all && len(d.Change.Effects) > linesShown+1 {
			p.put(p.st.wait, "    ", "      ", fmt.Sprintf("… and %s; see all with --all", plural.Of(len(d.Change.Effects)-k, "more change")))
			break
		}
		p.put(style, "    ", "      ", effect(e))
	}
	for _, o := range d.Found {
		if o.Verdict == verdict.Pass && len(d.Found) > 4 && !all {
			continue
		}
		p.put(style, "    ", "      ", found(o))
	}
}

func effect(e action.EffectLine) string {
	line := e.On + ": " + e.Do
	if e.From != "" || e.To != "" {
		line += fmt.Sprintf(", %s -> %s", orElse(e.From, "nothing"), orElse(e.To, "nothing"))
	}
	return line
}

func found(o action.Observation) string {
	line := fmt.Sprintf("%s  %s", o.Verdict, o.What)
	if o.Got != "" {
		line += ": " + o.Got
	}
	return line
}

// showIdle says which steps have nothing to do, and why.
func (r *reviewed) showIdle(p sheet) {
	idle := slices.DeleteFunc(slices.Clone(r.body.Steps), func(s wire.StepPlan) bool { return s.Items > 0 })
	if len(idle) == 0 {
		return
	}
	p.title("Nothing to do")
	for _, s := range idle {
		p.line(fmt.Sprintf("%s (%s): %s", s.Step, s.Action, strings.TrimPrefix(strings.Join(s.Summary, "; "), wire.NothingToDo+": ")))
	}
}

// showLosses says what each group gives up, its worst datasets by name.
func (r *reviewed) showLosses(p sheet, all bool) {
	if len(r.losses) == 0 {
		return
	}
	p.title("Gives up")
	for _, l := range r.losses {
		where := "group " + l.Group
		if l.Group == "" {
			where = "no group"
		}
		switch n := len(l.Datasets); {
		case n == 0:
			p.line(fmt.Sprintf("%s: nothing, of all %s", where, plural.Of(l.Nothing, "dataset")))
			continue
		case n == 1 && l.Nothing == 0:
			p.put(p.st.wait, "  ", "    ", fmt.Sprintf("%s, %s: %s", where, dataset(l.Datasets[0].Unit, l.Datasets[0].Dataset), l.Datasets[0].Words()))
			continue
		}
		sum := fmt.Sprintf("%s: in all %s", where, l.Sum())
		if l.Nothing > 0 {
			sum += fmt.Sprintf("; nothing of %s", plural.Of(l.Nothing, "other"))
		}
		p.put(p.st.wait, "  ", "    ", sum)
		for i, d := range l.Datasets {
			if i == namesShown && !all && len(l.Datasets) > namesShown+1 {
				p.put(plain, "    ", "      ", fmt.Sprintf("… and %d more, none of them with a larger loss; see all with --all", len(l.Datasets)-i))
				break
			}
			p.put(plain, "    ", "      ", fmt.Sprintf("%s: %s", dataset(d.Unit, d.Dataset), d.Words()))
		}
	}
}

// dataset is what is counted in that unit, by its name.
func dataset(unit, name string) string {
	kind := "table "
	if unit == "messages" {
		kind = "topic "
	}
	return kind + clip.Middle(name, nameWidth)
}
