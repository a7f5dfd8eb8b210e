package approval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/ledger"
)

// Example is a decision as a person would type it.
const Example = `{"gate":"fence","attempt":1,"decision":"approve","plan":"3f5a…","by":"alice","reason":"declared at 03:12"}`

// Decision is what a person sent. Nothing in it is proven.
type Decision struct {
	Gate      string    `json:"gate,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	Verb      Verb      `json:"decision,omitempty"`
	Plan      string    `json:"plan,omitempty"` // the root, or its first 12 digits or more
	By        string    `json:"by,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Signature string    `json:"signature,omitempty"` // armoured SSHSIG
	Expires   time.Time `json:"expires,omitzero"`    // of the signed statement; the gate's own time when zero

	// Items are what a waive is about, as "STEP/ITEM".
	Items []string `json:"items,omitempty"`

	// Owner and Due answer a manual step that hands obligations over: a person,
	// and a date such as 2026-12-01.
	Owner string `json:"owner,omitempty"`
	Due   string `json:"due,omitempty"`

	// Malformed says why it is no decision, with an example of one; empty if it is.
	Malformed string `json:"malformed,omitempty"`
	// Raw is what was received, at most 4 KiB of it, if that is malformed.
	Raw string `json:"raw,omitempty"`
}

// Most is how many bytes a decision may have in all. What is longer need not be kept to
// be refused: see [TooLong].
const Most = 64 << 10

const (
	rawMost       = 4 << 10 // bytes of Raw
	reasonMost    = 4 << 10
	signatureMost = 16 << 10
	wordMost      = 512 // bytes of every other text
	itemsMost     = 100
	nestMost      = 4 // strings and arrays around a decision
	knownKeys     = "gate, attempt, decision, plan, by, reason, signature, expires, items, owner, due"
)

// TooLong is what a decision of that many bytes is: none, and nothing of it is kept.
func TooLong(bytes int) Decision {
	return Decision{Malformed: fmt.Sprintf("it has %d bytes, and a decision has at most %d: shorten the reason; send, for example, %s", bytes, Most, Example)}
}

// capped says which part of a decision is too long.
func (d Decision) capped() error {
	long := func(name, text string, most int) error {
		if len(text) > most {
			return fmt.Errorf("its %s has %d bytes, and may have %d", name, len(text), most)
		}
		return nil
	}
	errs := []error{
		long("reason", d.Reason, reasonMost), long("signature", d.Signature, signatureMost), long("gate", d.Gate, wordMost), long("plan", d.Plan, wordMost),
		long("by", d.By, wordMost), long("decision", string(d.Verb), wordMost), long("owner", d.Owner, wordMost),
	}
	for _, item := range d.Items {
		errs = append(errs, long("item", item, 2*wordMost))
	}
	if len(d.Items) > itemsMost {
		errs = append(errs, fmt.Errorf("it names %d items, and may name %d at once", len(d.Items), itemsMost))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Decode reads a decision from whatever a form, a shell or a program made of it:
// an object, the bare verb, the bare signature, each also as a JSON string or as
// the only element of an array. It never fails: what it cannot read is a
// Decision with Malformed set, to be shown and refused.
//
// Receive the raw payload and hand it to Decode: the Temporal SDK drops a signal
// whose payload is no JSON before any type of ours sees it.
func Decode(data []byte) Decision {
	if len(data) > Most {
		return TooLong(len(data))
	}
	d, err := decode(data, nestMost)
	if err == nil && d.Malformed == "" {
		err = d.capped()
	}
	if err != nil {
		raw := strings.ToValidUTF8(string(data[:min(len(data), rawMost)]), "")
		return Decision{Malformed: err.Error() + "; send, for example, " + Example, Raw: raw}
	}
	return d
}

// UnmarshalJSON is [Decode]; the error is always nil.
func (d *Decision) UnmarshalJSON(data []byte) error {
	*d = Decode(data)
	return nil
}

// Under fills in the verb of a decision that came as a signal or update of that
// name, if it has none. A decision that says otherwise than its signal's name is
// malformed.
func (d Decision) Under(name Verb) Decision {
	switch {
	case d.Malformed != "":
	case d.Verb == "":
		d.Verb = name
	case d.Verb != name:
		d.Malformed = fmt.Sprintf("it was sent as %q and says %q; send it as what it says", name, d.Verb)
	}
	return d
}

func decode(data []byte, nest int) (Decision, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff"))) // which some editors begin a file with
	switch {
	case typographic(data):
		return Decision{}, errors.New(`it has typographic quotes (“ ” ‘ ’) where plain ones (") must be, as editors and chats make them`)
	case nest == 0:
		return Decision{}, errors.New("it is quoted too many times")
	case len(data) == 0, string(data) == "null":
		return Decision{}, errors.New("it is empty")
	}
	switch data[0] {
	case '[':
		var elements []json.RawMessage
		if err := json.Unmarshal(data, &elements); err != nil {
			return Decision{}, fmt.Errorf("it is no JSON: %w", err)
		}
		if len(elements) != 1 {
			return Decision{}, fmt.Errorf("it is a list of %d; one decision is due", len(elements))
		}
		return decode(elements[0], nest-1)
	case '"':
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return Decision{}, fmt.Errorf("it is no JSON: %w", err)
		}
		return decode([]byte(text), nest-1)
	case '{':
		return decodeObject(data)
	}
	text := string(data)
	if strings.Contains(text, "-----BEGIN SSH SIGNATURE-----") {
		return Decision{Signature: text}, nil
	}
	for _, r := range text {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' {
			return Decision{}, fmt.Errorf("%.40q is neither an object nor a verb such as approve", text)
		}
	}
	return Decision{Verb: Verb(strings.ToLower(text))}, nil
}

// typographic reports whether quotes that are none to a program stand where those must
// be: at the beginning, or before the first name of an object.
func typographic(data []byte) bool {
	begins := strings.TrimLeft(string(data), "{[ \t\r\n")
	return strings.HasPrefix(begins, "“") || strings.HasPrefix(begins, "”") || strings.HasPrefix(begins, "„") ||
		strings.HasPrefix(begins, "‘") || strings.HasPrefix(begins, "’")
}

func decodeObject(data []byte) (Decision, error) {
	// A name that stands twice would let one reader see an approval where another
	// sees a rejection.
	data, err := ledger.Canonical(data)
	if err != nil {
		return Decision{}, err
	}
	var in struct {
		Gate      string
		Attempt   attempt
		Decision  Verb
		Plan      string
		By        string
		Reason    string
		Signature string
		Expires   string
		Items     []string
		Owner     string
		Due       string
		Malformed string // as we wrote it ourselves, into a run's state
		Raw       string
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields() // a mistyped "expires" must not be an approval for ever
	if err := dec.Decode(&in); err != nil {
		return Decision{}, fmt.Errorf("%w (its members are %s)", err, knownKeys)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Decision{}, errors.New("something follows the object")
	}
	d := Decision{
		Gate: in.Gate, Attempt: int(in.Attempt), Verb: Verb(strings.ToLower(strings.TrimSpace(string(in.Decision)))),
		Plan: strings.ToLower(strings.TrimSpace(in.Plan)), By: strings.TrimSpace(in.By), Reason: in.Reason, Signature: in.Signature,
		Owner: strings.TrimSpace(in.Owner), Due: strings.TrimSpace(in.Due),
	}
	if len(in.Items) > 0 {
		d.Items = slices.Compact(slices.Sorted(slices.Values(in.Items)))
	}
	if d.Malformed = in.Malformed; d.Malformed != "" {
		d.Raw = in.Raw
	}
	if d.Due != "" {
		if _, err := time.Parse(time.DateOnly, d.Due); err != nil {
			return Decision{}, fmt.Errorf(`due is %q, not a date such as "2026-12-01"`, d.Due)
		}
	}
	if in.Expires != "" {
		if d.Expires, err = time.Parse(time.RFC3339, in.Expires); err != nil {
			return Decision{}, fmt.Errorf(`expires is %q, not a time such as "2026-11-21T03:30:00Z"`, in.Expires)
		}
	}
	return d, nil
}

// attempt takes a number also in quotes, as forms send it.
type attempt int

func (a *attempt) UnmarshalJSON(data []byte) error {
	n, err := strconv.Atoi(strings.Trim(string(data), `"`))
	if err != nil || n < 1 {
		return fmt.Errorf("attempt is %s, not a number from 1", data)
	}
	*a = attempt(n)
	return nil
}
