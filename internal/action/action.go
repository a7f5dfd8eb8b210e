// Package action is the contract of a recovery step: planned, approved, applied
// and proven.
//
//	Plan    reads the real world and says what would change. It changes nothing.
//	Apply   does exactly what was planned, under the lock's epoch, and may run twice.
//	Verify  looks at the real system, never at Apply's own word.
//	Undo    takes the outcome back, itself planned, approved and verified.
//
// A check is an action with Verify alone. An action without Verify cannot be
// registered: what cannot be verified is not a step, it is a hope.
//
// # Adding an action
//
// Write an [Action] in the room that the first word of its name is, add it to the
// [Catalogue] there, and list in RedWhen the faults that turn its Verify red. The
// tests refuse an action whose RedWhen is empty, unknown or stays green.
package action

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/permit"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
)

// Effect is what Apply does to the world.
type Effect string

// The effects.
const (
	ReadOnly    Effect = "read-only"    // a check: nothing is applied
	RecordsOnly Effect = "records-only" // writes records alone (the ledger, the witness's journal, the backup place) and runs in every mode
	Mutates     Effect = "mutates"      // changes the estate: needs a gate, and the epoch in live mode
)

// Drill is what an action does in a drill. No undeclared Apply ever runs in one.
type Drill string

// What an action may do in a drill.
const (
	DrillSkipped   Drill = "skipped"   // planned, shown, not applied, and reported as not exercised
	DrillReadOnly  Drill = "read-only" // looks as it would in a live run
	DrillSandboxed Drill = "sandboxed" // applies inside a sandbox of the standby, and cleans up
)

// Place is which process works on an action.
type Place string

// The places. Any worker of activities is the zero value.
const (
	// OnQueries is a process that has the query engine, and nothing else to do: the
	// engine is native code, which can crash or starve its process.
	OnQueries Place = "queries"
)

// Timing bounds a phase and feeds the forecast.
type Timing struct {
	Timeout  time.Duration // the longest honest attempt of one phase on one item; default 5 minutes
	Estimate time.Duration // what applying and verifying one item usually takes; default 2 seconds
}

// LongestRequest is how long one request of an Apply may be under way: a copy within a
// store is given up after a minute of silence, and every other request long before. Who
// takes over from an attempt of which nobody knows whether it lives waits for so long.
const LongestRequest = 75 * time.Second

// Action is one kind of recovery step; P is the type of its `with` parameters.
type Action[P any] struct {
	Name  string      // "table.promote"
	Doc   string      // one sentence, for docs and the UI's summary
	Over  estate.Kind // what `each` must be
	Needs []string    // actions that must stand in an earlier stage; lint enforces it
	// Requires is what it needs of an estate to pass, or to cost nothing: known without
	// looking at any system.
	Requires []estate.Requirement
	// Permits is what it must be allowed at each outside system, in all of its phases and
	// by whose credentials: the policies of an estate are made of it.
	Permits []permit.Permit
	Effect  Effect
	Drill   Drill
	Timing  Timing
	Runs    Place // where its phases run

	// Things are what of the estate the action is about, where that is not the item
	// itself: the pipelines in scope, the group's routing secret. It asks nothing of any
	// server. Without any there is nothing to do, and no phase is called: none says so.
	Things func(Request) (names []string, none string)

	Plan   func(context.Context, Call[P]) (Change, error)
	Apply  func(context.Context, Call[P]) (Outcome, error)
	Verify func(context.Context, Call[P]) ([]Observation, error)
	Undo   *Undo[P] // nil where taking back is impossible

	// Show writes what a plan of it keeps for Apply and Undo, for people: see [Shows].
	// Without it everything is written by the names that it has in the document.
	Show Show
	// ShowPart writes a part of a plan of it for people: see [Parts]. It is there where its
	// plans have parts.
	ShowPart func(part []byte) ([]string, error)
	// Rules say which requests to servers follow from which effect lines of its plans,
	// and of its Undo's. What follows from none is never asked.
	Rules []Rule

	// RedWhen lists the faults that turn Verify red or unknown.
	RedWhen []Red
}

// Undo takes an outcome back. What to put back comes from the approved plan,
// which was in the ledger before Apply began.
type Undo[P any] struct {
	Plan   func(context.Context, Call[P]) (Change, error)
	Apply  func(context.Context, Call[P]) (Outcome, error)
	Verify func(context.Context, Call[P]) ([]Observation, error)
	Show   Show // of its plans; see [Action.Show]
}

// Red says which verdict a fault must force.
type Red struct {
	Fault fault.Name      `json:"fault"`
	Want  verdict.Verdict `json:"want"` // Fail or Unknown
}

// Call is one phase of one action on one item.
type Call[P any] struct {
	Request
	With P // the step's parameters, strictly decoded
}

// Request is a [Call] before its parameters are decoded.
type Request struct {
	Run    Run
	Stage  string // the stage's id
	Step   string // the step's id
	Title  string // the step as the runbook words it
	Item   estate.Item
	Plan   *Change  // the approved plan: present in Apply, Verify and Undo, nil in Plan and in checks
	Prior  *Outcome // what Apply returned; present in Undo, and never to be believed by a Verify
	Estate *estate.Estate
	Lacks  []estate.Lack // what the estate lacks for the run's runbook, as it was compiled

	Parts    Parts                                    // what of a plan is too large for its Data; never nil
	Records  Records                                  // results of earlier steps of this run
	Progress func(done, total int64, sentence string) // heartbeat with a human sentence; never nil
	Guard    func(context.Context) error              // re-reads the epoch: call before each mutation or batch of them; never nil
	// Save keeps how far a long look has come, for an attempt after this one, which gets
	// it as Resume. What is too large is not kept, and an attempt may begin anew at any
	// time: nothing rests on it. It may be nil.
	Save   func(halfway any)
	Resume json.RawMessage // empty where there is nothing to go on with
}

// Run says which run a call belongs to.
type Run struct {
	Namespace string   `json:"namespace"`
	Workflow  string   `json:"workflow"`  // workflow id
	FirstRun  string   `json:"first_run"` // first run id of the chain of runs
	Runbook   string   `json:"runbook"`
	Mode      Mode     `json:"mode"`
	Source    string   `json:"source,omitempty"` // region
	Target    string   `json:"target,omitempty"` // region
	Incident  string   `json:"incident,omitempty"`
	Groups    []string `json:"groups,omitempty"` // consistency groups in scope; empty means all
	Epoch     int64    `json:"epoch,omitempty"`  // of the estate's lock; 0 where none is held

	Started     time.Time  `json:"started"`
	OutageStart *time.Time `json:"outage_start,omitempty"`
	DetectedAt  *time.Time `json:"detected_at,omitempty"`
	// SourceUnreachable is set once the Declare gate accepted that the source
	// does not answer. From then on an unknown with only this cause is an
	// obligation.
	SourceUnreachable bool `json:"source_unreachable,omitempty"`
	// SourceLost is when the probes of the accepted plan had failed. It says nothing of
	// what the source acknowledges out of reach. Set together with SourceUnreachable.
	SourceLost *time.Time `json:"source_lost,omitempty"`
	// SourceDeadSince is since when the source is dead, as who started the run says:
	// not only out of reach, but acknowledging no more writes. It counts once the
	// Declare gate has accepted it, which SourceDead says.
	SourceDeadSince *time.Time `json:"source_dead_since,omitempty"`
	SourceDead      bool       `json:"source_dead,omitempty"`
	// LeftOut are the tables of which gates accepted that they do not come back here:
	// see [LeftOut]. What cannot be proven of them is an obligation from then on.
	LeftOut []string `json:"left_out,omitempty"`
	// Unwitnessed is set once a gate accepted that nobody wrote down what the rows of
	// tables were: see [Unwitnessed].
	Unwitnessed bool `json:"unwitnessed,omitempty"`
}

// Name is how the journal and the quarantine name a run.
func (r Run) Name() string { return r.Workflow + "/" + r.FirstRun }

// Token is the idempotency key of a step on an item: it stays the same over
// attempts, continue-as-new and a second cluster.
func (r Request) Token() string {
	return fmt.Sprintf("%s/%s/%s/%s", r.Run.Workflow, r.Run.FirstRun, r.Step, r.Item.Name)
}

// Mode is how far a run goes.
type Mode string

// The modes.
const (
	ModePlan  Mode = "plan"  // plans every stage and stops
	ModeDrill Mode = "drill" // real actions in a sandbox of the standby
	ModeLive  Mode = "live"  // the real thing
)

// Records reads what earlier steps of the same run left in the ledger.
type Records interface {
	// Outcome returns what the named action's last Apply on the item returned.
	// It wraps fs.ErrNotExist when no such step ran.
	Outcome(ctx context.Context, action string, item string) (Outcome, error)
	// Observations returns what the named action's last Verify on the item saw.
	Observations(ctx context.Context, action string, item string) ([]Observation, error)
	// Obligations lists the run's obligations as the ledger has them now.
	Obligations(ctx context.Context) ([]Obligation, error)
}

// Parts keeps what of a plan is too large for its Data in parts of their own, beside the
// plan in the ledger. [Change.Parts] names them, so that a plan's digest covers them.
type Parts interface {
	// Put keeps a part, in Plan or Undo.Plan, and returns its digest. The same part may
	// be put any number of times; one that no plan names in the end means nothing.
	Put(ctx context.Context, part []byte) (digest string, err error)
	// Get reads a part of a plan. Bytes that have another digest are refused.
	Get(ctx context.Context, digest string) ([]byte, error)
}

// Obligation is something left to prove later, carried in the ledger.
type Obligation struct {
	ID    string `json:"id"`
	Step  string `json:"step"` // its id
	Title string `json:"title"`
	What  string `json:"what"`
	Owner string `json:"owner,omitempty"` // a person, once assigned
	Due   string `json:"due,omitempty"`   // a date, once assigned
}

// Change is a plan: what would change, and what must hold for it.
//
// Everything in it except Estimate enters the plan's digest, so it must be a
// function of the world alone: no time of planning, no latency, no random name.
type Change struct {
	Summary       string          `json:"summary"`
	Effects       []EffectLine    `json:"effects,omitempty"` // sorted by the planner; empty means nothing to do
	Preconditions []Precondition  `json:"preconditions,omitempty"`
	Accepts       []Acceptance    `json:"accepts,omitempty"`
	Loss          *recovery.Given `json:"loss,omitempty"`
	Data          json.RawMessage `json:"data,omitempty"`  // the action's own typed plan
	Parts         []string        `json:"parts,omitempty"` // the digests of what is too large for Data, in order; see [Parts]
	Undo          json.RawMessage `json:"undo,omitempty"`  // what taking back needs, known before the act

	Estimate time.Duration `json:"-"`
}

// EffectLine is one thing that Apply would do.
type EffectLine struct {
	On   string `json:"on"` // the resource
	Do   string `json:"do"` // a verb phrase
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Precondition is a resource at the version that the plan saw.
type Precondition struct {
	Resource string `json:"resource"`
	Version  string `json:"version"`
}

// Acceptance is something that approving the plan accepts.
type Acceptance struct {
	ID       string `json:"id"` // "source-unreachable"
	Sentence string `json:"sentence"`
}

// AcceptSourceUnreachable is the acceptance after which an unknown that has only
// this cause becomes an obligation.
const AcceptSourceUnreachable = "source-unreachable"

// AcceptSourceDead is the acceptance after which [Run.SourceDeadSince] bounds losses.
const AcceptSourceDead = "source-dead"

// Outcome is what Apply did.
type Outcome struct {
	Summary   string          `json:"summary"`
	Mutations int64           `json:"mutations"`      // how many this call made; 0 when it found everything done
	Data      json.RawMessage `json:"data,omitempty"` // for later steps, by [Records.Outcome]
}

// Observation is one look at the real system.
type Observation struct {
	What    string          `json:"what"` // the claim: "every live file is present at its size"
	Item    string          `json:"item,omitempty"`
	Want    string          `json:"want"`
	Got     string          `json:"got"`
	Verdict verdict.Verdict `json:"verdict"`
	Cause   Cause           `json:"cause,omitempty"` // why it is unknown
	// Obligation says what must be proven later when this unknown is accepted.
	Obligation string `json:"obligation,omitempty"`
	// Accept is the id of an acceptance that a gate which shows a passing look asks for:
	// what it says is known now, and costs something later.
	Accept string `json:"accept,omitempty"`
}

// Cause is why an observation is unknown.
type Cause string

// The causes.
const (
	CauseNone              Cause = ""
	CauseSourceUnreachable Cause = "source-unreachable"
	CauseLeftOut           Cause = "left-out"    // the table does not come back here, whatever is done here
	CauseUnwitnessed       Cause = "unwitnessed" // the estate has no witness, which a gate may accept
	CauseOther             Cause = "other"
)

// Worst is the verdict of all observations together: nothing seen is Unknown.
func Worst(obs []Observation) verdict.Verdict {
	vs := make([]verdict.Verdict, len(obs))
	for i, o := range obs {
		vs[i] = o.Verdict
	}
	return verdict.Worst(vs...)
}

// OnlySourceUnreachable reports whether nothing failed, and every unknown among
// obs, at least one, has the unreachable source as its one cause.
func OnlySourceUnreachable(obs []Observation) bool {
	n := 0
	for _, o := range obs {
		switch {
		case o.Verdict.Clear():
		case o.Verdict == verdict.Unknown && o.Cause == CauseSourceUnreachable:
			n++
		default:
			return false
		}
	}
	return n > 0
}

// ErrMoved means that the world is no longer what the approved plan saw. Doing
// the same again cannot help; planning again can.
var ErrMoved = errors.New("the world moved since the plan was approved")

// ErrRefused means that a rule forbids the call: no retry can help.
var ErrRefused = errors.New("refused")

// Classed gives an error of a package that does not know the contract a class of it:
// where the error is of that kind, it is of the class, too. Its text stays.
func Classed(err, kind, class error) error {
	if !errors.Is(err, kind) {
		return err
	}
	return &classed{err, class}
}

type classed struct{ err, class error }

func (c *classed) Error() string   { return c.err.Error() }
func (c *classed) Unwrap() []error { return []error{c.err, c.class} }

// Decode reads an action's own typed data strictly: an unknown field is an error.
func Decode[T any](raw json.RawMessage) (T, error) {
	var v T
	if len(bytes.TrimSpace(raw)) == 0 {
		return v, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
			err = misplaced{kind}
		}
		return v, fmt.Errorf("read an action's own data: %w", err)
	}
	return v, nil
}

// misplaced is a value of the wrong kind, in words that do not name our types.
type misplaced struct{ *json.UnmarshalTypeError }

func (m misplaced) Error() string {
	return fmt.Sprintf("%s is a %s, which does not belong there", cmp.Or(m.Field, "it"), m.Value)
}

func (m misplaced) Unwrap() error { return m.UnmarshalTypeError }

// Encode writes an action's own typed data.
func Encode(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write an action's own data: %w", err)
	}
	return b, nil
}
