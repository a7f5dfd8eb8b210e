package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The documents of an item, as the last part of a [DocKey].
const (
	DocPlan     = "plan"
	DocOutcome  = "outcome"
	DocObserved = "observed"
	// DocIndex is a document whose content is an [Index]: how an entry names a
	// hundred thousand documents. Verify follows it.
	DocIndex = "index"
)

// Index is the content of a document named [DocIndex], or [PartialIndex].
type Index struct {
	Docs []DocRef `json:"docs"`
	// Failed are the items of the batch that have no document, since what was tried on
	// them failed. The others stand beside them.
	Failed []ItemError `json:"failed,omitempty"`
}

// ItemError is why an item has no document.
type ItemError struct {
	Item    string `json:"item"`
	Error   string `json:"error"`
	Refused bool   `json:"refused,omitempty"` // it is an answer: trying again alone does not help
	Moved   bool   `json:"moved,omitempty"`   // the world is not what the plan saw: planning again helps
}

// PartialIndex is the name of the index of a batch in which some items failed. What of it
// fails may differ from one try to the next, so the name says what is in it.
func PartialIndex(raw []byte) string { return DocIndex + "-" + Digest(raw)[:16] }

// IsIndex reports whether a document of that name is an [Index].
func IsIndex(name string) bool { return name == DocIndex || strings.HasPrefix(name, DocIndex+"-") }

// RunsPrefix is the prefix of everything that runs wrote.
const RunsPrefix = "runs/"

// Prefix is the prefix of everything that a run wrote.
func (r Run) Prefix() string {
	return RunsPrefix + Escape(r.Workflow) + "/" + Escape(r.FirstRun) + "/"
}

// ChainPrefix is the prefix of a run's entries. Their keys sort in the order of
// the entries.
func ChainPrefix(r Run) string { return r.Prefix() + "chain/" }

// ChainKey is the key of an entry.
func ChainKey(r Run, seq int64) string { return fmt.Sprintf("%s%012d.json", ChainPrefix(r), seq) }

// HeadPrefix is the prefix of a run's signed heads.
func HeadPrefix(r Run) string { return r.Prefix() + "heads/" }

// HeadKey is the key of the signed head at an entry; its content is made by
// [SignedHead.Bytes].
func HeadKey(r Run, seq int64) string { return fmt.Sprintf("%s%012d.sig", HeadPrefix(r), seq) }

// DocsPrefix is the prefix of a run's documents.
func DocsPrefix(r Run) string { return r.Prefix() + "docs/" }

// DocKey is the key of a document about one item of a step. It is known before
// the document is written, so that a repeated attempt finds what the first one
// wrote. A step without items has the empty item. attempt counts from 1; name is
// one of DocPlan and its like.
func DocKey(r Run, step, item string, attempt int, name string) string {
	return fmt.Sprintf("%s%s/%s/%04d/%s.json", DocsPrefix(r), Escape(step), Escape(item), attempt, Escape(name))
}

// PartKey is the key of a part of a plan that is too large for one document. It follows
// from the part's content alone, so that planning again to the same effect finds it
// there; the plan's document names its parts by their digests.
func PartKey(r Run, digest string) string { return r.Prefix() + "parts/" + Escape(digest) }

// PartsOf gives the digests of the parts that a plan's document names, in order.
func PartsOf(plan []byte) ([]string, error) {
	var doc struct {
		Change struct {
			Parts []string `json:"parts"`
		} `json:"change"`
	}
	if err := json.Unmarshal(plan, &doc); err != nil {
		return nil, fmt.Errorf("read which parts a plan has: %w", err)
	}
	return doc.Change.Parts, nil
}

// isPlan reports whether a document of that name is a plan, of a step or of its undo.
func isPlan(name string) bool { return name == DocPlan || strings.HasSuffix(name, "-"+DocPlan) }

// TurnKey is the key of whose turn a batch of a step is, the batch that begins at item from.
func TurnKey(r Run, step string, from int) string {
	return fmt.Sprintf("%s%s/%d.json", TurnsPrefix(r), Escape(step), from)
}

// TurnsPrefix is the prefix of a run's turns: the one thing of a run that is written over
// and over, and no evidence.
func TurnsPrefix(r Run) string { return r.Prefix() + "turns/" }

// LockKey is the key of the estate's lock.
func LockKey(estate string) string { return "lock/" + Escape(estate) + ".json" }

// EpochsPrefix is the prefix of the records of an estate's epochs.
func EpochsPrefix(estate string) string { return "lock/" + Escape(estate) + "/epochs/" }

// EpochKey is the key of the record that a run was given an epoch of the estate's lock.
func EpochKey(estate string, epoch int64) string {
	return fmt.Sprintf("%s%012d.json", EpochsPrefix(estate), epoch)
}

// EpochOf is the inverse of [EpochKey]; it is false for what is no such key.
func EpochOf(estate, key string) (int64, bool) {
	return seqOf(key, EpochsPrefix(estate), ".json")
}

// DocID is what a document's key says.
type DocID struct {
	Run        Run
	Step, Item string
	Attempt    int
	Name       string
}

// ParseDocKey is the inverse of [DocKey].
func ParseDocKey(key string) (DocID, error) {
	fail := func(err error) (DocID, error) {
		return DocID{}, fmt.Errorf("%q is not the key of a ledger document: %w", key, err)
	}
	run, rest, err := ParseKey(key)
	if err != nil {
		return fail(err)
	}
	id := DocID{Run: run}
	rest, ok := strings.CutPrefix(rest, "docs/")
	if !ok {
		return fail(errors.New("it is not under docs/"))
	}
	if id.Step, rest, err = segment(rest); err != nil {
		return fail(err)
	}
	if id.Item, rest, err = segment(rest); err != nil {
		return fail(err)
	}
	attempt, rest, err := segment(rest)
	if err != nil {
		return fail(err)
	}
	if id.Attempt, err = strconv.Atoi(attempt); err != nil {
		return fail(err)
	}
	name, ok := strings.CutSuffix(rest, ".json")
	if !ok {
		return fail(errors.New("it does not end in .json"))
	}
	if id.Name, err = unescape(name); err != nil {
		return fail(err)
	}
	if again := DocKey(run, id.Step, id.Item, id.Attempt, id.Name); again != key {
		return fail(fmt.Errorf("it would be written as %q", again))
	}
	return id, nil
}

// ParseKey splits the key of anything that a run wrote into the run and the
// rest of the key, such as "chain/000000000001.json".
func ParseKey(key string) (Run, string, error) {
	rest, ok := strings.CutPrefix(key, RunsPrefix)
	if !ok {
		return Run{}, "", fmt.Errorf("key %q is not under %s", key, RunsPrefix)
	}
	workflow, rest, err := segment(rest)
	if err != nil {
		return Run{}, "", fmt.Errorf("workflow id in key %q: %w", key, err)
	}
	first, rest, err := segment(rest)
	if err != nil {
		return Run{}, "", fmt.Errorf("first run id in key %q: %w", key, err)
	}
	return Run{Workflow: workflow, FirstRun: first}, rest, nil
}

// seqOf reads the sequence number out of a key below prefix.
func seqOf(key, prefix, suffix string) (int64, bool) {
	number, ok := strings.CutSuffix(strings.TrimPrefix(key, prefix), suffix)
	seq, err := strconv.ParseInt(number, 10, 64)
	return seq, ok && err == nil && seq > 0 && fmt.Sprintf("%012d", seq) == number
}

// segmentMax is how long a part of a key gets: file systems, and MinIO on top of
// one, take 255 bytes.
const segmentMax = 200

// Escape makes a part of a key out of any text: letters, digits, '-', '_' and
// '.' stand for themselves, except for a dot at the beginning; every other byte
// becomes '=' and two upper-case hex digits, as in quoted-printable ('%' is on
// S3's list of characters to avoid). The empty text is "=". A long one is broken
// by "=/". Two texts never have the same escape, and unescape takes it back.
func Escape(text string) string {
	if text == "" {
		return "="
	}
	var b strings.Builder
	line := 0
	for i := range len(text) {
		c := text[i]
		part := string(c)
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
		default:
			part = fmt.Sprintf("=%02X", c)
		}
		if line+len(part) > segmentMax {
			b.WriteString("=/")
			line = 0
			if part == "." { // would begin a part
				part = "=2E"
			}
		}
		b.WriteString(part)
		line += len(part)
	}
	return b.String()
}

// unescape is the inverse of [Escape]. It fails on what Escape never writes.
func unescape(part string) (string, error) {
	text, rest, err := segment(part + "/")
	if err != nil {
		return "", err
	}
	if rest != "" || Escape(text) != part {
		return "", fmt.Errorf("%q is not an escaped name", part)
	}
	return text, nil
}

// segment reads one escaped text and the slash after it.
func segment(key string) (text, rest string, err error) {
	if rest, ok := strings.CutPrefix(key, "=/"); ok {
		return "", rest, nil
	}
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case c == '/':
			if b.Len() == 0 {
				return "", "", fmt.Errorf("an empty part in %q", key)
			}
			return b.String(), key[i+1:], nil
		case c != '=':
			b.WriteByte(c)
		case strings.HasPrefix(key[i:], "=/"):
			i++
		case i+2 < len(key):
			n, err := strconv.ParseUint(key[i+1:i+3], 16, 8)
			if err != nil {
				return "", "", fmt.Errorf("%q after '=' in %q is no byte in hex", key[i+1:i+3], key)
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			return "", "", fmt.Errorf("%q ends within an escape", key)
		}
	}
	return "", "", fmt.Errorf("no '/' after %q", key)
}
