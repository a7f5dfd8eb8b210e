package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// Report is everything that a run's ledger says about it. Times are UTC, and
// durations are seconds.
type Report struct {
	// Verdict is the run's own, unless it is still open or its evidence did not
	// verify: then nothing better than unknown is claimed.
	Verdict verdict.Verdict `json:"verdict"`
	Summary string          `json:"summary"` // "pass: 24 steps proven, 3 had nothing to do"
	// How is "proven", "planned", "nothing to do" or the type of error with which the run ended;
	// "running" while it has not.
	How string `json:"how"`
	Why string `json:"why"` // of a run that ended without a pass

	Runbook       string       `json:"runbook"`
	About         string       `json:"about"` // the runbook's one-line summary
	RunbookDigest string       `json:"runbook_digest"`
	Estate        string       `json:"estate"`
	EstateDigest  string       `json:"estate_digest"`
	Mode          action.Mode  `json:"mode"`
	Run           ledger.Run   `json:"run"`
	Incident      string       `json:"incident"`
	Source        string       `json:"source"`
	Target        string       `json:"target"`
	Groups        []string     `json:"groups"` // in scope; empty means all
	OutageStart   *time.Time   `json:"outage_start"`
	DetectedAt    *time.Time   `json:"detected_at"`
	Started       time.Time    `json:"started"`
	StartedBy     wire.Starter `json:"started_by,omitzero"`
	Ended         *time.Time   `json:"ended"` // nil: not ended
	AsOf          time.Time    `json:"as_of"` // of the newest entry: until when the report knows anything

	// TakenOver is how the run got the estate from another one; nil where it did not.
	TakenOver *TakenOver `json:"taken_over,omitempty"`

	Obligations []action.Obligation `json:"obligations"`
	Waived      []Waived            `json:"waived"` // items that people let be although they are not proven
	Milestones  []Milestone         `json:"milestones"`
	Recovery    []Recovered         `json:"recovery"`
	Cuts        []GroupCut          `json:"cuts"`
	Time        recovery.Breakdown  `json:"time"`
	Tiers       []Tier              `json:"tiers"`
	Gates       []Gate              `json:"gates"`
	Approvals   []Approval          `json:"approvals"` // each decision that counted at a gate, and aborts
	Refusals    []Approval          `json:"refusals"`  // each decision that did not count
	Asked       []Asked             `json:"asked"`
	Stages      []Stage             `json:"stages"`
	Seen        Counts              `json:"seen"` // all observations, those that are not listed too
	// Observations are the last look at each item: all that did not pass, and the
	// first of those that did.
	Observations []Observation `json:"observations"`
	Exercised    Exercised     `json:"exercised"`
	Ledger       Evidence      `json:"ledger"`
	Notes        []string      `json:"notes"` // what a reader of the numbers must know, and what the run noted
}

// Milestone is what the business got, held against its tier's objective.
type Milestone struct {
	recovery.Reached
	At *time.Time `json:"at"` // nil: not reached
}

// Recovered is one dataset: where it came back to, and what that lost.
type Recovered struct {
	recovery.Loss
	Group string `json:"group"`
	Tier  int    `json:"tier"`
}

// GroupCut is the moment to which a consistency group came back, and what kept
// it from being a later one.
type GroupCut struct {
	Group       string    `json:"group"`
	Tier        int       `json:"tier"`
	At          time.Time `json:"at"`
	SkewSeconds float64   `json:"skew_seconds"`
	Binding     string    `json:"binding"` // the dataset
	Reason      string    `json:"reason"`
}

// Tier is the time from the outage until a tier had everything that the runbook
// promises it, taken apart; until now while it has not.
type Tier struct {
	Tier       int                `json:"tier"`
	Until      string             `json:"until"` // the last milestone, or what the tier still waits for
	Reached    bool               `json:"reached"`
	RTOSeconds float64            `json:"rto_seconds"`
	RPOSeconds float64            `json:"rpo_seconds"`
	Met        verdict.Verdict    `json:"met"` // of the RTO, the worst of its milestones
	Time       recovery.Breakdown `json:"time"`
}

// Gate is one attempt of a gate, from its opening to its closing.
type Gate struct {
	Gate          string     `json:"gate"`
	Attempt       int        `json:"attempt"`
	Stage         string     `json:"stage"` // its id
	Role          string     `json:"role"`
	Method        string     `json:"method"`
	Quorum        int        `json:"quorum"`
	Root          string     `json:"root"` // of the plan that was shown
	Opened        time.Time  `json:"opened"`
	Closed        *time.Time `json:"closed"`
	How           string     `json:"how"` // approve, reject, stopped; empty while it is open
	By            []string   `json:"by"`
	WaitedSeconds float64    `json:"waited_seconds"`
}

// TakenOver is the take-over of an estate's lock by which a run began.
type TakenOver struct {
	From   ledger.Run `json:"from"`
	Epoch  int64      `json:"epoch"` // of that run
	By     []string   `json:"by"`
	Reason string     `json:"reason"`
	At     time.Time  `json:"at"` // when the first of them signed
	// Proof is that of both signatures, as in [Approval].
	Proof      string   `json:"proof"`
	Statement  string   `json:"statement"` // what they signed, in the namespace breakwater-lock
	Signatures []string `json:"signatures"`
	Lost       string   `json:"lost,omitempty"` // where the ledger of that run is lost: what follows from it
}

// Waived is an item that people let be although it is not proven.
type Waived struct {
	Item   string    `json:"item"` // "STEP/ITEM"
	Reason string    `json:"reason"`
	By     []string  `json:"by"`
	At     time.Time `json:"at"`
}

// Approval is a decision of a person, whether it counted or not.
type Approval struct {
	Gate     string `json:"gate"`
	Attempt  int    `json:"attempt"`
	Stage    string `json:"stage"` // the stage's id
	Role     string `json:"role"`
	Method   string `json:"method"`
	Quorum   int    `json:"quorum"`
	Decision string `json:"decision"`
	Who      string `json:"who"`
	Key      string `json:"key"` // fingerprint
	// Proof says how the report knows who decided: "signature verified" means
	// that it checked the signature against the estate's keys itself.
	Proof         string    `json:"proof"`
	Reason        string    `json:"reason"` // what the person gave
	Outcome       string    `json:"outcome"`
	Via           string    `json:"via"`
	At            time.Time `json:"at"`
	WaitedSeconds float64   `json:"waited_seconds"` // since the gate opened
}

// Asked is a question that the run put to a person, and the answer.
type Asked struct {
	Ask           string     `json:"ask"`
	Stage         string     `json:"stage"`
	Step          string     `json:"step"`
	Question      string     `json:"question"`
	Findings      []string   `json:"findings"`
	Choices       []string   `json:"choices"`
	At            time.Time  `json:"at"`
	Answer        string     `json:"answer"`
	Who           string     `json:"who"`
	Reason        string     `json:"reason"`
	Answered      *time.Time `json:"answered"`
	WaitedSeconds float64    `json:"waited_seconds"`
}

// Stage is one stage of the compiled run.
type Stage struct {
	ID        string     `json:"id"`
	Title     string     `json:"title"`
	Tier      int        `json:"tier"`
	Milestone string     `json:"milestone"`
	Started   *time.Time `json:"started"` // nil: not reached
	Ended     *time.Time `json:"ended"`
	Plans     int        `json:"plans"` // how often it was planned, as far as that was recorded
	Root      string     `json:"root"`  // of the last plan
	Changed   []string   `json:"changed"`
	Steps     []Step     `json:"steps"`
	// Spans are what its time went into; those of one kind do not overlap.
	Spans []recovery.Interval `json:"spans"`
}

// State is how far a step came.
type State string

// The states of a step.
const (
	NotReached     State = "not reached"
	Planned        State = "planned" // and not applied, in this mode or so far
	NotRun         State = "not run" // left out in this mode
	Began          State = "begun"   // an intent without an outcome: the run is here, or died here
	Proven         State = "proven"
	WithObligation State = "obligation"
	NothingToDo    State = wire.NothingToDo // it is neither proven nor failed
	NotKnown       State = "unknown"        // it could not be looked at, and nothing was seen to be wrong
	NotProven      State = "not proven"
	TakenBack      State = "taken back"
	NotTakenBack   State = "not taken back"
)

// Step is one step of a stage.
type Step struct {
	ID        string          `json:"id"`
	Title     string          `json:"title"`
	Kind      string          `json:"kind"` // do, check, ask
	Action    string          `json:"action"`
	Owner     string          `json:"owner"`
	State     State           `json:"state"`
	Verdict   verdict.Verdict `json:"verdict"`
	Items     int             `json:"items"`
	Effects   int64           `json:"effects"` // planned
	Mutations int64           `json:"mutations"`
	Attempts  int             `json:"attempts"`
	Seen      Counts          `json:"seen"`
	Findings  []string        `json:"findings"`       // the first of the last attempt
	None      []string        `json:"none,omitempty"` // of a step with nothing to do: what there is none of
	Tries     []Try           `json:"tries"`
	Shown     []string        `json:"plan"` // the first sentences of its plan
}

// Try is one attempt at a step, or at taking it back.
type Try struct {
	Attempt  int             `json:"attempt"`
	Undo     bool            `json:"undo"`
	At       time.Time       `json:"at"` // when its end was recorded
	Verdict  verdict.Verdict `json:"verdict"`
	Findings []string        `json:"findings"`
	Errors   []string        `json:"errors"`
}

// Counts are numbers of observations.
type Counts struct {
	Passed  int64 `json:"passed"`
	Failed  int64 `json:"failed"`
	Unknown int64 `json:"unknown"`
	Nothing int64 `json:"nothing,omitempty"` // there was nothing to look at
	Listed  int   `json:"listed,omitempty"`
}

// Observation is one look at the real system.
type Observation struct {
	Step    string          `json:"step"` // its id
	Item    string          `json:"item"`
	What    string          `json:"what"`
	Want    string          `json:"want"`
	Got     string          `json:"got"`
	Verdict verdict.Verdict `json:"verdict"`
	Cause   action.Cause    `json:"cause,omitempty"`
	Undo    bool            `json:"undo,omitempty"` // seen after taking the step back
}

// Exercised is the share of the runbook that ran.
type Exercised struct {
	Steps   int `json:"steps"`
	Of      int `json:"of"`
	Proven  int `json:"proven"`
	Nothing int `json:"nothing"` // steps that had nothing to do
}

// Evidence says what the report rests on.
type Evidence struct {
	Head      string        `json:"head"` // "seq:hash" of the last entry that is there
	Entries   int64         `json:"entries"`
	Documents int64         `json:"documents"`
	Verified  bool          `json:"verified"`
	Fault     *ledger.Fault `json:"fault"`
	Signers   []string      `json:"signers"`     // fingerprints
	SignedAt  int64         `json:"signed_head"` // the entry of the last signed head
	Signature string        `json:"signature"`   // of that head, armoured
	Kinds     []Kind        `json:"kinds"`       // which entries there are, and by whose word
}

// Kind is the entries of one kind.
type Kind struct {
	Kind    ledger.Kind `json:"kind"`
	Entries int         `json:"entries"`
	// Derived: a worker found by itself what they say, before it signed them. All others
	// are as the workflow reported them.
	Derived bool `json:"derived"`
}

// JSON writes the report for programs, indented.
func (r Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write the report of %s as JSON: %w", r.Run, err)
	}
	return nil
}
