// Package witness keeps the journal of what a reader saw of every table of the
// primary, at the standby, so that golden queries and the bounds of a loss have
// something to be held against when the primary is gone.
//
// # Records and sightings
//
// A [Record] is what one version of a table holds: its rows and their digest. It
// is put once, at <prefix>/tables/<table>/<version>.json, and never changed; the
// version has 20 digits, so that a listing is in the order of versions.
//
// A [Sighting] says from when to when a version was seen as the head. It grows
// while the version stays the head, so all of a table's sightings lie in one
// object, <prefix>/heads/<table>.json, replaced by compare-and-set: a reader who
// dies before it leaves the journal as it was, and two who meet both get in. Of a
// version's many observations the first and the last say everything: between
// them the head was that version. The newest [Kept] versions stay. Where the
// bucket keeps versions, a lifecycle rule for noncurrent ones under
// <prefix>/heads/ bounds what replacing leaves behind.
//
// # Files
//
// What single files of a table came to is kept below <prefix>/files/<table>/, so that
// the next head costs the files that are new: see [Files]. It is a cache.
//
// # Signatures
//
// Every object ends in a line with the signature of the worker that wrote it, over its place
// and its digest, as the documents of a ledger do. Who can write to the standby's bucket can
// damage a table and write here what the damaged one holds: an object that no trusted key
// signed for its place is [ErrForged], to readers and to the witness itself.
//
// Table names are escaped as in a URL's path.
package witness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/recovery"
	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
)

// Kept is how many versions' sightings a table keeps, the newest.
const Kept = 512

// ErrContradiction means that the journal has something else about the version
// than what was just seen. One of the two readers was shown another table, or the
// version's number was used twice, as after a failover that gave up versions.
var ErrContradiction = errors.New("the journal has another content for this version")

// ErrForged means that an object of the journal is signed by none of the keys that are
// trusted, for its place. It may be anybody's who can write to the bucket, and says nothing.
var ErrForged error = forged("signed by no signer of the estate")

// forged is an answer about nothing that was asked for: [reach.ErrUnseen].
type forged string

func (f forged) Error() string { return string(f) }

func (forged) Is(target error) bool { return target == reach.ErrUnseen }

// ErrMalformed means that an object of the journal is not what a witness writes.
var ErrMalformed = errors.New("malformed journal")

// Record is what one version of a table holds.
type Record struct {
	Table   string `json:"table"`
	Version int64  `json:"version"`
	Rows    int64  `json:"rows"`
	// Hash is that of all rows: package scan's digest, in hexadecimal. It is empty where
	// a column's type cannot be read; Rows are then those of the log, or
	// [recovery.Unknown].
	Hash        string    `json:"hash"`
	CommittedAt time.Time `json:"committed_at"`
	SeenAt      time.Time `json:"seen_at"` // on the reader's clock, before it began to read
	Run         string    `json:"run"`
}

// Same reports whether two records say the same of the table, whoever wrote them.
// Commit times do not count: what a log cleanup leaves can move one by a moment.
func (r Record) Same(o Record) bool {
	return r.Table == o.Table && r.Version == o.Version && r.Rows == o.Rows && r.Hash == o.Hash
}

// Sighting is a version as the head of its table, seen at First, at Last, and as
// nothing else in between. Times are on the readers' clocks.
type Sighting struct {
	Version int64 `json:"version"`
	Rows    int64 `json:"rows"` // or recovery.Unknown
	// Hash is the record's, once there is one: whoever changes one of the two is found
	// out by the other.
	Hash        string    `json:"hash,omitempty"`
	CommittedAt time.Time `json:"committed_at"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Run         string    `json:"run"` // that saw it last
}

// Journal is the witness's journal in a bucket.
type Journal struct {
	Bucket objectstore.Bucket
	Prefix string // without a slash at its end; may be empty

	// Place is whose journal this is, and where: ESTATE/REGION. Signatures name it, so that
	// no object counts in another journal.
	Place   string
	Signer  ssh.Signer // of what is written; nil for who only reads
	Trusted []sshsig.Key
}

// signed is the name under which an object is signed.
func (j Journal) signed(key string) string { return "witness/" + j.Place + "/" + key }

// seal signs the body of an object, which is a line or ends in one.
func (j Journal) seal(key string, body []byte) ([]byte, error) {
	if j.Signer == nil {
		return nil, fmt.Errorf("write %s: this journal was opened to be read", j.Bucket.URL(key))
	}
	return ledger.SealDoc(j.Signer, j.signed(key), append(body, '\n'))
}

// open is the body of an object.
func (j Journal) open(key string, data []byte) ([]byte, error) {
	body, _, err := ledger.OpenDoc(j.signed(key), data, j.Trusted)
	if err != nil {
		return nil, fmt.Errorf("%s is %w: %w; find out who can write there. If its key is one that the estate's signers had, put it back under signers of ledger; else give the witness another prefix",
			j.Bucket.URL(key), ErrForged, err)
	}
	return bytes.TrimSuffix(body, []byte("\n")), nil
}

func (j Journal) key(parts ...string) string {
	if j.Prefix != "" {
		parts = append([]string{j.Prefix}, parts...)
	}
	return strings.Join(parts, "/")
}

func (j Journal) records(table string) string {
	return j.key("tables", url.PathEscape(table)) + "/"
}

// RecordKey is where a version's record lies.
func (j Journal) RecordKey(table string, version int64) string {
	return fmt.Sprintf("%s%020d.json", j.records(table), version)
}

// HeadsKey is where a table's sightings lie.
func (j Journal) HeadsKey(table string) string {
	return j.key("heads", url.PathEscape(table)+".json")
}

// Record reads a version's record; fs.ErrNotExist where there is none.
func (j Journal) Record(ctx context.Context, table string, version int64) (Record, error) {
	key := j.RecordKey(table, version)
	var r Record
	data, _, err := j.Bucket.Get(ctx, key)
	var body []byte
	if err == nil {
		body, err = j.open(key, data)
	}
	if err != nil {
		return r, fmt.Errorf("read the witness's record of %s version %d: %w", table, version, err)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("read the witness's record %s: %w: %w", j.Bucket.URL(key), ErrMalformed, err)
	}
	if r.Table != table || r.Version != version {
		return r, fmt.Errorf("the witness's record %s: %w: it is about %s version %d", j.Bucket.URL(key), ErrMalformed, r.Table, r.Version)
	}
	return r, nil
}

// Newest reads the record of the largest version that is at most notAbove;
// fs.ErrNotExist where there is none.
func (j Journal) Newest(ctx context.Context, table string, notAbove int64) (Record, error) {
	best := int64(-1)
	prefix := j.records(table)
	for o, err := range j.Bucket.List(ctx, prefix) {
		if err != nil {
			return Record{}, fmt.Errorf("list the witness's records of %s: %w", table, err)
		}
		digits, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, prefix), ".json")
		v, err := strconv.ParseInt(digits, 10, 64)
		if !ok || err != nil || len(digits) != 20 {
			continue
		}
		if v > notAbove {
			break // keys come in the order of versions
		}
		best = v
	}
	if best < 0 {
		return Record{}, fmt.Errorf("the witness has no record of %s at or below version %d in %s: %w", table, notAbove, j.Bucket.URL(prefix), fs.ErrNotExist)
	}
	return j.Record(ctx, table, best)
}

// Put writes a record. One that says the same of the table already is left, and
// reported as not written; one that says something else is [ErrContradiction].
func (j Journal) Put(ctx context.Context, r Record) (written bool, err error) {
	body, err := json.Marshal(r)
	if err == nil {
		body, err = j.seal(j.RecordKey(r.Table, r.Version), body)
	}
	if err != nil {
		return false, fmt.Errorf("write the witness's record of %s version %d: %w", r.Table, r.Version, err)
	}
	_, err = j.Bucket.PutIfAbsent(ctx, j.RecordKey(r.Table, r.Version), body)
	if err == nil || errors.Is(err, objectstore.ErrSame) {
		return err == nil, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return false, fmt.Errorf("write the witness's record of %s version %d: %w", r.Table, r.Version, err)
	}
	have, err := j.Record(ctx, r.Table, r.Version)
	if err != nil {
		return false, err
	}
	if !have.Same(r) {
		return false, fmt.Errorf("write the witness's record of %s version %d: %s with hash %s are there, %s with hash %s were seen; find out which reader saw another table, or give the witness a new prefix if the number was used twice: %w",
			r.Table, r.Version, plural.Of(have.Rows, "row"), have.Hash, plural.Of(r.Rows, "row"), r.Hash, ErrContradiction)
	}
	return false, nil
}

// sightings are what was seen of a table's heads, in the order of versions.
func (j Journal) sightings(table string) list[Sighting] {
	key := j.HeadsKey(table)
	return list[Sighting]{
		journal: j, key: key, read: "read the witness's sightings of " + table,
		malformed: "read the witness's sightings " + j.Bucket.URL(key), write: "write the witness's sightings of " + table,
	}
}

// Sightings reads what was seen of a table's heads, in the order of versions. A
// table never seen has none.
func (j Journal) Sightings(ctx context.Context, table string) ([]Sighting, error) {
	return j.sightings(table).get(ctx)
}

// See adds one observation, made at s.Last. An observation of the same run that
// is there already is not made newer, so that a repeated call changes nothing, but it
// takes rows and hash where it had none; changed tells.
func (j Journal) See(ctx context.Context, table string, s Sighting) (changed bool, err error) {
	s.First = s.Last
	return j.sightings(table).change(ctx, func(all []Sighting) ([]Sighting, bool) { return add(all, s) })
}

// add merges one observation into what was seen before.
func add(all []Sighting, s Sighting) ([]Sighting, bool) {
	out := slices.Clone(all)
	i, found := slices.BinarySearchFunc(out, s.Version, func(a Sighting, v int64) int { return cmp.Compare(a.Version, v) })
	if !found {
		out = slices.Insert(out, i, s)
		return out[max(0, len(out)-Kept):], true
	}
	have := &out[i]
	more := have.Hash == "" && s.Hash != "" || have.Rows < 0 && s.Rows >= 0
	if s.Run != "" && have.Run == s.Run && !more {
		return all, false
	}
	if have.Rows < 0 || have.Hash == "" && s.Hash != "" {
		have.Rows = s.Rows
	}
	have.Hash = cmp.Or(have.Hash, s.Hash)
	if s.Run != "" && have.Run == s.Run {
		return out, true
	}
	if s.First.Before(have.First) {
		have.First = s.First
	}
	if s.Last.After(have.Last) {
		have.Last, have.Run = s.Last, s.Run
	}
	return out, true
}

// Heads gives sightings as the evidence that a cut is chosen from.
func Heads(all []Sighting) []recovery.Head {
	var heads []recovery.Head
	for _, s := range all {
		h := recovery.Head{At: s.First, Version: s.Version, Rows: s.Rows, CommittedAt: s.CommittedAt}
		heads = append(heads, h)
		if h.At = s.Last; s.Last.After(s.First) {
			heads = append(heads, h)
		}
	}
	return heads
}
