package wire

import (
	"encoding/json"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/recovery"
	"breakwater/internal/runbook"
	"breakwater/internal/takeover"
	"breakwater/internal/verdict"
)

// The bodies of the ledger's entries, by kind. The report is made from these and
// the documents that they name, and from nothing else.

// StartedBody is the body of run-started.
type StartedBody struct {
	Run       action.Run      `json:"run"`
	Input     json.RawMessage `json:"input"`
	Scheduled bool            `json:"scheduled,omitempty"`
	Starter
	// Lost is what two people are said to have signed where the ledger of the run before
	// was lost: its run, and its last known head. The lock's entry proves it.
	Lost *takeover.Statement `json:"lost,omitempty"`
}

// Starter is who started a run, as Temporal noted it when it began.
type Starter struct {
	// Claimed is what the client that started it called itself. Nothing proves it.
	Claimed  string `json:"claimed_by,omitempty"`
	Schedule string `json:"schedule,omitempty"` // the id of the Schedule that started it
	Parent   string `json:"parent,omitempty"`   // the id of the workflow whose child it is
}

// By says who it was, for people; it is empty where nothing is known.
func (s Starter) By() string {
	switch {
	case s.Schedule != "":
		return fmt.Sprintf("by Schedule %q", s.Schedule)
	case s.Parent != "":
		return fmt.Sprintf("by workflow %q", s.Parent)
	case s.Claimed != "":
		return fmt.Sprintf("by a client that called itself %q, which nothing proves", s.Claimed)
	}
	return ""
}

// CompiledBody is the body of compiled. The documents are in the entry.
type CompiledBody struct {
	Runbook       string        `json:"runbook"`
	RunbookDigest string        `json:"runbook_digest"`
	Estate        string        `json:"estate"`
	EstateDigest  string        `json:"estate_digest"`
	Mode          action.Mode   `json:"mode"`
	Input         runbook.Input `json:"input"`
}

// ResumedBody is the body of resumed: the run goes on as a new execution, with the state
// in the entry's document.
type ResumedBody struct {
	Execution int `json:"execution"` // counts them, from 1
	Engine    int `json:"engine"`
}

// LockBody is the body of lock.
type LockBody struct {
	Held  bool  `json:"held"` // taken; false: given back
	Epoch int64 `json:"epoch"`
	// Taken is how the run got it from another one.
	Taken *TakeOver `json:"taken,omitempty"`
}

// TakeOver is what two people signed to take an estate from a run, and who they are.
type TakeOver struct {
	takeover.Signed
	By []string `json:"by"`
}

// PlannedBody is the body of planned.
type PlannedBody struct {
	Attempt   int                 `json:"attempt"`
	Root      string              `json:"root"`
	Steps     []StepPlan          `json:"steps"`
	Leaves    []ledger.Leaf       `json:"leaves"`
	Accepts   []action.Acceptance `json:"accepts,omitempty"`
	Losses    []recovery.Given    `json:"losses,omitempty"`
	Changed   []string            `json:"changed,omitempty"`
	Intervals []Interval          `json:"intervals,omitempty"`
	Undo      bool                `json:"undo,omitempty"` // the plan of taking back
	// Errors are why items have no plan, so that no gate opens for this. The documents
	// name each of them; here stand the first.
	Errors []string `json:"errors,omitempty"`
}

// GateBody is the body of gate-opened and of gate-closed.
type GateBody struct {
	Gate      string           `json:"gate"`
	Attempt   int              `json:"attempt"`
	Role      string           `json:"role"`
	Method    string           `json:"method"`
	Quorum    int              `json:"quorum"`
	Root      string           `json:"root"`
	Direction string           `json:"direction,omitempty"` // "do" or "undo"
	Offers    []approval.Offer `json:"offers,omitempty"`
	How       string           `json:"how,omitempty"` // of gate-closed: what was decided, or "stopped"
	By        []string         `json:"by,omitempty"`
}

// DecisionBody is the body of decided and of refused.
type DecisionBody struct {
	Gate      string   `json:"gate,omitempty"` // or the ask's id
	Attempt   int      `json:"attempt,omitempty"`
	Decision  string   `json:"decision,omitempty"`
	Via       string   `json:"via"` // "signal" or "update"
	Who       string   `json:"who,omitempty"`
	Key       string   `json:"key,omitempty"` // fingerprint
	Method    string   `json:"method,omitempty"`
	Reason    string   `json:"reason,omitempty"`    // what the person gave
	Outcome   string   `json:"outcome,omitempty"`   // what became of it; of a refusal, why
	Raw       string   `json:"raw,omitempty"`       // as it was received; of a decision that counts, its signature
	Statement string   `json:"statement,omitempty"` // what was signed
	Items     []string `json:"items,omitempty"`     // what a waive is about, each "STEP/ITEM"
	Owner     string   `json:"owner,omitempty"`
	Due       string   `json:"due,omitempty"`
	Missing   bool     `json:"missing,omitempty"` // it counts, and more people are needed

	// Of a refusal: those that were refused with it, and how many more were only counted.
	Also []DecisionBody `json:"also,omitempty"`
	More int            `json:"more,omitempty"`
}

// IntentBody is the body of intent: the plans in the entry's documents are about
// to be applied, or taken back.
type IntentBody struct {
	Attempt int   `json:"attempt"`
	Undo    bool  `json:"undo,omitempty"`
	Epoch   int64 `json:"epoch,omitempty"`
}

// OutcomeBody is the body of outcome.
type OutcomeBody struct {
	Attempt   int        `json:"attempt"`
	Mutations int64      `json:"mutations"`
	Errors    []string   `json:"errors,omitempty"`
	Undo      bool       `json:"undo,omitempty"`
	Intervals []Interval `json:"intervals,omitempty"`
}

// ObservedBody is the body of observed.
type ObservedBody struct {
	Attempt   int             `json:"attempt"`
	Verdict   verdict.Verdict `json:"verdict"`
	Passed    int64           `json:"passed"`
	Failed    int64           `json:"failed"`
	Unknown   int64           `json:"unknown"`
	Nothing   int64           `json:"nothing,omitempty"`
	Findings  []string        `json:"findings,omitempty"`
	Red       []string        `json:"red,omitempty"`      // items that are not clear
	RedMore   int64           `json:"red_more,omitempty"` // how many more
	None      []string        `json:"none,omitempty"`     // what there is none of
	Owed      []string        `json:"owed,omitempty"`     // what gates must have accepted, for what is unknown to be carried
	Undo      bool            `json:"undo,omitempty"`
	Intervals []Interval      `json:"intervals,omitempty"`
}

// AskedBody is the body of asked.
type AskedBody struct {
	Ask      string   `json:"ask"`
	Question string   `json:"question"`
	Findings []string `json:"findings,omitempty"`
	Choices  []string `json:"choices"`

	Role      string           `json:"role,omitempty"`
	Method    string           `json:"method,omitempty"`
	Direction string           `json:"direction,omitempty"` // "do" or "undo"
	Offers    []approval.Offer `json:"offers,omitempty"`
	Items     []string         `json:"items,omitempty"` // what may be waived
	Root      string           `json:"root,omitempty"`  // what a statement names as its plan: the digest of all of the above
}

// NoteBody is the body of note.
type NoteBody struct {
	Text      string     `json:"text"`
	By        string     `json:"by,omitempty"` // a person, as the sender says
	Milestone *Milestone `json:"milestone,omitempty"`
}

// EndedBody is the body of run-ended.
type EndedBody struct {
	Result
	How    string    `json:"how"` // "proven", "planned", "nothing to do", or one of the error types with which a run ends
	Why    string    `json:"why,omitempty"`
	Undone bool      `json:"undone,omitempty"`
	Ended  time.Time `json:"ended"`
}
