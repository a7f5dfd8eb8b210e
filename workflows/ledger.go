package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/clip"
	"breakwater/internal/ledger"
	"breakwater/internal/plural"
	"breakwater/internal/shell"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// outage is the time in which the ledger cannot be written. The run waits, since nothing
// may be done that is not recorded; it says so, asks, and tries again by itself where time
// may cure it. It never ends for good by itself.
type outage struct {
	gate   approval.Gate // the question about it, which no entry can hold
	doing  string
	since  time.Time
	tries  int
	next   time.Time // of the next try by itself; zero where time cures nothing
	why    string
	forked bool
}

// keep does one thing in the ledger's location, for as long as it takes: it returns nil
// once it is done, an error of one of the types in answers, or why the run ends without
// it. Only one thing is done at a time.
func (r *run) keep(ctx workflow.Context, doing, name string, in, out any, answers ...string) error {
	var o *outage
	for {
		if r.fatal != nil {
			return r.fatal
		}
		err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, keeping(doing, o != nil)), name, in).Get(ctx, out)
		var app *temporal.ApplicationError
		switch {
		case err == nil:
			return r.recovered(ctx, o)
		case errors.As(err, &app) && slices.Contains(answers, app.Type()):
			if err := r.recovered(ctx, o); err != nil {
				return err
			}
			return err
		case temporal.IsCanceledError(err):
			r.outage = nil
			return err
		case o == nil:
			o = &outage{gate: r.outageGate(), doing: doing, since: workflow.Now(ctx).UTC()}
		}
		if err := r.wait(ctx, o, err); err != nil {
			return err
		}
	}
}

// keeping are the options of an activity that writes to the ledger's location. The first
// tries are few and short, so that an outage is soon seen as one.
func keeping(summary string, again bool) workflow.ActivityOptions {
	o := workflow.ActivityOptions{
		StartToCloseTimeout: 15 * time.Second, HeartbeatTimeout: silence, Summary: clip.Bytes(summary, 200),
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumAttempts: 3},
	}
	if again {
		o.StartToCloseTimeout, o.RetryPolicy.MaximumAttempts = brief, 1
	}
	return o
}

// wait shows an outage until it is time to try again: when the pause is over, or a person
// says so. It returns an error if a person ends the run.
func (r *run) wait(ctx workflow.Context, o *outage, err error) error {
	var app *temporal.ApplicationError
	o.forked = errors.As(err, &app) && app.Type() == wire.ErrTypeForked
	o.why, o.tries, o.next = short(err), o.tries+1, time.Time{}
	o.gate.Status, o.gate.Votes, o.gate.Decided = approval.Open, nil, ""
	pause := min(time.Second<<min(o.tries-1, 6), time.Minute)
	curable := !conclusive(err) || app.Type() == wire.ErrTypeDenied
	if curable {
		o.next = workflow.Now(ctx).Add(pause).UTC()
	}
	begins := r.outage != o
	r.outage = o
	r.show(ctx)
	if begins {
		if err := r.attributes(ctx, r.stageTitle()); err != nil {
			return err
		}
	}
	answered := func() bool { return o.gate.Status != approval.Open }
	if curable {
		tctx, stop := workflow.WithCancel(ctx)
		timer := workflow.NewTimerWithOptions(tctx, pause, workflow.TimerOptions{Summary: "try the ledger again"})
		err = workflow.Await(ctx, func() bool { return answered() || timer.IsReady() })
		stop()
	} else {
		err = workflow.Await(ctx, answered)
	}
	switch {
	case err != nil:
		r.outage = nil
		return err
	case o.gate.Decided != approval.Abort:
		return nil
	}
	r.outage = nil
	r.lost = r.unrecorded(o)
	r.fatal = &errStop{wire.ErrTypeAborted, fmt.Sprintf("aborted by %s: %s; %s", orUnnamed(o.gate.Last().Person), orNone(o.gate.Last().Reason), r.lost)}
	return r.fatal
}

// outageGate is the question about an outage: by its rules both answers take nobody's
// signature, since they add nothing and stop or look again.
func (r *run) outageGate() approval.Gate {
	role := r.Compiled.Owner
	if len(r.Compiled.Stages) > 0 {
		role = r.roleAt(min(r.Status.Current, len(r.Compiled.Stages)-1))
	}
	s := approval.Spec{
		About: approval.Statement{
			Namespace: r.Run.Namespace, Run: r.Chain.Head.Run, Gate: fmt.Sprintf("ledger-%d", r.Chain.Head.Seq), Attempt: 1, Plan: "asked",
			Mode: string(r.Run.Mode), Direction: direction(false), Estate: r.Compiled.EstateDigest, Head: r.Chain.Head.String(),
		},
		Live: r.Run.Mode == action.ModeLive, Offers: approval.Offers(approval.Retry, approval.Abort),
	}
	s.Role, _ = r.Compiled.Role(role)
	s.Role.Role = role
	return approval.Gate{Spec: s, Status: approval.Open}
}

// recovered ends an outage, and writes down that there was one. The ledger is writable
// now, so this is a thing like any other.
func (r *run) recovered(ctx workflow.Context, o *outage) error {
	if o == nil {
		return nil
	}
	r.outage = nil
	r.show(ctx)
	if err := r.attributes(ctx, r.stageTitle()); err != nil {
		return err
	}
	took := workflow.Now(ctx).Sub(o.since).Round(time.Second)
	r.missed = append(r.missed, fmt.Sprintf("%s could not be done for %s, until try %d: %s", o.doing, took, o.tries+1, o.why))
	return nil
}

// unrecorded says what an end without the ledger leaves behind.
func (r *run) unrecorded(o *outage) string {
	s := fmt.Sprintf("the ledger could not be written since %s (%s), so neither this end nor what came after entry %q is in it",
		o.since.Format(time.RFC3339), o.why, r.Status.Head)
	show := shell.Command("breakwater", "lock", "show", r.Status.Estate)
	switch {
	case r.Run.Epoch > 0:
		lost := shell.Command("breakwater", "lock", "take-over", r.Status.Estate, "--run", "NEW-ID", "--runbook", r.Run.Runbook,
			"--lost", r.Status.Head, "--holder", r.Chain.Head.Run.String(), "--epoch", fmt.Sprint(r.Run.Epoch))
		s += fmt.Sprintf("; the lock of estate %s stays with this run at epoch %d, to be taken over by two people: %s; if the ledger is lost for good, they do so at an empty location: %s",
			r.Status.Estate, r.Run.Epoch, show, lost)
	case r.locking:
		s += fmt.Sprintf("; whether this run holds the lock of estate %s is not known: %s", r.Status.Estate, show)
	}
	return s
}

// sentence says what the run waits for.
func (o *outage) sentence() string {
	s := fmt.Sprintf("waiting for the ledger since %s: %s failed %s (%s)", o.since.Format("15:04:05"), o.doing, plural.Of(o.tries, "time"), o.why)
	if !o.next.IsZero() {
		s += ", tried again at " + o.next.Format("15:04:05")
	}
	return s
}

// outageAsk is the question about an outage.
func (r *run) outageAsk(o *outage) *wire.AskStatus {
	a := &wire.AskStatus{
		ID: o.gate.Spec.About.Gate, Title: "The ledger cannot be written", Owner: o.gate.Spec.Role.Role,
		Choices:  choices(o.gate.Spec),
		Findings: []string{o.doing + ": " + o.why},
	}
	switch {
	case o.forked:
		a.Question = fmt.Sprintf("The ledger holds other bytes where this run writes: two workflows write as this run, or somebody wrote in its place. Nothing goes on, and the lock is kept. "+
			"Find out which one is the run, and abort every other: `%s` shows what is there, and after an abort two people take the lock over.",
			shell.Command("breakwater", "verify-evidence", r.Run.Workflow))
	case o.next.IsZero():
		a.Question = "The ledger refuses what this run writes, and time does not cure that. Nothing goes on unrecorded. Mend what the finding says, then retry; or abort: the run then ends without that in the ledger, and keeps its lock."
	default:
		a.Question = fmt.Sprintf("The ledger cannot be written, and nothing goes on unrecorded. It was tried %s and is tried again at %s by itself. Retry tries now; abort ends the run without that in the ledger, and keeps its lock.",
			plural.Of(o.tries, "time"), o.next.Format("15:04:05 MST"))
	}
	return a
}

// view is the run's status with what an outage puts before it.
func (r *run) view() wire.Status {
	s := r.Status
	if o := r.outage; o != nil {
		s.State, s.Doing, s.Gate, s.Ask, s.Open = wire.StateLedger, o.sentence(), nil, r.outageAsk(o), &o.gate
		s.Ledger = &wire.LedgerStatus{Since: o.since, Tries: o.tries, Why: o.why, Forked: o.forked}
		for _, in := range r.Inbox {
			if in.Told == "" {
				s.Ledger.Waiting++
			}
		}
		if !o.next.IsZero() {
			s.Ledger.Next = &o.next
		}
	}
	return s
}

func (r *run) stageTitle() string {
	if len(r.Compiled.Stages) == 0 {
		return ""
	}
	return r.Compiled.Stages[min(r.Status.Current, len(r.Compiled.Stages)-1)].Title
}

// hear takes in a decision that arrives in an outage. Only the question about it can be
// answered, at once, since whoever judges the others may be waiting for the ledger too.
// An update is told so; a signal waits.
func (r *run) hear(now time.Time, in received) received {
	o, d := r.outage, in.decision()
	next, said := o.gate, approval.Judgement{}
	if _, offered := o.gate.Spec.Offer(d.Verb); offered && d.Malformed == "" {
		next, said = o.gate.Judge(now, d, approval.Who{})
	}
	switch {
	case said.Outcome == approval.Settled && next.Decided == approval.Abort:
		in.Counted, in.Told = true, "the run ends without it: "+r.unrecorded(o)
	case said.Outcome == approval.Settled:
		in.Counted, in.Told = true, "the ledger is tried again now"
	case said.Reason != "":
		in.Told = "refused: " + said.Reason
	case in.answer != nil:
		in.Told = fmt.Sprintf("refused: the ledger cannot be written since %s, so nothing is decided now but retry or abort of %s; send it again when the status shows something else",
			o.since.Format(time.RFC3339), o.gate.Spec.About.Gate)
	}
	if in.Counted {
		o.gate = next
	}
	if in.Told != "" && in.answer != nil {
		in.answer.Counted, in.answer.Outcome = in.Counted, in.Told
	}
	return in
}

// record appends an entry to the ledger. It returns once that is written; an error is
// that a person ended the run without it.
func (r *run) record(ctx workflow.Context, kind ledger.Kind, stage, step string, body any, docs ...ledger.DocRef) error {
	// Under a cancelled context too: what happened must be written down.
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if err := r.ledger.Lock(ctx); err != nil {
		return err
	}
	defer r.ledger.Unlock()
	// Before this entry, since what is made of it may hang on its being the last one. The
	// first two entries say what run it is.
	for len(r.missed) > 0 && r.Chain.Head.Seq >= 2 {
		text := r.missed[0]
		r.missed = r.missed[1:]
		if err := r.append(ctx, ledger.Note, stage, "", wire.NoteBody{Text: text}); err != nil {
			return err
		}
	}
	return r.append(ctx, kind, stage, step, body, docs...)
}

func (r *run) append(ctx workflow.Context, kind ledger.Kind, stage, step string, body any, docs ...ledger.DocRef) error {
	if r.fatal != nil {
		return r.fatal
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("ledger entry %s: %w", kind, err)
	}
	before := r.Chain
	entry, head, err := r.Chain.Append(ledger.Entry{
		Time: workflow.Now(ctx), Kind: kind, Stage: stage, Step: step, Body: raw, Docs: docs,
	})
	if err != nil {
		return err
	}
	doing := fmt.Sprintf("write entry %d (%s%s)", head.Seq, kind, about(step))
	err = r.keep(ctx, doing, wire.AppendEntry, wire.AppendInput{Estate: r.Compiled.Estate, Head: head, Entry: entry}, nil, judgedThere(kind)...)
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		r.Chain = before
		no := &errNotTaken{why: app.Message()}
		if app.HasDetails() {
			if err := app.Details(&no.void); err != nil {
				return err
			}
		}
		return no
	}
	if err != nil {
		return err
	}
	r.Status.Head, r.stored = head.String(), head.Seq
	return nil
}

// judgedThere are the errors that are an answer to an entry: the ledger's side judges a
// decision for itself, and may find that it does not count, or those before it no longer.
func judgedThere(kind ledger.Kind) []string {
	if kind == ledger.Decided || kind == ledger.GateClosed {
		return []string{wire.ErrTypeRefused}
	}
	return nil
}

func about(step string) string {
	if step == "" {
		return ""
	}
	return " of " + step
}

// acquire takes the estate's lock, and writes that down, also where the run is cancelled
// meanwhile: what was taken must be known, to be given back.
func (r *run) acquire(ctx workflow.Context) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	r.locking = true
	var lock wire.LockResult
	in := wire.LockInput{Estate: r.Status.Estate}
	if err := r.alone(ctx, "take the lock of estate "+r.Status.Estate, wire.AcquireLock, in, &lock, wire.ErrTypeHeld); err != nil {
		return err
	}
	r.Run.Epoch = lock.Epoch
	return r.record(ctx, ledger.Lock, "", "", wire.LockBody{Held: true, Epoch: lock.Epoch, Taken: lock.Taken})
}

// release gives the estate's lock back, and writes that down. A lock that is not this
// run's any more, or not the one that it was given, stays as it is.
func (r *run) release(ctx workflow.Context) error {
	in := wire.LockInput{Estate: r.Status.Estate}
	err := r.alone(ctx, "give back the lock of estate "+r.Status.Estate, wire.ReleaseLock, in, nil, wire.ErrTypeFenced, wire.ErrTypeRefused)
	switch {
	case r.fatal != nil:
		return r.fatal
	case err != nil:
		return r.record(ctx, ledger.Note, "", "", wire.NoteBody{Text: "the lock could not be given back: " + short(err)})
	}
	return r.record(ctx, ledger.Lock, "", "", wire.LockBody{Epoch: r.Run.Epoch})
}

// alone does one thing in the ledger's location while nothing else is done there.
func (r *run) alone(ctx workflow.Context, doing, name string, in, out any, answers ...string) error {
	if err := r.ledger.Lock(ctx); err != nil {
		return err
	}
	defer r.ledger.Unlock()
	return r.keep(ctx, doing, name, in, out, answers...)
}
