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
}

// planMost is how much of a plan's root a person has to give: enough that
// nobody finds another plan with the same beginning.
const planMost = 12

// Judge says what becomes of a decision that arrives now, and returns the gate
// after it. A refused decision leaves the gate as it was.
func (g Gate) Judge(now time.Time, d Decision, who Who) (Gate, Judgement) {
	var j Judgement
	refuse := func(format string, args ...any) (Gate, Judgement) {
		j.Outcome, j.Reason = Refused, fmt.Sprintf(format, args...)
		return g, j
	}
	if err := g.fits(d); err != nil {
		return refuse("%v", err)
	}
	person, key, err := g.identify(d, who)
	if err != nil {
		return refuse("%v", err)
	}
	j.Person, j.Key = person, key
	if g.Spec.excludes(person) {
		return refuse("%s started this run and may not decide about it; ask another member of %s", g.Spec.Excluded, g.Spec.Role.Role)
	}
	self := g.Spec.self(person)
	before := slices.IndexFunc(g.Votes, func(v Vote) bool { return g.Spec.self(v.Person) == self })
	if before >= 0 && g.Votes[before].Verb == d.Verb && g.Votes[before].Person == person {
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
	case !expires.IsZero() && !now.Before(expires):
		return refuse("it expired at %s; look at the plan again and decide anew", expires.UTC().Format(time.RFC3339))
	case before >= 0 && g.Votes[before].Person != person:
		return refuse("%s and %s are the same person, as the estate gives both the same key, and count once", person, g.Votes[before].Person)
	case before >= 0 && d.Verb != Abort:
		return refuse("%s said %s here before; to go back on it, abort the run or ask another member to decide otherwise", person, g.Votes[before].Verb)
	}
	g.Votes = slices.Clone(g.Votes)
	if before >= 0 { // who wants to abort no longer approves
		g.Votes = slices.Delete(g.Votes, before, before+1)
	}
	g.Votes = append(g.Votes, Vote{Verb: d.Verb, Person: person, Key: key, Reason: d.Reason, Time: now})
	if missing := g.Missing(d.Verb); missing > 0 {
		j.Outcome, j.Reason = Counted, fmt.Sprintf("%s by %s counts; %d more needed", d.Verb, person, missing)
		return g, j
	}
	g.Status, g.Decided = Decided, d.Verb
	j.Outcome, j.Reason = Settled, fmt.Sprintf("%s by %s; the gate is decided", d.Verb, person)
	return g, j
}

// fits says whether a decision is about this gate and this plan.
func (g Gate) fits(d Decision) error {
	about := g.Spec.About
	// Signatures cover all of this; what is only claimed has to say it.
	loose := g.Spec.Role.Method != estate.Signed
	example := func() string {
		return fmt.Sprintf("name gate %q, attempt %d and plan %s", about.Gate, about.Attempt, about.Plan)
	}
	switch {
	case d.Malformed != "":
		return errors.New(d.Malformed)
	case g.Missing(d.Verb) < 0:
		return fmt.Errorf("%q cannot be decided here; it takes %s", d.Verb, g.verbs())
	case d.Gate == "" && loose, d.Attempt == 0 && loose, d.Plan == "" && loose && d.Verb == Approve:
		return fmt.Errorf("it does not say what it is about; %s", example())
	case d.Gate != "" && d.Gate != about.Gate:
		return fmt.Errorf("it is for gate %q and this is %q; %s", d.Gate, about.Gate, example())
	case d.Attempt != 0 && d.Attempt != about.Attempt:
		return fmt.Errorf("it is for attempt %d of the gate and this is attempt %d, with another plan; %s", d.Attempt, about.Attempt, example())
	case d.Plan != "" && (len(d.Plan) < planMost || !strings.HasPrefix(about.Plan, d.Plan)) && d.Plan != about.Plan:
		return fmt.Errorf("it is for plan %s; look at the plan shown, then %s", d.Plan, example())
	}
	return nil
}

func (g Gate) expiry(d Decision) time.Time {
	until := g.Spec.About.Expires
	if d.Expires.IsZero() || !until.IsZero() && until.Before(d.Expires) {
		return until
	}
	return d.Expires
}

// identify finds the member who made the decision, by the role's method.
func (g Gate) identify(d Decision, who Who) (person, key string, err error) {
	role := g.Spec.Role
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
		return "", "", fmt.Errorf("role %s needs a signature: use breakwater approve, or ssh-keygen -Y sign -n %s over the text shown", role.Role, Namespace)
	}
	var keys []sshsig.Key
	var names []string
	for _, m := range role.Members {
		if k, err := sshsig.ParseKey(m.Key); err == nil {
			keys, names = append(keys, k), append(names, m.Name)
		}
	}
	statement := g.Statement(d.Verb)
	if !d.Expires.IsZero() {
		statement.Expires = d.Expires
	}
	signer, err := sshsig.Verify(d.Signature, Namespace, statement.Text(), keys)
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
