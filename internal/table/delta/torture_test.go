package delta_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/tabletest"

	"github.com/apache/arrow-go/v18/arrow/array"
)

// Torture: random commits, deletions of files and of rows, checkpoints, vacuums
// and log cleanups at a primary whose objects are replicated each by itself and
// cut off at a random moment. The recovery point at the standby must be the one
// that a search over what the engines knew gives, and the table promoted there
// must read back to the rows of that version.

// standby is what replication brought: each object by itself, late by a random
// number of changes, and nothing after the cut.
func (p *primary) standby() *tabletest.Store {
	cut := p.rnd.IntN(len(p.store.changes) + 1)
	lag := 1 + p.rnd.IntN(12)
	s := &tabletest.Store{}
	stuck := map[string]bool{} // an object's changes arrive in order
	for i, c := range p.store.changes {
		late := 0
		if p.rnd.IntN(3) == 0 {
			late = p.rnd.IntN(lag)
		}
		if stuck[c.key] = stuck[c.key] || i+late >= cut; stuck[c.key] {
			continue
		}
		if c.body == nil {
			s.Delete(c.key)
		} else {
			put(p.t, s, c.key, string(c.body))
		}
	}
	return s
}

// newestAt searches what the engine knew, version by version: the largest one
// that some start leads to and whose every object is there.
func (p *primary) newestAt(s *tabletest.Store) int {
	size := map[string]int64{}
	for o := range s.List(p.t.Context(), "") {
		size[o.Key] = o.Size
	}
	there := func(key string) bool { _, ok := size[key]; return ok }
	for v := p.head(); v >= 0; v-- {
		reached := false
		for from := v; from >= -1 && !reached; from-- {
			key, checkpointed := p.starts[int64(from)]
			reached = from == -1 || checkpointed && there(key)
			for u := from + 1; u <= v; u++ {
				reached = reached && there(jsonKey(torturePrefix, u))
			}
		}
		for _, f := range p.versions[v] {
			for key, n := range f.objects {
				reached = reached && there(key) && size[key] == n
			}
		}
		if reached {
			return v
		}
	}
	return -1
}

// rows are the ids live at a version.
func (p *primary) rows(v int) []int64 {
	ids := []int64{}
	for _, f := range p.versions[v] {
		for i, id := range f.ids {
			if !f.deleted[i] {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

func TestTortureOfTheRecoveryPoint(t *testing.T) {
	none, below := 0, 0
	for seed := range uint64(200) {
		p := newPrimary(t, seed)
		for range 4 + p.rnd.IntN(36) {
			switch p.rnd.IntN(12) {
			case 0, 1, 2, 3, 4:
				p.append()
			case 5:
				p.removeFile()
			case 6, 7, 8:
				p.deleteRows()
			case 9:
				p.checkpoint()
			case 10:
				p.vacuum()
			default:
				p.cleanUp()
			}
		}
		s := p.standby()
		want := p.newestAt(s)
		if want < 0 {
			none++
		} else if want < p.head() {
			below++
		}
		l, err := delta.Open(t.Context(), s, root(torturePrefix))
		if err != nil {
			if want >= 0 {
				t.Errorf("seed %d: %v, want version %d", seed, err, want)
			}
			continue
		}
		got, err := l.NewestComplete(t.Context(), time.Time{})
		if want < 0 {
			if !errors.Is(err, table.ErrNoneComplete) {
				t.Errorf("seed %d: %+v, %v, want none", seed, got.Snapshot, err)
			}
			continue
		}
		if err != nil || got.Snapshot.Version.Number != int64(want) {
			t.Errorf("seed %d: %+v, %v, want version %d of %d", seed, got.Snapshot, err, want, p.head())
			continue
		}
		states := map[int64]bool{}
		for st, err := range l.States(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			states[st.Version.Number] = st.Complete()
		}
		if !states[int64(want)] {
			t.Errorf("seed %d: time travel does not find version %d", seed, want)
		}
		for v, complete := range states {
			if complete && v > int64(want) {
				t.Errorf("seed %d: time travel finds version %d, above the newest complete one %d", seed, v, want)
			}
		}
		cut, err := l.LaterThan(t.Context(), int64(want))
		if err != nil {
			t.Fatal(err)
		}
		move(t, s, cut)
		promoted := open(t, s, torturePrefix)
		snap, err := promoted.Snapshot(t.Context(), promoted.Head())
		if err != nil || promoted.Head() != int64(want) {
			t.Errorf("seed %d: promoted to %d, head is %d, %v", seed, want, promoted.Head(), err)
			continue
		}
		ids := readIDs(t, s, snap)
		slices.Sort(ids)
		if !slices.Equal(ids, p.rows(want)) {
			t.Errorf("seed %d: version %d reads back %v, want %v", seed, want, ids, p.rows(want))
		}
	}
	if none == 0 || below < 50 {
		t.Errorf("%d standbys without a complete version and %d behind the head: the torture does not bite", none, below)
	}
}

// readIDs reads the column id of a snapshot.
func readIDs(t *testing.T, s table.Store, snap *delta.Snapshot) []int64 {
	t.Helper()
	all, err := rows.Of(s, snap)
	if err != nil {
		t.Fatal(err)
	}
	r, err := all.Read(t.Context(), []string{"id"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	ids := []int64{}
	for r.Next() {
		column, ok := r.RecordBatch().Column(0).(*array.Int64)
		if !ok {
			t.Fatalf("ids are %s", r.RecordBatch().Column(0).DataType())
		}
		ids = append(ids, column.Int64Values()...)
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return ids
}
