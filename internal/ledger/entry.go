package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind says what an entry records. The set is closed: a reader of evidence must
// know each of them.
type Kind string

// The kinds, in the order in which a run first writes them. Entries about
// taking a step back have the same kinds as those about doing it; their body
// names the phase.
const (
	RunStarted Kind = "run-started" // input, who started it, from where
	Compiled   Kind = "compiled"    // the compiled run, digests of runbook and estate
	Resumed    Kind = "resumed"     // another Temporal, or another worker's engine, carries the run on
	Lock       Kind = "lock"        // the estate's lock was taken, taken over or released; its epoch
	Planned    Kind = "planned"     // a stage's plan: its root and documents
	GateOpened Kind = "gate-opened" // who is asked, for which root, until when
	Decided    Kind = "decided"     // a person's decision that counted
	Refused    Kind = "refused"     // a decision that did not count, and why; also one that did not decode
	GateClosed Kind = "gate-closed" // quorum, rejection, expiry, or superseded by another plan
	Intent     Kind = "intent"      // an Apply is about to start; how to take it back
	Outcome    Kind = "outcome"     // what Apply says it did
	Observed   Kind = "observed"    // what Verify saw, and the verdict
	Obligation Kind = "obligation"  // something left to prove later, or its closing
	Asked      Kind = "asked"       // a step did not pass: a person is asked what to do
	Note       Kind = "note"        // free text: a person's note, a pause, a change of engine
	RunEnded   Kind = "run-ended"   // the run's verdict; always the last
)

var kinds = []Kind{
	RunStarted, Compiled, Resumed, Lock, Planned, GateOpened, Decided, Refused,
	GateClosed, Intent, Outcome, Observed, Obligation, Asked, Note, RunEnded,
}

// Reported reports whether entries of the kind stand there as the workflow reported them.
// They grant nothing. All others a worker derives from documents, signatures, the lock and
// the entries before, and signs only what it finds to be so.
func (k Kind) Reported() bool {
	return slices.Contains([]Kind{Refused, Intent, Obligation, Asked, Note}, k)
}

// Kinds lists every kind, in the order in which a run first writes them.
func Kinds() []Kind { return slices.Clone(kinds) }

// DocRef names a document in the ledger's location, with the digest that its
// bytes must have.
type DocRef struct {
	Key    string `json:"key"`    // as made by [DocKey]
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // bytes
}

// Ref describes data as a document under key.
func Ref(key string, data []byte) DocRef {
	return DocRef{Key: key, SHA256: Digest(data), Size: int64(len(data))}
}

// Digest is the SHA-256 of data in lower-case hex, the only digest used here.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Entry is one line of the ledger. [Chain.Append] fills Seq, Prev and Run.
type Entry struct {
	Seq   int64           `json:"seq"`  // from 1, without a gap
	Prev  string          `json:"prev"` // digest of the bytes of entry Seq-1, "" in the first
	Time  time.Time       `json:"time"` // the workflow's time, kept in UTC
	Run   Run             `json:"run"`
	Kind  Kind            `json:"kind"`
	Stage string          `json:"stage,omitempty"`
	Step  string          `json:"step,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"` // any JSON value; kept canonical
	Docs  []DocRef        `json:"docs,omitempty"`
}

// encode returns the canonical bytes of e: members in the order of the struct,
// the time in UTC with only the digits it needs, the body as [Canonical] leaves
// it, one newline at the end. Equal entries have equal bytes, which is what
// makes a repeated append recognisable as the same one.
func (e Entry) encode() ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("ledger entry %d (%s): %w", e.Seq, e.Kind, err)
	}
	switch {
	case !slices.Contains(kinds, e.Kind):
		return fail(fmt.Errorf("unknown kind %q, known are %q", e.Kind, kinds))
	case e.Seq < 1:
		return fail(errors.New("the sequence starts at 1"))
	case e.Time.IsZero():
		return fail(errors.New("no time; give it the workflow's"))
	case e.Run.Workflow == "" || e.Run.FirstRun == "":
		return fail(errors.New("no run; both workflow id and first run id are needed"))
	}
	e.Time = e.Time.UTC()
	if len(e.Body) > 0 {
		body, err := Canonical(e.Body)
		if err != nil {
			return fail(fmt.Errorf("body: %w", err))
		}
		e.Body = body
	}
	var out bytes.Buffer
	if err := plain(e, &out); err != nil {
		return fail(err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// ParseEntry reads the bytes of an entry. It refuses members that it does not
// know and bytes that are not canonical: a reader must see everything that was
// signed.
func ParseEntry(data []byte) (Entry, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var e Entry
	if err := dec.Decode(&e); err != nil {
		return Entry{}, fmt.Errorf("parse ledger entry: %w", noEOF(err))
	}
	again, err := e.encode()
	if err != nil {
		return Entry{}, fmt.Errorf("parse ledger entry: %w", err)
	}
	if !bytes.Equal(again, data) {
		return Entry{}, fmt.Errorf("parse ledger entry %d: its bytes are not canonical", e.Seq)
	}
	return e, nil
}
