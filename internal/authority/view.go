// Package authority says what a run may do, from its ledger alone.
//
// A [View] is folded from the entries of the run's chain, one by one. Nothing else enters
// it, so that whoever schedules an activity can claim nothing: what the signed chain does
// not hold did not happen. [View.MayApply] then judges a single Apply against it, against
// the estate that the run pinned, and against the estate of now.
package authority

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/wire"
)

// View is a run as its chain has it. The zero value with a Head's run is that of an empty
// chain.
type View struct {
	Head  ledger.Head
	Run   action.Run // with what gates have accepted, and the epoch
	Files wire.Files // what the run was compiled to
	// Estate is the name of the run's estate, and EstateDigest what people sign.
	Estate, EstateDigest string
	Continued            int           // how often the run has continued as new
	State                ledger.DocRef // what it handed on when it did so last
	StateHead            ledger.Head   // where the chain stood then
	TookOver             time.Time     // when it got the estate from another run; zero where it did not
	Obligations          []action.Obligation
	Ended                bool              // the run's last entry is there
	Plans                []Plan            // oldest first
	Gates                []Gate            // oldest first; the last one of a stage and direction counts
	Ask                  *Ask              // the open question
	Paused               *Pause            // who let it begin nothing more, if it is paused
	Seen                 map[string]Seen   // by step, or by stage where all of it looks: the last look
	Began                map[string]int    // by step: the last attempt of its Apply that the chain has the intent of
	Taken                map[string]int    // the same of taking it back
	Back                 map[string]Seen   // by step: the last look after taking back
	Waived               map[string]string // "STEP/ITEM" → who waived it

	docs   map[docsOf][]ledger.DocRef
	pauses map[string]bool // by their names
}

// docsOf tells apart the documents of a step's entries.
type docsOf struct {
	place string // a step, or a stage that looks
	kind  ledger.Kind
	undo  bool
}

// Plan is a stage's plan, or one of taking back.
type Plan struct {
	Stage     string
	Direction string
	Attempt   int
	Root      string
	Leaves    []ledger.Leaf
	Accepts   []action.Acceptance
	Took      []wire.Interval
}

// Gate is a gate that was opened, and what was decided at it.
type Gate struct {
	Stage     string
	Direction string
	wire.GateBody
	Head   string    // of the ledger when it was opened
	Votes  []Vote    // those that counted
	Closed time.Time // zero for one that is open
}

// Ask is a question that was asked, and what was decided.
type Ask struct {
	wire.AskedBody
	Head  string // of the ledger when it was asked
	Votes []Vote
}

// Pause is a pause that no resume has ended.
type Pause struct{ Gate, Stage string }

// Vote is a decision that counted when it arrived.
type Vote struct {
	At time.Time
	wire.DecisionBody
}

// Seen is a look that the chain holds.
type Seen struct {
	wire.ObservedBody
	Seq int64
}

// New is the view of an empty chain.
func New(run ledger.Run) *View {
	return &View{
		Head: ledger.Head{Run: run}, Seen: map[string]Seen{}, Back: map[string]Seen{}, Began: map[string]int{}, Taken: map[string]int{}, Waived: map[string]string{},
		docs: map[docsOf][]ledger.DocRef{}, pauses: map[string]bool{},
	}
}

// Direction is that of a plan, a look or an act which says whether it takes back.
func Direction(undo bool) string {
	if undo {
		return approval.Undo
	}
	return approval.Do
}

// Docs are the documents that the chain holds of a step's outcomes or looks, or of the
// looks of a stage, in the order in which they were written.
func (v *View) Docs(place string, kind ledger.Kind, direction string) []ledger.DocRef {
	return v.docs[docsOf{place, kind, direction == approval.Undo}]
}

// Open is the gate that is open, if one is.
func (v *View) Open() *Gate {
	if n := len(v.Gates); n > 0 && v.Gates[n-1].Closed.IsZero() {
		return &v.Gates[n-1]
	}
	return nil
}

// PausedBefore reports whether a pause had that name already. A signature that ends one
// must end no other.
func (v *View) PausedBefore(gate string) bool { return v.pauses[gate] }

// Plan returns the plan of that root, of a stage and direction.
func (v *View) Plan(stage, direction, root string) (Plan, bool) {
	for _, p := range slices.Backward(v.Plans) {
		if p.Stage == stage && p.Direction == direction && p.Root == root {
			return p, true
		}
	}
	return Plan{}, false
}

// Add takes the next entry into the view. head is that of the chain with it.
func (v *View) Add(e ledger.Entry, head ledger.Head) error {
	if head.Run != v.Head.Run || head.Seq != v.Head.Seq+1 || e.Seq != head.Seq || e.Prev != v.Head.Hash {
		return fmt.Errorf("entry %d does not follow entry %d of %s", e.Seq, v.Head.Seq, v.Head.Run)
	}
	var err error
	switch e.Kind {
	case ledger.RunStarted:
		err = fold(e, func(b wire.StartedBody) { v.Run = b.Run })
	case ledger.Compiled:
		err = fold(e, func(b wire.CompiledBody) { v.compiled(e, b) })
	case ledger.Resumed:
		err = fold(e, func(b wire.ResumedBody) { v.resumed(e, head, b) })
	case ledger.Lock:
		err = fold(e, func(b wire.LockBody) {
			if v.Run.Epoch = 0; b.Held {
				v.Run.Epoch = b.Epoch
			}
			if b.Taken != nil {
				v.TookOver = e.Time
			}
		})
	case ledger.Planned:
		err = fold(e, func(b wire.PlannedBody) { v.planned(e, b) })
	case ledger.GateOpened:
		err = fold(e, func(b wire.GateBody) {
			v.Gates = append(v.Gates, Gate{Stage: e.Stage, Direction: Direction(b.Gate == wire.UndoGate), GateBody: b, Head: head.String()})
		})
	case ledger.Decided:
		err = fold(e, func(b wire.DecisionBody) { v.decided(e, b) })
	case ledger.GateClosed:
		err = fold(e, func(b wire.GateBody) {
			if g := v.Open(); g != nil && g.Gate == b.Gate && g.Attempt == b.Attempt {
				g.How, g.By, g.Closed = b.How, b.By, e.Time
			}
		})
	case ledger.Asked:
		err = fold(e, func(b wire.AskedBody) { v.Ask = &Ask{AskedBody: b, Head: head.String()} })
	case ledger.Intent:
		err = fold(e, func(b wire.IntentBody) {
			into := v.Began
			if b.Undo {
				into = v.Taken
			}
			into[e.Step] = b.Attempt
		})
	case ledger.Outcome:
		err = fold(e, func(b wire.OutcomeBody) { v.keep(e, b.Undo) })
	case ledger.Observed:
		err = fold(e, func(b wire.ObservedBody) { v.observed(e, b) })
	case ledger.Obligation:
		err = fold(e, v.obliged)
	case ledger.RunEnded:
		v.Ended = true
	case ledger.Refused, ledger.Note: // grant nothing
	}
	if err != nil {
		return err
	}
	v.Head = head
	return nil
}

func fold[B any](e ledger.Entry, into func(B)) error {
	var b B
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return fmt.Errorf("read entry %d (%s): %w", e.Seq, e.Kind, err)
	}
	into(b)
	return nil
}

func (v *View) compiled(e ledger.Entry, b wire.CompiledBody) {
	v.Estate, v.EstateDigest = b.Estate, b.EstateDigest
	if len(e.Docs) > 1 {
		v.Files = wire.Files{Compiled: e.Docs[0], Estate: e.Docs[1]}
	}
}

func (v *View) resumed(e ledger.Entry, head ledger.Head, b wire.ResumedBody) {
	if len(e.Docs) == 1 {
		v.Continued, v.State, v.StateHead = b.Execution, e.Docs[0], head
	}
}

func (v *View) planned(e ledger.Entry, b wire.PlannedBody) {
	p := Plan{
		Stage: e.Stage, Direction: Direction(b.Undo), Attempt: b.Attempt, Root: b.Root,
		Leaves: b.Leaves, Accepts: b.Accepts, Took: b.Intervals,
	}
	v.Plans = append(v.Plans, p)
	// What a gate accepted counts once its plan was found to be the plan still: until
	// then planning again must see the run as the first planning did.
	g := v.lastGate(func(g *Gate) bool { return g.Direction == p.Direction && g.Stage == p.Stage })
	if g != nil && p.Direction == approval.Do && g.approved() && g.Root == p.Root && g.Attempt < p.Attempt {
		for _, first := range v.Plans {
			if first.Stage == p.Stage && first.Direction == p.Direction && first.Attempt == g.Attempt && first.Root == g.Root {
				Accept(&v.Run, first.Accepts, first.Took)
			}
		}
	}
}

func (v *View) decided(e ledger.Entry, b wire.DecisionBody) {
	g := v.Open()
	switch {
	case b.Decision == string(approval.Pause):
		v.Paused = &Pause{b.Gate, e.Stage}
		v.pauses[b.Gate] = true
	case b.Decision == string(approval.Resume):
		v.Paused = nil
	case g != nil && b.Gate == g.Gate && b.Attempt == g.Attempt:
		g.Votes = append(g.Votes, Vote{e.Time, b})
	case v.Ask != nil && b.Gate == v.Ask.Ask:
		v.Ask.Votes = append(v.Ask.Votes, Vote{e.Time, b})
		if b.Decision == string(approval.Waive) && !b.Missing {
			for _, item := range b.Items {
				v.Waived[item] = b.Who
			}
		}
	}
}

func (v *View) observed(e ledger.Entry, b wire.ObservedBody) {
	v.keep(e, b.Undo)
	into := v.Seen
	if b.Undo {
		into = v.Back
	}
	into[place(e)] = Seen{b, e.Seq}
}

// obliged takes in what is left to prove, or who was named for it.
func (v *View) obliged(o action.Obligation) {
	if i := slices.IndexFunc(v.Obligations, func(have action.Obligation) bool { return have.ID == o.ID }); i >= 0 {
		v.Obligations[i] = o
	} else {
		v.Obligations = append(v.Obligations, o)
	}
}

// place is what an entry is about: a step, or a stage that only looks.
func place(e ledger.Entry) string {
	if e.Step == "" {
		return e.Stage
	}
	return e.Step
}

func (v *View) keep(e ledger.Entry, undo bool) {
	of := docsOf{place(e), e.Kind, undo}
	v.docs[of] = append(v.docs[of], e.Docs...)
}

// last is the last gate that was opened for a step's plan: that of its stage, or of the
// step alone where it was planned again. For taking back that is the last such gate of the
// run, wherever it stopped.
func (v *View) last(stage, step, direction string) *Gate {
	return v.lastGate(func(g *Gate) bool {
		if g.Direction != direction || direction == approval.Undo {
			return g.Direction == direction
		}
		p, ok := v.Plan(g.Stage, direction, g.Root)
		return g.Stage == stage && ok && p.about(step)
	})
}

func (v *View) lastGate(is func(*Gate) bool) *Gate {
	for i := range slices.Backward(v.Gates) {
		if g := &v.Gates[i]; is(g) {
			return g
		}
	}
	return nil
}

// about reports whether a plan plans a step.
func (p Plan) about(step string) bool {
	return slices.ContainsFunc(p.Leaves, func(l ledger.Leaf) bool { return l.Step == step })
}

func (g *Gate) approved() bool { return !g.Closed.IsZero() && g.How == string(approval.Approve) }

// Accept takes into a run what approving a plan accepted. The interpreter and the border
// both call it, so that they agree.
func Accept(r *action.Run, accepts []action.Acceptance, took []wire.Interval) {
	for _, a := range accepts {
		switch a.ID {
		case action.AcceptSourceDead:
			r.SourceDead = true
		case action.AcceptSourceUnreachable:
			r.SourceUnreachable = true
			for _, i := range took {
				if r.SourceLost == nil || i.End.After(*r.SourceLost) {
					r.SourceLost = &i.End
				}
			}
		case action.AcceptUnwitnessed:
			r.Unwitnessed = true
		default:
			if table, ok := action.LeftOutBy(a.ID); ok && !r.Accepted(a.ID) {
				r.LeftOut = append(slices.Clip(r.LeftOut), table)
			}
		}
	}
}
