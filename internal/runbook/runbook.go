// Package runbook is the language in which recovery is written: its types, its
// rules, and the compiled run that the interpreter executes.
//
// A runbook is a list of stages; a stage is a list of steps. A step has exactly
// one of `do` (an action that is planned, approved, applied and verified),
// `check` (an action that only looks) or `ask` with a `check` of its own (a
// manual step, proven like any other). There are no expressions: what varies
// comes from typed inputs and from the estate.
//
// runbook/load reads the YAML form and knows where each thing stands in the
// file. This package is pure.
package runbook

import (
	"encoding/json"

	"breakwater/internal/estate"
	"breakwater/internal/mistake"
)

// Position is a place in a file.
type Position = mistake.Position

// Mistake is one thing wrong with a file: where, what was found, what is allowed.
type Mistake = mistake.Mistake

// Keys holds where the keys of one part stand in its file, so that a mistake
// points at the key and not only at the part. Nested keys are joined by a dot:
// "approval.role".
type Keys map[string]Position

// At is where a key stands, or otherwise where the part does.
func (k Keys) At(key string, otherwise Position) Position {
	if p, ok := k[key]; ok {
		return p
	}
	return otherwise
}

// Runbook is one file of runbooks/.
type Runbook struct {
	Name    string // the workflow type: "RegionalFailover"
	Summary string
	Owner   string // a role
	Inputs  []InputDecl
	Blocks  []Block
	At      Position
	Keys    Keys
	Digest  string // SHA-256 of the file's bytes, "sha256:…"
}

// InputDecl declares one input that the runbook takes beside the common ones.
type InputDecl struct {
	Name     string
	Type     InputType
	Help     string
	Optional bool
	At       Position
	Keys     Keys
}

// InputType is the type of an input.
type InputType string

// The types of input.
const (
	RegionInput   InputType = "region"
	StringInput   InputType = "string"
	TableInput    InputType = "table"
	GroupInput    InputType = "group"
	TimeInput     InputType = "time"
	IntegerInput  InputType = "integer"
	BoolInput     InputType = "bool"
	DurationInput InputType = "duration"
)

// inputTypes lists every type that an input may have.
func inputTypes() []InputType {
	return []InputType{RegionInput, StringInput, TableInput, GroupInput, TimeInput, IntegerInput, BoolInput, DurationInput}
}

// Block is one stage, or consecutive stages that each tier goes through before
// the next tier starts.
type Block struct {
	PerTier bool
	Stages  []StageDecl // exactly one unless PerTier
	At      Position
}

// StageDecl is a stage as written.
type StageDecl struct {
	Title           string
	Approval        *Approval
	Milestone       string // what the business gets when this stage is proven: "reads", "writes"
	PointOfNoReturn bool
	Steps           []StepDecl
	At              Position
	Keys            Keys
}

// Approval is who opens a stage's gate.
type Approval struct {
	Role     string          `json:"role"`
	Quorum   int             `json:"quorum"`             // distinct people; 1 when omitted
	Reminder estate.Duration `json:"reminder,omitempty"` // how often to remind while the gate waits
	Escalate string          `json:"escalate,omitempty"` // the role that is told after the second reminder
	At       Position        `json:"-"`
}

// StepKind is which of do, check and ask a step has.
type StepKind string

// The kinds of step.
const (
	Do    StepKind = "do"
	Check StepKind = "check"
	Ask   StepKind = "ask"
)

// StepDecl is a step as written.
type StepDecl struct {
	Title    string
	Kind     StepKind
	Action   string          // of do or check; the check of an ask
	Question string          // of ask: what the person is asked to do
	With     json.RawMessage // a value {"input": NAME} stands for a run's input
	Each     estate.Kind
	Where    map[string]string
	// WhereInput names the input that a field of the filter takes its value from.
	WhereInput map[string]string
	Owner      string // a role; the runbook's owner when omitted
	At         Position
	ActionAt   Position
	Keys       Keys
}
