// Package wire holds what crosses between the interpreter and its activities:
// names, and plain serialisable structs. Both sides import it; it imports
// neither.
//
// What is large stays in the ledger and crosses as a [ledger.DocRef]; a result
// carries counts, the worst case, a digest, and a few sentences to show.
package wire

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/clip"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
	"breakwater/internal/runbook"
	"breakwater/internal/verdict"
)

// TaskQueue is where workers look for runs unless they are told otherwise.
const TaskQueue = "breakwater"

// QueryQueue is where the steps that need the query engine are worked on, in runs
// of the given task queue.
func QueryQueue(queue string) string { return queue + "-queries" }

// The activities that are not a phase of an action.
const (
	CompileRun  = "run:compile"
	AppendEntry = "ledger:append"
	AcquireLock = "lock:acquire"
	ReleaseLock = "lock:release"
	KeepState   = "run:keep"   // what a run hands on when it continues as new
	ReadState   = "run:resume" // what the execution before handed on
)

// UndoGate is the gate at which people approve the plan of taking back.
const UndoGate = "take-back"

// Signals, the update and the query of every run. All of approve, reject,
// decide, abort, pause, resume and note carry the same payload; the update does what any of them
// does, and answers.
const (
	SignalApprove = "approve"
	SignalReject  = "reject"
	SignalDecide  = "decide"
	SignalAbort   = "abort"
	SignalPause   = "pause"
	SignalResume  = "resume"
	SignalNote    = "note"
	UpdateDecide  = "decide"
	QueryStatus   = "status"
)

// Search attributes of every run, all of type Keyword.
const (
	AttrState    = "BreakwaterState"
	AttrStage    = "BreakwaterStage"
	AttrMode     = "BreakwaterMode"
	AttrVerdict  = "BreakwaterVerdict"
	AttrEstate   = "BreakwaterEstate"
	AttrIncident = "BreakwaterIncident"
)

// Attributes lists the search attributes.
func Attributes() []string {
	return []string{AttrState, AttrStage, AttrMode, AttrVerdict, AttrEstate, AttrIncident}
}

// Phase is one phase of an action.
type Phase string

// The phases. Undo has its own three.
const (
	PlanPhase       Phase = "plan"
	ApplyPhase      Phase = "apply"
	VerifyPhase     Phase = "verify"
	UndoPlanPhase   Phase = "undo-plan"
	UndoApplyPhase  Phase = "undo"
	UndoVerifyPhase Phase = "undo-verify"
)

// Activity names the Temporal activity of a phase: "table.promote:plan".
func Activity(action string, p Phase) string { return action + ":" + string(p) }

// CompileInput starts a run. Which run it is, and who started it, Temporal tells the
// activity.
type CompileInput struct {
	Input  json.RawMessage `json:"input"`
	Engine int             `json:"engine"` // of the interpreter that asks
}

// CompileResult is the compiled run, and where it lies in the ledger.
type CompileResult struct {
	// Run is the run as Temporal and its input make it. The interpreter takes it
	// from here, so that a history replays to the same signatures under any name.
	Run      action.Run       `json:"run"`
	Started  StartedBody      `json:"started"` // for the first entry
	Compiled runbook.Compiled `json:"compiled"`
	Files    Files            `json:"files"`
	Runbook  ledger.DocRef    `json:"runbook"` // the file as it was read
}

// Files name the two documents that every activity of a run reads.
type Files struct {
	Compiled ledger.DocRef `json:"compiled"`
	Estate   ledger.DocRef `json:"estate"`
}

// PhaseInput asks for one phase of one step on a batch of its items. Nothing in it grants
// anything: which run asks is for Temporal to say, and what that run may do for its ledger.
type PhaseInput struct {
	Estate  string         `json:"estate"` // whose ledger to look in
	Seq     int64          `json:"seq"`    // the entry up to which the run had written its ledger when it asked
	Step    string         `json:"step"`
	From    int            `json:"from"`
	To      int            `json:"to"`
	Attempt int            `json:"attempt"`         // counts plannings in a plan, applyings in the rest
	Plan    *ledger.DocRef `json:"plan,omitempty"`  // the approved plan, or an index of plans
	Prior   *ledger.DocRef `json:"prior,omitempty"` // in an undo: the outcome to take back, or an index
	// Applied is what the Apply before a Verify left. What failed there is not looked at.
	// Without it every item is.
	Applied *ledger.DocRef `json:"applied,omitempty"`
}

// ItemError is why a phase came to nothing on one item.
type ItemError = ledger.ItemError

// Failures are the items of a batch on which a phase came to nothing. Those beside them
// are as they should be. The index that the result names holds each of them.
type Failures struct {
	Failed []ItemError `json:"failed,omitempty"` // at most [Shown]
	Count  int         `json:"failed_count,omitempty"`
	Moved  bool        `json:"failed_moved,omitempty"` // on one of them at least because the world moved
	// Superseded says how the run lost its estate, if that is why.
	Superseded string `json:"superseded,omitempty"`
}

// Add takes a failure into the count, and shows it while there is room.
func (f *Failures) Add(e ItemError) {
	f.Count++
	f.Moved = f.Moved || e.Moved
	if len(f.Failed) < Shown {
		e.Error = clip.Bytes(e.Error, shownError)
		f.Failed = append(f.Failed, e)
	}
}

// shownError is how many bytes of an item's error a result carries.
const shownError = 1000

// Sentences says what failed, with what was tried, and how many more.
func (f Failures) Sentences(doing string) []string {
	var all []string
	for _, e := range f.Failed {
		all = append(all, e.Item+": "+doing+e.Error)
	}
	if more := f.Count - len(f.Failed); more > 0 {
		all = append(all, fmt.Sprintf("and %s more of the same batch, each named in the ledger", plural.Of(more, "item")))
	}
	return all
}

// Refused reports whether one of them is an answer, and not the lack of one.
func (f Failures) Refused() bool {
	return slices.ContainsFunc(f.Failed, func(e ItemError) bool { return e.Refused })
}

// Interval is when an activity worked, by the worker's clock.
type Interval struct {
	Phase Phase     `json:"phase"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// PlanResult is what planning a batch found.
type PlanResult struct {
	Doc       ledger.DocRef       `json:"doc"` // a [PlanDoc], or an index of them
	Leaf      ledger.Leaf         `json:"leaf"`
	Effects   int64               `json:"effects"`
	Summaries []string            `json:"summaries,omitempty"` // at most [Shown]
	Accepts   []action.Acceptance `json:"accepts,omitempty"`   // each once
	Losses    []recovery.Given    `json:"losses,omitempty"`    // the worst, at most [Shown]
	Look      *Look               `json:"look,omitempty"`      // of a check: what it saw
	Interval  Interval            `json:"interval"`
	Failures
}

// ApplyResult is what applying a batch did.
type ApplyResult struct {
	Doc       ledger.DocRef `json:"doc"` // an [OutcomeDoc], or an index of them
	Mutations int64         `json:"mutations"`
	Summaries []string      `json:"summaries,omitempty"` // at most [Shown]
	Interval  Interval      `json:"interval"`
	Failures
}

// VerifyResult is what verifying a batch saw.
type VerifyResult struct {
	Doc      ledger.DocRef `json:"doc"` // an [ObservedDoc], or an index of them
	Look     Look          `json:"look"`
	Interval Interval      `json:"interval"`
	Failures
}

// Look is a set of observations in short.
type Look struct {
	Verdict    verdict.Verdict `json:"verdict"`
	OnlySource bool            `json:"only_source,omitempty"` // every unknown has the unreachable source as its one cause
	// Owed are the ids of what people must accept, so that what is unknown may be carried
	// as obligations: see [action.Owed].
	Owed        []string `json:"owed,omitempty"`
	Passed      int64    `json:"passed"` // observations
	Failed      int64    `json:"failed"`
	Unknown     int64    `json:"unknown"`
	Nothing     int64    `json:"nothing,omitempty"`     // of these there was nothing to look at
	Findings    []string `json:"findings,omitempty"`    // what did not pass, at most [Shown]
	None        []string `json:"none,omitempty"`        // what there is none of, each once, at most [Shown]
	Red         []string `json:"red,omitempty"`         // the items that are not clear, at most [RedMost]
	RedMore     int64    `json:"red_more,omitempty"`    // how many more, or of which it is not known which
	Obligations []string `json:"obligations,omitempty"` // what would remain to be proven, each once, at most [Shown]
}

// MergeLooks puts looks together: the worst verdict, all counts, all findings, each
// obligation once. Nothing looked at is unknown.
func MergeLooks(looks ...Look) Look {
	var m Look
	verdicts := make([]verdict.Verdict, len(looks))
	only, owed := true, true
	for i, l := range looks {
		verdicts[i] = l.Verdict
		owed = owed && (l.Verdict.Clear() || len(l.Owed) > 0)
		for _, id := range l.Owed {
			if !slices.Contains(m.Owed, id) {
				m.Owed = append(m.Owed, id)
			}
		}
		only = only && (l.Verdict.Clear() || l.OnlySource)
		m.Passed, m.Failed, m.Unknown, m.Nothing = m.Passed+l.Passed, m.Failed+l.Failed, m.Unknown+l.Unknown, m.Nothing+l.Nothing
		m.Findings = append(m.Findings, l.Findings...)
		m.RedMore += l.RedMore
		for _, item := range l.Red {
			m.Reds(item)
		}
		for _, n := range l.None {
			if !slices.Contains(m.None, n) && len(m.None) < Shown {
				m.None = append(m.None, n)
			}
		}
		for _, o := range l.Obligations {
			if !slices.Contains(m.Obligations, o) {
				m.Obligations = append(m.Obligations, o)
			}
		}
	}
	m.Verdict = verdict.Worst(verdicts...)
	m.OnlySource = only && m.Verdict == verdict.Unknown && len(looks) > 0
	if !owed {
		m.Owed = nil
	}
	return m
}

// RedMost is how many items a look names that are not clear: as many as people could
// look after one by one.
const RedMost = 100

// Reds adds an item that is not clear.
func (l *Look) Reds(item string) {
	switch {
	case slices.Contains(l.Red, item):
	case len(l.Red) >= RedMost:
		l.RedMore++
	default:
		l.Red = append(l.Red, item)
	}
}

// Shown is how many sentences a result carries; the rest is in the ledger.
const Shown = 5

// PlanDoc is the plan of one item: a leaf of the root that people approve.
type PlanDoc struct {
	Step   string          `json:"step"`
	Action string          `json:"action"`
	Item   estate.Item     `json:"item"`
	With   json.RawMessage `json:"with,omitempty"`
	Change action.Change   `json:"change"`
	// Found is what a check saw, in a stage that only looks. What an unknown got
	// is left out, since an error's text may differ from one look to the next.
	Found []action.Observation `json:"found,omitempty"`
}

// OutcomeDoc is what applying one item did.
type OutcomeDoc struct {
	Step    string         `json:"step"`
	Action  string         `json:"action"`
	Item    estate.Item    `json:"item"`
	Plan    string         `json:"plan"` // digest of the approved plan
	Outcome action.Outcome `json:"outcome"`
	Start   time.Time      `json:"start"`
	End     time.Time      `json:"end"`
}

// ObservedDoc is what verifying one item saw.
type ObservedDoc struct {
	Step         string               `json:"step"`
	Action       string               `json:"action"`
	Item         estate.Item          `json:"item"`
	Plan         string               `json:"plan,omitempty"` // digest of the plan that was applied
	Verdict      verdict.Verdict      `json:"verdict"`
	Observations []action.Observation `json:"observations"`
	Start        time.Time            `json:"start"`
	End          time.Time            `json:"end"`
}

// AppendInput puts bytes at a place in the ledger. The worker adds the signed
// head.
type AppendInput struct {
	Estate string      `json:"estate"`
	Head   ledger.Head `json:"head"` // after the entry
	Entry  []byte      `json:"entry"`
}

// LockInput takes or gives back the estate's lock for the run that asks.
type LockInput struct {
	Estate string `json:"estate"`
}

// StateInput keeps a run's state, or asks for what was kept.
type StateInput struct {
	Estate    string          `json:"estate"`
	Execution int             `json:"execution"` // how often the run has continued as new with it
	State     json.RawMessage `json:"state,omitempty"`
}

// StateResult is where a state is kept, or what was kept.
type StateResult struct {
	Doc   ledger.DocRef   `json:"doc"`
	State json.RawMessage `json:"state,omitempty"`
	Head  ledger.Head     `json:"head"` // of the chain that hands it on
}

// LockResult is the epoch under which the run may act.
type LockResult struct {
	Epoch int64     `json:"epoch"`
	Taken *TakeOver `json:"taken,omitempty"` // how it was taken over, if it was
}

// Error types that the interpreter tells apart. The activities' interceptor
// gives them; all are final, retrying the activity cannot help.
const (
	ErrTypeBadInput = "BadInput"   // what a person typed cannot be run
	ErrTypeMoved    = "Moved"      // the world is not what the plan saw
	ErrTypeRefused  = "Refused"    // a rule forbids it
	ErrTypeHeld     = "LockHeld"   // another run holds the estate
	ErrTypeFenced   = "Superseded" // another run took the estate over
	ErrTypeDenied   = "Denied"     // the system refused the principal
	ErrTypeForked   = "Forked"     // the ledger holds other bytes at this place
)

// Error types with which a run ends.
const (
	ErrTypeNotProven  = "NotProven"
	ErrTypeAborted    = "Aborted"
	ErrTypeRejected   = "Rejected"
	ErrTypeUndone     = "Undone"
	ErrTypeUndoFailed = "UndoFailed"
)
