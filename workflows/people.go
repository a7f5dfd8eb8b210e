package workflows

import (
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
)

// received is a decision that arrived and waits to be judged.
type received struct {
	Name approval.Verb `json:"name"` // of the signal; empty for decide
	Data []byte        `json:"data"` // the payload as it came
	Via  string        `json:"via"`  // "signal" or "update"

	answer *wire.Answer // of an update, whose handler waits for it
}

// decided is a decision that ends something beside a gate.
type decided struct {
	approval.Decision
	Who string
}

// The choices at a step that did not pass, and at a manual step.
const (
	choiceRetry = approval.Retry
	choiceAbort = approval.Abort
	choiceUndo  = approval.Verb("undo")
	choiceDone  = approval.Verb("done")
)

// ask is an open question to a person.
type ask struct {
	id      string
	role    string
	choices []approval.Verb
	got     *decided
}

// listen requests every channel and handler, with its description, before the
// run first waits: only then does the UI list them and is nothing lost.
func (r *run) listen(ctx workflow.Context) error {
	for _, s := range []struct {
		name, doc string
		verb      approval.Verb
	}{
		{wire.SignalApprove, "Approve the plan of the open gate. The current details show the JSON to paste.", approval.Approve},
		{wire.SignalReject, "Reject the plan of the open gate: the run stops, and nothing is undone by itself.", approval.Reject},
		{wire.SignalDecide, `Answer a question of the run: {"decision":"retry"}, "undo", "abort", or "done" for a manual step.`, ""},
		{wire.SignalAbort, "Stop the run where it is. Nothing is undone by itself; the report says what was done.", approval.Abort},
	} {
		ch := workflow.GetSignalChannelWithOptions(ctx, s.name, workflow.SignalChannelOptions{Description: s.doc})
		workflow.GoNamed(ctx, "signal "+s.name, func(ctx workflow.Context) {
			for {
				var raw converter.RawValue
				if !ch.Receive(ctx, &raw) {
					return
				}
				r.Inbox = append(r.Inbox, received{Name: s.verb, Data: payload(raw), Via: "signal"})
			}
		})
	}
	workflow.GoNamed(ctx, "decisions", r.judge)
	if err := workflow.SetQueryHandlerWithOptions(ctx, wire.QueryStatus, func() (wire.Status, error) { return r.Status, nil },
		workflow.QueryHandlerOptions{Description: "What the run is doing, the open gate with its plan, and what has been proven."}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, wire.UpdateDecide, func(ctx workflow.Context, raw converter.RawValue) (wire.Answer, error) {
		a := &wire.Answer{}
		r.Inbox = append(r.Inbox, received{Data: payload(raw), Via: "update", answer: a})
		// Also in a cancelled run: whoever decided gets an answer.
		ctx, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		err := workflow.Await(ctx, func() bool { return a.Outcome != "" })
		return *a, err
	}, workflow.UpdateHandlerOptions{
		Description: "Approve, reject, retry, undo, abort or done, and be told what became of it.",
		Validator: func(_ workflow.Context, raw converter.RawValue) error {
			if d := approval.Decode(payload(raw)); d.Malformed != "" {
				return fmt.Errorf("%s", d.Malformed)
			}
			return nil
		},
	})
}

// payload is what a sender sent, whatever it is encoded as; nothing at all is
// the empty text.
func payload(raw converter.RawValue) []byte {
	if raw.Payload() == nil {
		return nil
	}
	return raw.Payload().GetData()
}

// judge takes the decisions one by one, in the order in which they arrived.
func (r *run) judge(ctx workflow.Context) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	for {
		if err := workflow.Await(ctx, func() bool { return len(r.Inbox) > 0 }); err != nil {
			return
		}
		r.clerk = true
		in := r.Inbox[0]
		r.Inbox = r.Inbox[1:]
		counted, outcome := r.decide(ctx, in)
		if in.answer != nil {
			in.answer.Counted, in.answer.Outcome = counted, outcome
		}
		r.show(ctx)
		r.clerk = false
	}
}

// decide says what becomes of a decision, and writes it down either way.
func (r *run) decide(ctx workflow.Context, in received) (counted bool, outcome string) {
	d := approval.Decode(in.Data)
	switch {
	case in.Name == "":
	case len(in.Data) == 0 || string(in.Data) == "null": // a signal sent without input
		d = approval.Decision{Verb: in.Name}
	default:
		d = d.Under(in.Name)
	}
	body := wire.DecisionBody{
		Gate: d.Gate, Attempt: d.Attempt, Decision: string(d.Verb), Via: in.Via, Who: d.By, Reason: d.Reason, Raw: d.Raw,
	}
	stage := ""
	if n := r.Status.Current; n < len(r.Compiled.Stages) {
		stage = r.Compiled.Stages[n].ID
	}
	switch {
	case d.Malformed != "":
		outcome = "refused: " + d.Malformed
	case r.ending:
		outcome = "refused: the run has ended"
	case d.Verb == choiceAbort:
		counted, outcome = true, "the run stops; nothing is undone by itself"
		r.abort = &decided{Decision: d, Who: nameOf(d)}
	case d.Verb == approval.Approve || d.Verb == approval.Reject:
		counted, outcome = r.vote(ctx, d, &body)
	default:
		counted, outcome = r.answer(d, &body)
	}
	kind := ledger.Decided
	if !counted {
		kind = ledger.Refused
		r.Status.Refusals = append(r.Status.Refusals, wire.Refusal{Time: workflow.Now(ctx).UTC(), Who: nameOf(d), Reason: outcome})
		r.Status.Refusals = r.Status.Refusals[max(0, len(r.Status.Refusals)-5):]
	}
	body.Outcome = outcome
	if err := r.record(ctx, kind, stage, "", body); err != nil {
		workflow.GetLogger(ctx).Error("a decision could not be written down", "error", err)
	}
	return counted, outcome
}

func nameOf(d approval.Decision) string {
	if d.By == "" {
		return "somebody unnamed"
	}
	return d.By
}

// vote puts a decision to the open gate.
func (r *run) vote(ctx workflow.Context, d approval.Decision, body *wire.DecisionBody) (bool, string) {
	if r.gate == nil {
		return false, "refused: no gate is open; decide when a plan is shown"
	}
	next, j := r.gate.Gate.Judge(workflow.Now(ctx), d, approval.Who{})
	r.gate.Gate = next
	body.Who, body.Key, body.Method = j.Person, j.Key, string(next.Spec.Role.Method)
	if j.Outcome == approval.Counted || j.Outcome == approval.Settled {
		statement := next.Statement(d.Verb)
		if !d.Expires.IsZero() {
			statement.Expires = d.Expires
		}
		body.Statement, body.Raw = string(statement.Text()), d.Signature
		r.Status.Gate.Approved = nil
		for _, v := range next.Votes {
			r.Status.Gate.Approved = append(r.Status.Gate.Approved, v.Person)
		}
		return true, j.Reason
	}
	return false, string(j.Outcome) + ": " + j.Reason
}

// answer gives a decision to the open question.
func (r *run) answer(d approval.Decision, body *wire.DecisionBody) (bool, string) {
	a := r.ask
	switch {
	case a == nil || a.got != nil:
		return false, "refused: the run asks nothing now"
	case !slices.Contains(a.choices, d.Verb):
		return false, fmt.Sprintf("refused: %q cannot be decided here; it takes %v", d.Verb, a.choices)
	case d.Gate != "" && d.Gate != a.id:
		return false, fmt.Sprintf("refused: it is for %q and this is %q", d.Gate, a.id)
	}
	if role, ok := r.Compiled.Role(a.role); ok && d.By != "" {
		if _, is := role.Member(d.By); !is {
			return false, "refused: " + role.NoMember(d.By)
		}
	}
	body.Gate = a.id
	a.got = &decided{Decision: d, Who: nameOf(d)}
	return true, map[approval.Verb]string{
		choiceRetry: "the step is done again",
		choiceUndo:  "taking back is planned; that plan is approved at a gate of its own",
		choiceDone:  "taken as done; its check proves it now, or does not",
	}[d.Verb]
}

// askWhatNext stops the run at something that did not pass, and asks. What is unknown
// has not failed, also if the run ends here.
func (r *run) askWhatNext(ctx workflow.Context, n int, step, title, question string, findings []string, unknown bool) (approval.Verb, error) {
	r.unsure = unknown
	choices := []approval.Verb{choiceRetry, choiceAbort}
	if r.canUndo() {
		choices = []approval.Verb{choiceRetry, choiceUndo, choiceAbort}
	}
	got, err := r.question(ctx, n, step, title, question, findings, choices, r.roleAt(n))
	if err != nil {
		return "", err
	}
	r.unsure = unknown && got.Verb != choiceRetry
	return got.Verb, nil
}

// askPerson waits until a manual step is said to be done; its check then proves
// it or does not.
func (r *run) askPerson(ctx workflow.Context, n int, s runbook.Step) error {
	got, err := r.question(ctx, n, s.ID, s.Title, s.Question, nil, []approval.Verb{choiceDone, choiceAbort}, s.Owner)
	if err != nil {
		return err
	}
	return r.assign(ctx, r.Compiled.Stages[n].ID, got)
}

// assign gives every obligation without an owner the one that was named.
func (r *run) assign(ctx workflow.Context, stage string, d *decided) error {
	for i := range r.Obligations {
		o := &r.Obligations[i]
		if d.Owner == "" || o.Owner != "" {
			continue
		}
		o.Owner, o.Due = d.Owner, d.Due
		if err := r.record(ctx, ledger.Obligation, stage, o.Step, *o); err != nil {
			return err
		}
	}
	r.Status.Obligations = r.Obligations
	return nil
}

// question asks a person and waits.
func (r *run) question(ctx workflow.Context, n int, step, title, text string, findings []string, choices []approval.Verb, role string) (*decided, error) {
	r.Asks++
	a := &ask{id: fmt.Sprintf("ask-%d", r.Asks), role: role, choices: choices}
	words := make([]string, len(choices))
	for i, c := range choices {
		words[i] = string(c)
	}
	if err := r.record(ctx, ledger.Asked, r.Compiled.Stages[n].ID, step, wire.AskedBody{
		Ask: a.id, Question: text, Findings: findings, Choices: words,
	}); err != nil {
		return nil, err
	}
	r.ask = a
	r.Status.State, r.Status.Doing = wire.StateAsking, text
	r.Status.Ask = &wire.AskStatus{ID: a.id, Step: step, Title: title, Question: text, Findings: findings, Choices: words, Owner: role}
	r.show(ctx)
	if err := r.attributes(ctx, r.Compiled.Stages[n].Title); err != nil {
		return nil, err
	}
	err := workflow.Await(ctx, func() bool { return a.got != nil || r.abort != nil || r.fatal != nil })
	r.ask, r.Status.Ask, r.Status.State = nil, nil, wire.StateRunning
	if stop := r.stopped(ctx); stop != nil {
		return nil, stop
	}
	if err != nil {
		return nil, err
	}
	if a.got.Verb == choiceAbort {
		return nil, &errStop{wire.ErrTypeAborted, "aborted by " + a.got.Who}
	}
	return a.got, r.attributes(ctx, r.Compiled.Stages[n].Title)
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

// canUndo reports whether anything that ran can be taken back.
func (r *run) canUndo() bool {
	return slices.ContainsFunc(r.Done, func(d done) bool { return d.Plan.Step.CanUndo && d.Plan.Step.Effect == action.Mutates })
}
