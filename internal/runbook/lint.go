package runbook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/mistake"
)

// Lint holds a runbook against the catalogue of actions and, unless it is nil,
// the estate, and reports everything that would be wrong about running it, in
// file order: also where the estate lacks what a step cannot pass without, as [Fit] finds
// it. It forgives what the loader reported already: what is given and
// could not be read is not called missing.
func Lint(rb *Runbook, cat *action.Catalogue, e *estate.Estate) []Mistake {
	l := &linter{rb: rb, cat: cat, estate: e, stages: map[string]Position{}, milestones: map[string]Position{}, earlier: map[string]bool{}}
	l.header()
	for _, b := range rb.Blocks {
		for _, s := range b.Stages {
			l.stage(s, b.PerTier)
		}
	}
	if e != nil {
		for _, f := range Fit(rb, cat, e, nil) {
			if f.Stops() && !f.Foreign {
				l.bad(f.At, "%s can never pass with estate %s: %s", f.Action, e.Estate, f.Text)
			}
		}
	}
	return mistake.Sort(l.mistakes)
}

type linter struct {
	rb         *Runbook
	cat        *action.Catalogue
	estate     *estate.Estate
	stages     map[string]Position // by slug: stages are known by it
	milestones map[string]Position
	earlier    map[string]bool // actions of the stages before this one
	mistakes   []Mistake
}

func (l *linter) bad(at Position, format string, args ...any) {
	l.mistakes = append(l.mistakes, Mistake{At: at, Text: fmt.Sprintf(format, args...)})
}

var (
	workflowType = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	inputName    = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

func (l *linter) header() {
	rb := l.rb
	if rb.Name != "" && !workflowType.MatchString(rb.Name) {
		l.bad(rb.Keys.At("runbook", rb.At), "runbook %q is the name of a workflow: a capital letter, then letters and digits, as in RegionalFailover", rb.Name)
	}
	l.oneLine(rb.Keys.At("summary", rb.At), "summary", rb.Summary)
	l.role(rb.Keys.At("owner", rb.At), "owner", rb.Owner)
	for _, in := range rb.Inputs {
		if !inputName.MatchString(in.Name) {
			l.bad(in.At, "input %q must be small letters, digits and _, as in source", in.Name)
		}
		if slices.Contains(commonInputs(), in.Name) {
			l.bad(in.At, "input %q is one that every runbook takes: the common ones are %s", in.Name, strings.Join(commonInputs(), ", "))
		}
		if types := texts(inputTypes()); in.Type != "" && !slices.Contains(types, string(in.Type)) {
			l.bad(in.Keys.At("type", in.At), "type %q of input %q is not known: allowed are %s%s", in.Type, in.Name, strings.Join(types, ", "), mistake.DidYouMean(string(in.Type), types))
		}
	}
	if _, written := rb.Keys["stages"]; written && len(rb.Blocks) == 0 {
		l.bad(rb.Keys["stages"], "the runbook has no stages")
	}
}

func (l *linter) stage(s StageDecl, perTier bool) {
	at := s.Keys.At("stage", s.At)
	l.title(at, "stage", s.Title, l.stages)
	if _, written := s.Keys["steps"]; written && len(s.Steps) == 0 {
		l.bad(s.Keys["steps"], "stage %q has no steps", s.Title)
	}
	if s.Milestone != "" {
		if first, twice := l.milestones[s.Milestone]; twice {
			l.bad(s.Keys.At("milestone", s.At), "milestone %q is reached twice: it stands in line %d already", s.Milestone, first.Line)
		} else {
			l.milestones[s.Milestone] = s.Keys.At("milestone", s.At)
		}
	}
	mutates, here, steps := false, map[string]bool{}, map[string]Position{}
	for _, step := range s.Steps {
		l.title(step.Keys.At("step", step.At), "step", step.Title, steps)
		l.role(step.Keys.At("owner", step.At), "owner", step.Owner)
		def := l.step(step, perTier, here)
		if def != nil {
			mutates = mutates || def.Effect == action.Mutates
			here[def.Name] = true
		}
	}
	maps.Copy(l.earlier, here)
	l.approval(s, mutates)
}

// approval holds a stage's gate against what the stage does.
func (l *linter) approval(s StageDecl, mutates bool) {
	at := s.Keys.At("stage", s.At)
	if s.PointOfNoReturn && !mutates {
		l.bad(s.Keys.At("point-of-no-return", s.At), "stage %q is a point of no return and changes nothing", s.Title)
	}
	a := s.Approval
	switch {
	case a == nil && s.PointOfNoReturn:
		l.bad(s.Keys.At("point-of-no-return", s.At), "stage %q is a point of no return and has no approval: add approval: {role: …}", s.Title)
	case a == nil && mutates:
		l.bad(at, "stage %q changes the estate and has no approval: add approval: {role: …}", s.Title)
	}
	if a == nil {
		return
	}
	l.role(s.Keys.At("approval.role", a.At), "role", a.Role)
	l.role(s.Keys.At("approval.escalate", a.At), "escalate", a.Escalate)
	if a.Escalate != "" && a.Reminder == 0 {
		if _, written := s.Keys["approval.reminder"]; !written {
			l.bad(s.Keys.At("approval.escalate", a.At), "escalate without reminder is never reached: add reminder: 5m")
		}
	}
	if a.Quorum < 1 {
		l.bad(s.Keys.At("approval.quorum", a.At), "quorum %d: at least one person decides", a.Quorum)
	}
	if l.estate == nil {
		return
	}
	if r, ok := l.estate.Role(a.Role); ok && a.Quorum > len(r.Members) {
		l.bad(s.Keys.At("approval.quorum", a.At), "quorum %d is more than role %q has members: it has %d", a.Quorum, a.Role, len(r.Members))
	}
}

// step returns the step's definition, or nil where the catalogue has none; here
// has the actions of the stage's steps before it.
func (l *linter) step(d StepDecl, perTier bool, here map[string]bool) *action.Definition {
	def, known := l.cat.Get(d.Action)
	if !known {
		if d.Action != "" {
			var all []string
			for _, def := range l.cat.All() {
				all = append(all, def.Name)
			}
			l.bad(d.ActionAt, "no action %q%s; `breakwater actions` lists all", d.Action, mistake.DidYouMean(d.Action, all))
		}
		return nil
	}
	switch {
	case d.Kind == Do && def.IsCheck():
		l.bad(d.ActionAt, "%s only looks: write check: %s", d.Action, d.Action)
	case d.Kind != Do && !def.IsCheck():
		l.bad(d.ActionAt, "%s changes something and is no check: write do: %s", d.Action, d.Action)
	}
	for _, need := range def.Needs {
		switch {
		case l.earlier[need]:
		case !def.IsCheck(): // it is planned with its whole stage, before any step of it is applied
			l.bad(d.ActionAt, "%s needs %s in an earlier stage", d.Action, need)
		case !here[need]: // a check plans nothing: it looks when its turn comes
			l.bad(d.ActionAt, "%s needs %s in an earlier step", d.Action, need)
		}
	}
	if perTier && !def.Over.PerTier() {
		what := "the whole estate"
		if def.Over != estate.Nothing {
			what = fmt.Sprintf("each %s, which belongs to no tier", def.Over)
		}
		l.bad(d.ActionAt, "%s acts on %s and stands inside per: tier: move its stage out", d.Action, what)
	}
	l.each(d, def)
	l.where(d, perTier)
	l.with(d, def)
	return def
}

func (l *linter) each(d StepDecl, def *action.Definition) {
	_, written := d.Keys["each"]
	at := d.Keys.At("each", d.ActionAt)
	kinds := texts(estate.Kinds())
	switch {
	case d.Each == "" && written, d.Each == def.Over: // unreadable, or right
	case d.Each != "" && !slices.Contains(kinds, string(d.Each)):
		l.bad(at, "each %q is not known: allowed are %s%s", d.Each, strings.Join(kinds, ", "), mistake.DidYouMean(string(d.Each), kinds))
	case d.Each == "":
		l.bad(at, "%s acts on one %s at a time: add each: %s", d.Action, def.Over, def.Over)
	case def.Over == estate.Nothing:
		l.bad(at, "%s acts on the estate once: remove each: %s", d.Action, d.Each)
	default:
		l.bad(at, "%s acts on each %s, not on each %s", d.Action, def.Over, d.Each)
	}
}

func (l *linter) where(d StepDecl, perTier bool) {
	if (len(d.Where) > 0 || len(d.WhereInput) > 0) && d.Each == "" {
		l.bad(d.Keys.At("where", d.At), "where narrows each, and the step has no each")
		return
	}
	fields := estate.FilterFields(d.Each)
	for _, key := range slices.Sorted(maps.Keys(d.Where)) {
		at, value := d.Keys.At("where."+key, d.At), d.Where[key]
		switch {
		case !slices.Contains(fields, key):
			l.bad(at, "where knows no %q: allowed are %s%s", key, strings.Join(fields, ", "), mistake.DidYouMean(key, fields))
		case key == "tier" && perTier:
			l.bad(at, "where: {tier: %s} inside per: tier leaves the other tiers without the step: remove it", value)
		case l.estate != nil:
			l.inEstate(at, d, key, value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.WhereInput)) {
		at, name := d.Keys.At("where."+key, d.At), d.WhereInput[key]
		switch {
		case !slices.Contains(fields, key):
			l.bad(at, "where knows no %q: allowed are %s%s", key, strings.Join(fields, ", "), mistake.DidYouMean(key, fields))
		case key == "tier" && perTier:
			l.bad(at, "where: {tier: …} inside per: tier leaves the other tiers without the step: remove it")
		default:
			l.whereInput(at, d, key, name)
		}
	}
}

// inEstate reports a filter that takes nothing because of a name.
func (l *linter) inEstate(at Position, d StepDecl, key, value string) {
	var there []string
	switch key {
	case "group":
		there = namesOf(l.estate, estate.GroupKind)
	case "tier":
		for _, n := range l.estate.TierNumbers() {
			there = append(there, fmt.Sprint(n))
		}
	case "table":
		there = namesOf(l.estate, estate.TableKind)
	case "name":
		there = namesOf(l.estate, d.Each)
	}
	if !slices.Contains(there, value) {
		l.bad(at, "where: {%s: %s} takes nothing: estate %s has no such %s%s", key, value, l.estate.Estate, key, mistake.DidYouMean(value, there))
	}
}

func namesOf(e *estate.Estate, kind estate.Kind) []string {
	var names []string
	for _, i := range e.Items(kind, estate.Filter{}) {
		names = append(names, i.Name)
	}
	return names
}

// with holds a step's parameters against the action's, and lets the action's own
// type have the last word.
func (l *linter) with(d StepDecl, def *action.Definition) {
	given := map[string]json.RawMessage{}
	if _, written := d.Keys["with"]; written && len(d.With) == 0 {
		return // unreadable
	}
	if len(d.With) > 0 {
		if err := json.Unmarshal(d.With, &given); err != nil {
			l.bad(d.Keys.At("with", d.At), "with of %s: %v", d.Action, err)
			return
		}
	}
	before := len(l.mistakes)
	var names []string
	slipped := map[string]bool{} // the parameters that a slip was meant for
	for _, p := range def.Params {
		names = append(names, p.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(names, name) {
			continue
		}
		if len(names) == 0 {
			l.bad(d.Keys.At("with."+name, d.At), "%s takes no parameter, found %q", d.Action, name)
			continue
		}
		l.bad(d.Keys.At("with."+name, d.At), "%s takes no parameter %q: it takes %s%s", d.Action, name, strings.Join(names, ", "), mistake.DidYouMean(name, names))
		if meant, near := mistake.Nearest(name, names); near {
			slipped[meant] = true
		}
	}
	refs := d.references()
	for _, p := range def.Params {
		value, ok := given[p.Name]
		name, named := refs[p.Name]
		switch {
		case named:
			l.reference(d.Keys.At("with."+p.Name, d.At), d, p, name)
		case !ok && p.Required && !slipped[p.Name]:
			l.bad(d.Keys.At("with", d.ActionAt), "%s needs the parameter %s, %s", d.Action, p.Name, typeWords[p.Type])
		case ok && string(value) != "null" && !fits(p.Type, value): // null: the loader could not read it
			l.bad(d.Keys.At("with."+p.Name, d.At), "parameter %s of %s must be %s, found %s", p.Name, d.Action, typeWords[p.Type], value)
		}
	}
	if len(l.mistakes) == before {
		with, err := sampled(d, def.Params)
		if err == nil {
			err = def.CheckParams(with)
		}
		var wrong *json.UnmarshalTypeError
		switch {
		case errors.As(err, &wrong):
			name, _, _ := strings.Cut(wrong.Field, ".")
			l.bad(d.Keys.At("with."+name, d.ActionAt), "parameter %s of %s cannot be the %s", wrong.Field, d.Action, wrong.Value)
		case err != nil:
			l.bad(d.Keys.At("with", d.ActionAt), "%s refuses its parameters: %v", d.Action, err)
		}
	}
}

// typeWords says the types of [action.Param] as a person does.
var typeWords = map[string]string{
	"string": "a text", "duration": "a duration such as 90s", "bool": "true or false", "number": "a number", "list": "a list", "map": "a map",
	"time": "a time such as 2026-11-21T03:04:05Z",
}

// fits reports whether a JSON value has the type that [action.Param] names.
func fits(kind string, value json.RawMessage) bool {
	var into any
	switch kind {
	case "string":
		into = new(string)
	case "duration":
		into = new(estate.Duration)
	case "time":
		into = new(time.Time)
	case "bool":
		into = new(bool)
	case "number":
		into = new(float64)
	case "list":
		into = new([]any)
	default:
		into = new(map[string]any)
	}
	return json.Unmarshal(value, into) == nil
}

func (l *linter) role(at Position, key, name string) {
	if l.estate == nil || name == "" {
		return
	}
	if _, ok := l.estate.Role(name); !ok {
		var all []string
		for _, r := range l.estate.Roles {
			all = append(all, r.Role)
		}
		l.bad(at, "%s %q is not a role of estate %s: it has %s%s", key, name, l.estate.Estate, strings.Join(all, ", "), mistake.DidYouMean(name, all))
	}
}

// title refuses what would give two parts one id, or a part none.
func (l *linter) title(at Position, what, title string, seen map[string]Position) {
	if title == "" {
		return
	}
	l.oneLine(at, what, title)
	slug := slug(title)
	if slug == "" {
		l.bad(at, "%s %q needs a letter or a digit: its id is made of them", what, title)
		return
	}
	if first, twice := seen[slug]; twice {
		l.bad(at, "%s %q stands in line %d already: give each its own title", what, title, first.Line)
		return
	}
	seen[slug] = at
}

func (l *linter) oneLine(at Position, what, text string) {
	if strings.Contains(strings.TrimSpace(text), "\n") {
		l.bad(at, "%s must be one line: it is shown in lists", what)
	}
}

func texts[S ~string](all []S) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = string(s)
	}
	return out
}
