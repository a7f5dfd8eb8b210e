package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
)

// manyKeys is how many keys differ, in how many lines to a part, and how many MiB may be
// held of them.
func manyKeys() (keys, partLines, most int) {
	if os.Getenv("BREAKWATER_TORTURE") == "1" {
		return 1_050_000, rewind.PartLines, 96
	}
	return 80_000, 2_000, 12
}

// madeUp is a store whose one bucket is made up as it is listed: tables of a thousand
// objects each, of which every one was written over, came or went after a time. It knows
// of each key how often it was changed since.
type madeUp struct {
	objectstore.Store
	at time.Time
	t  *testing.T

	mu      sync.Mutex
	changes []byte // by key
	data    int    // how many objects of data are not back yet
}

// What became of a key after the time.
const (
	writtenOver = iota
	came
	went
	fates
)

func (m *madeUp) key(i int) string {
	if n := i % 1000; n < 20 {
		return fmt.Sprintf("p/t%05d/_delta_log/%020d.json", i/1000, n)
	}
	return fmt.Sprintf("p/t%05d/part-%05d.parquet", i/1000, i%1000)
}

func (m *madeUp) index(key string) int {
	name := strings.TrimSuffix(strings.TrimPrefix(path.Base(key), "part-"), path.Ext(key))
	table, err := strconv.Atoi(key[3:8])
	n, err2 := strconv.Atoi(name)
	if err := errors.Join(err, err2); err != nil {
		m.t.Errorf("it was asked for %s: %v", key, err)
	}
	return table*1000 + n
}

func (m *madeUp) isLog(i int) bool { return i%1000 < 20 }

// history is a key's versions, the newest first.
func (m *madeUp) history(i int) (all []objectstore.Version) {
	add := func(name string, there bool, after time.Duration) {
		v := objectstore.Version{DeleteMarker: !there, Object: objectstore.Object{Key: m.key(i), VersionID: fmt.Sprintf("%s-%d", name, i), LastModified: m.at.Add(after)}}
		if there {
			v.ETag, v.Size = fmt.Sprintf("%s-%d", strings.TrimSuffix(name, "-again"), i), 3
			if strings.HasPrefix(name, "old") { // of another size, or each would be asked what it is a copy of
				v.Size = 4
			}
		}
		all = append(all, v)
	}
	fate, n := i%fates, m.changes[i]
	if n > 1 { // taken back
		name := "new-again"
		if fate == went {
			name = "gone-again"
		}
		add(name, fate != went, 3*time.Hour)
	}
	if n > 0 { // rewound
		add("old-again", fate != came, 2*time.Hour)
	}
	add("new", fate != went, time.Hour)
	if fate != came {
		add("old", true, -time.Hour)
	}
	all[0].Latest = true
	return all
}

func (m *madeUp) ListVersions(context.Context, string, string) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		for i := range m.changes {
			for _, v := range m.history(i) {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

func (m *madeUp) List(context.Context, string, string) iter.Seq2[objectstore.Object, error] {
	return func(yield func(objectstore.Object, error) bool) {
		for i := range m.changes {
			if v := m.history(i)[0]; !v.DeleteMarker && !yield(v.Object, nil) {
				return
			}
		}
	}
}

func (m *madeUp) Versioning(context.Context, string) (objectstore.Versioning, error) {
	return objectstore.Versioning{On: true}, nil
}

func (m *madeUp) Endpoint() string { return "made up" }

// change changes a key that has an ETag now, and empty stands for none.
func (m *madeUp) change(key, etag string, brings bool) error {
	i := m.index(key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if is := m.history(i)[0]; is.ETag != etag {
		return fmt.Errorf("%s has ETag %q: %w", key, is.ETag, objectstore.ErrChanged)
	}
	m.changes[i]++
	switch {
	case brings && !m.isLog(i):
		m.data--
	case brings && m.data > 0 || !brings && !m.isLog(i) && m.data > 0:
		return fmt.Errorf("%s was changed while %d objects of data are not back", key, m.data)
	}
	return nil
}

func (m *madeUp) DeleteMany(_ context.Context, _ string, all []objectstore.Deletion) (int, error) {
	for i, d := range all {
		if err := m.change(d.Key, d.ETag, false); err != nil {
			return i, err
		}
	}
	return len(all), nil
}

// exact is what makes exact copies.
type exact struct{ *madeUp }

func (m exact) Copier() objectstore.Copier { return copies(m) }

type copies struct{ *madeUp }

func (c copies) Copy(_ context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	return objectstore.Object{}, c.change(r.Key, r.Over, true)
}

// inFolder keeps parts of plans in a ledger on disk, and looks how much is alive then.
type inFolder struct {
	store.Store
	run  ledger.Run
	most *atomic.Uint64
}

func (p inFolder) look() {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	p.most.Store(max(p.most.Load(), s.HeapAlloc))
}

func (p inFolder) Put(ctx context.Context, part []byte) (string, error) {
	p.look()
	return store.PutPart(ctx, p.Store, p.run, part)
}

func (p inFolder) Get(ctx context.Context, digest string) ([]byte, error) {
	p.look()
	return store.GetPart(ctx, p.Store, p.run, digest)
}

// TestTortureRewindOfManyKeys takes more keys there and back than anybody would hold, in
// the memory of a few parts, and brings no log back before all data: a million of them
// with BREAKWATER_TORTURE=1.
func TestTortureRewindOfManyKeys(t *testing.T) {
	manyKeys, partLines, atMost := manyKeys()
	m := &madeUp{at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), t: t, changes: make([]byte, manyKeys)}
	def, req := rewinding(t, exact{m}, partLines)
	folder, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close() //nolint:errcheck // the test is over
	most := &atomic.Uint64{}
	p := inFolder{folder, ledger.Run{Workflow: "w", FirstRun: "f"}, most}
	p.look()
	before := most.Load()
	req.Parts = p
	with := prove.With(t, rewindParams{At: m.at, Prefix: "p/"})
	said := func(what string) {
		t.Helper()
		held := (most.Load() - before) >> 20
		t.Logf("%s: at most %d MiB were alive", what, held)
		if held > uint64(atMost) {
			t.Errorf("%s held %d MiB for %d keys", what, held, manyKeys)
		}
	}
	// due counts the objects of data that come back.
	due := func(fate ...int) {
		for i := range manyKeys {
			for _, f := range fate {
				if i%fates == f && !m.isLog(i) {
					m.data++
				}
			}
		}
	}
	passes := func(what string, obs []action.Observation, err error) {
		t.Helper()
		if err != nil || action.Worst(obs) != verdict.Pass {
			t.Fatalf("%s: %v\n%s", what, err, prove.Told(obs))
		}
		said(what)
	}

	ch, err := def.Plan(t.Context(), req, with)
	if err != nil {
		t.Fatal(err)
	}
	said("Plan")
	if want := (manyKeys + partLines - 1) / partLines; len(ch.Parts) != want || len(ch.Data) > 1000 {
		t.Errorf("the plan has %d parts, want %d, and %d bytes beside", len(ch.Parts), want, len(ch.Data))
	}
	req.Plan = &ch
	due(writtenOver, went)
	out, err := def.Apply(t.Context(), req, with)
	if err != nil || out.Mutations != int64(manyKeys) {
		t.Fatalf("Apply = %+v, %v; want %d mutations", out, err, manyKeys)
	}
	said("Apply")
	obs, err := def.Verify(t.Context(), req, with)
	passes("Verify", obs, err)

	back, err := def.UndoPlan(t.Context(), req, with)
	if err != nil {
		t.Fatal(err)
	}
	said("Undo.Plan")
	req.Plan = &back
	due(writtenOver, came)
	if out, err = def.UndoApply(t.Context(), req, with); err != nil || out.Mutations != int64(manyKeys) {
		t.Fatalf("Undo.Apply = %+v, %v; want %d mutations", out, err, manyKeys)
	}
	obs, err = def.UndoVerify(t.Context(), req, with)
	passes("Undo.Verify", obs, err)
}
