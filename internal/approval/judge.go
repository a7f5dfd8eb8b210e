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

// Who is what the way of a decision tells about its sender.
type Who struct {
	// Principal is the name that an authorizing Temporal server stamped on the
	// signal; empty where none did.
	Principal string `json:"principal,omitempty"`
	// Identity is what the sender's client called itself: a hint for the record,
	// never an authority.
	Identity string `json:"identity,omitempty"`
}

// Outcome is what became of a decision.
type Outcome string

// The outcomes. The zero value is none of them.
const (
	Refused   Outcome = "refused"   // changes nothing, is recorded
	Duplicate Outcome = "duplicate" // said before by the same person; changes nothing
	Counted   Outcome = "counted"   // the gate waits for more people
	Settled   Outcome = "settled"   // the gate is decided: see Gate.Decided
)

// Judgement is a decision's outcome, with the reason as a sentence to show.
type Judgement struct {
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason"`
	Person  string  `json:"person,omitempty"` // the member, if one was identified
	Key     string  `json:"key,omitempty"`    // fingerprint of the key that signed
	Proven  bool    `json:"proven,omitempty"` // that it is that person; else it is what the sender says
}

// planMost is how much of a plan's root a person has to give: enough that
// nobody finds another plan with the same beginning.
const planMost = 12

// Judge says what becomes of a decision that arrives now, and returns the gate
// after it. A refused decision leaves the gate as it was, and says what would count.
func (g Gate) Judge(now time.Time, d Decision, who Who) (Gate, Judgement) {
	var j Judgement
	refuse := func(format string, args ...any) (Gate, Judgement) {
		j.Outcome, j.Reason = Refused, fmt.Sprintf(format, args...)
		return g, j
	}
	if d.Malformed != "" {
		return refuse("%s", d.Malformed)
	}
	offer, ok := g.Spec.Offer(d.Verb)
	if !ok {
		return refuse("%q cannot be decided here; it takes %s%s", d.Verb, g.verbs(), g.instead(d.Verb))
	}
	if err := g.fits(d, offer); err != nil {
		return refuse("%v; what counts is: %s", err, g.Command(d.Verb))
	}
	person, key, err := g.identify(d, who, offer)
	if err != nil {
		return refuse("%v; what counts is: %s", err, g.Command(d.Verb))
	}
	j.Person, j.Key, j.Proven = person, key, key != "" || g.Spec.Proves(offer) && g.Spec.Role.Method != estate.Claimed
	if person != "" && g.Spec.excludes(person) && !d.Verb.stops() {
		return refuse("%s started this run and may not decide about it; ask another member of %s", g.Spec.Excluded, g.Spec.Role.Role)
	}
	before := -1
	if self := g.Spec.self(person); person != "" {
		before = slices.IndexFunc(g.Votes, func(v Vote) bool { return g.Spec.self(v.Person) == self })
	}
	if before >= 0 && g.Votes[before].same(d) && g.Votes[before].Person == person {
		j.Outcome, j.Reason = Duplicate, fmt.Sprintf("%s has said %s here already", person, d.Verb)
		return g, j
	}
	switch expires := g.expiry(d); {
	case g.Status == Decided:
		return refuse("the gate is decided: %s", g.Decided)
	case g.Status == Closed:
		return refuse("the gate is closed: %s", g.Why)
	case g.Status != Open:
		return refuse("the gate is not open yet; decide when its plan is shown")
	case !expires.IsZero() && !now.Before(expires) && g.Spec.Proves(offer):
		return refuse("it expired at %s; look at the plan again and decide anew: %s", expires.UTC().Format(time.RFC3339), g.Command(d.Verb))
	case before >= 0 && g.Votes[before].Person != person && g.Spec.Proves(offer):
		return refuse("%s and %s are the same person, as the estate gives both the same key, and count once", person, g.Votes[before].Person)
	case before >= 0 && g.Spec.Proves(offer) && g.Votes[before].Verb != d.Verb:
		return refuse("%s said %s here before; to go back on it, stop the run (%s) or ask another member to decide otherwise", person, g.Votes[before].Verb, g.Command(Abort))
	}
	g.Votes = slices.Clone(g.Votes)
	if before >= 0 { // who wants to stop no longer approves, and who names other items means those
		g.Votes = slices.Delete(g.Votes, before, before+1)
	}
	g.Votes = append(g.Votes, Vote{
		Verb: d.Verb, Person: person, Key: key, Reason: d.Reason, Items: d.Items, Owner: d.Owner, Due: d.Due, Time: now,
	})
	by := person
	if by == "" {
		by = "somebody unnamed"
	}
	if missing := g.missing(d); missing > 0 {
		j.Outcome, j.Reason = Counted, fmt.Sprintf("%s by %s counts; %d more needed", d.Verb, by, missing)
		return g, j
	}
	g.Status, g.Decided = Decided, d.Verb
	j.Outcome, j.Reason = Settled, fmt.Sprintf("%s by %s; the gate is decided", d.Verb, by)
	return g, j
}

// same reports whether a decision says what a vote says.
func (v Vote) same(d Decision) bool { return v.Verb == d.Verb && slices.Equal(v.Items, d.Items) }

// Last is the vote with which the gate was decided.
func (g Gate) Last() Vote {
	if len(g.Votes) == 0 {
		return Vote{}
	}
	return g.Votes[len(g.Votes)-1]
}

// instead is what a person who sent a verb that is not offered may have meant.
func (g Gate) instead(v Verb) string {
	for _, o := range g.Spec.Offers {
		if o.Verb == Approve && (v == Retry || v == Done || v == Waive) || o.Verb == Retry && v == Approve || o.Verb == Done && v == Approve {
			return "; what counts is: " + g.Command(o.Verb)
		}
	}
	return ""
}

// fits says whether a decision is about this gate and this plan, and says what it must.
func (g Gate) fits(d Decision, o Offer) error {
	about := g.Spec.About
	// Signatures cover all of this; what is only claimed has to say it.
	loose := g.Spec.Proves(o) && g.Spec.Role.Method != estate.Signed
	example := func() string {
		return fmt.Sprintf("name gate %q, attempt %d and plan %s", about.Gate, about.Attempt, about.Plan)
	}
	switch {
	case d.Gate == "" && loose, d.Attempt == 0 && loose, d.Plan == "" && loose && d.Verb == Approve:
		return fmt.Errorf("it does not say what it is about; %s", example())
	case d.Gate != "" && d.Gate != about.Gate:
		return fmt.Errorf("it is for gate %q and this is %q; %s", d.Gate, about.Gate, example())
	case d.Attempt != 0 && d.Attempt != about.Attempt:
		return fmt.Errorf("it is for attempt %d of the gate and this is attempt %d, with another plan; %s", d.Attempt, about.Attempt, example())
	case d.Plan != "" && (len(d.Plan) < planMost || !strings.HasPrefix(about.Plan, d.Plan)) && d.Plan != about.Plan:
		return fmt.Errorf("it is for plan %s; look at the plan shown, then %s", d.Plan, example())
	case o.Reason && strings.TrimSpace(d.Reason) == "":
		return fmt.Errorf("%s needs a reason, for whoever reads the report", d.Verb)
	case (d.Owner != "" || d.Due != "") && d.Verb != Done:
		return fmt.Errorf("an owner and a date go with %s, and not with %s", Done, d.Verb)
	case !o.Items && len(d.Items) > 0:
		return fmt.Errorf("%s is about all of it, and not about single items", d.Verb)
	case o.Items && len(d.Items) == 0:
		return fmt.Errorf("it does not say which items; here are %s", first(g.Spec.Items))
	}
	for _, item := range d.Items {
		if !slices.Contains(g.Spec.Items, item) {
			return fmt.Errorf("item %q is none of those that are asked about; here are %s", item, first(g.Spec.Items))
		}
	}
	return nil
}

// first shows the first of many.
func first(items []string) string {
	const most = 10
	text := strings.Join(items[:min(len(items), most)], ", ")
	if n := len(items) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func (g Gate) expiry(d Decision) time.Time {
	until := g.Spec.About.Expires
	if d.Expires.IsZero() || !until.IsZero() && until.Before(d.Expires) {
		return until
	}
	return d.Expires
}

// identify finds the member who made the decision, by the role's method. Who need not be
// proven is who they say: a signature that fits is kept, and one that does not hinders
// nobody.
func (g Gate) identify(d Decision, who Who, o Offer) (person, key string, err error) {
	role := g.Spec.Role
	if !g.Spec.Proves(o) {
		if d.Signature != "" && role.Method == estate.Signed {
			if person, key, err = g.signer(d); err == nil {
				return person, key, nil
			}
		}
		m, is := role.Member(d.By)
		switch {
		case is:
			return m.Name, "", nil
		case d.By != "" && !d.Verb.stops():
			return "", "", errors.New(role.NoMember(d.By))
		}
		return d.By, "", nil
	}
	switch role.Method {
	case estate.Signed:
		return g.signer(d)
	case estate.PrincipalMethod:
		if who.Principal == "" {
			return "", "", fmt.Errorf("role %s wants the name that the server stamps on a signal, and this came without; send it as a signal to a server with an authorizer", role.Role)
		}
		person = who.Principal
	case estate.Claimed:
		if g.Spec.Live {
			return "", "", fmt.Errorf("a claimed name counts for nothing in live mode; role %s needs method signed", role.Role)
		}
		if d.By == "" {
			return "", "", errors.New(`it does not say by whom; add "by"`)
		}
		person = d.By
	default:
		return "", "", fmt.Errorf("role %s has the unknown method %q", role.Role, role.Method)
	}
	m, ok := role.Member(person)
	if !ok {
		return "", "", errors.New(role.NoMember(person))
	}
	return m.Name, "", nil
}

func (g Gate) signer(d Decision) (person, key string, err error) {
	role := g.Spec.Role
	if d.Signature == "" {
		return "", "", fmt.Errorf("role %s needs a signature: sign the statement by the command below, or by ssh-keygen -Y sign -n %s over the text shown", role.Role, Namespace)
	}
	var keys []sshsig.Key
	var names []string
	for _, m := range role.Members {
		if k, err := sshsig.ParseKey(m.Key); err == nil {
			keys, names = append(keys, k), append(names, m.Name)
		}
	}
	signer, err := sshsig.Verify(d.Signature, Namespace, g.StatementOf(d).Text(), keys)
	switch {
	case errors.Is(err, sshsig.ErrUnknownSigner):
		return "", "", fmt.Errorf("%w of role %s: have the key added to the estate, or sign with one that is there", err, role.Role)
	case errors.Is(err, sshsig.ErrInvalid):
		return "", "", fmt.Errorf("%w: a signature counts for one decision, gate, attempt, plan and expiry; sign the text shown now", err)
	case err != nil:
		return "", "", err
	}
	for i, k := range keys {
		if k.Equal(signer) && (person == "" || estate.SameName(names[i], d.By)) {
			person = names[i]
		}
	}
	if d.By != "" && !estate.SameName(d.By, person) {
		return "", "", fmt.Errorf("it says that it is by %s and is signed with the key of %s", estate.ShowName(d.By), estate.ShowName(person))
	}
	return person, signer.Fingerprint(), nil
}
