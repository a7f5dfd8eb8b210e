package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
)

// Namespace is the SSHSIG namespace of decisions.
const Namespace = "breakwater-approval"

// Verb is what a person decides.
type Verb string

// The verbs. Which of them a question takes is for its Offers to say.
const (
	Approve   Verb = "approve" // do what the plan says
	Reject    Verb = "reject"  // do not
	Retry     Verb = "retry"   // do again what did not pass, or plan it again
	LookAgain Verb = "verify"  // it was done by hand: look again, and do nothing
	Waive     Verb = "waive"   // go on although these items are not proven
	TakeBack  Verb = "undo"    // plan taking back what the run did
	Done      Verb = "done"    // the manual step was done
	Abort     Verb = "abort"   // stop the run; nothing is taken back by itself
	Pause     Verb = "pause"   // begin nothing more until somebody says resume
	Resume    Verb = "resume"  // go on after a pause
	Note      Verb = "note"    // for the record
)

// What a decision is about: doing what the plan says, or taking back what a run did.
const (
	Do   = "do"
	Undo = "undo"
)

// Statement is what a person signs: everything that the decision depends on, so
// that a signature cannot be carried to another run, gate, attempt or plan, nor
// from a drill to the real thing, nor from doing to taking back.
type Statement struct {
	Namespace string     `json:"namespace"` // of Temporal
	Run       ledger.Run `json:"run"`
	Gate      string     `json:"gate"`
	Attempt   int        `json:"attempt"` // of the gate, from 1; another plan is another attempt
	Decision  Verb       `json:"decision"`
	Plan      string     `json:"plan"`             // ledger.Root of the plan documents, or of a question its digest
	Mode      string     `json:"mode"`             // of the run: plan, drill, live
	Direction string     `json:"direction"`        // Do or Undo
	Reason    string     `json:"reason,omitempty"` // [ReasonDigest], where the verb needs a reason
	Items     []string   `json:"items,omitempty"`  // "STEP/ITEM", sorted, of a decision about items alone
	Owner     string     `json:"owner,omitempty"`  // who takes over the open obligations
	Due       string     `json:"due,omitempty"`    // until when
	Estate    string     `json:"estate"`           // digest of the estate
	Head      string     `json:"head"`             // ledger.Head.String() when the gate opened
	Expires   time.Time  `json:"expires,omitzero"`
}

// ReasonDigest is how a statement covers a reason, whatever is in it; empty for none.
func ReasonDigest(reason string) string {
	if reason == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(reason))
	return hex.EncodeToString(sum[:])
}

const (
	version1 = "Breakwater decision, version 1"
	version2 = "Breakwater decision, version 2"
)

// Text is the statement as it is signed, one fact per line. It is the same for
// the same statement everywhere. Times are whole seconds in UTC.
func (s Statement) Text() []byte {
	facts := [][2]string{
		{"decision", string(s.Decision)},
		{"gate", s.Gate},
		{"attempt", strconv.Itoa(s.Attempt)},
		{"plan", s.Plan},
		{"mode", s.Mode},
		{"direction", s.Direction},
		{"reason", s.Reason},
		{"items", strconv.Itoa(len(s.Items))},
	}
	for _, item := range s.Items {
		facts = append(facts, [2]string{"item", item})
	}
	facts = append(facts, [2]string{"owner", s.Owner}, [2]string{"due", s.Due})
	return text(version2, append(facts, s.tail()...))
}

// tail is what the texts of both versions end with.
func (s Statement) tail() [][2]string {
	return [][2]string{
		{"expires", expiry(s.Expires)},
		{"workflow", s.Run.Workflow},
		{"first run", s.Run.FirstRun},
		{"namespace", s.Namespace},
		{"estate", s.Estate},
		{"ledger", s.Head},
	}
}

func expiry(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func text(title string, facts [][2]string) []byte {
	var b strings.Builder
	b.WriteString(title + "\n")
	for _, fact := range facts {
		fmt.Fprintf(&b, "%s: %s\n", fact[0], word(fact[1]))
	}
	return []byte(b.String())
}

// Sign signs the statement, as `ssh-keygen -Y sign -n breakwater-approval` does.
func (s Statement) Sign(signer ssh.Signer) (string, error) {
	return sshsig.Sign(signer, Namespace, s.Text())
}

// Shell is the command that signs the statement in any terminal with OpenSSH and
// prints the signature. key is the path of the private key, or of the public one
// if the private one is in an agent; it is taken as the shell reads it, so that
// it may begin with a tilde.
func (s Statement) Shell(key string) string {
	return fmt.Sprintf("ssh-keygen -Y sign -n %s -f %s <<'EOF'\n%sEOF", Namespace, key, s.Text())
}

// word quotes what is not one plain word, so that no value can pass for the end
// of its line or for another value.
func word(s string) string {
	plain := s != ""
	for _, r := range s {
		plain = plain && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:/@+", r))
	}
	if plain {
		return s
	}
	return strconv.QuoteToASCII(s)
}
