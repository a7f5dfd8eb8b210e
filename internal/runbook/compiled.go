package runbook

import (
	"encoding/json"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
)

// Engine is the version of the interpreter that a compiled run was made for. A
// change of the interpreter that an open run would notice raises it.
const Engine = 2

// Compiled is a run made ready: every stage of every tier in order, with the
// actions' timing and the digests of both files. It is in the workflow's history
// and in the ledger; nobody consults a file or the catalogue afterwards.
type Compiled struct {
	Engine        int             `json:"engine"`
	Runbook       string          `json:"runbook"`
	Summary       string          `json:"summary"`
	Owner         string          `json:"owner"`
	RunbookDigest string          `json:"runbook_digest"`
	Estate        string          `json:"estate"`
	EstateDigest  string          `json:"estate_digest"`
	Input         Input           `json:"input"`
	Roles         []estate.Role   `json:"roles"`
	Tiers         []estate.Tier   `json:"tiers"`
	Skew          estate.Duration `json:"clock_skew"`
	Stages        []Stage         `json:"stages"`
	Lacks         []Finding       `json:"lacks,omitempty"` // what the estate lacks, and what that costs
}

// Stage is a compiled stage.
type Stage struct {
	ID              string    `json:"id"` // "restore-meaning@tier-1"
	Title           string    `json:"title"`
	Tier            int       `json:"tier,omitempty"` // 0: estate-wide
	Approval        *Approval `json:"approval,omitempty"`
	Milestone       string    `json:"milestone,omitempty"`
	PointOfNoReturn bool      `json:"point_of_no_return,omitempty"`
	Steps           []Step    `json:"steps"`
}

// ChecksOnly reports whether the stage does nothing but look. Its checks run
// before its gate opens, so that the gate shows what they found.
func (s Stage) ChecksOnly() bool {
	for _, st := range s.Steps {
		if st.Kind != Check {
			return false
		}
	}
	return true
}

// Step is a compiled step.
type Step struct {
	ID       string            `json:"id"` // "restore-meaning@tier-1/1-table.promote"
	Title    string            `json:"title"`
	Kind     StepKind          `json:"kind"`
	Action   string            `json:"action"`
	Question string            `json:"question,omitempty"`
	With     json.RawMessage   `json:"with,omitempty"`
	Each     estate.Kind       `json:"each,omitempty"`
	Where    map[string]string `json:"where,omitempty"`
	Owner    string            `json:"owner"`
	Effect   action.Effect     `json:"effect"`
	Drill    action.Drill      `json:"drill"`
	CanUndo  bool              `json:"can_undo,omitempty"`
	Runs     action.Place      `json:"runs,omitempty"`  // which process works on it
	Items    int               `json:"items"`           // how many items the estate has for it
	Names    []string          `json:"names,omitempty"` // their names, where there are few enough to show each
	Timeout  time.Duration     `json:"timeout"`
	Estimate time.Duration     `json:"estimate"` // for one item
}

// few is how many items a step may have for each to be an activity of its own,
// named in the timeline. More go in batches.
const few = 25

// Batch is a range of a step's items, sorted by name: one activity per phase.
type Batch struct {
	From, To int    // items[From:To]
	Label    string // the item's name, or "tables 101-200 of 500"
}

// Batches divides the step's items: one each where there are few, otherwise
// about fifty batches, of at most 500 items.
func (s Step) Batches() []Batch {
	if s.Items <= few {
		bs := make([]Batch, len(s.Names))
		for i, n := range s.Names {
			bs[i] = Batch{i, i + 1, n}
		}
		return bs
	}
	size := min(500, (s.Items+49)/50)
	var bs []Batch
	for from := 0; from < s.Items; from += size {
		to := min(from+size, s.Items)
		bs = append(bs, Batch{from, to, fmt.Sprintf("%ss %d-%d of %d", s.Each, from+1, to, s.Items)})
	}
	return bs
}

// Filter is what narrows the step's items: its `where`, its tier, the run's groups.
func (s Step) Filter(tier int, groups []string) estate.Filter {
	return estate.Filter{Tier: tier, Groups: groups, Where: s.Where}
}

// Step returns the compiled stage that holds the step of that id, and the step.
func (c *Compiled) Step(id string) (*Stage, *Step, bool) {
	for si := range c.Stages {
		for ti := range c.Stages[si].Steps {
			if c.Stages[si].Steps[ti].ID == id {
				return &c.Stages[si], &c.Stages[si].Steps[ti], true
			}
		}
	}
	return nil, nil, false
}

// Role returns the role of that name.
func (c *Compiled) Role(name string) (estate.Role, bool) {
	for _, r := range c.Roles {
		if r.Role == name {
			return r, true
		}
	}
	return estate.Role{}, false
}
