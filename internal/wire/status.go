package wire

import (
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
)

// State is what a run is doing, in one word.
type State string

// The states.
const (
	StateStarting State = "starting"
	StateRunning  State = "running"
	StateGate     State = "waiting-for-approval"
	StateAsking   State = "waiting-for-decision"
	StateLedger   State = "waiting-for-ledger" // nothing goes on before it can be written
	StateEnded    State = "ended"
)

// Status is what a person sees of a run: the answer of the query, and all that
// the current details are made of.
type Status struct {
	Run         action.Run          `json:"run"`
	Estate      string              `json:"estate"`
	Summary     string              `json:"summary"` // of the runbook
	State       State               `json:"state"`
	Doing       string              `json:"doing"` // one sentence
	Verdict     verdict.Verdict     `json:"verdict"`
	Why         string              `json:"why,omitempty"` // of a run that ended without a pass
	Stages      []StageStatus       `json:"stages"`
	Current     int                 `json:"current"` // index into Stages
	Gate        *GateStatus         `json:"gate,omitempty"`
	Ask         *AskStatus          `json:"ask,omitempty"`
	Ledger      *LedgerStatus       `json:"ledger,omitempty"` // while it cannot be written
	Obligations []action.Obligation `json:"obligations,omitempty"`
	Proven      []string            `json:"proven,omitempty"` // sentences, oldest first
	Open        *approval.Gate      `json:"open,omitempty"`   // the open gate or question as it is judged: what a statement about it says
	Paused      *PauseStatus        `json:"paused,omitempty"`
	Waived      []Waived            `json:"waived,omitempty"`
	Refusals    []Refusal           `json:"refusals,omitempty"` // the last few
	Refused     int                 `json:"refused,omitempty"`  // how many more, which were only counted
	Head        string              `json:"head"`               // of the ledger, "seq:hash"
	Finish      *time.Time          `json:"finish,omitempty"`   // forecast, waiting for people left out
	Milestones  []Milestone         `json:"milestones,omitempty"`
}

// StageStatus is one stage, and how far it has come.
type StageStatus struct {
	ID    string       `json:"id"`
	Title string       `json:"title"`
	Tier  int          `json:"tier,omitempty"`
	State string       `json:"state"` // "", "planning", "waiting", "applying", "proven", "planned", [NothingToDo]
	Steps []StepStatus `json:"steps"`
}

// StepStatus is one step, and how many of its items are where.
type StepStatus struct {
	ID       string          `json:"id"`
	Title    string          `json:"title"`
	Action   string          `json:"action"`
	Items    int             `json:"items"`
	Planned  int             `json:"planned"`
	Applied  int             `json:"applied"`
	Verified int             `json:"verified"`
	Verdict  verdict.Verdict `json:"verdict"`
	State    string          `json:"state"` // "", "planned", "running", "proven", "obligation", "waived", [NothingToDo], "not run", "unknown", "failed"
	Summary  []string        `json:"summary,omitempty"`
	None     []string        `json:"none,omitempty"` // of a step with nothing to do: what there is none of
}

// NothingToDo is the state of a step that had nothing to do, of a stage of such steps,
// and how a run of them ended. It is neither proven nor failed.
const NothingToDo = "nothing to do"

// GateStatus is an open gate: everything that an approval must name.
type GateStatus struct {
	ID           string              `json:"id"`
	Attempt      int                 `json:"attempt"`
	Stage        string              `json:"stage"` // its title
	Role         string              `json:"role"`
	Method       string              `json:"method"`
	Quorum       int                 `json:"quorum"`
	Members      []string            `json:"members"`
	Approved     []string            `json:"approved,omitempty"` // who has, so far
	Root         string              `json:"root"`               // of the stage's plan
	Direction    string              `json:"direction"`          // "do" or "undo"
	Head         string              `json:"head"`               // of the ledger when the gate opened, "seq:hash"
	EstateDigest string              `json:"estate_digest"`
	Plan         []StepPlan          `json:"plan"`
	Accepts      []action.Acceptance `json:"accepts,omitempty"`
	Losses       []recovery.Given    `json:"losses,omitempty"`
	Changed      []string            `json:"changed,omitempty"` // since the attempt before
	Opened       time.Time           `json:"opened"`
	Reminded     int                 `json:"reminded,omitempty"`
	Next         string              `json:"next,omitempty"`        // who is told next
	NotOffered   []string            `json:"not_offered,omitempty"` // what cannot be decided here, and why
}

// StepPlan is a step's plan in short.
type StepPlan struct {
	Step    string   `json:"step"` // its title
	Action  string   `json:"action"`
	Items   int      `json:"items"`
	Effects int64    `json:"effects"`
	Summary []string `json:"summary,omitempty"`
}

// AskStatus is a question to a person: a step that did not pass, or a manual one.
type AskStatus struct {
	ID         string   `json:"id"` // "<step id>#<n>"
	Step       string   `json:"step"`
	Title      string   `json:"title"`
	Question   string   `json:"question"`
	Findings   []string `json:"findings,omitempty"`
	Choices    []string `json:"choices"`               // "retry", "verify", "waive", "undo", "abort", "done"
	Owner      string   `json:"owner"`                 // the role that is asked
	Items      []string `json:"items,omitempty"`       // what may be waived, each "STEP/ITEM"
	NotOffered []string `json:"not_offered,omitempty"` // what cannot be decided here, and why
}

// PauseStatus is who paused the run, and what lets it go on.
type PauseStatus struct {
	ID     string         `json:"id"`
	By     string         `json:"by"`
	Reason string         `json:"reason,omitempty"`
	Role   string         `json:"role"`           // who may let it go on
	Open   *approval.Gate `json:"open,omitempty"` // as Status.Open
}

// Waived is an item that people let be although it is not proven.
type Waived struct {
	Step   string   `json:"step"` // its id
	Title  string   `json:"title"`
	Item   string   `json:"item"` // "STEP/ITEM"
	By     []string `json:"by"`
	Reason string   `json:"reason"`
}

// LedgerStatus is an outage of the ledger: the run waits until it can be written.
type LedgerStatus struct {
	Since   time.Time  `json:"since"`
	Tries   int        `json:"tries"`
	Next    *time.Time `json:"next,omitempty"` // when it is tried again by itself; nil where time cures nothing
	Why     string     `json:"why"`
	Forked  bool       `json:"forked,omitempty"`  // something else was written in the run's place
	Waiting int        `json:"waiting,omitempty"` // signals that are judged afterwards
}

// Refusal is a decision that did not count.
type Refusal struct {
	Time   time.Time `json:"time"`
	Who    string    `json:"who,omitempty"`
	Reason string    `json:"reason"`
}

// Milestone is what the business got, and when.
type Milestone struct {
	Name string    `json:"name"`
	Tier int       `json:"tier,omitempty"`
	At   time.Time `json:"at"`
}

// Result is what a run returns.
type Result struct {
	Verdict     verdict.Verdict     `json:"verdict"`
	Summary     string              `json:"summary"` // "pass: 24 steps proven, 3 had nothing to do, 2 obligations open"
	Mode        action.Mode         `json:"mode"`
	Obligations []action.Obligation `json:"obligations,omitempty"`
	Milestones  []Milestone         `json:"milestones,omitempty"`
	Exercised   int                 `json:"exercised"`         // steps that ran
	Proven      int                 `json:"proven,omitempty"`  // of these
	Waived      int                 `json:"waived,omitempty"`  // items that people let be although they are not proven
	Nothing     int                 `json:"nothing,omitempty"` // steps that had nothing to do, in any mode
	Steps       int                 `json:"steps"`
	Head        string              `json:"head"`
	// Unrecorded says that a person ended the run while the ledger could not be written,
	// and what that leaves behind. Of no other end the ledger is without an entry.
	Unrecorded string `json:"unrecorded,omitempty"`
}

// Answer is what the update returns to whoever decided.
type Answer struct {
	Counted bool   `json:"counted"`
	Outcome string `json:"outcome"` // a sentence
}
