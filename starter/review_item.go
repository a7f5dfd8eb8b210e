package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/review"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
)

// showWhole writes the plans for one item with everything in them.
func (r *reviewed) showWhole(w io.Writer, st styles, cat *action.Catalogue, item string) bool {
	p := sheet{w, st}
	any := false
	for _, d := range r.docs {
		if d.Item.String() != item && d.Item.Name != item {
			continue
		}
		any = true
		p.title(fmt.Sprintf("%s (%s): %s", r.title(d.Step), d.Action, d.Item))
		p.line(d.Change.Summary)
		list := func(name string, lines []string) {
			if len(lines) == 0 {
				return
			}
			p.put(st.title, "  ", "    ", name)
			for _, l := range lines {
				lead := l[:len(l)-len(strings.TrimLeft(l, " "))]
				p.put(plain, "    "+lead, "      "+lead, strings.TrimLeft(l, " "))
			}
		}
		list("changes", each(d.Change.Effects, effect))
		list("found", each(d.Found, found))
		list("must still hold", each(d.Change.Preconditions, func(c action.Precondition) string { return c.Resource + ": " + c.Version }))
		list("approving accepts", each(d.Change.Accepts, func(a action.Acceptance) string { return a.Sentence + " (" + a.ID + ")" }))
		if l := d.Change.Loss; l != nil {
			list("gives up", []string{dataset(l.Unit, l.Dataset) + ": " + l.Words()})
		}
		if with, err := action.Lines(orNull(d.With)); len(d.With) > 0 && err == nil {
			list("parameters", with)
		}
		lines, err := kept(cat, d, r.body.Undo)
		if err != nil {
			p.put(st.bad, "  ", "    ", err.Error())
			if lines, err = raw(d.Change); err != nil {
				lines = []string{err.Error()}
			}
		}
		list("keeps for itself", lines)
	}
	return any
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

func each[T any](all []T, f func(T) string) []string {
	var out []string
	for _, v := range all {
		out = append(out, f(v))
	}
	return out
}

// toldPlan is everything that is shown, for programs.
type toldPlan struct {
	Run      string              `json:"run"`
	Gate     string              `json:"gate"`
	Attempt  int                 `json:"attempt"`
	Root     string              `json:"root"`
	Verified bool                `json:"verified"` // recomputed from a ledger that is as it was signed
	Name     string              `json:"name"`     // of what is to be approved
	Undo     bool                `json:"undo,omitempty"`
	Facts    review.Facts        `json:"facts"`
	NoReturn bool                `json:"point_of_no_return,omitempty"`
	Entries  int64               `json:"entries"`
	Docs     int64               `json:"documents"`
	Head     string              `json:"head"`
	Signers  []string            `json:"signers"`
	AtHand   bool                `json:"estate_at_hand"`
	Differs  []estate.Difference `json:"estate_differs,omitempty"` // a is the run's, b the one here
	Changed  []string            `json:"changed,omitempty"`
	Steps    []review.Step       `json:"steps"`
	Idle     []wire.StepPlan     `json:"idle,omitempty"`
	Lacking  []string            `json:"not_planned,omitempty"` // which items, and why
	Losses   []review.Loss       `json:"losses,omitempty"`
	Accepts  []review.Accepted   `json:"accepts,omitempty"`
	Contacts []contact           `json:"contacts"`
	Lacks    []runbook.Finding   `json:"lacks,omitempty"`
	Plans    []wire.PlanDoc      `json:"docs"`
}

func (r *reviewed) told() toldPlan {
	s, ok := r.stage()
	return toldPlan{
		Run: r.run, Gate: r.facts.Gate, Attempt: r.facts.Attempt, Root: r.body.Root, Verified: true, Name: r.name(), Undo: r.body.Undo,
		Facts: r.facts, NoReturn: ok && s.PointOfNoReturn && !r.body.Undo, Entries: r.checked.Entries, Docs: r.checked.Docs,
		Head: r.checked.Head.String(), Signers: r.checked.Signers, AtHand: r.atHand, Differs: r.differs, Changed: r.body.Changed, Steps: r.read,
		Idle:    slices.DeleteFunc(slices.Clone(r.body.Steps), func(s wire.StepPlan) bool { return s.Items > 0 }),
		Lacking: r.lacking, Losses: r.losses, Accepts: r.accepts, Contacts: r.contacts, Lacks: r.compiled.Lacks, Plans: r.docs,
	}
}
