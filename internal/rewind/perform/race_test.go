package perform_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
)

// meddled is a store to which somebody writes between a look and a change: right
// before the change. Deaf is one that keeps no conditions.
type meddled struct {
	*memory.Store
	deaf bool
	r    *rand.Rand
	t    *testing.T

	mu    sync.Mutex
	wrote map[string]string // content by key; empty for a deletion
}

func (m *meddled) Traits() objectstore.Traits {
	t := m.Store.Traits()
	t.ConditionalCopy, t.ConditionalDelete = !m.deaf, !m.deaf
	return t
}

// meddle writes a key once, or deletes what is there. Somebody's delete marker under
// ours says nothing: ours may be there twice.
func (m *meddled) meddle(ctx context.Context, bucket, key string, deletes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, done := m.wrote[key]; done || m.r.IntN(3) > 0 {
		return
	}
	var err error
	body := ""
	if _, gone := m.Head(ctx, bucket, key); deletes && gone == nil && m.r.IntN(2) == 0 {
		_, err = m.Delete(ctx, bucket, key)
	} else {
		body = "somebody's of " + key
		_, err = m.Put(ctx, bucket, key, []byte(body))
	}
	if ctx.Err() != nil { // the change is given up, too
		return
	}
	if err != nil {
		m.t.Errorf("meddle with %s: %v", key, err)
		return
	}
	m.wrote[key] = body
}

func (m *meddled) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (int, error) {
	all = append([]objectstore.Deletion{}, all...)
	for i, d := range all {
		if d.VersionID == "" {
			m.meddle(ctx, bucket, d.Key, false)
		}
		if m.deaf {
			all[i].ETag = ""
		}
	}
	return m.Store.DeleteMany(ctx, bucket, all)
}

func (m *meddled) Copier() objectstore.Copier { return meddledCopier{m, m.Store.Copier()} }

type meddledCopier struct {
	m  *meddled
	of objectstore.Copier
}

func (c meddledCopier) Copy(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	c.m.meddle(ctx, r.Bucket, r.Key, true)
	if c.m.deaf {
		r.Over = ""
		if o, err := c.m.Head(ctx, r.Bucket, r.Key); err == nil {
			r.Over = o.ETag
		}
	}
	return c.of.Copy(ctx, r)
}

// all are what a sequence yields.
func all[T any](t *testing.T, seq iter.Seq2[T, error]) (all []T) {
	t.Helper()
	for one, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// TestNothingIsBuriedUnseen: what somebody writes between a look and a change stays on
// top where the store keeps conditions, and is found and brought back elsewhere.
func TestNothingIsBuriedUnseen(t *testing.T) {
	buried, stood := 0, 0
	for seed := range uint64(60) {
		deaf := seed%2 == 0
		w := newWorld(t, seed)
		lines := w.draw(t, seed%3 == 0)
		m := &meddled{Store: w.server.Owner(), t: t, deaf: deaf, r: rand.New(rand.NewPCG(seed, 3)), wrote: map[string]string{}}
		b := objectstore.Bind(m, "lake")
		p := w.place
		p.From, p.To = b, b
		changes := p.Changes(parts(lines, 3))
		_, err := changes.Apply(t.Context(), free)
		if err != nil && !errors.Is(err, perform.ErrMoved) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		under, n := all(t, changes.Buried(t.Context())), int64(0)
		back := all(t, changes.Back(t.Context(), &n))
		if n != int64(len(under)) {
			t.Fatalf("seed %d: %d are buried, %d come back", seed, len(under), n)
		}
		found := map[string]bool{}
		for _, u := range under {
			found[u.Line.Key] = true
		}
		now := state(t, w.place.To)
		for key, body := range m.wrote {
			switch {
			case now[key] == body:
				stood++
			case found[key] && deaf:
				buried++
			default:
				t.Errorf("seed %d, deaf %v: %q of %s is buried unseen under %q (Apply: %v)", seed, deaf, body, key, now[key], err)
			}
		}
		if !deaf && len(under) > 0 {
			t.Errorf("seed %d: a store that keeps conditions buried %v", seed, under)
		}
		if err == nil && deaf {
			undo := &perform.Changes{To: w.place.To, From: w.place.To, Prefixes: []string{"p/"}, Lines: parts(back, 3), Entries: w.place.Entries}
			if _, err := undo.Apply(t.Context(), free); err != nil {
				t.Fatalf("seed %d: take it back: %v", seed, err)
			}
			want := w.now
			for key, body := range m.wrote {
				if want[key] = body; body == "" {
					delete(want, key)
				}
			}
			w.is(t, fmt.Sprintf("seed %d: taken back,", seed), want)
		}
	}
	if buried == 0 || stood == 0 {
		t.Errorf("%d writes were buried and found, %d stood", buried, stood)
	}
}

// TestBuried: what is ours is not taken for somebody's.
func TestBuried(t *testing.T) {
	v := func(id, etag string) rewind.Entry {
		return rewind.Entry{Version: rewind.Version{ID: id, ETag: etag, Size: 1, Marker: etag == ""}}
	}
	now, then := v("now", "n").Version, v("then", "t").Version
	for name, tc := range map[string]struct {
		do    rewind.Do
		heads []rewind.Entry
		want  string
	}{
		"a copy over what was seen":         {rewind.Copy, []rewind.Entry{v("c", "t"), v("now", "n")}, ""},
		"a copy over a write":               {rewind.Copy, []rewind.Entry{v("c", "t"), v("x", "x"), v("now", "n")}, "x"},
		"a copy over a deletion":            {rewind.Copy, []rewind.Entry{v("c", "t"), v("x", ""), v("now", "n")}, "x"},
		"a copy that was made twice":        {rewind.Copy, []rewind.Entry{v("c", "t"), v("b", "t"), v("now", "n")}, ""},
		"twice over a write":                {rewind.Copy, []rewind.Entry{v("c", "t"), v("b", "t"), v("x", "x"), v("now", "n")}, "x"},
		"a copy over the same again":        {rewind.Copy, []rewind.Entry{v("c", "t"), v("n2", "n"), v("now", "n")}, ""},
		"a marker over what was seen":       {rewind.Mark, []rewind.Entry{v("m", ""), v("now", "n")}, ""},
		"two markers":                       {rewind.Mark, []rewind.Entry{v("m", ""), v("m0", ""), v("now", "n")}, ""},
		"a marker over a write":             {rewind.Mark, []rewind.Entry{v("m", ""), v("x", "x"), v("now", "n")}, "x"},
		"not done":                          {rewind.Mark, []rewind.Entry{v("now", "n"), v("x", "x")}, ""},
		"written over later, which is seen": {rewind.Mark, []rewind.Entry{v("y", "y"), v("m", ""), v("now", "n")}, ""},
		"what is left alone":                {rewind.Keep, []rewind.Entry{v("y", "y")}, ""},
	} {
		got, ok := rewind.Line{Do: tc.do, Now: now, Then: then}.Buried(tc.heads)
		if got.ID != tc.want || ok != (tc.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got.ID, ok, tc.want)
		}
	}
}
