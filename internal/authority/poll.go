package authority

import (
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
)

// VoidError says that votes which were counted count no longer: whoever gave them is not in
// the worker's present estate any more with the key that signed. Others may decide instead.
type VoidError struct {
	People []string
	err    error
}

func (e *VoidError) Error() string { return e.err.Error() }
func (e *VoidError) Unwrap() error { return e.err }

// Poll is a gate or a question, with the votes that the chain has: once as those may decide
// whom the run's estate names, and once as those may whom the worker's present one names
// too, with the same key.
type Poll struct {
	what         string
	pinned, both approval.Gate
	votes        []Vote   // that count still
	void         []string // whose votes count no longer
	root         string
}

// Poll finds what a decision is about: the open gate, the open question, or the pause that
// it is to end.
func (v *View) Poll(c *runbook.Compiled, e Estates, b wire.DecisionBody) (Poll, error) {
	g, ask, p := v.Open(), v.Ask, v.Paused
	verb := approval.Verb(b.Decision)
	switch {
	case verb == approval.Resume && (p == nil || p.Gate != b.Gate):
		return Poll{}, refused("the run is not paused as %q, so that nobody can %s", b.Gate, verb)
	case verb == approval.Resume:
		open := func(role estate.Role) (approval.Gate, error) { return v.pause(role, b) }
		return e.poll("pause "+p.Gate, roleAt(c, p.Stage), open, nil, ledger.Digest([]byte(p.Gate)))
	case g != nil && (b.Gate == g.Gate || verb == approval.Approve || verb == approval.Reject):
		return v.gatePoll(c, e, g)
	case verb == approval.Approve, verb == approval.Reject:
		return Poll{}, refused("no gate is open, so that nobody can %s", verb)
	case ask == nil || ask.Ask != b.Gate:
		return Poll{}, refused("the run asks nothing to which %s is an answer", verb)
	}
	return e.poll("question "+ask.Ask, ask.Role, v.Question, ask.Votes, ask.Root)
}

func (v *View) gatePoll(c *runbook.Compiled, e Estates, g *Gate) (Poll, error) {
	open := func(role estate.Role) (approval.Gate, error) { return v.Gate(c, g, role) }
	return e.poll(fmt.Sprintf("gate %s, attempt %d", g.Gate, g.Attempt), g.Role, open, g.Votes, g.Root)
}

func (e Estates) poll(what, name string, open func(estate.Role) (approval.Gate, error), votes []Vote, root string) (Poll, error) {
	role, ok := e.Pinned.Role(name)
	if !ok {
		return Poll{}, refused("role %q of %s is not in the estate of the run", name, what)
	}
	gate, err := open(*role)
	if err != nil {
		return Poll{}, refused("%w", err)
	}
	p := Poll{what: what, pinned: gate, both: gate, root: root}
	p.both.Spec.Role, _ = e.Role(name)
	for _, vote := range votes {
		d := Decision(vote.DecisionBody, root)
		if alone(p.pinned, vote.At, d).Outcome != approval.Refused && alone(p.both, vote.At, d).Outcome == approval.Refused {
			p.void = append(p.void, vote.Who)
			continue
		}
		p.votes = append(p.votes, vote)
	}
	return p, nil
}

// alone judges a decision as if nobody had decided anything before.
func alone(g approval.Gate, at time.Time, d approval.Decision) approval.Judgement {
	_, j := g.Judge(at, d, approval.Who{})
	return j
}

// Decided says why a verb has not its quorum, by either estate, if it has not.
func (p Poll) Decided(verb approval.Verb) error {
	for _, g := range []approval.Gate{p.pinned, p.both} {
		if at := After(g, p.votes, p.root); at.Decided != verb {
			return p.missing(at, verb)
		}
	}
	return nil
}

func (p Poll) missing(at approval.Gate, verb approval.Verb) error {
	role := at.Spec.Role.Role
	err := refused("%s: %d of %s are still needed to %s it, by what the ledger has of their decisions", p.what, at.Missing(verb), role, verb)
	if len(p.void) == 0 {
		return err
	}
	return &VoidError{p.void, fmt.Errorf("%w; the decision of %s counts no longer: those of role %s count whom both the run's estate and the worker's present one name, with the same key, which leaves %d who may decide",
		err, strings.Join(p.void, " and of "), role, len(p.both.Spec.Role.Members))}
}

// Counts says why a decision does not, if it does not. One that does not say that more
// people are needed must be the one that decides.
func (p Poll) Counts(at time.Time, b wire.DecisionBody) error {
	d := Decision(b, p.root)
	if j := alone(p.both, at, d); j.Outcome == approval.Refused {
		if alone(p.pinned, at, d).Outcome != approval.Refused {
			return refused("the decision does not count by the worker's present estate, which names %s no longer in role %s with the key of the run's estate: %s", b.Who, p.both.Spec.Role.Role, j.Reason)
		}
		return refused("the decision does not count: %s", j.Reason)
	}
	if b.Missing {
		return nil
	}
	for _, g := range []approval.Gate{p.pinned, p.both} {
		before := After(g, p.votes, p.root)
		if before.Decided == d.Verb {
			continue // enough have said so without it
		}
		switch next, j := before.Judge(at, d, approval.Who{}); {
		case next.Decided == d.Verb:
		case j.Outcome == approval.Refused:
			return refused("the decision does not count: %s", j.Reason)
		default:
			return p.missing(next, d.Verb)
		}
	}
	return nil
}

// pause is the question whether a paused run may go on. Which entry was the last when it
// was paused, the statement says; the name of the pause is given once.
func (v *View) pause(role estate.Role, b wire.DecisionBody) (approval.Gate, error) {
	s := approval.Statement{
		Namespace: v.Run.Namespace, Run: v.Head.Run, Gate: v.Paused.Gate, Attempt: 1, Plan: ledger.Digest([]byte(v.Paused.Gate)),
		Mode: string(v.Run.Mode), Direction: approval.Do, Estate: v.EstateDigest,
	}
	if said, err := approval.ParseStatement([]byte(b.Statement)); err == nil {
		s.Head = said.Head
	}
	return approval.NewGate(approval.Spec{About: s, Role: role, Live: v.Run.Mode == action.ModeLive, Offers: approval.Offers(approval.Resume)})
}

// roleAt is who is asked in a stage: the role of its gate, else of the nearest one before
// it, else the runbook's owner.
func roleAt(c *runbook.Compiled, stage string) string {
	if n := len(c.Stages); stage == "" && n > 0 {
		stage = c.Stages[n-1].ID
	}
	if a := Approval(c, stage, approval.Undo); a != nil {
		return a.Role
	}
	return c.Owner
}
