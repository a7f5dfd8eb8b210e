package approval

import (
	"fmt"
	"slices"

	"breakwater/internal/estate"
	"breakwater/internal/shell"
)

// Proof is when a decision must be proven to be by a member of the role, in the role's
// own way: a signature, or the name that a server stamped.
type Proof string

// The proofs. Always is the zero value.
const (
	Always Proof = ""     // in every mode, as the role says
	Live   Proof = "live" // where it is the real thing; elsewhere a name is enough
	Never  Proof = "none" // whoever says it: nothing is added by it, and no risk accepted
)

// Offer is something that a question lets people decide, how many of them it takes, and
// what they must say with it.
type Offer struct {
	Verb   Verb  `json:"verb"`
	Quorum int   `json:"quorum"` // distinct people
	Proof  Proof `json:"proof,omitempty"`
	Reason bool  `json:"reason,omitempty"` // must be given
	Items  bool  `json:"items,omitempty"`  // must be named
}

// OfferOf is the rule of a verb, the same at every question: whatever adds authority or
// accepts a risk is proven, whatever only stops or looks again is not hindered. A quorum
// may be raised; see [Quorum] for a gate's.
func OfferOf(v Verb) Offer {
	switch v {
	case Approve:
		return Offer{Verb: v, Quorum: 1}
	case Waive:
		return Offer{Verb: v, Quorum: 2, Reason: true, Items: true}
	case TakeBack, Done, Resume:
		return Offer{Verb: v, Quorum: 1, Proof: Live}
	case Reject, Retry, LookAgain, Abort, Pause, Note:
		return Offer{Verb: v, Quorum: 1, Proof: Never}
	}
	return Offer{Verb: v, Quorum: 1}
}

// Offers are the rules of some verbs.
func Offers(verbs ...Verb) []Offer {
	os := make([]Offer, len(verbs))
	for i, v := range verbs {
		os[i] = OfferOf(v)
	}
	return os
}

// stops reports whether a verb can only keep something from being done.
func (v Verb) stops() bool { return v == Reject || v == Abort || v == Pause || v == Note }

// Offer is what is offered for a verb.
func (s Spec) Offer(v Verb) (Offer, bool) {
	i := slices.IndexFunc(s.Offers, func(o Offer) bool { return o.Verb == v })
	if i < 0 {
		return Offer{}, false
	}
	return s.Offers[i], true
}

// Proves reports whether a decision must be proven here.
func (s Spec) Proves(o Offer) bool { return o.Proof == Always || o.Proof == Live && s.Live }

// Able leaves out of a spec what its role could never decide, and says why. A question
// about something that went wrong must be askable of any role.
func (s Spec) Able() (Spec, []string) {
	var left []Offer
	var why []string
	for _, o := range s.Offers {
		one := s
		one.Offers = []Offer{o}
		if o.Items && len(s.Items) == 0 {
			continue
		}
		if _, err := NewGate(one); err != nil && s.Proves(o) {
			why = append(why, fmt.Sprintf("%s is not offered: %v", o.Verb, err))
			continue
		}
		left = append(left, o)
	}
	s.Offers = left
	return s, why
}

// Command is what a person types so that a verb counts here.
func (g Gate) Command(v Verb) string {
	o, _ := g.Spec.Offer(v)
	words := []string{"breakwater", "decide", g.Spec.About.Run.Workflow, string(v)}
	if v == Approve || v == Reject || v == Abort {
		words = []string{"breakwater", string(v), g.Spec.About.Run.Workflow}
	}
	c := shell.Command(words...)
	if o.Items {
		c += " --item STEP/ITEM"
	}
	if o.Reason || v == Reject || v == Abort {
		c += " --reason TEXT"
	}
	switch {
	case g.Spec.Proves(o) && g.Spec.Role.Method == estate.Signed:
		c += " --key FILE"
	case v == Approve:
		c += " --as NAME"
	case g.Spec.Proves(o) || o.Proof == Live:
		c += " --by NAME"
	}
	return c
}
