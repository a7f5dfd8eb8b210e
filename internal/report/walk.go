package report

import (
	"context"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/recovery"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// walk takes the entries in their order.
func (b *builder) walk(ctx context.Context, entries []ledger.Entry) error {
	for _, e := range entries {
		b.rep.AsOf = e.Time
		switch e.Kind {
		case ledger.RunStarted:
			b.started(e)
		case ledger.Compiled:
			if err := b.begin(ctx, e); err != nil {
				return err
			}
		case ledger.Planned:
			b.planned(e)
		case ledger.GateOpened, ledger.GateClosed:
			b.gated(e)
		case ledger.Decided, ledger.Refused:
			b.decided(e)
		case ledger.Intent:
			b.intent(e)
		case ledger.Outcome:
			b.outcome(e)
		case ledger.Observed:
			b.observed(e)
		case ledger.Obligation:
			b.obligation(e)
		case ledger.Asked:
			b.asked(e)
		case ledger.Note:
			b.noted(e)
		case ledger.RunEnded:
			b.ended(e)
		case ledger.Lock:
			if err := b.locked(ctx, e); err != nil {
				return err
			}
		case ledger.Resumed:
		}
	}
	return nil
}

func (b *builder) started(e ledger.Entry) {
	s, ok := body[wire.StartedBody](&b.reader, e)
	if !ok {
		return
	}
	r := &b.rep
	r.Runbook, r.Mode, r.Incident, r.Source, r.Target = s.Run.Runbook, s.Run.Mode, s.Run.Incident, s.Run.Source, s.Run.Target
	r.Groups, r.OutageStart, r.DetectedAt, r.Started = list(s.Run.Groups), s.Run.OutageStart, s.Run.DetectedAt, s.Run.Started.UTC()
	if r.StartedBy = s.Starter; r.Started.IsZero() {
		r.Started = e.Time
	}
}

// spend counts intervals of a stage. Looking counts as verifying.
func (b *builder) spend(s *Stage, looks bool, intervals []wire.Interval) {
	for _, i := range intervals {
		kind := recovery.Execute
		if i.Phase == wire.VerifyPhase || i.Phase == wire.UndoVerifyPhase || looks {
			kind = recovery.Verify
		}
		if i.Start.IsZero() || i.End.Before(i.Start) {
			continue
		}
		b.spent = append(b.spent, recovery.Interval{Kind: kind, Start: i.Start.UTC(), End: i.End.UTC()})
		s.Spans = append(s.Spans, b.spent[len(b.spent)-1])
		s.touch(i.Start.UTC())
		s.touch(i.End.UTC())
	}
}

// touch stretches the stage to a moment at which it was at work.
func (s *Stage) touch(at time.Time) {
	if s.Started == nil || at.Before(*s.Started) {
		s.Started = &at
	}
	if s.Ended == nil || at.After(*s.Ended) {
		s.Ended = &at
	}
}

// wait counts the time in which people were waited for.
func (b *builder) wait(s *Stage, from, to time.Time) {
	b.spent = append(b.spent, recovery.Interval{Kind: recovery.Wait, Start: from, End: to})
	s.Spans = append(s.Spans, b.spent[len(b.spent)-1])
	s.touch(to)
}

func (b *builder) planned(e ledger.Entry) {
	p, ok := body[wire.PlannedBody](&b.reader, e)
	if !ok {
		return
	}
	s, looks := b.stage(e.Stage, p.Undo), b.looks(e.Stage) && !p.Undo
	b.spend(s, looks, p.Intervals)
	s.touch(e.Time)
	s.Plans, s.Root, s.Changed = s.Plans+1, p.Root, list(p.Changed)
	if p.Undo { // its steps appear as they are taken back
		return
	}
	n := 0 // the plan is about the steps that act, or all of a stage that looks
	for i := range s.Steps {
		st := &s.Steps[i]
		if st.Kind != "do" && !looks || n >= len(p.Steps) {
			continue
		}
		st.Effects, st.Shown, st.State = p.Steps[n].Effects, list(p.Steps[n].Summary), Planned
		n++
	}
}

func (b *builder) gated(e ledger.Entry) {
	g, ok := body[wire.GateBody](&b.reader, e)
	if !ok {
		return
	}
	s := b.stage(e.Stage, g.Gate == takeBack)
	s.touch(e.Time)
	if e.Kind == ledger.GateOpened {
		b.rep.Gates = append(b.rep.Gates, Gate{
			Gate: g.Gate, Attempt: g.Attempt, Stage: s.ID, Role: g.Role, Method: g.Method, Quorum: g.Quorum, Root: g.Root,
			Opened: e.Time, By: []string{},
		})
		b.gate = len(b.rep.Gates)
		return
	}
	if b.gate == 0 {
		b.note("entry %d closes gate %s, which no entry opened", e.Seq, g.Gate)
		return
	}
	open := &b.rep.Gates[b.gate-1]
	open.Closed, open.How, open.By = &e.Time, g.How, list(g.By)
	open.WaitedSeconds = e.Time.Sub(open.Opened).Seconds()
	b.wait(s, open.Opened, e.Time)
	b.gate = 0
}

// decided takes a decision that counted, or one that did not.
func (b *builder) decided(e ledger.Entry) {
	d, ok := body[wire.DecisionBody](&b.reader, e)
	if !ok {
		return
	}
	counted := e.Kind == ledger.Decided
	if d.More > 0 {
		b.note("at entry %d: %s", e.Seq, d.Outcome)
		return
	}
	for _, other := range d.Also { // refused with it
		b.rep.Refusals = append(b.rep.Refusals, approvalOf(e, other))
	}
	vote := d.Decision == string(approval.Approve) || d.Decision == string(approval.Reject)
	if counted && d.Decision == string(approval.Waive) && !d.Missing {
		for _, item := range d.Items {
			b.rep.Waived = append(b.rep.Waived, Waived{Item: item, Reason: d.Reason, By: append(slices.Clone(b.waiving), d.Who), At: e.Time})
		}
		b.waiving = nil
	}
	if counted && d.Missing && d.Decision == string(approval.Waive) {
		b.waiving = append(b.waiving, d.Who)
	}
	pauses := d.Decision == string(approval.Pause) || d.Decision == string(approval.Resume)
	if counted && !vote && !d.Missing && !pauses && b.ask > 0 {
		b.answer(e.Time, d)
		if d.Gate == b.rep.Asked[b.ask-1].Ask {
			b.ask = 0
			return
		}
		b.ask = 0 // an abort, which ends the question with the run
	}
	a := approvalOf(e, d)
	if b.gate > 0 {
		g := b.rep.Gates[b.gate-1]
		a.Role, a.Quorum, a.WaitedSeconds = g.Role, g.Quorum, e.Time.Sub(g.Opened).Seconds()
		if counted && vote {
			a.Gate, a.Attempt, a.Stage = g.Gate, g.Attempt, g.Stage
			if d.Decision == string(approval.Approve) || d.Key != "" { // nobody has to prove that they may stop
				a.Method, a.Proof = g.Method, b.proof(g, d)
			}
		}
	}
	if a.Proof == "" && d.Who != "" {
		a.Proof = "claimed"
	}
	if counted {
		b.rep.Approvals = append(b.rep.Approvals, a)
	} else {
		b.rep.Refusals = append(b.rep.Refusals, a)
	}
}

// direction is what the gate was about: doing, or taking back.
func (g Gate) direction() string {
	if g.Gate == takeBack {
		return approval.Undo
	}
	return approval.Do
}

func approvalOf(e ledger.Entry, d wire.DecisionBody) Approval {
	return Approval{
		Gate: d.Gate, Attempt: d.Attempt, Stage: e.Stage, Decision: d.Decision, Who: d.Who, Key: d.Key, Method: d.Method,
		Reason: d.Reason, Outcome: d.Outcome, Via: d.Via, At: e.Time,
	}
}

// proof says how much stands behind a vote, after checking its signature once
// more against the keys of the estate that the run was compiled for.
func (b *builder) proof(g Gate, d wire.DecisionBody) string {
	switch estate.Method(g.Method) {
	case estate.PrincipalMethod:
		return "named by Temporal's server"
	case estate.Signed:
	default:
		return "claimed"
	}
	role, ok := b.estate.Role(g.Role)
	if !ok {
		return "signature NOT verified: the estate has no role " + g.Role
	}
	var keys []sshsig.Key
	for _, m := range role.Members {
		if k, err := sshsig.ParseKey(m.Key); err == nil && m.Name == d.Who {
			keys = append(keys, k)
		}
	}
	if _, err := sshsig.Verify(d.Raw, approval.Namespace, []byte(d.Statement), keys); err != nil {
		return "signature NOT verified: " + err.Error()
	}
	s, err := approval.ParseStatement([]byte(d.Statement))
	if err != nil { // an old ledger's
		if s, err = approval.ParseVersion1([]byte(d.Statement)); err == nil {
			s.Mode, s.Direction = string(b.rep.Mode), g.direction()
		}
	}
	if err != nil || g.Root == "" || s.Plan != g.Root || string(s.Decision) != d.Decision || s.Gate != g.Gate || s.Attempt != g.Attempt ||
		s.Run != b.run || s.Mode != string(b.rep.Mode) || s.Direction != g.direction() {
		return "signature NOT verified: it is not about this plan"
	}
	return "signature verified"
}

func (b *builder) asked(e ledger.Entry) {
	a, ok := body[wire.AskedBody](&b.reader, e)
	if !ok {
		return
	}
	b.rep.Asked = append(b.rep.Asked, Asked{
		Ask: a.Ask, Stage: e.Stage, Step: e.Step, Question: a.Question, Findings: list(a.Findings), Choices: list(a.Choices), At: e.Time,
	})
	b.ask = len(b.rep.Asked)
	b.stage(e.Stage, false).touch(e.Time)
}

// answer closes the open question.
func (b *builder) answer(at time.Time, d wire.DecisionBody) {
	a := &b.rep.Asked[b.ask-1]
	a.Answer, a.Who, a.Reason, a.Answered = d.Decision, d.Who, d.Reason, &at
	a.WaitedSeconds = at.Sub(a.At).Seconds()
	b.wait(b.stage(a.Stage, false), a.At, at)
}

func (b *builder) intent(e ledger.Entry) {
	i, ok := body[wire.IntentBody](&b.reader, e)
	if !ok {
		return
	}
	b.stage(e.Stage, i.Undo).touch(e.Time)
	p := b.step(e.Stage, e.Step, i.Undo)
	p.State, p.Attempts = Began, p.Attempts+1
}

func (b *builder) outcome(e ledger.Entry) {
	o, ok := body[wire.OutcomeBody](&b.reader, e)
	if !ok {
		return
	}
	b.spend(b.stage(e.Stage, o.Undo), false, o.Intervals)
	p := b.step(e.Stage, e.Step, o.Undo)
	p.Tries = append(p.Tries, Try{Attempt: p.Attempts, Undo: o.Undo, At: e.Time, Findings: []string{}, Errors: list(o.Errors)})
}

func (b *builder) observed(e ledger.Entry) {
	o, ok := body[wire.ObservedBody](&b.reader, e)
	if !ok {
		return
	}
	s := b.stage(e.Stage, o.Undo)
	b.spend(s, false, o.Intervals)
	s.touch(e.Time)
	if e.Step == "" { // a stage that only looks: each step's part is in its documents
		for i := range s.Steps {
			p := &s.Steps[i]
			if p.State, p.Attempts = NotProven, max(1, s.Plans); p.idle() {
				p.nothing()
			}
		}
		return
	}
	p := b.step(e.Stage, e.Step, o.Undo)
	if p.Kind != "do" && p.Kind != "undo" {
		p.Attempts++
	}
	if n := len(p.Tries); n == 0 || p.Tries[n-1].Attempt != p.Attempts {
		p.Tries = append(p.Tries, Try{Attempt: p.Attempts, Undo: o.Undo, Errors: []string{}})
	}
	t := &p.Tries[len(p.Tries)-1]
	t.At, t.Verdict, t.Findings = e.Time, o.Verdict, list(o.Findings)
	p.Verdict, p.Findings, p.Seen = o.Verdict, list(o.Findings), Counts{Passed: o.Passed, Failed: o.Failed, Unknown: o.Unknown, Nothing: o.Nothing}
	p.State, p.None = stateOf(o.Verdict), o.None
	switch {
	case p.idle(): // earlier releases called it proven
		t.Verdict = verdict.Nothing
		p.nothing()
	case o.Undo:
		p.State = NotTakenBack
		if o.Verdict.Clear() {
			p.State = TakenBack
		}
		b.step(e.Stage, e.Step, false).State = p.State
	}
}

// stateOf is how a step stands after a look at it.
func stateOf(v verdict.Verdict) State {
	switch v {
	case verdict.Pass:
		return Proven
	case verdict.Nothing:
		return NothingToDo
	case verdict.Fail:
		return NotProven
	}
	return NotKnown
}

// idle reports whether a step has no items.
func (s *Step) idle() bool { return s.Items == 0 && s.Action != "" }

// nothing says that a step had no items.
func (s *Step) nothing() {
	s.State, s.Verdict, s.None = NothingToDo, verdict.Nothing, []string{"nothing of the estate is in the scope of this step"}
}

func (b *builder) obligation(e ledger.Entry) {
	o, ok := body[action.Obligation](&b.reader, e)
	if !ok {
		return
	}
	all := b.rep.Obligations
	if i := slices.IndexFunc(all, func(have action.Obligation) bool { return have.ID == o.ID }); i >= 0 {
		all[i] = o // the last word counts: an owner was named
	} else {
		b.rep.Obligations = append(all, o)
	}
	if p := b.step(e.Stage, o.Step, false); p.State == NotProven || p.State == NotKnown {
		p.State = WithObligation
	}
}

func (b *builder) noted(e ledger.Entry) {
	n, ok := body[wire.NoteBody](&b.reader, e)
	switch {
	case !ok:
	case n.Milestone != nil:
		b.reached = append(b.reached, *n.Milestone)
		b.stage(e.Stage, false).touch(e.Time)
	default:
		b.note("the run noted at %s: %s", clockTime(e.Time), n.Text)
	}
}

func (b *builder) ended(e ledger.Entry) {
	end, ok := body[wire.EndedBody](&b.reader, e)
	if !ok {
		return
	}
	if end.Ended.IsZero() {
		end.Ended = e.Time
	}
	at := end.Ended.UTC()
	b.end, b.rep.Ended = &end, &at
	if b.ask > 0 { // nobody answered
		b.wait(b.stage(b.rep.Asked[b.ask-1].Stage, false), b.rep.Asked[b.ask-1].At, e.Time)
		b.ask = 0
	}
}
