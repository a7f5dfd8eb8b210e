package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/workflow"
)

// Everything that a person is asked is one thing: a question, with what it offers, who
// must prove it, and how many it takes (see [approval.OfferOf]). A gate is one whose
// plan is its text. [run.ask] is the only place that waits for people.

// question is what a person is asked.
type question struct {
	stage    int    // whose title is shown
	step     string // its id; empty where a whole stage is asked about
	title    string
	text     string
	findings []string
	verbs    []approval.Verb // beside abort, which each question takes
	role     string          // who is asked
	undo     bool            // it is about taking back
	items    []string        // what may be waived, each "STEP/ITEM"

	// Of a gate alone.
	gate *gateOf
}

// gateOf is what a gate asks about.
type gateOf struct {
	id   string
	of   runbook.Approval
	plan stagePlan
}

// opened is the open question.
type opened struct {
	approval.Gate
	id string
}

// ask puts a question to people and waits for the answer. It returns an error where the
// run must stop instead: somebody aborted it, it was cancelled, or its ledger is gone.
func (r *run) ask(ctx workflow.Context, q question) (answer, error) {
	if stop := r.stopped(ctx); stop != nil { // nobody is asked in a run that stops
		return answer{}, stop
	}
	o, gate, err := r.pose(ctx, q)
	if err != nil {
		return answer{}, err
	}
	title := r.Compiled.Stages[q.stage].Title
	var stop error
	for open := true; open; {
		r.asked, r.Status.Open = o, &o.Gate
		r.show(ctx)
		if err := r.attributes(ctx, title); err != nil {
			return answer{}, err
		}
		err = r.await(ctx, q)
		r.asked, r.Status.Open, r.Status.Gate, r.Status.Ask, r.Status.State = nil, nil, nil, nil, wire.StateRunning
		if stop = r.stopped(ctx); stop == nil && err != nil {
			stop = err
		}
		if open, err = r.closeGate(ctx, q, o, gate, stop); err != nil {
			return answer{}, err
		}
	}
	if err := r.tell(ctx); err != nil {
		return answer{}, err
	}
	if stop != nil {
		return answer{}, stop
	}
	return answerOf(o.Gate), r.attributes(ctx, title)
}

// closeGate writes down how a gate was decided, if it is one. It stays open where the ledger's
// side finds that the votes count no longer: others may decide.
func (r *run) closeGate(ctx workflow.Context, q question, o *opened, gate *wire.GateBody, stop error) (open bool, err error) {
	if gate == nil {
		return false, nil
	}
	gate.By = nil
	for _, v := range o.Votes {
		gate.By = append(gate.By, v.Person)
	}
	if gate.How = string(o.Decided); stop != nil {
		gate.How = "stopped"
	}
	err = r.record(ctx, ledger.GateClosed, r.Compiled.Stages[q.stage].ID, "", *gate)
	var no *errNotTaken
	if stop != nil || !errors.As(err, &no) {
		return false, err
	}
	if !r.forget(ctx, o, no) { // whichever of them it is
		no.void = gate.By
		r.forget(ctx, o, no)
	}
	r.showQuestion(ctx, q, o, nil)
	return true, nil
}

// answer is what people decided.
type answer struct {
	approval.Vote          // the last one
	by            []string // all who said so
}

func answerOf(g approval.Gate) answer {
	a := answer{Vote: g.Last()}
	var why []string
	for _, v := range g.Votes {
		if v.Verb != a.Verb || !slices.Equal(v.Items, a.Items) {
			continue
		}
		a.by = append(a.by, orUnnamed(v.Person))
		if v.Reason != "" && !slices.Contains(why, v.Reason) {
			why = append(why, v.Reason)
		}
	}
	a.Reason = strings.Join(why, "; ")
	return a
}

func orUnnamed(who string) string {
	if who == "" {
		return "somebody unnamed"
	}
	return who
}

// pose writes a question into the ledger and opens it.
func (r *run) pose(ctx workflow.Context, q question) (*opened, *wire.GateBody, error) {
	stage := r.Compiled.Stages[q.stage]
	id := ""
	if q.gate == nil {
		r.Asks++
		id = fmt.Sprintf("ask-%d", r.Asks)
	}
	spec, why, err := r.spec(q, id)
	if err != nil {
		return nil, nil, err
	}
	var gate *wire.GateBody
	if q.gate != nil {
		quorum, _ := spec.Offer(approval.Approve)
		gate = &wire.GateBody{
			Gate: spec.About.Gate, Attempt: spec.About.Attempt, Role: spec.Role.Role, Method: string(spec.Role.Method), Quorum: quorum.Quorum,
			Root: spec.About.Plan, Direction: spec.About.Direction, Offers: spec.Offers,
		}
		err = r.record(ctx, ledger.GateOpened, stage.ID, "", *gate)
	} else {
		body := wire.AskedBody{
			Ask: spec.About.Gate, Question: q.text, Findings: q.findings, Choices: choices(spec), Role: spec.Role.Role, Method: string(spec.Role.Method),
			Direction: spec.About.Direction, Offers: spec.Offers, Items: spec.Items,
		}
		var raw []byte
		if raw, err = ledger.Encode(body); err != nil {
			return nil, nil, err
		}
		spec.About.Plan = ledger.Digest(raw)
		body.Root = spec.About.Plan
		err = r.record(ctx, ledger.Asked, stage.ID, q.step, body)
	}
	if err != nil {
		return nil, nil, err
	}
	spec.About.Head = r.Chain.Head.String()
	g, err := approval.NewGate(spec)
	if err != nil {
		return nil, nil, &errStop{wire.ErrTypeNotProven, err.Error()}
	}
	o := &opened{Gate: g, id: spec.About.Gate}
	r.refusals.begin()
	r.showQuestion(ctx, q, o, why)
	return o, gate, nil
}

// spec is what a question asks of whom. A gate has an id of its own.
func (r *run) spec(q question, id string) (approval.Spec, []string, error) {
	s := approval.Spec{
		About: approval.Statement{
			Namespace: r.Run.Namespace, Run: r.Chain.Head.Run, Gate: id, Attempt: 1, Plan: "asked",
			Mode: string(r.Run.Mode), Direction: direction(q.undo), Estate: r.Compiled.EstateDigest,
		},
		Live: r.Run.Mode == action.ModeLive, Offers: approval.Offers(append(slices.Clone(q.verbs), approval.Abort)...), Items: q.items,
	}
	role, known := r.Compiled.Role(q.role)
	if s.Role = role; !known {
		s.Role.Role = q.role
	}
	if q.gate == nil {
		s, why := s.Able()
		return s, append(why, r.noUndo(q)...), nil
	}
	if !known {
		return s, nil, &errStop{wire.ErrTypeNotProven, fmt.Sprintf("role %q of gate %s is not in the estate", q.role, q.gate.id)}
	}
	s.About.Gate, s.About.Attempt, s.About.Plan = q.gate.id, q.gate.plan.attempt, q.gate.plan.root
	for i := range s.Offers {
		if s.Offers[i].Verb == approval.Approve {
			s.Offers[i].Quorum = approval.Quorum(q.gate.of.Quorum, s.Live, false)
		}
	}
	return s, nil, nil
}

// noUndo says why taking back is not offered, where something was done.
func (r *run) noUndo(q question) []string {
	if no := r.undoable(); !q.undo && no != nil && len(r.Done) > 0 {
		return []string{"undo is not offered: " + no.Error()}
	}
	return nil
}

// showQuestion makes an open question visible: everything that an answer must name.
func (r *run) showQuestion(ctx workflow.Context, q question, o *opened, why []string) {
	if q.gate != nil {
		r.showGate(ctx, q.stage, q.gate.id, q.gate.of, o.Gate, q.gate.plan, q.undo)
		r.Status.Gate.NotOffered = r.noUndo(q) // also where it is opened again
		return
	}
	r.Status.State, r.Status.Doing = wire.StateAsking, q.text
	r.Status.Ask = &wire.AskStatus{
		ID: o.id, Step: q.step, Title: q.title, Question: q.text, Findings: q.findings, Choices: choices(o.Spec), Owner: q.role, Items: o.Spec.Items, NotOffered: why,
	}
}

func choices(s approval.Spec) []string {
	words := make([]string, len(s.Offers))
	for i, o := range s.Offers {
		words[i] = string(o.Verb)
	}
	return words
}

// await waits until the open question is answered or the run must stop, reminding as
// often as the runbook says.
func (r *run) await(ctx workflow.Context, q question) error {
	o := r.asked
	settled := func() bool { return o.Status != approval.Open || r.abort != nil || r.fatal != nil }
	if q.gate == nil || q.gate.of.Reminder == 0 {
		return workflow.Await(ctx, settled)
	}
	for {
		ok, err := r.awaitFor(ctx, q.gate.of, settled)
		if ok || err != nil {
			return err
		}
		r.Status.Gate.Reminded++
		r.show(ctx)
	}
}

// whatNext asks what becomes of something that went wrong. What is unknown has not
// failed, also if the run ends here.
func (r *run) whatNext(ctx workflow.Context, q question, unknown bool) (answer, error) {
	r.unsure = unknown
	q.role = r.roleAt(q.stage)
	if !q.undo && r.undoable() == nil {
		q.verbs = append(q.verbs, approval.TakeBack)
	}
	got, err := r.ask(ctx, q)
	if err != nil {
		return got, err
	}
	r.unsure = unknown && got.Verb != approval.Retry && got.Verb != approval.LookAgain && got.Verb != approval.Waive
	return got, nil
}

// askPerson waits until a manual step is said to be done; its check then proves it or
// does not.
func (r *run) askPerson(ctx workflow.Context, n int, s runbook.Step) error {
	q := question{stage: n, step: s.ID, title: s.Title, text: s.Question, verbs: []approval.Verb{approval.Done}, role: s.Owner}
	if r.undoable() == nil {
		q.verbs = append(q.verbs, approval.TakeBack)
	}
	if s, _, err := r.spec(q, "ask"); err == nil {
		if _, can := s.Offer(approval.Done); !can { // nobody of that role could prove it: who approves in the stage can
			q.role = r.roleAt(n)
		}
	}
	got, err := r.ask(ctx, q)
	if err != nil {
		return err
	}
	if got.Verb == approval.TakeBack {
		return r.undo(ctx, n, fmt.Sprintf("step %q was not done", s.Title))
	}
	return r.assign(ctx, r.Compiled.Stages[n].ID, got)
}

// assign gives every obligation without an owner the one that was named.
func (r *run) assign(ctx workflow.Context, stage string, v answer) error {
	for i := range r.Obligations {
		o := &r.Obligations[i]
		if v.Owner == "" || o.Owner != "" {
			continue
		}
		o.Owner, o.Due = v.Owner, v.Due
		if err := r.record(ctx, ledger.Obligation, stage, o.Step, *o); err != nil {
			return err
		}
	}
	r.Status.Obligations = r.Obligations
	return nil
}

// roleAt is who is asked in a stage: the role of its gate, else of the nearest
// gate before it, else the runbook's owner.
func (r *run) roleAt(n int) string {
	if a := r.approvalAt(n); a != nil {
		return a.Role
	}
	return r.Compiled.Owner
}

func (r *run) approvalAt(n int) *runbook.Approval {
	for _, s := range slices.Backward(r.Compiled.Stages[:n+1]) {
		if s.Approval != nil {
			return s.Approval
		}
	}
	return nil
}
