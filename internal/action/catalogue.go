package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"
)

// Definition is an [Action] with its parameter type erased: what the loader, the
// docs and the worker need.
type Definition struct {
	Name     string
	Doc      string
	Over     estate.Kind
	Needs    []string
	Requires []estate.Requirement
	Permits  []permit.Permit
	Effect   Effect
	Drill    Drill
	Timing   Timing
	Runs     Place
	RedWhen  []Red
	Params   []Param
	Rules    []Rule

	things             func(Request) (names []string, none string)
	plan, undoPlan     func(context.Context, Request, json.RawMessage) (Change, error)
	apply, undoApply   func(context.Context, Request, json.RawMessage) (Outcome, error)
	verify, undoVerify func(context.Context, Request, json.RawMessage) ([]Observation, error)
	decode             func(json.RawMessage) error
	show, undoShow     Show
	showPart           func([]byte) ([]string, error)
}

// Param is one parameter of an action, as `with` takes it.
type Param struct {
	Name     string
	Type     string // "string", "bool", "number", "list", "map", "duration", "time"
	Doc      string // from the field's `doc` tag
	Required bool   // no omitempty
}

// IsCheck reports whether the action only looks.
func (d *Definition) IsCheck() bool { return d.apply == nil }

// CanUndo reports whether the action can be taken back.
func (d *Definition) CanUndo() bool { return d.undoApply != nil }

// Show writes what a plan keeps for Apply and for Undo: Data, Undo and Parts, every value
// of them. Whoever approves the plan sees it. An error says what Apply would not read.
func (d *Definition) Show(plan Change) ([]string, error) { return d.show(plan) }

// ShowUndo is [Definition.Show] of a plan of the action's Undo.
func (d *Definition) ShowUndo(plan Change) ([]string, error) { return d.undoShow(plan) }

// ShowPart writes a part of a plan, whose digest [Definition.Show] names.
func (d *Definition) ShowPart(part []byte) ([]string, error) {
	if d.showPart == nil {
		return nil, fmt.Errorf("%w: %s keeps nothing beside its plans that could be shown; do not approve one that does", ErrRefused, d.Name)
	}
	return d.showPart(part)
}

// CheckParams decodes a step's `with` strictly and says what is wrong with it.
func (d *Definition) CheckParams(with json.RawMessage) error { return d.decode(with) }

// Things are what of the estate the action is about, and what to say where there are
// none: the item itself, unless the action says otherwise.
func (d *Definition) Things(r Request) (names []string, none string) {
	if d.things == nil {
		return []string{r.Item.String()}, ""
	}
	return d.things(r)
}

// none says why there is nothing to do; empty where there is. A plan that was approved
// with effects is never passed over.
func (d *Definition) none(r Request) string {
	names, none := d.Things(r)
	if len(names) > 0 || r.Plan != nil && len(r.Plan.Effects) > 0 {
		return ""
	}
	return none
}

// NothingToDo begins the summary of a plan and of an outcome where there was nothing to do.
const NothingToDo = "Nothing to do: "

// Plan runs the action's Plan, where there is anything to do.
func (d *Definition) Plan(ctx context.Context, r Request, with json.RawMessage) (Change, error) {
	if none := d.none(r); none != "" {
		return Change{Summary: NothingToDo + none}, nil
	}
	return d.plan(ctx, r, with)
}

// Apply runs the action's Apply on the approved plan in r, where there is anything to do.
func (d *Definition) Apply(ctx context.Context, r Request, with json.RawMessage) (Outcome, error) {
	if none := d.none(r); none != "" {
		return Outcome{Summary: NothingToDo + none}, nil
	}
	return d.apply(ctx, r, with)
}

// Verify runs the action's Verify. It takes what Apply said out of the request,
// so that no Verify can believe it.
func (d *Definition) Verify(ctx context.Context, r Request, with json.RawMessage) ([]Observation, error) {
	return d.look(ctx, r, with, d.verify)
}

// UndoPlan plans to take the outcome back.
func (d *Definition) UndoPlan(ctx context.Context, r Request, with json.RawMessage) (Change, error) {
	if none := d.none(r); none != "" {
		return Change{Summary: NothingToDo + none}, nil
	}
	return d.undoPlan(ctx, r, with)
}

// UndoApply takes the outcome back.
func (d *Definition) UndoApply(ctx context.Context, r Request, with json.RawMessage) (Outcome, error) {
	if none := d.none(r); none != "" {
		return Outcome{Summary: NothingToDo + none}, nil
	}
	return d.undoApply(ctx, r, with)
}

// UndoVerify proves that the outcome was taken back.
func (d *Definition) UndoVerify(ctx context.Context, r Request, with json.RawMessage) ([]Observation, error) {
	return d.look(ctx, r, with, d.undoVerify)
}

// look looks, and believes nobody who looked at nothing: no observation at all is
// unknown, and so is the word that there is nothing to look at where the estate has
// something, unless the approved plan had nothing to do either.
func (d *Definition) look(ctx context.Context, r Request, with json.RawMessage, verify func(context.Context, Request, json.RawMessage) ([]Observation, error)) ([]Observation, error) {
	const want = "a look at it"
	if none := d.none(r); none != "" {
		return []Observation{Nothing(d.Name+" has something to look at", "a thing of its kind", none)}, nil
	}
	r.Prior = nil
	obs, err := verify(ctx, r, with)
	if err != nil {
		return nil, err
	}
	names, _ := d.Things(r)
	idle := r.Plan != nil && len(r.Plan.Effects) == 0
	blind := Observation{What: d.Name + " looked at " + plural.Few(names), Want: want, Verdict: verdict.Unknown, Cause: CauseOther}
	switch {
	case len(obs) == 0:
		blind.Got = "no observation, from which nothing follows"
		return []Observation{blind}, nil
	case Worst(obs) == verdict.Nothing && !idle:
		blind.Got = "it says that there is nothing to look at: " + obs[0].Got
		return append(obs, blind), nil
	}
	return obs, nil
}

// Catalogue is the set of actions that a worker serves, by name.
type Catalogue struct {
	defs map[string]*Definition
	errs []error
}

// NewCatalogue returns an empty Catalogue.
func NewCatalogue() *Catalogue { return &Catalogue{defs: map[string]*Definition{}} }

// Add registers an action. What is wrong with it is reported by [Catalogue.Err],
// all at once, since a worker must not start on half a catalogue.
func Add[P any](c *Catalogue, a Action[P]) {
	bad := func(format string, args ...any) {
		c.errs = append(c.errs, fmt.Errorf("action %q: "+format, append([]any{a.Name}, args...)...))
	}
	switch {
	case !strings.Contains(a.Name, "."):
		bad("the name must be layer.verb")
	case c.defs[a.Name] != nil:
		bad("registered twice")
	case a.Doc == "":
		bad("Doc is empty")
	case a.Verify == nil:
		bad("no Verify: what cannot be verified is not a step")
	case (a.Plan == nil) != (a.Apply == nil):
		bad("Plan and Apply come together")
	case a.Apply == nil && a.Effect != ReadOnly:
		bad("a check is read-only, not %q", a.Effect)
	case a.Apply != nil && a.Effect != Mutates && a.Effect != RecordsOnly:
		bad("an action that applies mutates or is records-only, not %q", a.Effect)
	case a.Drill == "":
		bad("Drill is not declared")
	case a.Runs != "" && a.Runs != OnQueries:
		bad("it cannot run on %q", a.Runs)
	case a.Undo != nil && (a.Undo.Plan == nil || a.Undo.Apply == nil || a.Undo.Verify == nil):
		bad("Undo needs Plan, Apply and Verify")
	case len(a.RedWhen) == 0:
		bad("RedWhen is empty: a check never seen red is not evidence")
	}
	for _, r := range a.RedWhen {
		if r.Want.Clear() {
			bad("fault %q cannot be wanted to pass", r.Fault)
		}
	}
	for _, r := range a.Rules {
		if err := r.check(); err != nil {
			bad("%w", err)
		}
	}
	d := &Definition{
		Name: a.Name, Doc: a.Doc, Over: a.Over, Needs: a.Needs, Requires: a.Requires, Permits: a.Permits, Effect: a.Effect,
		Drill: a.Drill, Timing: a.Timing, Runs: a.Runs, RedWhen: a.RedWhen, Params: params(reflect.TypeFor[P]()),
	}
	if d.Timing.Timeout == 0 {
		d.Timing.Timeout = 5 * time.Minute
	}
	if d.Timing.Estimate == 0 {
		d.Timing.Estimate = 2 * time.Second
	}
	d.things, d.show, d.undoShow, d.Rules = a.Things, a.Show, showAll, a.Rules
	d.showPart = a.ShowPart
	if d.show == nil {
		d.show = showAll
	}
	if a.Undo != nil && a.Undo.Show != nil {
		d.undoShow = a.Undo.Show
	}
	d.decode = func(with json.RawMessage) error { _, err := Decode[P](with); return err }
	d.plan = erase(a.Plan)
	d.apply = erase(a.Apply)
	d.verify = erase(a.Verify)
	if a.Undo != nil {
		d.undoPlan = erase(a.Undo.Plan)
		d.undoApply = erase(a.Undo.Apply)
		d.undoVerify = erase(a.Undo.Verify)
	}
	c.defs[a.Name] = d
}

func erase[P, R any](f func(context.Context, Call[P]) (R, error)) func(context.Context, Request, json.RawMessage) (R, error) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, r Request, with json.RawMessage) (R, error) {
		p, err := Decode[P](with)
		if err != nil {
			var zero R
			return zero, fmt.Errorf("parameters of step %q: %w", r.Title, err)
		}
		return f(ctx, Call[P]{Request: r, With: p})
	}
}

// Err reports everything that is wrong with the registered actions, and every
// Needs that names no action.
func (c *Catalogue) Err() error {
	errs := slices.Clone(c.errs)
	for _, d := range c.All() {
		for _, n := range d.Needs {
			if c.defs[n] == nil {
				errs = append(errs, fmt.Errorf("action %q needs %q, which is not in the catalogue", d.Name, n))
			}
		}
	}
	return errors.Join(errs...)
}

// Get returns the action of that name.
func (c *Catalogue) Get(name string) (*Definition, bool) {
	d, ok := c.defs[name]
	return d, ok
}

// All lists the actions by name.
func (c *Catalogue) All() []*Definition {
	var ds []*Definition
	for _, d := range c.defs {
		ds = append(ds, d)
	}
	slices.SortFunc(ds, func(a, b *Definition) int { return strings.Compare(a.Name, b.Name) })
	return ds
}

func params(t reflect.Type) []Param {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var ps []Param
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		ps = append(ps, Param{
			Name: name, Type: kindWord(f.Type), Doc: f.Tag.Get("doc"),
			Required: !strings.Contains(opts, "omitempty"),
		})
	}
	return ps
}

func kindWord(t reflect.Type) string {
	if t.Kind() == reflect.Pointer { // how an optional time or number is written
		t = t.Elem()
	}
	if t == reflect.TypeFor[time.Time]() {
		return "time"
	}
	if t == reflect.TypeFor[estate.Duration]() {
		return "duration"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int64, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	case reflect.Map, reflect.Struct:
		return "map"
	default:
		return "string"
	}
}
