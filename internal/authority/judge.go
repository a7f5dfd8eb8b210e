package authority

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
)

// Act is what an activity is asked to do.
type Act struct {
	Step      string // its id
	Direction string // approval.Do or approval.Undo
	Attempt   int
	Effect    action.Effect
	Drill     action.Drill
	// Leaf is what the documents of the plan that it was given come to.
	Leaf ledger.Leaf
}

// Estates are the estate that the run pinned when it was compiled, and the same one as the
// worker has it now. What people may do is what both of them say: taking a key away acts
// at once, and adding one grants nothing to a run that is open.
type Estates struct{ Pinned, Present *estate.Estate }

// Role is a role with those of its members whom both estates name, with the same key. It
// is false where the estate that the run pinned has no such role.
func (e Estates) Role(name string) (estate.Role, bool) {
	pinned, ok := e.Pinned.Role(name)
	if !ok {
		return estate.Role{Role: name}, false
	}
	kept := *pinned
	kept.Members = nil
	present, ok := e.Present.Role(name)
	if !ok || present.Method != pinned.Method {
		return kept, true
	}
	for _, m := range pinned.Members {
		same := func(p estate.Member) bool { return p.Name == m.Name && p.Key == m.Key }
		if slices.ContainsFunc(present.Members, same) {
			kept.Members = append(kept.Members, m)
		}
	}
	return kept, true
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{action.ErrRefused}, args...)...)
}

// MayApply says why an act must not be done, if it must not.
func (v *View) MayApply(c *runbook.Compiled, e Estates, a Act, now time.Time) error {
	stage, step, ok := c.Step(a.Step)
	if !ok {
		return refused("the run has no step %q", a.Step)
	}
	gated := stage.Approval != nil || a.Direction == approval.Undo
	switch {
	case v.Ended:
		return refused("the run has ended, and does nothing any more")
	case a.Effect == action.RecordsOnly && v.Run.Mode == action.ModePlan:
		gated = false // a plan writes its records, and nobody is asked
	case a.Effect == action.RecordsOnly:
	case v.Run.Mode == action.ModeDrill && a.Drill == action.DrillSandboxed:
	case v.Run.Mode != action.ModeLive:
		return refused("%s changes the estate, and the run is one of mode %s: start a live run, whose plan people approve", a.Step, v.Run.Mode)
	case v.Run.Epoch == 0:
		return refused("the run holds no lock of estate %s", v.Estate)
	case !gated:
		return refused("%s changes the estate, and its stage has no gate", a.Step)
	}
	root := ""
	if gated {
		g, err := v.approved(c, e, stage, a.Step, a.Direction, now)
		if err != nil {
			return err
		}
		root = g.Root
	}
	if err := v.leaf(stage.ID, a, root); err != nil {
		return err
	}
	intents := v.Began
	if a.Direction == approval.Undo {
		intents = v.Taken
	}
	if intents[a.Step] != a.Attempt {
		return refused("the ledger has no intent of attempt %d at %s", a.Attempt, a.Step)
	}
	if a.Direction == approval.Undo {
		return v.unwound(c, step.ID)
	}
	if v.Run.Mode == action.ModePlan {
		return nil
	}
	return v.concludedBefore(c, step.ID)
}

// approved is the gate that lets a stage be done, or taken back, and still does.
func (v *View) approved(c *runbook.Compiled, e Estates, stage *runbook.Stage, step, direction string, now time.Time) (*Gate, error) {
	what := fmt.Sprintf("the plan of stage %q", stage.Title)
	if direction == approval.Undo {
		what = "the plan of taking back"
	}
	g := v.last(stage.ID, step, direction)
	switch {
	case g == nil:
		return nil, refused("nobody was asked about %s", what)
	case g.Closed.IsZero():
		return nil, refused("%s is not approved yet: gate %s, attempt %d, is open", what, g.Gate, g.Attempt)
	case !g.approved():
		return nil, refused("%s was not approved: gate %s, attempt %d, was closed as %q", what, g.Gate, g.Attempt, g.How)
	case now.Sub(g.Closed) > approval.HonouredFor:
		return nil, refused("%s was approved at %s, and an approval is honoured for %s: plan and approve it again",
			what, g.Closed.UTC().Format(time.RFC3339), approval.HonouredFor)
	}
	return g, v.Quorum(c, e, g)
}

// Quorum says why the votes at a gate do not approve its plan, if they do not: each is
// judged again, as of when it arrived, once by the estate that the run pinned and once by
// those keys that the estate of now has too.
func (v *View) Quorum(c *runbook.Compiled, e Estates, g *Gate) error {
	p, err := v.gatePoll(c, e, g)
	if err != nil {
		return err
	}
	return p.Decided(approval.Approve)
}

// After is a gate or a question about a root after votes, each judged as of when it arrived.
func After(at approval.Gate, votes []Vote, root string) approval.Gate {
	for _, v := range votes {
		at, _ = at.Judge(v.At, Decision(v.DecisionBody, root), approval.Who{})
	}
	return at
}

// Gate is a gate of the chain as it was opened, for a role.
func (v *View) Gate(c *runbook.Compiled, g *Gate, role estate.Role) (approval.Gate, error) {
	live := v.Run.Mode == action.ModeLive
	offers := []approval.Offer{{Verb: approval.Approve}, approval.OfferOf(approval.Reject)}
	if g.Direction == approval.Do {
		offers = append(offers, approval.OfferOf(approval.TakeBack))
	}
	a := Approval(c, g.Stage, g.Direction)
	if a == nil || a.Role != g.Role {
		return approval.Gate{}, fmt.Errorf("the runbook does not ask role %q about stage %s", g.Role, g.Stage)
	}
	offers[0].Quorum = approval.Quorum(a.Quorum, live, false)
	return approval.NewGate(approval.Spec{
		About: approval.Statement{
			Namespace: v.Run.Namespace, Run: v.Head.Run, Gate: g.Gate, Attempt: g.Attempt, Plan: g.Root,
			Mode: string(v.Run.Mode), Direction: g.Direction, Estate: v.EstateDigest, Head: g.Head,
		},
		Role: role, Live: live, Offers: offers,
	})
}

// Question is the open question as it was asked, for a role: what it offers follows from
// its verbs alone.
func (v *View) Question(role estate.Role) (approval.Gate, error) {
	a := v.Ask
	verbs := make([]approval.Verb, len(a.Choices))
	for i, c := range a.Choices {
		verbs[i] = approval.Verb(c)
	}
	return approval.NewGate(approval.Spec{
		About: approval.Statement{
			Namespace: v.Run.Namespace, Run: v.Head.Run, Gate: a.Ask, Attempt: 1, Plan: a.Root,
			Mode: string(v.Run.Mode), Direction: a.Direction, Estate: v.EstateDigest, Head: a.Head,
		},
		Role: role, Live: v.Run.Mode == action.ModeLive, Offers: approval.Offers(verbs...), Items: a.Items,
	})
}

// Approval is who is asked about a stage; about taking back, who was asked at the nearest
// gate before the stage where the run stopped.
func Approval(c *runbook.Compiled, stage, direction string) *runbook.Approval {
	var near *runbook.Approval
	for _, s := range c.Stages {
		if s.ID == stage && direction == approval.Do {
			return s.Approval
		}
		if s.Approval != nil {
			near = s.Approval
		}
		if s.ID == stage {
			return near
		}
	}
	return nil
}

// Decision is what a person sent, as its entry has it.
func Decision(b wire.DecisionBody, root string) approval.Decision {
	d := approval.Decision{Gate: b.Gate, Attempt: b.Attempt, Verb: approval.Verb(b.Decision), Plan: root, By: b.Who, Reason: b.Reason, Items: b.Items, Owner: b.Owner, Due: b.Due}
	if s, err := approval.ParseStatement([]byte(b.Statement)); err == nil {
		d.Signature, d.Expires = b.Raw, s.Expires
	}
	return d
}

// leaf refuses a plan that is not among those that the chain has. Without a gate it is the
// last plan of the step that counts.
func (v *View) leaf(stage string, a Act, root string) error {
	for _, p := range slices.Backward(v.Plans) {
		if p.Direction != a.Direction || a.Direction == approval.Do && p.Stage != stage || root != "" && p.Root != root {
			continue
		}
		if slices.Contains(p.Leaves, a.Leaf) {
			return nil
		}
		if root != "" {
			break
		}
	}
	if root == "" {
		return refused("the plan of %s for %s is none that the run's ledger has", a.Step, a.Leaf.Item)
	}
	return refused("the plan of %s for %s is not part of what was approved (root %s)", a.Step, a.Leaf.Item, root)
}

// concludedBefore refuses a step whose turn has not come.
func (v *View) concludedBefore(c *runbook.Compiled, step string) error {
	for _, s := range c.Stages {
		for _, st := range s.Steps {
			if st.ID == step {
				return nil
			}
			if err := v.Concluded(s, st); err != nil {
				return refused("%s comes after it, and %w", step, err)
			}
		}
	}
	return nil
}

// Concluded says why a step is not, if it is not: it passed, had nothing to do, is owed as
// people accepted, or was waived.
func (v *View) Concluded(s runbook.Stage, st runbook.Step) error {
	drill := v.Run.Mode == action.ModeDrill && (st.Drill == action.DrillSkipped || st.Kind == runbook.Ask)
	if st.Items == 0 || drill {
		return nil
	}
	at := st.ID
	if s.ChecksOnly() {
		at = s.ID
	}
	seen, ok := v.Seen[at]
	switch {
	case !ok:
		return fmt.Errorf("of step %q (%s) the ledger has no look", st.Title, st.ID)
	case seen.Verdict.Clear(), v.owed(seen.Owed), v.waived(seen.ObservedBody, st.ID):
		return nil
	}
	return fmt.Errorf("step %q (%s) is %s by the ledger, neither proven nor owed as a gate accepted, nor waived", st.Title, st.ID, seen.Verdict)
}

// owed reports whether gates accepted all that a look left unknown.
func (v *View) owed(ids []string) bool {
	return len(ids) > 0 && !slices.ContainsFunc(ids, func(id string) bool { return !v.Run.Accepted(id) })
}

// waived reports whether people waived every item that a look did not prove.
func (v *View) waived(seen wire.ObservedBody, step string) bool {
	if len(seen.Red) == 0 || seen.RedMore > 0 {
		return false
	}
	return !slices.ContainsFunc(seen.Red, func(item string) bool { return strings.HasPrefix(item, step+"/") && v.Waived[item] == "" })
}

// unwound refuses to take a step back before what was done after it.
func (v *View) unwound(c *runbook.Compiled, step string) error {
	after := false
	for _, s := range c.Stages {
		for _, st := range s.Steps {
			switch {
			case st.ID == step:
				after = true
			case !after || st.Effect != action.Mutates || v.Began[st.ID] == 0 || st.Items == 0:
			case !v.Back[st.ID].Verdict.Clear():
				return refused("step %q was done after it and is not proven to be taken back: what was done last is taken back first", st.Title)
			}
		}
	}
	return nil
}
