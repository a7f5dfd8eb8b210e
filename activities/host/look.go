package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/authority"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/plural"
	"breakwater/internal/runbook"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// summarize puts observations in short: the worst verdict, counts, and what did
// not pass.
func summarize(obs []action.Observation) wire.Look {
	looks := make([]wire.Look, len(obs))
	for i, o := range obs {
		l := wire.Look{
			Verdict: o.Verdict, OnlySource: o.Verdict == verdict.Unknown && o.Cause == action.CauseSourceUnreachable,
			Owed: action.Owed([]action.Observation{o}),
		}
		switch o.Verdict {
		case verdict.Pass:
			l.Passed = 1
		case verdict.Nothing:
			l.Nothing, l.None = 1, []string{o.Got}
		case verdict.Fail:
			l.Failed, l.Findings = 1, []string{action.Finding(o)}
		default:
			l.Unknown, l.Findings = 1, []string{action.Finding(o)}
		}
		if !o.Verdict.Clear() && o.Obligation != "" {
			l.Obligations = []string{o.Obligation}
		}
		looks[i] = l
	}
	m := wire.MergeLooks(looks...)
	m.Findings = m.Findings[:min(len(m.Findings), wire.Shown)]
	m.Obligations = m.Obligations[:min(len(m.Obligations), wire.Shown)]
	return m
}

// stable leaves out what may differ from one look to the next although the world
// did not: the text of an error.
func stable(obs []action.Observation) []action.Observation {
	out := slices.Clone(obs)
	for i := range out {
		if out[i].Verdict == verdict.Unknown && out[i].Cause != action.CauseLeftOut {
			out[i].Got = "no answer"
		}
	}
	return out
}

// sentence says what a check found, for the gate.
func sentence(item estate.Item, obs []action.Observation) string {
	l := summarize(obs)
	if l.Verdict == verdict.Nothing {
		return fmt.Sprintf("%s: %s: %s", item, wire.NothingToDo, strings.Join(l.None, "; "))
	}
	s := fmt.Sprintf("%s: %d of %s pass", item, l.Passed, plural.Of(int64(len(obs))-l.Nothing, "observation"))
	if len(l.Findings) > 0 {
		s += "; " + l.Findings[0]
	}
	return s
}

// accepts is what a gate must accept for a stage that only looks to pass.
func accepts(run action.Run, obs []action.Observation) []action.Acceptance {
	owed := action.Owed(obs)
	var all []action.Acceptance
	if slices.Contains(owed, action.AcceptSourceUnreachable) && !run.SourceUnreachable {
		all = append(all, action.Acceptance{
			ID: action.AcceptSourceUnreachable,
			Sentence: fmt.Sprintf("%s does not answer. What cannot be proven there becomes an obligation, to be closed when it returns.",
				run.Source),
		})
		if run.SourceDeadSince != nil {
			all = append(all, action.Acceptance{ID: action.AcceptSourceDead, Sentence: fmt.Sprintf(
				"%s has been dead since %s: nobody's write was acknowledged there after that. If it only was out of reach, more is lost than this run says.",
				run.Source, run.SourceDeadSince.UTC().Format(time.RFC3339))})
		}
	}
	if !run.Unwitnessed && slices.ContainsFunc(obs, func(o action.Observation) bool { return o.Accept == action.AcceptUnwitnessed }) {
		all = append(all, action.Unwitnessed())
	}
	for _, o := range obs {
		a := action.LeftOut(o.Item, o.Got)
		if slices.Contains(owed, a.ID) && o.Cause == action.CauseLeftOut && !run.Accepted(a.ID) && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// records reads the results of earlier steps out of the ledger.
type records struct{ *batch }

// RecordsOf reads a run's ledger for a caller outside of a phase: its obligations
// alone, since what steps left is found by the compiled run.
func RecordsOf(e *estate.Estate, s store.Store, run ledger.Run) (action.Records, error) {
	trusted, err := e.Ledger.Trusted(time.Now())
	if err != nil {
		return nil, err
	}
	c := &chain{place: place{estate: e, ledger: s, trusted: trusted}, caller: caller{run: run}}
	return records{&batch{chain: c, run: run, ledger: s, trusted: trusted, compiled: &runbook.Compiled{}}}, nil
}

// Outcome returns what the action's last Apply on the item returned.
func (r records) Outcome(ctx context.Context, name, item string) (action.Outcome, error) {
	var doc wire.OutcomeDoc
	err := r.latest(ctx, name, item, ledger.DocOutcome, &doc)
	return doc.Outcome, err
}

// Observations returns what the action's last Verify on the item saw.
func (r records) Observations(ctx context.Context, name, item string) ([]action.Observation, error) {
	var doc wire.ObservedDoc
	err := r.latest(ctx, name, item, ledger.DocObserved, &doc)
	return doc.Observations, err
}

// latest reads the document of the last attempt of the last step that runs the
// action on the item.
func (r records) latest(ctx context.Context, name, item, kind string, into any) error {
	for _, stage := range slices.Backward(r.compiled.Stages) {
		for _, st := range slices.Backward(stage.Steps) {
			if st.Action != name {
				continue
			}
			prefix := strings.TrimSuffix(ledger.DocKey(r.run, st.ID, item, 1, kind), fmt.Sprintf("%04d/%s.json", 1, kind))
			last := ""
			for key, err := range r.ledger.List(ctx, prefix) {
				if err != nil {
					return fmt.Errorf("look for what %s left for %s: %w", name, item, err)
				}
				if strings.HasSuffix(key, "/"+kind+".json") {
					last = max(last, key)
				}
			}
			if last == "" {
				continue
			}
			_, raw, err := store.FindDoc(ctx, r.ledger, r.trusted, last)
			if err != nil {
				return fmt.Errorf("read what %s left for %s: %w", name, item, err)
			}
			return json.Unmarshal(raw, into)
		}
	}
	return fmt.Errorf("%s left nothing for %s in this run: %w", name, item, fs.ErrNotExist)
}

// Obligations lists the run's open obligations as the ledger's chain has them, as far as a
// signer of the estate vouches for it.
func (r records) Obligations(ctx context.Context) ([]action.Obligation, error) {
	c := chain{place: r.chain.place, caller: r.chain.caller, view: authority.New(r.run)} // a look of its own, from the first entry
	if err := c.readOn(ctx); err != nil {
		return nil, err
	}
	if c.view.Head.Seq == 0 { // each run begins with an entry: this is no list without obligations
		return nil, fmt.Errorf("list the obligations of run %s: the ledger has no signed entry of it: %w", r.run, fs.ErrNotExist)
	}
	return c.view.Obligations, nil
}
