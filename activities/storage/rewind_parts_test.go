package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/system"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/google/go-cmp/cmp"
)

// oneStore is an estate whose every region has the same store, which is in memory.
type oneStore struct {
	*system.Systems
	store objectstore.Store
}

func (s oneStore) Storage(context.Context, *estate.Estate, string) (objectstore.Store, error) {
	return s.store, nil
}

func (s oneStore) Overseer(context.Context, *estate.Estate, string) (objectstore.Overseer, error) {
	return overseer{s.store}, nil
}

// overseer is of a store whose buckets keep everything.
type overseer struct{ objectstore.Store }

func (overseer) Lifecycle(context.Context, string) (objectstore.Lifecycle, error) {
	return objectstore.Lifecycle{}, nil
}

// rewinding is storage.rewind over a store, with parts of so many lines, and a call of it.
func rewinding(t *testing.T, s objectstore.Store, partLines int) (*action.Definition, action.Request) {
	t.Helper()
	c := action.NewCatalogue()
	room{systems: oneStore{&system.Systems{}, s}, partLines: partLines}.rewindActions(c)
	def, ok := c.Get("storage.rewind")
	if !ok {
		t.Fatal("it is not in the catalogue")
	}
	bucket := func(name string) estate.Bucket {
		return estate.Bucket{Bucket: name, In: map[string]string{world.East: name}}
	}
	e := &estate.Estate{
		Estate: "parts", Buckets: []estate.Bucket{bucket("lake"), bucket("other")}, Regions: []estate.Region{{Region: world.East, Role: estate.Primary}},
	}
	return def, action.Request{
		Run: action.Run{Workflow: "w", FirstRun: "f"}, Item: e.Items(def.Over, estate.Filter{})[0], Estate: e, Records: world.NoRecords{}, Parts: &world.PlanParts{},
		Progress: func(int64, int64, string) {}, Guard: func(context.Context) error { return nil },
	}
}

// mortal is a store that breaks after so many changes, and lives on when it is called
// again.
type mortal struct {
	*memory.Store
	left *atomic.Int64
}

var errDied = errors.New("it died")

func (m mortal) may() error {
	if m.left.Add(-1) < 0 {
		return errDied
	}
	return nil
}

func (m mortal) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (int, error) {
	for i, one := range all {
		if err := m.may(); err != nil {
			return i, err
		}
		if _, err := m.Store.DeleteMany(ctx, bucket, []objectstore.Deletion{one}); err != nil {
			return i, err
		}
	}
	return len(all), nil
}

func (m mortal) Copier() objectstore.Copier { return mortalCopier{m, m.Store.Copier()} }

type mortalCopier struct {
	m  mortal
	of objectstore.Copier
}

func (c mortalCopier) Copy(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	if err := c.m.may(); err != nil {
		return objectstore.Object{}, err
	}
	return c.of.Copy(ctx, r)
}

// wide is a bucket of thousands of keys that were written and deleted at random, and what
// it held at a time and holds now. Of one seed there is one content.
func wide(t *testing.T, seed uint64) (m *memory.Server, at time.Time, was, now map[string]string) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 5))
	m = memory.New()
	m.Create("lake", memory.Versioned)
	m.Create("other", memory.Versioned)
	b := objectstore.Bind(m.Owner(), "lake")
	holds := map[string]string{}
	stir := func() {
		for n := range 3000 {
			key := fmt.Sprintf("p/t%d/part-%05d", n%7, n)
			if n%5 == 0 {
				key = fmt.Sprintf("p/t%d/_delta_log/%020d.json", n%7, n/35)
			}
			var err error
			switch r.IntN(5) {
			case 0:
				_, err = b.Delete(t.Context(), key)
				delete(holds, key)
			case 1, 2:
				holds[key] = fmt.Sprint(r.IntN(100))
				_, err = b.Put(t.Context(), key, []byte(holds[key]))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	stir()
	was, at = maps.Clone(holds), time.Now()
	stir()
	return m, at, was, holds
}

// held is what a reader sees in a bucket.
func held(t *testing.T, s objectstore.Store, bucket string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for o, err := range s.List(t.Context(), bucket, "") {
		if err != nil {
			t.Fatal(err)
		}
		body, _, err := s.Get(t.Context(), bucket, o.Key)
		if err != nil {
			t.Fatal(err)
		}
		all[o.Key] = string(body)
	}
	return all
}

// told is a plan as people see it, without what depends on when it was made and on how
// its lines are kept.
func told(ch action.Change, at time.Time) string {
	_, words, _ := strings.Cut(ch.Summary, at.UTC().Format(time.RFC3339Nano))
	for n, e := range ch.Effects {
		if n != 0 {
			words += "\n" + e.On + ": " + e.Do + ": " + e.To
		}
	}
	return words
}

// TestRewindInParts: a plan in hundreds of parts, killed and resumed at any point, there
// and back, does what one whole plan does, and says the same of it.
func TestRewindInParts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		p := rewindParams{Prefix: "p/", UnmarkDelete: seed%2 == 0}
		target, prefix := "lake", "p/"
		if seed == 3 {
			target, prefix = "other", "back of/"
			p.Into, p.IntoPrefix = target, prefix
		}
		var plans, backs [2]string
		var changed [2]int64
		for n, partLines := range []int{7, 1_000_000} {
			m, at, was, now := wide(t, seed)
			p.At = at
			with := prove.With(t, p)
			left := &atomic.Int64{}
			def, req := rewinding(t, mortal{m.Owner(), left}, partLines)
			req.Run.Workflow = fmt.Sprint("parts of ", partLines)
			ch, err := def.Plan(t.Context(), req, with)
			if err != nil {
				t.Fatal(err)
			}
			plans[n] = told(ch, at)
			if (len(ch.Parts) > 100) != (n == 0) || len(ch.Data) < 10_000 != (n == 0) {
				t.Errorf("seed %d: parts of %d lines make %d of them, and %d bytes beside", seed, partLines, len(ch.Parts), len(ch.Data))
			}
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			does := func(what string, f func(context.Context, action.Request) (action.Outcome, error)) (total int64) {
				t.Helper()
				for deaths := 0; ; deaths++ {
					if left.Store(int64(r.IntN(500))); deaths > 12 {
						left.Store(1 << 40)
					}
					out, err := f(t.Context(), req)
					if total += out.Mutations; err == nil {
						break
					} else if !errors.Is(err, errDied) {
						t.Fatalf("seed %d, %s: %v", seed, what, err)
					}
				}
				left.Store(0)
				if out, err := f(t.Context(), req); err != nil || out.Mutations != 0 {
					t.Errorf("seed %d, %s once more: %+v, %v", seed, what, out, err)
				}
				return total
			}
			passes := func(what string, obs []action.Observation, err error) {
				t.Helper()
				if err != nil || action.Worst(obs) != verdict.Pass {
					t.Errorf("seed %d, %s: %v\n%s", seed, what, err, prove.Told(obs))
				}
			}
			req.Plan = &ch
			changed[n] = does("Apply", func(ctx context.Context, r action.Request) (action.Outcome, error) { return def.Apply(ctx, r, with) })
			want := map[string]string{}
			for key, body := range was {
				want[prefix+strings.TrimPrefix(key, "p/")] = body
			}
			if d := cmp.Diff(want, held(t, m.Owner(), target)); d != "" {
				t.Errorf("seed %d: after the rewind (-want +got): %s", seed, d)
			}
			obs, err := def.Verify(t.Context(), req, with)
			passes("Verify", obs, err)

			back, err := def.UndoPlan(t.Context(), req, with)
			if err != nil {
				t.Fatal(err)
			}
			backs[n] = told(back, at)
			req.Plan = &back
			does("Undo", func(ctx context.Context, r action.Request) (action.Outcome, error) {
				return def.UndoApply(ctx, r, with)
			})
			if want = now; target != "lake" {
				want = map[string]string{}
			}
			if d := cmp.Diff(want, held(t, m.Owner(), target)); d != "" {
				t.Errorf("seed %d: after it was taken back (-want +got): %s", seed, d)
			}
			obs, err = def.UndoVerify(t.Context(), req, with)
			passes("Undo.Verify", obs, err)
		}
		if d := cmp.Diff(plans[1], plans[0]); d != "" || changed[0] != changed[1] && !p.UnmarkDelete {
			t.Errorf("seed %d: in parts the plan says something else, and %d keys changed instead of %d (-whole +parts): %s", seed, changed[0], changed[1], d)
		}
		if d := cmp.Diff(backs[1], backs[0]); d != "" {
			t.Errorf("seed %d: in parts the undo's plan says something else (-whole +parts): %s", seed, d)
		}
	}
}

// TestDamagedPartIsRefused: a plan whose parts are not those that it names changes
// nothing, and proves nothing.
func TestDamagedPartIsRefused(t *testing.T) {
	t.Parallel()
	m, at, _, now := wide(t, 9)
	def, req := rewinding(t, m.Owner(), 50)
	with := prove.With(t, rewindParams{Prefix: "p/", At: at})
	whole, err := def.Plan(t.Context(), req, with)
	if err != nil {
		t.Fatal(err)
	}
	last := whole.Parts[len(whole.Parts)-1]
	kept, _ := req.Parts.(*world.PlanParts)
	for name, tc := range map[string]struct {
		parts func([]string) []string
		spoil func(all map[string][]byte)
	}{
		"a part is gone":          {spoil: func(all map[string][]byte) { delete(all, last) }},
		"a part was changed":      {spoil: func(all map[string][]byte) { all[last] = append([]byte{}, all[whole.Parts[0]]...) }},
		"the plan names one less": {parts: func(p []string) []string { return p[:len(p)-1] }},
		"the plan names one twice": {parts: func(p []string) []string {
			return append(append([]string{}, p[:len(p)-1]...), p[len(p)-2])
		}},
	} {
		ch, r := whole, req
		if tc.parts != nil {
			ch.Parts = tc.parts(ch.Parts)
		}
		mine := &world.PlanParts{All: maps.Clone(kept.All)}
		if tc.spoil != nil {
			tc.spoil(mine.All)
		}
		r.Plan, r.Parts = &ch, mine
		if out, err := def.Apply(t.Context(), r, with); !errors.Is(err, action.ErrRefused) || out.Mutations != 0 {
			t.Errorf("%s: Apply = %+v, %v; want a refusal", name, out, err)
		}
		if obs, err := def.Verify(t.Context(), r, with); !errors.Is(err, action.ErrRefused) {
			t.Errorf("%s: Verify = %v, %v; want a refusal", name, obs, err)
		}
		if _, err := def.UndoPlan(t.Context(), r, with); !errors.Is(err, action.ErrRefused) {
			t.Errorf("%s: Undo.Plan = %v; want a refusal", name, err)
		}
	}
	if d := cmp.Diff(now, held(t, m.Owner(), "lake")); d != "" {
		t.Errorf("something was changed: %s", d)
	}
}
