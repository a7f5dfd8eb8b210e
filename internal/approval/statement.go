package approval

import (
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

// The verbs. Which of them a gate takes is for its Offers to say.
const (
	Approve Verb = "approve" // do what the plan says
	Reject  Verb = "reject"  // do not
	Retry   Verb = "retry"   // do a step again that did not pass
	Abort   Verb = "abort"   // stop the run; nothing is taken back by itself
)

// Statement is what a person signs: everything that the decision depends on, so
// that a signature cannot be carried to another run, gate, attempt or plan.
type Statement struct {
	Namespace string     `json:"namespace"` // of Temporal
	Run       ledger.Run `json:"run"`
	Gate      string     `json:"gate"`
	Attempt   int        `json:"attempt"` // of the gate, from 1; another plan is another attempt
	Decision  Verb       `json:"decision"`
	Plan      string     `json:"plan"`   // ledger.Root of the plan documents
	Estate    string     `json:"estate"` // digest of the estate
	Head      string     `json:"head"`   // ledger.Head.String() when the gate opened
	Expires   time.Time  `json:"expires,omitzero"`
}

// Text is the statement as it is signed, one fact per line. It is the same for
// the same statement everywhere. Times are whole seconds in UTC.
func (s Statement) Text() []byte {
	expires := "never"
	if !s.Expires.IsZero() {
		expires = s.Expires.UTC().Format(time.RFC3339)
	}
	var b strings.Builder
	b.WriteString("Breakwater decision, version 1\n")
	for _, fact := range [][2]string{
		{"decision", string(s.Decision)},
		{"gate", s.Gate},
		{"attempt", strconv.Itoa(s.Attempt)},
		{"plan", s.Plan},
		{"expires", expires},
		{"workflow", s.Run.Workflow},
		{"first run", s.Run.FirstRun},
		{"namespace", s.Namespace},
		{"estate", s.Estate},
		{"ledger", s.Head},
	} {
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
