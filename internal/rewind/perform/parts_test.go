package perform_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/table/delta/port"
)

// recording is a store that keeps in which order keys were changed.
type recording struct {
	*memory.Store
	mu   sync.Mutex
	keys []string
}

func (s *recording) took(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, keys...)
}

func (s *recording) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (int, error) {
	for _, d := range all {
		s.took(d.Key)
	}
	return s.Store.DeleteMany(ctx, bucket, all)
}

func (s *recording) Copier() objectstore.Copier { return recordingCopier{s, s.Store.Copier()} }

type recordingCopier struct {
	s  *recording
	of objectstore.Copier
}

func (c recordingCopier) Copy(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	o, err := c.of.Copy(ctx, r)
	c.s.took(r.Key)
	return o, err
}

// tables is a bucket of tables of which half the commits, and their data, were written
// over or deleted since a time, and to which others were added.
func tables(t *testing.T, r *rand.Rand) world {
	t.Helper()
	m := memory.New()
	m.Create("lake", memory.Versioned)
	b := objectstore.Bind(m.Owner(), "lake")
	put := func(key string) {
		if _, err := b.Put(t.Context(), key, []byte(fmt.Sprint(r.IntN(1000)))); err != nil {
			t.Fatal(err)
		}
	}
	key := func(table, n int, log bool) string {
		if log {
			return fmt.Sprintf("p/t%d/_delta_log/%020d.json", table, n)
		}
		return fmt.Sprintf("p/t%d/part-%05d.parquet", table, n)
	}
	each := func(from, to int, do func(key string)) {
		for table := range 4 {
			for n := from; n < to; n++ {
				do(key(table, n, true))
				do(key(table, n, false))
			}
		}
	}
	each(0, 25, put)
	w := world{server: m, was: state(t, b), place: perform.Place{From: b, Prefix: "p/", To: b, ToPrefix: "p/", At: time.Now(), Entries: port.Format{}.Entry}}
	each(0, 25, func(key string) {
		switch r.IntN(4) {
		case 0:
			put(key)
		case 1, 2:
			if _, err := b.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	})
	each(25, 40, put)
	w.now = state(t, b)
	return w
}

// TestDataBeforeLogAcrossParts: no commit comes back before all data of all parts, and
// of each folder in ascending order; the later ones go from the highest down, and only
// then what they name.
func TestDataBeforeLogAcrossParts(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 11))
		w := tables(t, r)
		lines := w.draw(t, seed%2 == 0)
		s := &recording{Store: w.server.Owner()}
		p := w.place
		p.From, p.To = objectstore.Bind(s, "lake"), objectstore.Bind(s, "lake")
		if _, err := p.Changes(parts(lines, 7)).Apply(t.Context(), free); err != nil {
			t.Fatal(err)
		}
		w.is(t, "rewound", w.was)
		phase := map[string]rewind.Phase{}
		for _, l := range lines {
			phase[l.Key] = rewind.PhaseOf(l, w.place.Entries)
		}
		last, in := rewind.Phase(0), map[string]string{}
		for i, key := range slices.Compact(s.keys) { // a key has as many markers as it has
			p, folder := phase[key], path.Dir(key)
			switch {
			case p < last:
				t.Errorf("seed %d: change %d is of %s, which is of phase %d, after one of phase %d", seed, i, key, p, last)
			case p > last:
				last = p
				clear(in)
			case p.InOrder() && key < in[folder], p.HighestFirst() && in[""] != "" && key > in[""]:
				t.Errorf("seed %d: change %d is of %s, after %s and %s", seed, i, key, in[folder], in[""])
			}
			in[folder], in[""] = key, key
		}
		if len(s.keys) < len(lines) || last == 0 {
			t.Errorf("seed %d: %d changes of %d lines, up to phase %d", seed, len(s.keys), len(lines), last)
		}
	}
}

// TestPartsOfAPlan: every key of every part is looked at before the first change, and
// parts that do not fit each other, or cannot be read, change nothing.
func TestPartsOfAPlan(t *testing.T) {
	gone := errors.New("the part is gone")
	for name, tc := range map[string]struct {
		spoil func(w world, lines []rewind.Line, parts perform.Lines) error
		want  error
	}{
		"the last key has moved": {func(w world, lines []rewind.Line, _ perform.Lines) error {
			_, err := w.place.To.Put(t.Context(), lines[len(lines)-1].Key, []byte("a stranger's"))
			return err
		}, perform.ErrMoved},
		"a stranger lies behind all": {func(w world, _ []rewind.Line, _ perform.Lines) error {
			_, err := w.place.To.Put(t.Context(), "p/zzz", []byte("x"))
			return err
		}, perform.ErrMoved},
		"the last part is gone": {func(_ world, _ []rewind.Line, parts perform.Lines) error {
			parts[len(parts)-1] = func(context.Context) ([]rewind.Line, error) { return nil, gone }
			return nil
		}, gone},
		"two parts are swapped": {func(_ world, _ []rewind.Line, parts perform.Lines) error {
			n := len(parts)
			parts[n-1], parts[n-2] = parts[n-2], parts[n-1]
			return nil
		}, perform.ErrLines},
		"a part is there twice": {func(_ world, _ []rewind.Line, parts perform.Lines) error {
			parts[len(parts)-1] = parts[len(parts)-2]
			return nil
		}, perform.ErrLines},
	} {
		t.Run(name, func(t *testing.T) {
			w := tables(t, rand.New(rand.NewPCG(3, 11)))
			lines := w.draw(t, false)
			all := parts(lines, 7)
			if err := tc.spoil(w, lines, all); err != nil {
				t.Fatal(err)
			}
			before := state(t, w.place.To)
			if n, err := w.place.Changes(all).Apply(t.Context(), free); n != 0 || !errors.Is(err, tc.want) {
				t.Errorf("Apply = %d, %v; want %v and nothing done", n, err, tc.want)
			}
			w.is(t, "refused,", before)
		})
	}
}
