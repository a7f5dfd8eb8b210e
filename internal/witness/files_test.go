package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/sshsig"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"

	"golang.org/x/crypto/ssh"
)

// memoryJournal is a journal in memory, and what it lies in.
func memoryJournal() Journal {
	server := memory.New()
	server.Create("journal", memory.Versioned)
	return in(objectstore.Bind(server.Owner(), "journal"))
}

// in is a journal of worker 1.
func in(b objectstore.Bucket) Journal { return by(b, 1) }

// by is a journal that somebody writes and worker 1 is trusted for.
func by(b objectstore.Bucket, n byte) Journal {
	signer := func(n byte) ssh.Signer {
		s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)))
		if err != nil {
			return nil // no seed of this length fails, and without a signer nothing is written
		}
		return s
	}
	return Journal{Bucket: b, Prefix: "witness", Place: "lab/us-west-2", Signer: signer(n), Trusted: []sshsig.Key{sshsig.Public(signer(1))}}
}

// counted counts the data files that are read of a store.
type counted struct {
	mu   sync.Mutex
	read map[string]bool
}

func (c *counted) fail(op, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op == "get" && strings.HasSuffix(key, ".parquet") && !strings.Contains(key, "/_delta_log/") {
		c.read[key] = true
	}
	return nil
}

// count is how many were read since it was asked last.
func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.read)
	c.read = map[string]bool{}
	return n
}

func opened(t testing.TB, s table.Store, prefix string) table.Table {
	t.Helper()
	l, err := port.Format{}.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func at1(t testing.TB, l table.Table, version int64) table.FileReader {
	t.Helper()
	s, err := l.Snapshot(t.Context(), version)
	if err != nil {
		t.Fatal(err)
	}
	r, err := table.Able[table.FileReader]("delta", s, "read file by file")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func free(context.Context) error { return nil }

// summed reads a version beside what is kept, in parts that are small.
func summed(ctx context.Context, j Journal, r table.FileReader, guard func(context.Context) error) (d table.Digest, f *Files, read int, err error) {
	of, err := r.Reading()
	if err != nil {
		return d, nil, 0, err
	}
	if f, err = j.Files(ctx, "t", of, guard); err != nil {
		return d, nil, 0, err
	}
	f.room = 2
	if d, read, err = r.SumWith(ctx, f); err == nil {
		err = f.Save(ctx)
	}
	return d, f, read, err
}

// TestFilesAddUp walks at random over the versions of tables that engines wrote, forth
// and back, with a journal that is damaged, shared and left in the middle of a write: a
// digest is always that of all rows, and where nothing happened to the journal no file
// of the version before is read again.
func TestFilesAddUp(t *testing.T) {
	store := deltatest.Loaded(t)
	c := &counted{read: map[string]bool{}}
	store.Fail = c.fail
	type state struct {
		number int64
		table.FileReader
		of    [32]byte
		files map[string]bool
		want  table.Digest
	}
	var steps, readings, saved, noted, vectors int
	for _, truth := range deltatest.All(t) {
		var states []state
		l := opened(t, store, "delta/"+truth.Name)
		of := map[[32]byte]bool{}
		for _, v := range truth.Versions {
			if !v.Readable {
				continue
			}
			s := state{number: v.Version, FileReader: at1(t, l, v.Version), files: map[string]bool{}}
			var err error
			if s.want, err = s.Sum(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.of, err = s.Reading(); err != nil {
				t.Fatal(err)
			}
			of[s.of] = true
			vectors += v.DVFiles
			log, err := delta.Open(t.Context(), store, table.Root{Bucket: deltatest.Bucket, Prefix: "delta/" + truth.Name})
			if err != nil {
				t.Fatal(err)
			}
			snap, err := log.Snapshot(t.Context(), v.Version)
			if err != nil {
				t.Fatal(err)
			}
			for a := range snap.Files() {
				s.files[fmt.Sprint(a.Path, " ", a.Vector.ID(), " ", a.Records)] = true
			}
			states = append(states, s)
		}
		if len(of) > 1 {
			readings++
		}
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 11))
			j := memoryJournal()
			at, clean := 0, false // clean: the last step left all that it read
			var before state
			for step := range 2 * len(states) {
				if at++; at >= len(states) || r.IntN(5) == 0 { // the next head; now and then a table went back
					at = r.IntN(len(states))
				}
				s := states[at]
				what := "nothing"
				guard := free
				switch r.IntN(8) {
				case 0:
					what = damaged(t, j, r)
				case 1:
					what = "died"
					left := r.IntN(3)
					guard = func(context.Context) error {
						if left--; left < 0 {
							return errors.New(what)
						}
						return nil
					}
				case 2:
					what = "somebody else"
					other := states[r.IntN(len(states))]
					met := false
					guard = func(ctx context.Context) error {
						if met {
							return nil
						}
						met = true
						d, _, _, err := summed(ctx, j, other, free)
						if err != nil || d != other.want {
							t.Errorf("%s %d, seed %d: who came between has %v, %v; want %v", truth.Name, other.number, seed, d, err, other.want)
						}
						return nil
					}
				}
				c.count()
				d, f, read, err := summed(t.Context(), j, s, guard)
				asked := c.count()
				steps++
				if what == "died" && err != nil {
					clean = false
					continue
				}
				if err != nil || d != s.want {
					t.Fatalf("%s %d, seed %d, step %d, %s: %v, %v; want %v", truth.Name, s.number, seed, step, what, d, err, s.want)
				}
				if noted += len(f.Notes); len(f.Notes) > 0 && what != "damaged" && what != "somebody else" {
					t.Errorf("%s %d, seed %d, step %d, %s: it says %q", truth.Name, s.number, seed, step, what, f.Notes)
				}
				if read+f.Reused != len(s.files) || what != "somebody else" && asked > read {
					t.Errorf("%s %d, seed %d, step %d, %s: %d of %d files read, %d reused, %d asked for", truth.Name, s.number, seed, step, what, read, len(s.files), f.Reused, asked)
				}
				fresh := 0
				for id := range s.files {
					if s.of != before.of || !before.files[id] {
						fresh++
					}
				}
				if clean && (what == "nothing" || what == "died") && read > fresh {
					t.Errorf("%s %d, seed %d, step %d: %d files were read, and %d are new since version %d", truth.Name, s.number, seed, step, read, fresh, before.number)
				}
				if what == "nothing" {
					digests := 0
					trailer, err := j.seal("witness/files/t/0", nil)
					if err != nil {
						t.Fatal(err)
					}
					for o, err := range j.Bucket.List(t.Context(), "witness/files/") {
						if err != nil {
							t.Fatal(err)
						}
						digests += (int(o.Size) - len(trailer)) / len(entry{})
					}
					if digests > 2*len(s.files)+f.room+2*len(f.parts) {
						t.Errorf("%s %d, seed %d, step %d: %d digests are kept of %d files", truth.Name, s.number, seed, step, digests, len(s.files))
					}
				}
				saved += f.Reused
				before, clean = s, what != "somebody else"
			}
		}
	}
	if steps < 700 || saved < 1000 || readings < 3 || noted < 50 || vectors == 0 {
		t.Errorf("too little seen: %d steps, %d digests reused, %d tables of several schemas, %d notes, %d vectors", steps, saved, readings, noted, vectors)
	}
}

// damaged breaks a part.
func damaged(t *testing.T, j Journal, r *rand.Rand) string {
	t.Helper()
	var keys []string
	for o, err := range j.Bucket.List(t.Context(), "witness/files/") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	if len(keys) == 0 {
		return "nothing"
	}
	key := keys[r.IntN(len(keys))]
	body, _, err := j.Bucket.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	body = slices.Clone(body)
	switch r.IntN(6) {
	case 5: // somebody else's, in the right form
		if body, err = by(j.Bucket, 2).seal(key, bytes.TrimSuffix(ledger.DocBody(body), []byte("\n"))); err != nil {
			t.Fatal(err)
		}
	case 0:
		body[r.IntN(len(body))] ^= 1 << r.IntN(8)
	case 1:
		body = body[:r.IntN(len(body))]
	case 2:
		body = append(body, body[len(body)-min(len(body), 56):]...)
	case 3:
		body = nil
	case 4:
		if _, err := j.Bucket.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		return "damaged"
	}
	if _, err := j.Bucket.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	return "damaged"
}

// grown is a table that one file at a time is appended to.
func grown(t testing.TB, files int) (*tabletest.Store, *write.Table) {
	t.Helper()
	store := &tabletest.Store{}
	w, err := write.Create(t.Context(), store, table.Root{Bucket: deltatest.Bucket, Prefix: "t"}, []write.Column{{Name: "id", Type: write.Int64}, {Name: "note", Type: write.String}}, write.Options{CheckpointEvery: 100})
	if err != nil {
		t.Fatal(err)
	}
	for n := range files {
		grow(t, w, n)
	}
	return store, w
}

func grow(t testing.TB, w *write.Table, n int) {
	t.Helper()
	if _, err := w.Append(t.Context(), []write.Row{{int64(n), "a note"}, {int64(-n), fmt.Sprint(n)}}); err != nil {
		t.Fatal(err)
	}
}

// TestHeadCostsWhatIsNew: one file more costs one file read and a few digests written,
// however many there are.
func TestHeadCostsWhatIsNew(t *testing.T) {
	const files, more = 200, 64
	store, w := grown(t, files)
	c := &counted{read: map[string]bool{}}
	store.Fail = c.fail
	j := memoryJournal()
	step := func() (read int, written int64) {
		t.Helper()
		before := int64(0)
		for v, err := range j.Bucket.ListVersions(t.Context(), "witness/files/") {
			if err != nil {
				t.Fatal(err)
			}
			before += v.Size
		}
		c.count()
		l := opened(t, store, "t")
		r := at1(t, l, l.Extent().Head)
		d, f, read, err := summed(t.Context(), j, r, free)
		if err != nil || len(f.Notes) > 0 || c.count() != read {
			t.Fatalf("%v, %v, %d files", f, err, read)
		}
		if want, err := r.Sum(t.Context()); err != nil || d != want {
			t.Fatalf("%v, %v; want %v", d, err, want)
		}
		for v, err := range j.Bucket.ListVersions(t.Context(), "witness/files/") {
			if err != nil {
				t.Fatal(err)
			}
			written += v.Size
		}
		return read, written - before
	}
	if read, _ := step(); read != files {
		t.Fatalf("%d files read at first", read)
	}
	all := int64(0)
	for n := range more {
		grow(t, w, files+n)
		read, written := step()
		if read != 1 {
			t.Errorf("%d files were read, and one is new", read)
		}
		all += written
	}
	// All digests at each head would be 64 times 13 kB.
	if all > more*15*56+more*200 {
		t.Errorf("%d heads of one file each wrote %d bytes of digests", more, all)
	}
}

// TestLargeReadingGoesOn: who dies while a large table is read for the first time has
// kept most of what it read.
func TestLargeReadingGoesOn(t *testing.T) {
	const files = 60
	store, _ := grown(t, files)
	j := memoryJournal()
	l := opened(t, store, "t")
	r := at1(t, l, l.Extent().Head)
	died := errors.New("died")
	writes := 0
	_, _, _, err := summed(t.Context(), j, r, func(context.Context) error {
		if writes++; writes > 10 {
			return died
		}
		return nil
	})
	if !errors.Is(err, died) {
		t.Fatal(err)
	}
	d, f, read, err := summed(t.Context(), j, r, free)
	if want, _ := r.Sum(t.Context()); err != nil || d != want {
		t.Fatalf("%v, %v; want %v", d, err, want)
	}
	if f.Reused != 20 || read != files-20 {
		t.Errorf("%d files were reused and %d read; want 20 and %d", f.Reused, read, files-20)
	}
}

// TestFilesOfADeniedJournal: where nothing may be kept the rows are read, and it is said.
func TestFilesOfADeniedJournal(t *testing.T) {
	store, _ := grown(t, 3)
	server := memory.New()
	server.Create("journal", memory.Versioned)
	j := in(objectstore.Bind(server.Stranger(), "journal"))
	l := opened(t, store, "t")
	d, f, read, err := summed(t.Context(), j, at1(t, l, 3), free)
	if err != nil || d.Rows != 6 || read != 3 || len(f.Notes) != 1 || !strings.Contains(f.Notes[0], "is not kept") {
		t.Errorf("%v, %d read, %+v, %v", d, read, f, err)
	}
}

// What a head of one new file costs beside the first one, which reads all. It prints a
// ratio and is part of make bench alone.
func TestSpeedOfANewHead(t *testing.T) {
	if os.Getenv("BREAKWATER_BENCH") == "" {
		return
	}
	const files = 2000
	store, w := grown(t, files)
	j := memoryJournal()
	step := func() time.Duration {
		l := opened(t, store, "t")
		r := at1(t, l, l.Extent().Head)
		at := time.Now()
		if _, _, _, err := summed(t.Context(), j, r, free); err != nil {
			t.Fatal(err)
		}
		return time.Since(at)
	}
	first := step()
	var heads []time.Duration
	for n := range 9 {
		grow(t, w, files+n)
		heads = append(heads, step())
	}
	slices.Sort(heads)
	t.Logf("%d files of 2 rows: %v; a head of one file more: %v (%v to %v), 1/%.0f", files, first, heads[4], heads[0], heads[8], first.Seconds()/heads[4].Seconds())
}
