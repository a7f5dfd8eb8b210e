// Package review is what a person must see of a run before signing: which run it is,
// as the ledger has it, and a plan of any number of items grouped by what it does, with
// those shown by name that stand out.
//
// It is pure. Whoever calls it has verified the entries and documents; what a workflow
// says of itself is only held against them.
package review

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/wire"
)

// Facts are which run this is and what its open gate asks, as its entries say.
type Facts struct {
	Runbook      string      `json:"runbook"`
	Mode         action.Mode `json:"mode"`
	Source       string      `json:"source,omitempty"`
	Target       string      `json:"target,omitempty"`
	Incident     string      `json:"incident,omitempty"`
	Groups       []string    `json:"groups,omitempty"` // in scope; empty means all
	Estate       string      `json:"estate"`
	EstateDigest string      `json:"estate_digest"`
	Started      time.Time   `json:"started"`
	Scheduled    bool        `json:"scheduled,omitempty"` // a Schedule started it
	wire.Starter
	OutageStart *time.Time `json:"outage_start,omitempty"`
	DetectedAt  *time.Time `json:"detected_at,omitempty"`
	DeadSince   *time.Time `json:"source_dead_since,omitempty"`

	Gate      string    `json:"gate"`
	Direction string    `json:"direction"` // [approval.Do] or [approval.Undo]
	Attempt   int       `json:"attempt"`
	Stage     string    `json:"stage"` // its id
	Role      string    `json:"role"`
	Quorum    int       `json:"quorum"`
	Opened    time.Time `json:"opened"`
	Approved  []string  `json:"approved,omitempty"` // whose approval counted since
}

// Run takes out of the entries of a run which one it is.
func Run(entries []ledger.Entry) (Facts, error) {
	var f Facts
	var started wire.StartedBody
	var compiled wire.CompiledBody
	for _, part := range []struct {
		kind ledger.Kind
		into any
	}{{ledger.RunStarted, &started}, {ledger.Compiled, &compiled}} {
		i := slices.IndexFunc(entries, func(e ledger.Entry) bool { return e.Kind == part.kind })
		if i < 0 {
			return f, fmt.Errorf("the ledger has no entry %s", part.kind)
		}
		if err := json.Unmarshal(entries[i].Body, part.into); err != nil {
			return f, fmt.Errorf("entry %d (%s) cannot be read: %w", entries[i].Seq, part.kind, err)
		}
	}
	r, in := started.Run, compiled.Input
	f = Facts{
		Runbook: compiled.Runbook, Mode: in.Mode, Source: in.Source(), Target: in.Target(), Incident: in.Incident, Groups: in.Groups,
		Estate: compiled.Estate, EstateDigest: compiled.EstateDigest, Started: r.Started.UTC(), Scheduled: started.Scheduled, Starter: started.Starter,
		OutageStart: in.OutageStart, DetectedAt: in.DetectedAt, DeadSince: in.SourceDeadSince,
	}
	// The first two entries say the same things: a worker that lets them differ is
	// shown, whichever of them is right.
	if d := f.held("the run's first entry", r, compiled.Estate); len(d) > 0 {
		return f, fmt.Errorf("the ledger contradicts itself: %s", join(d))
	}
	return f, nil
}

// Read takes the facts out of the entries of a run, of which the one at index opened is
// the opening of its gate.
func Read(entries []ledger.Entry, opened int) (Facts, error) {
	f, err := Run(entries[:opened+1])
	if err != nil {
		return f, err
	}
	var gate wire.GateBody
	e := entries[opened]
	if err := json.Unmarshal(e.Body, &gate); err != nil {
		return f, fmt.Errorf("entry %d (%s) cannot be read: %w", e.Seq, e.Kind, err)
	}
	direction := approval.Do
	for _, e := range slices.Backward(entries[:opened]) {
		if e.Kind != ledger.Planned {
			continue
		}
		var plan wire.PlannedBody
		if err := json.Unmarshal(e.Body, &plan); err != nil {
			return f, fmt.Errorf("entry %d (%s) cannot be read: %w", e.Seq, e.Kind, err)
		}
		if plan.Undo {
			direction = approval.Undo
		}
		break
	}
	f.Gate, f.Direction, f.Attempt, f.Stage, f.Role, f.Quorum, f.Opened = gate.Gate, direction, gate.Attempt, e.Stage, gate.Role, gate.Quorum, e.Time
	for _, e := range entries[opened:] {
		var d wire.DecisionBody
		if e.Kind != ledger.Decided || json.Unmarshal(e.Body, &d) != nil {
			continue
		}
		if d.Gate == gate.Gate && d.Attempt == gate.Attempt && d.Decision == string(approval.Approve) && !slices.Contains(f.Approved, d.Who) {
			f.Approved = append(f.Approved, d.Who)
		}
	}
	return f, nil
}

// Contradiction is one thing that two sources say differently.
type Contradiction struct {
	What   string `json:"what"`   // "mode"
	Ledger string `json:"ledger"` // as the ledger has it
	Source string `json:"source"` // who says otherwise: "Temporal"
	Other  string `json:"other"`  // as that has it
}

// String shows both.
func (c Contradiction) String() string {
	return fmt.Sprintf("%s: %s in the ledger, %s by %s", c.What, some(c.Ledger), some(c.Other), c.Source)
}

func some(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func join(all []Contradiction) string {
	var words []string
	for _, c := range all {
		words = append(words, c.String())
	}
	return strings.Join(words, "; ")
}

// Against holds what a run's workflow says of itself and its open gate against the
// facts.
func (f Facts) Against(s wire.Status) []Contradiction {
	const who = "Temporal"
	all := f.held(who, s.Run, s.Estate)
	g := s.Gate
	if g == nil || f.Gate == "" { // it is not about a gate
		return all
	}
	for _, p := range [][3]string{
		{"gate", f.Gate, g.ID}, {"attempt", fmt.Sprint(f.Attempt), fmt.Sprint(g.Attempt)}, {"direction", f.Direction, g.Direction}, {"role", f.Role, g.Role},
		{"approvals needed", fmt.Sprint(f.Quorum), fmt.Sprint(g.Quorum)}, {"estate's digest", f.EstateDigest, g.EstateDigest},
	} {
		if p[1] != p[2] {
			all = append(all, Contradiction{p[0], p[1], who, p[2]})
		}
	}
	return all
}

// held says what of a run's identity is other than the facts.
func (f Facts) held(who string, r action.Run, estate string) []Contradiction {
	var all []Contradiction
	for _, p := range [][3]string{
		{"runbook", f.Runbook, r.Runbook}, {"mode", string(f.Mode), string(r.Mode)}, {"estate", f.Estate, estate},
		{"source", f.Source, r.Source}, {"target", f.Target, r.Target}, {"incident", f.Incident, r.Incident},
		{"groups", strings.Join(f.Groups, ", "), strings.Join(r.Groups, ", ")}, {"started", at(&f.Started), at(&r.Started)},
		{"outage since", at(f.OutageStart), at(r.OutageStart)}, {"detected at", at(f.DetectedAt), at(r.DetectedAt)},
		{"source dead since", at(f.DeadSince), at(r.SourceDeadSince)},
	} {
		if p[1] != p[2] {
			all = append(all, Contradiction{p[0], p[1], who, p[2]})
		}
	}
	return all
}

func at(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
