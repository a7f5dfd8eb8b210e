package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// Files are the digests of a table's single files, kept beside the journal from one
// head to the next, so that a head costs the rows of the files that are new.
//
// They are a cache. What was kept is only more work saved: each part carries a hash of
// itself and of what its digests go with, and one that is gone, damaged or of another
// reading costs that its files are read again, which Notes say. A version's digest is
// summed up anew over the version's own files, so nothing that was kept of another file
// gets into it.
//
// # Parts
//
// Part n lies at <prefix>/files/<table>/<n>, and holds at most [inPart]·8ⁿ digests. New
// ones go into part 0; where they do not fit, into the next one, with all that the
// parts before it hold, and so on. Each digest is written a few times in its life, and
// a head with few new files writes a few of them, however many files the table has. It
// reads all parts: 56 bytes for each file. A part's digests in a later part too are
// taken from there, so that none need be removed. A part is replaced by compare-and-set,
// and needs no other: whoever dies between two writes, or meets somebody else, leaves
// parts that are each right.
type Files struct {
	// Writes is how many objects were written, and Reused how many digests were asked
	// for and known.
	Writes int64
	Reused int
	// Notes say, in sentences, why files are read again that were read before, and why
	// what was read is not kept.
	Notes []string

	j      Journal
	prefix string
	of     [32]byte
	guard  func(context.Context) error
	room   int // of part 0

	mu    sync.Mutex
	parts []part
	fresh []entry // learnt, and in no part
	rows  int64   // of fresh
	off   bool    // nothing more is written
}

// inPart is how many digests part 0 holds.
const inPart = 1024

// mostRows is how many rows are read before what they came to is kept, at the latest:
// whoever dies then reads them again.
const mostRows = 50_000_000

// mostParts is more than any table fills.
const mostParts = 10

// part is an object that holds digests.
type part struct {
	etag    string // empty where it is not there
	size    int    // digests in the object
	useless bool   // it holds nothing that can be used
	entries []entry
	live    []bool // the version being read has the entry's file
}

// entry is a file's identity, its rows and their sum.
type entry [16 + 8 + 32]byte

func (e *entry) id() []byte { return e[:16] }

func (e *entry) digest() table.Digest {
	return table.Digest{Rows: int64(binary.BigEndian.Uint64(e[16:])), Sum: [32]byte(e[24:])}
}

func newEntry(id table.FileID, d table.Digest) (e entry) {
	copy(e[:], id[:])
	binary.BigEndian.PutUint64(e[16:], uint64(d.Rows))
	copy(e[24:], d.Sum[:])
	return e
}

// FilesKey is where a part of what is kept of a table's files lies.
func (j Journal) FilesKey(table string, part int) string {
	return j.key("files", url.PathEscape(table), strconv.Itoa(part))
}

// Files reads what was kept of a table's files. The hash of is of all that digests go
// with: what was kept with another one is of no use. Guard is asked before each write.
// An error says that the store did not answer, when to ask again costs less than to read
// all files.
func (j Journal) Files(ctx context.Context, table string, of [32]byte, guard func(context.Context) error) (*Files, error) {
	f := &Files{j: j, prefix: j.key("files", url.PathEscape(table)) + "/", of: of, guard: guard, room: inPart}
	for o, err := range j.Bucket.List(ctx, f.prefix) {
		if err != nil {
			err = fmt.Errorf("list what is kept of the files of %s: %w", table, err)
			if errors.Is(err, fs.ErrPermission) {
				f.stop(err)
				return f, nil
			}
			return nil, err
		}
		n, err := strconv.Atoi(strings.TrimPrefix(o.Key, f.prefix))
		if err != nil || n < 0 || n >= mostParts {
			continue
		}
		for len(f.parts) <= n {
			f.parts = append(f.parts, part{})
		}
		if err := f.load(ctx, n, o); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// load reads a part.
func (f *Files) load(ctx context.Context, n int, o objectstore.Object) error {
	p := &f.parts[n]
	data, now, err := f.j.Bucket.Get(ctx, o.Key)
	switch {
	case err == nil:
		p.etag = now.ETag
		var body []byte
		if body, err = f.j.open(o.Key, data); err == nil {
			p.entries, err = f.decode(body)
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		f.stop(fmt.Errorf("read what is kept of its files: %w", err))
		return nil
	default:
		return fmt.Errorf("read what is kept of its files: %w", err)
	}
	if err != nil {
		p.useless = true
		if !errors.Is(err, errOther) {
			f.note("what is kept of its files in %s is not used, and they are read again: %w", f.j.Bucket.URL(o.Key), err)
		}
		return nil
	}
	p.size, p.live = len(p.entries), make([]bool, len(p.entries))
	return nil
}

func (f *Files) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Errorf(format, args...).Error())
}

// stop ends the writing.
func (f *Files) stop(why error) {
	f.off = true
	f.note("what is read of its files is not kept: %w", why)
}

// magic begins a part: what it is, and the form that it has.
const magic = "breakwater digests of files, 1\n"

// errOther says that a part's digests go with something else, as after a change of the
// table's columns: nothing is wrong with them.
var errOther = errors.New("they go with another reading")

func (f *Files) encode(entries []entry) []byte {
	body := make([]byte, 0, len(magic)+len(f.of)+len(entries)*len(entry{})+sha256.Size)
	body = append(append(body, magic...), f.of[:]...)
	for i := range entries {
		body = append(body, entries[i][:]...)
	}
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func (f *Files) decode(body []byte) ([]entry, error) {
	n := len(body) - len(magic) - len(f.of) - sha256.Size
	if n < 0 || n%len(entry{}) != 0 || !bytes.HasPrefix(body, []byte(magic)) {
		return nil, fmt.Errorf("%w: %s none", ErrMalformed, plural.Of(len(body), "byte", "that is", "that are"))
	}
	body, want := body[:len(body)-sha256.Size], body[len(body)-sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], want) {
		return nil, fmt.Errorf("%w: its hash is not that of what it holds", ErrMalformed)
	}
	body = body[len(magic):]
	if !bytes.Equal(body[:len(f.of)], f.of[:]) {
		return nil, errOther
	}
	entries := make([]entry, n/len(entry{}))
	for i := range entries {
		copy(entries[i][:], body[len(f.of)+i*len(entry{}):])
	}
	return entries, nil
}

// Known is the digest of a file that was read for an earlier version.
func (f *Files) Known(id table.FileID) (table.Digest, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := len(f.parts) - 1; n >= 0; n-- { // what an earlier part has too is not live there
		p := &f.parts[n]
		i, found := slices.BinarySearchFunc(p.entries, id, func(e entry, id table.FileID) int { return bytes.Compare(e.id(), id[:]) })
		if !found {
			continue
		}
		if !p.live[i] {
			p.live[i] = true
			f.Reused++
		}
		return p.entries[i].digest(), true
	}
	return table.Digest{}, false
}

// Learn takes what a file came to. It keeps what it has from time to time, so that who
// dies while a large table is read goes on there.
func (f *Files) Learn(ctx context.Context, id table.FileID, d table.Digest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off {
		return nil
	}
	f.fresh = append(f.fresh, newEntry(id, d))
	if f.rows += d.Rows; len(f.fresh) < f.room && f.rows < mostRows {
		return nil
	}
	return f.keep(ctx)
}

// Save keeps what was learnt. All files of a version were asked for: where more than
// half of what is kept is of others, that goes.
func (f *Files) Save(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.fresh) > 0 && !f.off {
		if err := f.keep(ctx); err != nil {
			return err
		}
	}
	stored, useless := 0, false
	var all []entry
	for i := range f.parts {
		stored, useless = stored+f.parts[i].size, useless || f.parts[i].useless
		all = append(all, f.parts[i].alive()...)
	}
	if f.off || !useless && stored <= 2*len(all)+f.room {
		return nil
	}
	level := 0
	for len(all) > f.holds(level) {
		level++
	}
	if err := f.write(ctx, level, all); err != nil {
		return err
	}
	for n := range f.parts {
		if p := f.parts[n]; n != level && !f.off && (p.size > 0 || p.useless) {
			if err := f.write(ctx, n, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// holds is how many digests a part holds at most.
func (f *Files) holds(n int) int { return f.room << (3 * n) }

// alive are a part's digests of files that the version has.
func (p *part) alive() (all []entry) {
	for i := range p.entries {
		if p.live[i] {
			all = append(all, p.entries[i])
		}
	}
	return all
}

// keep writes what was learnt into the first part that has room for it and for what the
// parts before it hold.
func (f *Files) keep(ctx context.Context) error {
	entries, level := f.fresh, 0
	for ; ; level++ {
		if level < len(f.parts) {
			entries = append(entries, f.parts[level].alive()...)
		}
		if len(entries) <= f.holds(level) {
			break
		}
	}
	if err := f.write(ctx, level, entries); err != nil || f.off {
		return err
	}
	f.fresh, f.rows = nil, 0
	for n := range level { // all of it is in the later part
		f.parts[n].entries, f.parts[n].live = nil, nil
	}
	return nil
}

// write replaces a part. Where that fails, what is read goes on and nothing more is
// kept; its error is the guard's.
func (f *Files) write(ctx context.Context, n int, entries []entry) error {
	if err := f.guard(ctx); err != nil {
		return err
	}
	for len(f.parts) <= n {
		f.parts = append(f.parts, part{})
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.id(), b.id()) })
	key, was := f.prefix+strconv.Itoa(n), f.parts[n].etag
	data, err := f.j.seal(key, f.encode(entries))
	if err != nil {
		return err
	}
	var o objectstore.Object
	if was == "" {
		o, err = f.j.Bucket.PutIfAbsent(ctx, key, data)
	} else {
		o, err = f.j.Bucket.PutIfMatch(ctx, key, data, was)
	}
	switch {
	case err == nil:
		f.Writes++
	case errors.Is(err, objectstore.ErrSame):
	case errors.Is(err, fs.ErrExist), errors.Is(err, objectstore.ErrChanged):
		f.stop(fmt.Errorf("somebody else keeps what they read at the same time: %w", err))
		return nil
	default:
		f.stop(err)
		return nil
	}
	live := make([]bool, len(entries))
	for i := range live {
		live[i] = true
	}
	f.parts[n] = part{etag: o.ETag, size: len(entries), entries: entries, live: live}
	return nil
}
