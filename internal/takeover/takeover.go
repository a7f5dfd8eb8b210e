// Package takeover is how people take an estate's lock from a run that will not give it
// back: two of them sign the same statement. The first signature stops the holder, which
// asks for the lock before each change; the second counts only after every request that
// was under way then has ended. Everything here is pure, and nothing here is believed of
// whoever wrote it down: who signed is found out each time, from a role's keys.
package takeover

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/clip"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/shell"
	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
)

// Namespace is the SSHSIG namespace of these statements.
const Namespace = "breakwater-lock"

const (
	// Wait is how long after the first signature the second counts: no request of the
	// former holder takes longer, and what clocks differ by is in it.
	Wait = 90 * time.Second
	// Valid is how long the first signature stops the holder. If no second one follows,
	// the holder goes on.
	Valid = 30 * time.Minute
	// ReasonMost is how many bytes a reason may have.
	ReasonMost = 4 << 10

	// ahead is how far a statement's time may be ahead of a reader's clock. One beyond is
	// of a clock that is wrong, and stops nobody.
	ahead = 5 * time.Minute
	// begins is for how long a run may begin that two people signed for.
	begins = 24 * time.Hour
	// signers is how many people it takes.
	signers = 2
)

// Statement is what people sign: from whom the lock is taken, and for which run.
type Statement struct {
	Estate  string     `json:"estate"`
	Epoch   int64      `json:"epoch"` // of the holder
	Holder  ledger.Run `json:"holder"`
	Run     string     `json:"run"`     // workflow id of the run that takes over; it is started afterwards
	Runbook string     `json:"runbook"` // of that run
	Role    string     `json:"role"`    // that of the runbook's first gate
	Reason  string     `json:"reason"`
	At      time.Time  `json:"at"` // when the first signed
	// Lost is the last known head of the holder's ledger, "seq:hash", where that ledger is
	// lost for good: the run begins at an empty location, and says that there was more.
	Lost string `json:"lost,omitempty"`
}

// Text is the statement as it is signed, one fact per line.
func (s Statement) Text() []byte {
	var b strings.Builder
	b.WriteString("Breakwater lock take-over, version 1\n")
	facts := [][2]string{
		{"estate", s.Estate},
		{"epoch", strconv.FormatInt(s.Epoch, 10)},
		{"holder workflow", s.Holder.Workflow},
		{"holder first run", s.Holder.FirstRun},
		{"new run", s.Run},
		{"runbook", s.Runbook},
		{"role", s.Role},
		{"reason", s.Reason},
		{"at", s.At.UTC().Format(time.RFC3339)},
	}
	if s.Lost != "" {
		facts = append(facts, [2]string{"ledger lost after", s.Lost})
	}
	for _, fact := range facts {
		fmt.Fprintf(&b, "%s: %s\n", fact[0], strconv.QuoteToASCII(fact[1]))
	}
	return []byte(b.String())
}

// Sign signs the statement.
func (s Statement) Sign(signer ssh.Signer) (string, error) {
	return sshsig.Sign(signer, Namespace, s.Text())
}

// From is when a second signature counts.
func (s Statement) From() time.Time { return s.At.Add(Wait) }

// Until is when a second signature counts no longer. It is a wait before the holder may go
// on, so that none of its requests meets the new holder.
func (s Statement) Until() time.Time { return s.At.Add(Valid - Wait) }

// Lapses is when the holder may go on, if no second signature came.
func (s Statement) Lapses() time.Time { return s.At.Add(Valid) }

// For says why the run of that id, of that runbook, is not the one that was signed for.
func (s Statement) For(run, runbook string) error {
	if s.Run != run || s.Runbook != runbook {
		return fmt.Errorf("estate %s was taken over for run %s of %s, not for run %s of %s", s.Estate, s.Run, s.Runbook, run, runbook)
	}
	return nil
}

// Sentence says what people did, by their names.
func (s Statement) Sentence(by []string) string {
	return fmt.Sprintf("estate %s was taken over from run %s at epoch %d, by %s, for run %s of %s: %s",
		s.Estate, strings.TrimSuffix(s.Holder.String(), "/"), s.Epoch, strings.Join(by, " and "), s.Run, s.Runbook, s.Reason) + s.LostWords()
}

// LostWords says what is lost with the holder's ledger; empty where that is not lost.
func (s Statement) LostWords() string {
	if s.Lost == "" {
		return ""
	}
	return fmt.Sprintf("; the ledger of run %s is lost, of which entry %s is the last that is known: what that run did is in no evidence here, "+
		"this run plans and proves everything anew, and takes nothing of it back", strings.TrimSuffix(s.Holder.String(), "/"), clip.Bytes(s.Lost, 24))
}

// Command is what the next person types to sign it too.
func (s Statement) Command() string {
	return shell.Command("breakwater", "lock", "take-over", s.Estate, "--run", s.Run) + " --key FILE"
}

// Start is the command that starts the run that was signed for, with inputs as
// "name=value".
func (s Statement) Start(inputs ...string) string {
	words := []string{"breakwater", "start", s.Runbook, "--estate", s.Estate, "--mode", "live", "--id", s.Run, "--incident", "ID"}
	return shell.Command(append(words, inputs...)...)
}

// Signed is a statement with who signed it, so far.
type Signed struct {
	Statement  Statement `json:"statement"`
	Signatures []string  `json:"signatures"` // armoured
}

// ErrUnsigned means that too few people signed a take-over.
var ErrUnsigned = errors.New("not signed by two members of the role")

// Claims names the member of the role who signed a statement first, where that counts at a
// time: the holder must not act, and a second person may sign it. Else who is empty.
func (s Signed) Claims(role estate.Role, now time.Time) (who string) {
	if len(s.Signatures) == 0 || s.Statement.At.After(now.Add(ahead)) || !now.Before(s.Statement.Lapses()) {
		return ""
	}
	first := Signed{s.Statement, s.Signatures[:1]}
	names, err := first.By(role)
	if err != nil || len(names) == 0 {
		return ""
	}
	return names[0]
}

// Check names the two members of the role who took the estate over; it is ErrUnsigned if
// they are not two.
func (s Signed) Check(role estate.Role) ([]string, error) {
	names, err := s.By(role)
	if err != nil {
		return nil, err
	}
	if len(names) != signers {
		return nil, fmt.Errorf("the take-over of estate %s has %d of %d signatures of role %s: %w", s.Statement.Estate, len(names), signers, role.Role, ErrUnsigned)
	}
	return names, nil
}

// Begins says why a run that begins at a time is too late for what was signed, if it is.
func (s Signed) Begins(now time.Time) error {
	if last := s.Statement.At.Add(begins); now.After(last) {
		return fmt.Errorf("the take-over of estate %s counted until %s: take it over anew, from run %q that never began",
			s.Statement.Estate, last.UTC().Format(time.RFC3339), s.Statement.Run)
	}
	return nil
}

// By names the members of the role that signed, each once: two keys of one person, and one
// key of two names, are one. A signature of nobody is an error.
func (s Signed) By(role estate.Role) ([]string, error) {
	switch {
	case role.Role != s.Statement.Role:
		return nil, fmt.Errorf("the take-over of estate %s is signed for role %q, and it takes role %s: %w", s.Statement.Estate, s.Statement.Role, role.Role, ErrUnsigned)
	case role.Method != estate.Signed:
		return nil, fmt.Errorf("role %s is one of method %s, and a lock is taken over by signatures: %w", role.Role, role.Method, ErrUnsigned)
	case len(s.Statement.Reason) > ReasonMost:
		return nil, fmt.Errorf("the take-over of estate %s has a reason of %d bytes, and %d are read: %w", s.Statement.Estate, len(s.Statement.Reason), ReasonMost, ErrUnsigned)
	case len(s.Signatures) > signers:
		return nil, fmt.Errorf("the take-over of estate %s has %d signatures, and takes %d: %w", s.Statement.Estate, len(s.Signatures), signers, ErrUnsigned)
	}
	var names []string
	var used []sshsig.Key
	for _, sig := range s.Signatures {
		who, key, ok := s.signer(role, sig)
		if !ok {
			return nil, fmt.Errorf("a signature of the take-over of estate %s is of no member of role %s: %w", s.Statement.Estate, role.Role, ErrUnsigned)
		}
		sameKey := slices.ContainsFunc(used, key.Equal)
		sameName := slices.ContainsFunc(names, func(n string) bool { return estate.SameName(n, who) })
		if !sameKey && !sameName {
			used, names = append(used, key), append(names, who)
		}
	}
	return names, nil
}

// signer is the member of the role whose signature it is.
func (s Signed) signer(role estate.Role, sig string) (string, sshsig.Key, bool) {
	for _, m := range role.Members {
		key, err := sshsig.ParseKey(m.Key)
		if err != nil {
			continue
		}
		if _, err := sshsig.Verify(sig, Namespace, s.Statement.Text(), []sshsig.Key{key}); err == nil {
			return m.Name, key, true
		}
	}
	return "", sshsig.Key{}, false
}
