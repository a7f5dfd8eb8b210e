package workflows

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
)

// received is a decision that arrived and waits to be judged.
type received struct {
	Name approval.Verb `json:"name"`           // of the signal; empty for decide
	Data []byte        `json:"data"`           // the payload as it came
	Long int           `json:"long,omitempty"` // how many bytes it had, where none of them were kept
	Via  string        `json:"via"`            // "signal" or "update"

	// Told is what became of it already, in an outage of the ledger, and Counted whether
	// it was an answer to that.
	Told    string `json:"told,omitempty"`
	Counted bool   `json:"counted,omitempty"`

	answer *wire.Answer // of an update, whose handler waits for it
}

// paused is who paused the run, and where people are asked to let it go on.
type paused struct {
	Gate approval.Gate `json:"gate"`
	Who  string        `json:"who"`
}

// judged is what became of a decision.
type judged struct {
	counted bool
	again   bool // is judged anew
	outcome string
	body    wire.DecisionBody
	then    func()      // what it changes, once it is written down
	kind    ledger.Kind // of its entry, if it counted
	entry   any
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
		{wire.SignalDecide, `Answer a question of the run: {"decision":"retry"}, verify, waive, undo, abort, or done for a manual step; also pause, resume, note.`, ""},
		{wire.SignalAbort, "Stop the run where it is. Nothing is undone by itself; the report says what was done.", approval.Abort},
		{wire.SignalPause, "Begin nothing more until somebody says resume. What has begun is finished.", approval.Pause},
		{wire.SignalResume, "Let a paused run go on.", approval.Resume},
		{wire.SignalNote, `Write something into the run's record: {"by":"ana","reason":"the region's status page says so"}.`, approval.Note},
	} {
		ch := workflow.GetSignalChannelWithOptions(ctx, s.name, workflow.SignalChannelOptions{Description: s.doc})
		workflow.GoNamed(ctx, "signal "+s.name, func(ctx workflow.Context) {
			for {
				var raw converter.RawValue
				if !ch.Receive(ctx, &raw) {
					return
				}
				r.arrive(ctx, received{Name: s.verb, Data: payload(raw), Via: "signal"})
			}
		})
	}
	workflow.GoNamed(ctx, "decisions", r.judge)
	if err := workflow.SetQueryHandlerWithOptions(ctx, wire.QueryStatus, func() (wire.Status, error) { return r.view(), nil },
		workflow.QueryHandlerOptions{Description: "What the run is doing, the open gate with its plan, and what has been proven."}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, wire.UpdateDecide, func(ctx workflow.Context, raw converter.RawValue) (wire.Answer, error) {
		a := &wire.Answer{}
		r.arrive(ctx, received{Data: payload(raw), Via: "update", answer: a})
		// Also in a cancelled run: whoever decided gets an answer.
		ctx, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		err := workflow.Await(ctx, func() bool { return a.Outcome != "" })
		return *a, err
	}, workflow.UpdateHandlerOptions{
		Description: "Approve, reject, retry, verify, waive, undo, done, abort, pause, resume or note, and be told what became of it.",
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

// arrive takes a decision in. What is too long is not kept, since a run hands on what it
// has not judged yet.
func (r *run) arrive(ctx workflow.Context, in received) {
	if len(in.Data) > approval.Most {
		in.Long, in.Data = len(in.Data), nil
	}
	if r.outage != nil {
		in = r.hear(workflow.Now(ctx), in)
	}
	r.Inbox = append(r.Inbox, in) // what was told is still written down, once that is possible
}

// judge takes the decisions in the order in which they arrived. Those that do not count
// are written down together, so that a flood of them costs no more than a few.
func (r *run) judge(ctx workflow.Context) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	for {
		if err := workflow.Await(ctx, func() bool { return len(r.Inbox) > 0 && !r.clerk }); err != nil {
			return
		}
		r.clerk = true
		batch := r.Inbox
		r.Inbox = nil
		answers := make([]func(), len(batch))
		for i, in := range batch {
			j := r.decide(ctx, in)
			if j.counted {
				j = r.count(ctx, j)
			}
			for j.again { // it is judged anew, without the votes that count no longer
				if j = r.decide(ctx, in); j.counted {
					j = r.count(ctx, j)
				}
			}
			if !j.counted {
				r.refuse(ctx, j)
			}
			answers[i] = func() {
				if in.answer != nil && in.Told == "" {
					in.answer.Counted, in.answer.Outcome = j.counted, j.outcome
				}
			}
		}
		if err := r.tellRefusals(ctx); err != nil {
			workflow.GetLogger(ctx).Error("refusals could not be written down", "error", err)
		}
		for _, answer := range answers {
			answer()
		}
		r.show(ctx)
		r.clerk = false
		r.heard++
	}
}

// count writes down a decision that counts, and lets it take effect. What the ledger's
// side finds not to count after all is refused, and changes nothing.
func (r *run) count(ctx workflow.Context, j judged) judged {
	err := r.record(ctx, j.kind, r.stageNow(), "", j.entry)
	var no *errNotTaken
	if errors.As(err, &no) {
		j.counted, j.outcome, j.again = false, "refused: "+no.why, r.forget(ctx, r.asked, no)
		return j
	}
	if err != nil { // a person ended the run in an outage of the ledger
		workflow.GetLogger(ctx).Error("a decision could not be written down", "error", err)
		j.counted, j.outcome = false, "refused: the run ended, and this could not be written down: "+short(err)
		return j
	}
	j.then()
	return j
}

// forget takes votes out of a question that count no longer, says so, and reports whether
// there were any.
func (r *run) forget(ctx workflow.Context, o *opened, no *errNotTaken) bool {
	if o == nil {
		return false
	}
	left := o.Without(no.void)
	if len(left.Votes) == len(o.Votes) {
		return false
	}
	for _, v := range o.Votes {
		if slices.Contains(no.void, v.Person) {
			r.refuse(ctx, judged{outcome: "counts no longer: " + no.why, body: wire.DecisionBody{
				Gate: o.id, Attempt: o.Spec.About.Attempt, Decision: string(v.Verb), Who: v.Person, Key: v.Key, Reason: v.Reason,
			}})
		}
	}
	if o.Gate = left; r.Status.Gate != nil {
		r.Status.Gate.Approved = approvedBy(left)
	}
	return true
}

// decision is what was sent.
func (in received) decision() approval.Decision {
	switch d := approval.Decode(in.Data); {
	case in.Long > 0:
		return approval.TooLong(in.Long)
	case in.Name == "":
		return d
	case len(in.Data) == 0 || string(in.Data) == "null": // a signal sent without input
		return approval.Decision{Verb: in.Name}
	default:
		return d.Under(in.Name)
	}
}

// stageNow is the id of the stage that the run is in.
func (r *run) stageNow() string {
	if n := r.Status.Current; n < len(r.Compiled.Stages) {
		return r.Compiled.Stages[n].ID
	}
	return ""
}

// decide says what becomes of a decision.
func (r *run) decide(ctx workflow.Context, in received) judged {
	d := in.decision()
	j := judged{kind: ledger.Decided, then: func() {}, body: wire.DecisionBody{
		Gate: d.Gate, Attempt: d.Attempt, Decision: string(d.Verb), Via: in.Via, Who: d.By, Reason: d.Reason, Raw: d.Raw, Items: d.Items,
	}}
	now := workflow.Now(ctx)
	switch {
	case in.Counted:
		j.counted, j.outcome, j.kind = true, in.Told, ledger.Note
		j.entry = wire.NoteBody{Text: in.Told, By: nameOf(d)}
		return j
	case in.Told != "":
		j.outcome = in.Told
	case d.Malformed != "":
		j.outcome = "refused: " + d.Malformed
	case d.Verb == approval.Note:
		r.noted(&j, d)
		return j
	case r.ending:
		j.outcome = "refused: the run has ended, and there is nothing left to decide or to stop"
	case d.Verb == approval.Abort && r.abort != nil:
		j.outcome = "refused: the run stops already, as " + nameOf(*r.abort) + " said"
	case d.Verb == approval.Abort:
		j.counted, j.outcome = true, "the run stops; nothing is undone by itself"
		r.abort = &d // before it is written down: stopping waits for nobody
	case d.Verb == approval.Pause:
		r.pause(&j, d)
	case d.Verb == approval.Resume:
		r.resume(&j, now, d)
	case r.asked == nil:
		j.outcome = "refused: no gate is open and the run asks nothing now; decide when a plan or a question is shown"
	default:
		r.answer(&j, now, d)
	}
	j.body.Outcome, j.entry = j.outcome, j.body
	return j
}

func nameOf(d approval.Decision) string { return orUnnamed(d.By) }

// answer puts a decision to the open question.
func (r *run) answer(j *judged, now time.Time, d approval.Decision) {
	o := r.asked
	next, said := o.Judge(now, d, approval.Who{})
	if j.says(next, said, d); !j.counted && d.Verb == approval.TakeBack {
		if no := r.undoable(); no != nil {
			j.outcome += "; " + no.Error()
		}
	}
	if j.counted {
		j.then = func() {
			if r.asked != o {
				return // the run stopped meanwhile
			}
			o.Gate = next
			if r.Status.Gate != nil {
				r.Status.Gate.Approved = approvedBy(next)
			}
		}
	}
}

// says fills in what a gate said of a decision.
func (j *judged) says(next approval.Gate, said approval.Judgement, d approval.Decision) {
	j.body.Who, j.body.Key, j.body.Method = said.Person, said.Key, string(next.Spec.Role.Method)
	if !said.Proven {
		j.body.Method = "claimed"
	}
	j.counted = said.Outcome == approval.Counted || said.Outcome == approval.Settled
	if !j.counted {
		j.outcome = string(said.Outcome) + ": " + said.Reason
		if j.body.Who == "" {
			j.body.Who = d.By
		}
		return
	}
	j.outcome, j.body.Gate, j.body.Attempt = said.Reason+means(d.Verb), next.Spec.About.Gate, next.Spec.About.Attempt
	j.body.Owner, j.body.Due, j.body.Missing = d.Owner, d.Due, said.Outcome == approval.Counted
	if said.Key != "" {
		j.body.Statement, j.body.Raw = string(next.StatementOf(d).Text()), d.Signature
	}
}

// means is what follows from an answer, to whoever gave it.
func means(v approval.Verb) string {
	switch v {
	case approval.Retry:
		return ": it is tried again, and planned again if the world moved"
	case approval.LookAgain:
		return ": it is looked at again, and nothing is done"
	case approval.TakeBack:
		return ": taking back is planned; that plan is approved at a gate of its own"
	case approval.Done:
		return ": taken as done; its check proves it now, or does not"
	}
	return ""
}

func approvedBy(g approval.Gate) []string {
	var who []string
	for _, v := range g.Votes {
		if v.Verb == approval.Approve {
			who = append(who, v.Person)
		}
	}
	return who
}

// notesMost is how many notes a run takes: each is an entry of its own.
const notesMost = 100

// noted takes what a person wants to be in the record.
func (r *run) noted(j *judged, d approval.Decision) {
	switch {
	case d.Reason == "":
		j.outcome = `refused: a note needs its text as the reason: breakwater decide RUN note --reason TEXT`
	case r.Notes >= notesMost:
		j.outcome = fmt.Sprintf("refused: the run has taken %d notes, and takes no more", notesMost)
	default:
		r.Notes++
		j.counted, j.outcome, j.kind = true, "noted", ledger.Note
		j.entry = wire.NoteBody{Text: d.Reason, By: nameOf(d)}
		return
	}
	j.body.Outcome, j.entry = j.outcome, j.body
}

// pause keeps the run from beginning anything more.
func (r *run) pause(j *judged, d approval.Decision) {
	if r.Paused != nil {
		j.outcome = "refused: the run is paused already, by " + r.Paused.Who + "; what lets it go on is: " + r.Paused.Gate.Command(approval.Resume)
		return
	}
	r.Pauses++
	q := question{role: r.roleAt(min(r.Status.Current, len(r.Compiled.Stages)-1)), verbs: []approval.Verb{approval.Resume}}
	s, _, err := r.spec(q, fmt.Sprintf("pause-%d", r.Pauses))
	s.About.Head = r.Chain.Head.String()
	s.About.Plan = ledger.Digest([]byte(s.About.Gate))
	g, bad := approval.NewGate(s)
	if _, can := s.Offer(approval.Resume); err != nil || bad != nil || !can {
		j.outcome = fmt.Sprintf("refused: role %s could never let the run go on; what stops it is: %s", q.role, g.Command(approval.Abort))
		return
	}
	j.counted, j.outcome = true, "the run begins nothing more; what lets it go on is: "+g.Command(approval.Resume)
	p := &paused{Gate: g, Who: nameOf(d)}
	j.body.Gate = s.About.Gate
	r.Paused = p
	r.Status.Paused = &wire.PauseStatus{ID: s.About.Gate, By: p.Who, Reason: d.Reason, Role: q.role, Open: &p.Gate}
}

// resume lets a paused run go on.
func (r *run) resume(j *judged, now time.Time, d approval.Decision) {
	p := r.Paused
	if p == nil {
		j.outcome = "refused: the run is not paused"
		return
	}
	next, said := p.Gate.Judge(now, d, approval.Who{})
	if j.says(next, said, d); j.counted {
		j.outcome = "the run goes on"
		j.then = func() { r.Paused, r.Status.Paused = nil, nil }
	}
}

// ready waits while the run is paused or its ledger cannot be written, and says why it must not go on, if it must not.
func (r *run) ready(ctx workflow.Context) error {
	if r.Paused != nil || r.outage != nil { // nothing is begun while it cannot be written down
		r.show(ctx)
		if err := workflow.Await(ctx, func() bool { return r.Paused == nil && r.outage == nil || r.abort != nil || r.fatal != nil }); err != nil && r.stopped(ctx) == nil {
			return err
		}
		r.show(ctx)
	}
	return r.stopped(ctx)
}
