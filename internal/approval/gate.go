package approval

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/sshsig"
)

// Spec is what a gate asks, of whom.
type Spec struct {
	// About is what a signature covers. Its Decision stays empty, and its Expires
	// is the time from which no decision counts; zero for never.
	About  Statement   `json:"about"`
	Role   estate.Role `json:"role"`
	Offers []Offer     `json:"offers"`
	// Live says that the gate guards the real thing: a claimed name counts for
	// nothing.
	Live bool `json:"live,omitempty"`
	// Excluded is the name of a member who may not decide: whoever started the
	// run, where the estate wants two pairs of eyes.
	Excluded string `json:"excluded,omitempty"`
	// Items are what may be waived here, each "STEP/ITEM".
	Items []string `json:"items,omitempty"`
}

// Status is where a gate stands. The zero value takes no decision.
type Status string

// The states of a gate. Decided and Closed are final.
const (
	NotOpen Status = ""
	Open    Status = "open"
	Decided Status = "decided"
	Closed  Status = "closed" // by the run: another plan took its place, or time passed
)

// Vote is a decision that counted.
type Vote struct {
	Verb   Verb      `json:"decision"`
	Person string    `json:"person"`        // the member's name
	Key    string    `json:"key,omitempty"` // fingerprint of the key that signed
	Reason string    `json:"reason,omitempty"`
	Items  []string  `json:"items,omitempty"`
	Owner  string    `json:"owner,omitempty"`
	Due    string    `json:"due,omitempty"`
	Time   time.Time `json:"time"`
}

// Gate is where people are asked: plain state, of which only [NewGate],
// [Gate.Judge] and [Gate.Close] make a next one.
type Gate struct {
	Spec    Spec   `json:"spec"`
	Status  Status `json:"status"`
	Votes   []Vote `json:"votes,omitempty"`
	Decided Verb   `json:"decided,omitempty"` // what reached its quorum
	Why     string `json:"why,omitempty"`     // of a closed gate
}

// Quorum is how many distinct people a gate takes: what the runbook says, but
// in live mode no fewer than two unless the starter was authenticated, who then
// is the second pair of eyes.
func Quorum(asked int, live, starterAuthenticated bool) int {
	least := 1
	if live && !starterAuthenticated {
		least = 2
	}
	return max(asked, least)
}

// NewGate opens a gate. The error says all that would keep it from ever being
// decided, so that it is found before anybody waits; use it in preflights, too.
func NewGate(s Spec) (Gate, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.About.Gate == "" || s.About.Attempt < 1 || s.About.Run.Workflow == "" || s.About.Run.FirstRun == "" {
		wrong("gate, attempt, workflow and first run must all be said")
	}
	if s.About.Plan == "" || s.About.Estate == "" {
		wrong("the plan's root and the estate's digest must be said: nobody approves what they did not see")
	}
	if !slices.Contains([]string{"plan", "drill", "live"}, s.About.Mode) {
		wrong("mode %q is unknown, known are plan, drill and live", s.About.Mode)
	}
	if s.About.Direction != Do && s.About.Direction != Undo {
		wrong("direction %q is neither %s nor %s", s.About.Direction, Do, Undo)
	}
	proof := slices.ContainsFunc(s.Offers, s.Proves)
	switch {
	case !proof: // anybody may say it
	case s.Role.Method == estate.Signed:
		for _, m := range s.Role.Members {
			if _, err := sshsig.ParseKey(m.Key); err != nil {
				wrong("member %s: %w", m.Name, err)
			}
		}
	case s.Role.Method == estate.PrincipalMethod:
	case s.Role.Method == estate.Claimed:
		if s.Live {
			wrong("method claimed proves nothing and is for plans and drills; give the role method signed, with a key for each member")
		}
	default:
		wrong("method %q is unknown, known are %s, %s and %s", s.Role.Method, estate.Signed, estate.PrincipalMethod, estate.Claimed)
	}
	if len(s.Offers) == 0 {
		wrong("it offers nothing to decide")
	}
	for _, m := range s.Role.Members {
		if m.Name == "" {
			wrong("a member has no name")
		}
	}
	able := people(s)
	for i, o := range s.Offers {
		switch {
		case o.Verb == "" || slices.ContainsFunc(s.Offers[:i], func(p Offer) bool { return p.Verb == o.Verb }):
			wrong("%q stands twice among its offers, or is empty", o.Verb)
		case o.Quorum < 1:
			wrong("%s needs a quorum of at least 1, not %d", o.Verb, o.Quorum)
		case o.Proof == Never && o.Quorum > 1:
			wrong("%s takes anybody's word, and so a quorum of %d is none", o.Verb, o.Quorum)
		case s.Proves(o) && o.Quorum > able:
			wrong("%s needs %d people and the role has %d who may decide; add members with keys of their own", o.Verb, o.Quorum, able)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Gate{}, fmt.Errorf("open gate %s for role %s: %w", s.About.Gate, s.Role.Role, err)
	}
	return Gate{Spec: s, Status: Open}, nil
}

// people is how many distinct people may decide.
func people(s Spec) int {
	var seen []string
	for _, m := range s.Role.Members {
		if who := s.self(m.Name); !s.excludes(m.Name) && !slices.Contains(seen, who) {
			seen = append(seen, who)
		}
	}
	return len(seen)
}

// excludes reports whether a person may not decide, under whichever name.
func (s Spec) excludes(name string) bool {
	return s.Excluded != "" && s.self(name) == s.self(s.Excluded)
}

// self is one name for all the names of a person. Members with the same name are
// one person, and so are members with the same key, and so on along the line:
// who can sign for two names could be two people, but proves to be only one.
func (s Spec) self(name string) string {
	if m, is := s.Role.Member(name); is {
		name = m.Name // as the estate spells it
	}
	names, keys := []string{name}, []string{}
	for grown := true; grown; {
		grown = false
		for _, m := range s.Role.Members {
			key := fingerprint(m.Key)
			byName, byKey := slices.Contains(names, m.Name), slices.Contains(keys, key)
			if byKey && !byName {
				names, grown = append(names, m.Name), true
			}
			if byName && !byKey && key != "" {
				keys, grown = append(keys, key), true
			}
		}
	}
	return slices.Min(names)
}

// fingerprint is that of an authorized_keys line, empty if it is none.
func fingerprint(line string) string {
	key, err := sshsig.ParseKey(line)
	if err != nil {
		return ""
	}
	return key.Fingerprint()
}

// Close ends an open gate without a decision. A gate that is decided or closed
// already stays as it is.
func (g Gate) Close(why string) Gate {
	if g.Status == Open || g.Status == NotOpen {
		g.Status, g.Why = Closed, why
	}
	return g
}

// Without is the gate without the votes of some people, open again if it was decided by
// them.
func (g Gate) Without(people []string) Gate {
	votes := slices.DeleteFunc(slices.Clone(g.Votes), func(v Vote) bool { return slices.Contains(people, v.Person) })
	if len(votes) < len(g.Votes) && g.Status == Decided {
		g.Status, g.Decided = Open, ""
	}
	g.Votes = votes
	return g
}

// Missing is how many more people a verb needs here; -1 if it is not offered.
func (g Gate) Missing(v Verb) int {
	return g.missing(Decision{Verb: v})
}

// missing counts who said the same: votes about other items are for something else.
func (g Gate) missing(d Decision) int {
	o, ok := g.Spec.Offer(d.Verb)
	if !ok {
		return -1
	}
	n := 0
	for _, vote := range g.Votes {
		if vote.Verb == d.Verb && slices.Equal(vote.Items, d.Items) {
			n++
		}
	}
	return max(0, o.Quorum-n)
}

// Statement is what a person signs to decide v here.
func (g Gate) Statement(v Verb) Statement { return g.StatementOf(Decision{Verb: v}) }

// StatementOf is what a person signs so that d counts here.
func (g Gate) StatementOf(d Decision) Statement {
	s := g.Spec.About
	s.Decision, s.Items, s.Owner, s.Due = d.Verb, d.Items, d.Owner, d.Due
	if o, _ := g.Spec.Offer(d.Verb); o.Reason {
		s.Reason = ReasonDigest(d.Reason)
	}
	if !d.Expires.IsZero() {
		s.Expires = d.Expires
	}
	return s
}

// Sample is a decision of v for this gate to show as JSON, complete but for the
// name or the signature of whoever sends it.
func (g Gate) Sample(v Verb) Decision {
	d := Decision{Gate: g.Spec.About.Gate, Attempt: g.Spec.About.Attempt, Verb: v, Plan: g.Spec.About.Plan}
	if g.Spec.Role.Method == estate.Signed {
		d.Signature = "-----BEGIN SSH SIGNATURE----- … -----END SSH SIGNATURE-----"
		d.Expires = g.Spec.About.Expires
	} else {
		d.By = "<your name>"
	}
	return d
}

// verbs lists what is offered, for people.
func (g Gate) verbs() string {
	names := make([]string, len(g.Spec.Offers))
	for i, o := range g.Spec.Offers {
		names[i] = string(o.Verb)
	}
	return strings.Join(names, ", ")
}
