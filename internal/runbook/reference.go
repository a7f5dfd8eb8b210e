package runbook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/mistake"
)

// A step takes what varies from run to run by naming an input: `{input: NAME}`
// as the value of a parameter in `with`, or of a field in `where`. It is a
// reference and not an expression: the value is put there as it was given.

// reference reads {"input": NAME}.
func reference(value json.RawMessage) (input string, ok bool) {
	var ref map[string]string
	if err := json.Unmarshal(value, &ref); err != nil || len(ref) != 1 {
		return "", false
	}
	input, ok = ref["input"]
	return input, ok
}

// references maps each parameter of the step that names an input to that input.
func (d StepDecl) references() map[string]string {
	refs := map[string]string{}
	given := map[string]json.RawMessage{}
	if json.Unmarshal(d.With, &given) != nil {
		return refs
	}
	for name, value := range given {
		if input, ok := reference(value); ok {
			refs[name] = input
		}
	}
	return refs
}

// takers are the types of parameter that an input of each type can be put into.
var takers = map[InputType][]string{
	RegionInput: {"string"}, TableInput: {"string"}, GroupInput: {"string"}, StringInput: {"string"},
	TimeInput: {"time"}, IntegerInput: {"number"}, BoolInput: {"bool"}, DurationInput: {"duration"},
}

// sample is a value of a type of parameter, with which an action's own type can
// be asked about the other parameters before a run gives the real one.
var sample = map[string]json.RawMessage{
	"string": json.RawMessage(`"x"`), "time": json.RawMessage(`"2026-01-01T00:00:00Z"`), "number": json.RawMessage(`0`),
	"bool": json.RawMessage(`false`), "duration": json.RawMessage(`"1s"`),
}

// asJSON is an input's value in the form in which a parameter decodes it.
func (d InputDecl) asJSON(value string) (json.RawMessage, error) {
	switch d.Type {
	case IntegerInput, BoolInput:
		return json.RawMessage(value), nil
	default:
		return json.Marshal(value)
	}
}

// resolve puts the inputs of a run where the step names them. A parameter or
// filter whose optional input was not given is left out.
func (d StepDecl) resolve(rb *Runbook, in Input) (with json.RawMessage, where map[string]string, err error) {
	with, where = d.With, d.Where
	if refs := d.references(); len(refs) > 0 {
		given := map[string]json.RawMessage{}
		if err := json.Unmarshal(d.With, &given); err != nil {
			return nil, nil, fmt.Errorf("%s: with of step %q: %w", d.At, d.Title, err)
		}
		for param, name := range refs {
			decl, ok := rb.input(name)
			if !ok {
				return nil, nil, fmt.Errorf("%s: step %q names the input %q, which %s does not declare", d.At, d.Title, name, rb.Name)
			}
			value, ok := in.Own[name]
			if !ok {
				delete(given, param)
				continue
			}
			if given[param], err = decl.asJSON(value); err != nil {
				return nil, nil, fmt.Errorf("%s: input %q of step %q: %w", d.At, name, d.Title, err)
			}
		}
		if with = nil; len(given) > 0 {
			if with, err = json.Marshal(given); err != nil {
				return nil, nil, fmt.Errorf("%s: with of step %q: %w", d.At, d.Title, err)
			}
		}
	}
	if len(d.WhereInput) > 0 {
		where = maps.Clone(d.Where)
		if where == nil {
			where = map[string]string{}
		}
		for field, name := range d.WhereInput {
			if value, ok := in.Own[name]; ok {
				where[field] = value
			}
		}
	}
	return with, where, nil
}

func (rb *Runbook) input(name string) (InputDecl, bool) {
	i := slices.IndexFunc(rb.Inputs, func(d InputDecl) bool { return d.Name == name })
	if i < 0 {
		return InputDecl{}, false
	}
	return rb.Inputs[i], true
}

// declared finds the input that a step names, and reports one that is not there.
func (l *linter) declared(at Position, where, name string) (InputDecl, bool) {
	decl, ok := l.rb.input(name)
	if !ok {
		var all []string
		for _, i := range l.rb.Inputs {
			all = append(all, i.Name)
		}
		has := "it has none"
		if len(all) > 0 {
			has = "it has " + strings.Join(all, ", ")
		}
		l.bad(at, "%s names the input %q, which the runbook does not declare: %s%s", where, name, has, mistake.DidYouMean(name, all))
	}
	return decl, ok
}

// reference holds a parameter that names an input against that input.
func (l *linter) reference(at Position, d StepDecl, p action.Param, name string) {
	where := fmt.Sprintf("parameter %s of %s", p.Name, d.Action)
	decl, ok := l.declared(at, where, name)
	switch {
	case !ok:
	case !slices.Contains(takers[decl.Type], p.Type):
		l.bad(at, "%s must be %s, and the input %q is a %s", where, typeWords[p.Type], name, decl.Type)
	case p.Required && decl.Optional:
		l.bad(at, "%s is required, and the input %q is optional: a run without it could not start", where, name)
	}
}

// whereInput holds a filter that names an input against that input.
func (l *linter) whereInput(at Position, d StepDecl, key, name string) {
	decl, ok := l.declared(at, "where: "+key, name)
	want := StringInput
	switch {
	case key == "tier":
		want = IntegerInput
	case key == "group", d.Each == estate.GroupKind:
		want = GroupInput
	case key == "table", d.Each == estate.TableKind:
		want = TableInput
	}
	if ok && decl.Type != want {
		l.bad(at, "where: %s of each %s takes an input of type %s, and %q is a %s", key, d.Each, want, name, decl.Type)
	}
}

// sampled is the step's parameters with a value of the right type in the place
// of each input.
func sampled(d StepDecl, params []action.Param) (json.RawMessage, error) {
	refs := d.references()
	if len(refs) == 0 {
		return d.With, nil
	}
	given := map[string]json.RawMessage{}
	err := json.Unmarshal(d.With, &given)
	for _, p := range params {
		if _, ok := refs[p.Name]; ok {
			given[p.Name] = sample[p.Type]
		}
	}
	raw, merr := json.Marshal(given)
	return raw, errors.Join(err, merr)
}
