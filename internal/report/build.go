package report

import (
	"context"
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/recovery"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// Build makes the report of a run from its ledger. trusted are the keys whose
// signed heads count: the estate's signers, from where the reader trusts them.
//
// A ledger that is not as it was signed is no error: the report says so, names
// the entry at fault, shows what is there, and claims no pass. A run without any
// entry is fs.ErrNotExist; every other error means that the store gave no
// answer, and then there is no report.
func Build(ctx context.Context, from ledger.Reader, run ledger.Run, trusted []sshsig.Key) (Report, error) {
	fail := func(err error) (Report, error) {
		return Report{}, fmt.Errorf("report of run %s: %w", run, err)
	}
	checked, err := ledger.Verify(ctx, from, run, trusted)
	if err != nil {
		return fail(err)
	}
	b := &builder{reader: reader{Reader: from, run: run}, stages: map[string]int{}, rep: empty(run)}
	entries, head, err := b.chain(ctx)
	if err != nil {
		return fail(err)
	}
	signed, err := b.signature(ctx)
	if err != nil {
		return fail(err)
	}
	b.rep.Ledger = Evidence{
		Entries: head.Seq, Documents: checked.Docs, Verified: checked.Fault == nil, Fault: checked.Fault,
		Signers: list(checked.Signers), SignedAt: signed.Head.Seq, Signature: signed.Signature,
	}
	if head.Seq > 0 {
		b.rep.Ledger.Head = head.String()
	}
	if err := b.walk(ctx, entries); err != nil {
		return fail(err)
	}
	b.rep.Ledger.Kinds = b.kinds(entries)
	if err := b.look(ctx, entries); err != nil {
		return fail(err)
	}
	if err := b.recovered(ctx, entries); err != nil {
		return fail(err)
	}
	b.states()
	if err := b.clock(); err != nil {
		return fail(err)
	}
	b.conclude(head.Seq)
	b.rep.Notes = list(b.notes)
	return b.rep, nil
}

// derivesSince is the interpreter's version since which workers derive what they sign.
const derivesSince = 2

// kinds counts the entries, and says whose word they are.
func (b *builder) kinds(entries []ledger.Entry) []Kind {
	all := []Kind{}
	for _, k := range ledger.Kinds() {
		n := 0
		for _, e := range entries {
			if e.Kind == k {
				n++
			}
		}
		if n > 0 {
			all = append(all, Kind{Kind: k, Entries: n, Derived: b.compiled.Engine >= derivesSince && !k.Reported()})
		}
	}
	return all
}

// empty is a report whose lists are lists, so that no reader meets a null.
func empty(run ledger.Run) Report {
	return Report{
		Run: run, Groups: []string{}, Obligations: []action.Obligation{}, Milestones: []Milestone{}, Recovery: []Recovered{},
		Cuts: []GroupCut{}, Tiers: []Tier{}, Gates: []Gate{}, Approvals: []Approval{}, Refusals: []Approval{}, Asked: []Asked{},
		Stages: []Stage{}, Observations: []Observation{}, Waived: []Waived{}, Ledger: Evidence{Kinds: []Kind{}},
	}
}

func list[T any](have []T) []T {
	if have == nil {
		return []T{}
	}
	return have
}

// builder is a report in the making.
type builder struct {
	reader
	rep      Report
	compiled runbook.Compiled
	estate   estate.Estate
	file     ledger.DocRef  // the runbook as it was read
	stages   map[string]int // by id, into rep.Stages
	reached  []wire.Milestone
	spent    []recovery.Interval
	gate     int      // index of the open gate plus one
	ask      int      // index of the open question plus one
	waiving  []string // who said that items be let be, until they are enough
	end      *wire.EndedBody
}

// begin takes the compiled run and the estate, which the entry names in this
// order.
func (b *builder) begin(ctx context.Context, e ledger.Entry) error {
	c, ok := body[wire.CompiledBody](&b.reader, e)
	if !ok {
		return nil
	}
	r := &b.rep
	r.Runbook, r.RunbookDigest, r.Estate, r.EstateDigest, r.Mode = c.Runbook, c.RunbookDigest, c.Estate, c.EstateDigest, c.Mode
	for n, v := range []any{&b.compiled, &b.estate} {
		if n >= len(e.Docs) {
			b.note("entry %d does not name the compiled run and the estate; stages and tiers are missing", e.Seq)
			break
		}
		if _, err := b.doc(ctx, e.Docs[n], v); err != nil {
			return err
		}
	}
	if len(e.Docs) > 2 {
		b.file = e.Docs[2]
	}
	r.About = b.compiled.Summary
	for _, s := range b.compiled.Stages {
		b.stages[s.ID] = len(r.Stages)
		st := Stage{ID: s.ID, Title: s.Title, Tier: s.Tier, Milestone: s.Milestone, Changed: []string{}, Spans: []recovery.Interval{}}
		for _, p := range s.Steps {
			r.Exercised.Of++
			st.Steps = append(st.Steps, newStep(p))
		}
		r.Stages = append(r.Stages, st)
	}
	return nil
}

func newStep(p runbook.Step) Step {
	return Step{
		ID: p.ID, Title: p.Title, Kind: string(p.Kind), Action: p.Action, Owner: p.Owner, Items: p.Items, State: NotReached,
		Findings: []string{}, Tries: []Try{}, Shown: []string{},
	}
}

// takeBack is the id of the gate, and of the stage in the report, about taking
// back what a run did.
const takeBack = "take-back"

// stage returns the report's stage. One that the compiled run does not have is
// added: a ledger may be all that is left of it. What is done to take back has a
// stage of its own at the end, since it happens then.
func (b *builder) stage(id string, undo bool) *Stage {
	title := id
	if undo {
		id, title = takeBack, "Take back what this run did"
	}
	i, ok := b.stages[id]
	if !ok {
		i = len(b.rep.Stages)
		b.stages[id] = i
		b.rep.Stages = append(b.rep.Stages, Stage{ID: id, Title: title, Changed: []string{}, Steps: []Step{}, Spans: []recovery.Interval{}})
	}
	return &b.rep.Stages[i]
}

// step returns the report's step, in the stage of taking back with undo. A step
// belongs to its own stage, also where an entry of a later stage is about it.
func (b *builder) step(stage, id string, undo bool) *Step {
	if own, _, ok := b.compiled.Step(id); ok {
		stage = own.ID
	}
	s := b.stage(stage, undo)
	for i := range s.Steps {
		if s.Steps[i].ID == id {
			return &s.Steps[i]
		}
	}
	p := runbook.Step{ID: id, Title: id}
	if _, have, ok := b.compiled.Step(id); ok {
		p = *have
	}
	if undo {
		p.Kind = "undo"
	}
	s.Steps = append(s.Steps, newStep(p))
	return &s.Steps[len(s.Steps)-1]
}

// looks reports whether a stage does nothing but look, so that its planning is
// verifying.
func (b *builder) looks(stage string) bool {
	i := slices.IndexFunc(b.compiled.Stages, func(s runbook.Stage) bool { return s.ID == stage })
	return i >= 0 && b.compiled.Stages[i].ChecksOnly()
}

// runs reports whether a step acts or looks in the run's mode, as the interpreter
// has it.
func (b *builder) runs(id string) bool {
	stage, s, ok := b.compiled.Step(id)
	switch {
	case !ok, b.rep.Mode == action.ModeLive:
		return true
	case b.rep.Mode == action.ModeDrill:
		return s.Drill != action.DrillSkipped && s.Kind != runbook.Ask
	default:
		return stage.ChecksOnly() || s.Kind == runbook.Do && s.Effect == action.RecordsOnly
	}
}

// states settles what the entries alone leave open.
func (b *builder) states() {
	r := &b.rep
	for i := range r.Stages {
		s := &r.Stages[i]
		for j := range s.Steps {
			p := &s.Steps[j]
			if p.State == Planned && p.idle() {
				p.nothing()
			}
			if p.State != NothingToDo { // of one that is, the parts say so that were looked at
				p.None = nil
			} else {
				r.Exercised.Nothing++
			}
			if p.State == Proven {
				r.Exercised.Proven++
			}
			if s.Started != nil && !b.runs(p.ID) && (p.State == NotReached || p.State == Planned && r.Mode == action.ModeDrill) {
				p.State = NotRun
			}
			if s.ID == takeBack {
				continue
			}
			if p.Attempts > 0 && p.State != NothingToDo {
				r.Exercised.Steps++
			}
			r.Seen.Passed += p.Seen.Passed
			r.Seen.Failed += p.Seen.Failed
			r.Seen.Unknown += p.Seen.Unknown
			r.Seen.Nothing += p.Seen.Nothing
		}
	}
	r.Seen.Listed = len(r.Observations)
}

// conclude says what the whole comes to. A run is no better than its evidence.
func (b *builder) conclude(last int64) {
	r := &b.rep
	if b.end == nil {
		r.How, r.Summary = "running", fmt.Sprintf("still running at entry %d", last)
	} else {
		r.Verdict, r.Summary, r.How, r.Why = b.end.Verdict, b.end.Summary, b.end.How, b.end.Why
		r.Exercised.Steps, r.Exercised.Of = b.end.Exercised, max(b.end.Steps, r.Exercised.Of)
	}
	if r.Ledger.Verified {
		return
	}
	r.Verdict = verdict.Worst(r.Verdict, verdict.Unknown)
	f := r.Ledger.Fault
	r.Summary = fmt.Sprintf("the evidence is not verified (entry %d: %s); the ledger says: %s", f.Seq, f.Wrong, r.Summary)
}
