package runbook

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
)

// Finding is something that an estate lacks for a step of a runbook.
type Finding struct {
	At     Position `json:"-"`
	Step   string   `json:"step"`             // its title; that of a stage where its gate lacks it
	Action string   `json:"action,omitempty"` // of the step
	estate.Lack
}

// Where names the step of a finding.
func (f Finding) Where() string {
	if f.Action == "" {
		return fmt.Sprintf("the gate of %q", f.Step)
	}
	return fmt.Sprintf("step %q (%s)", f.Step, f.Action)
}

// Fit holds a runbook and an estate together, by what each action requires of an estate:
// it is the one place that does. Without an input it asks for a move from the primary to
// each standby, and for the primary where a run is about one region. What several steps
// lack is said once.
func Fit(rb *Runbook, cat *action.Catalogue, e *estate.Estate, in *Input) []Finding {
	var all []Finding
	add := func(f Finding) {
		if !slices.ContainsFunc(all, func(have Finding) bool { return have.Lack == f.Lack }) {
			all = append(all, f)
		}
	}
	for _, at := range places(rb, e, in) {
		for _, b := range rb.Blocks {
			for _, s := range b.Stages {
				for _, d := range s.Steps {
					def, ok := cat.Get(d.Action)
					if !ok {
						continue
					}
					scope, ok := d.scope(rb, e, at, in)
					if !ok {
						continue
					}
					for _, r := range def.Requires {
						for _, l := range r.Lacks(e, scope) {
							add(Finding{d.ActionAt, d.Title, d.Action, l})
						}
					}
				}
				if l, ok := gateLacks(s, e, in); ok {
					add(Finding{At: s.Keys.At("stage", s.At), Step: s.Title, Lack: l})
				}
			}
		}
	}
	return all
}

// place is between which regions a run goes; about is the one that it is about.
type place struct{ source, target, about string }

func places(rb *Runbook, e *estate.Estate, in *Input) []place {
	if in != nil {
		return []place{{in.Source(), in.Target(), ""}}
	}
	primary := e.Primary()
	if _, moves := rb.input("target"); !moves {
		return []place{{"", "", primary}}
	}
	var all []place
	for _, r := range e.Regions {
		if r.Role != estate.Primary {
			all = append(all, place{primary, r.Region, primary})
		}
	}
	return all
}

// scope is what a step would act on; false where that cannot be said.
func (d StepDecl) scope(rb *Runbook, e *estate.Estate, at place, in *Input) (estate.Scope, bool) {
	s := estate.Scope{Source: at.source, Target: at.target}
	with, where := d.With, d.Where
	if in != nil {
		var err error
		if with, where, err = d.resolve(rb, *in); err != nil {
			return s, false // which compiling says
		}
		s.Groups = in.Groups
	}
	given := map[string]json.RawMessage{}
	if len(with) > 0 && json.Unmarshal(with, &given) != nil {
		return s, false
	}
	if region, ok := given["region"]; ok && json.Unmarshal(region, &s.Region) != nil { // an input that is not known yet
		s.Region = at.about
	}
	s.Items = e.Items(d.Each, estate.Filter{Groups: s.Groups, Where: where})
	return s, true
}

// gateLacks says why a live run could never pass a stage's gate.
func gateLacks(s StageDecl, e *estate.Estate, in *Input) (estate.Lack, bool) {
	if s.Approval == nil || in != nil && in.Mode != action.ModeLive {
		return estate.Lack{}, false
	}
	role, ok := e.Role(s.Approval.Role)
	if !ok {
		return estate.Lack{}, false // a mistake of its own
	}
	quorum := approval.Quorum(s.Approval.Quorum, true, false)
	_, err := approval.NewGate(approval.Spec{
		About: approval.Statement{
			Run: ledger.Run{Workflow: "fit", FirstRun: "fit"}, Gate: "fit", Attempt: 1, Plan: "fit",
			Mode: string(action.ModeLive), Direction: approval.Do, Estate: e.Estate,
		},
		Role: *role, Offers: []approval.Offer{{Verb: approval.Approve, Quorum: quorum}}, Live: true,
	})
	if err == nil {
		return estate.Lack{}, false
	}
	if why := errors.Unwrap(err); why != nil {
		err = why
	}
	l := estate.Lack{Text: fmt.Sprintf("role %q cannot open a gate in live mode: %s", role.Role, strings.ReplaceAll(err.Error(), "\n", "; "))}
	if in == nil {
		l.Price = "plans and drills pass it, and no live run does"
	}
	return l, true
}
