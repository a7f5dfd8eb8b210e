package storage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/system"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/google/go-cmp/cmp"
)

// seeds is how many of a torture's seeds this run takes.
func seeds(t *testing.T, sample int) int {
	t.Helper()
	if os.Getenv("BREAKWATER_TORTURE") != "1" {
		return sample
	}
	if n, err := strconv.Atoi(os.Getenv("SEEDS")); err == nil {
		return n
	}
	return 200
}

// TestTortureRewindKilled kills rewinds, and what takes them back, at random
// moments: the next attempt reaches the state at T, and the one before it again;
// no version of any object is lost.
func TestTortureRewindKilled(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "")
	kills := 0
	first := rand.Uint64()
	for n := range seeds(t, 3) {
		seed := first + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s.T = t
			r := rand.New(rand.NewPCG(seed, 7))
			s.Prefix = fmt.Sprintf("kill/%d/", seed)
			keys := 20 + r.IntN(60)
			key := func(i int) string {
				return fmt.Sprintf("%s/%04d.json", []string{"data", "t/_delta_log", "x y"}[i%3], i)
			}
			change := func(what string) {
				for i := range keys {
					switch r.IntN(4) {
					case 0:
						s.Put(key(i), fmt.Sprintf("%s %d", what, i))
					case 1:
						s.Remove(key(i))
					}
				}
			}
			change("one")
			change("two")
			want := s.Holds(s.Bucket, s.Prefix)
			p := rewindParams{At: s.Moment(), Prefix: s.Prefix, UnmarkDelete: r.IntN(2) == 0}
			change("three")
			change("four")
			before := s.Holds(s.Bucket, s.Prefix)
			versions := s.Versions()

			// A plan of every other seed is in parts.
			s.Instead = nil
			if n%2 == 1 {
				s.Instead = func(c *action.Catalogue, all *system.Systems) {
					r := newRoom(all)
					r.partLines = 7
					r.rewindActions(c)
				}
			}
			def := s.World.Action("storage.rewind")
			req := s.Request(def, "lake")
			ch, err := def.Plan(t.Context(), req, prove.With(t, p))
			s.Must(err)
			req.Plan = &ch
			parts, _ := req.Parts.(*world.PlanParts)
			call := world.ChildCall{Action: def.Name, Run: req.Run, Item: req.Item, Estate: s.Estate, Plan: &ch, With: prove.With(t, p), Parts: parts.All}
			if (len(ch.Parts) > 1) != (n%2 == 1) {
				t.Errorf("the plan has %d parts", len(ch.Parts))
			}
			kills += s.Killed(r, call, keys)
			got := s.Holds(s.Bucket, s.Prefix)
			delete(got, "tick")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("after the rewind (-want +got): %s", d)
			}
			if obs, err := def.Verify(t.Context(), req, prove.With(t, p)); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
			}
			if out, err := def.Apply(t.Context(), req, prove.With(t, p)); err != nil || out.Mutations != 0 {
				t.Errorf("Apply once more = %+v, %v", out, err)
			}
			back, err := def.UndoPlan(t.Context(), req, prove.With(t, p))
			s.Must(err)
			call.Plan, call.Undo, call.Parts = &back, true, parts.All
			kills += s.Killed(r, call, keys)
			if d := cmp.Diff(before, s.Holds(s.Bucket, s.Prefix)); d != "" {
				t.Errorf("after it was taken back (-want +got): %s", d)
			}
			now := s.Versions()
			for id, v := range versions {
				if _, ok := now[id]; !ok && !v.DeleteMarker {
					t.Errorf("version %s of %s is lost", id, v.Key)
				}
			}
		})
	}
	s.T = t
	if kills == 0 {
		t.Error("nothing was killed")
	}
}

// TestTortureUndeleteKilled kills undeletions at random moments.
func TestTortureUndeleteKilled(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 5, 12)
	path := "orders/orders"
	def := l.World.Action("storage.undelete")
	version := int64(12)
	first := rand.Uint64()
	for n := range seeds(t, 2) {
		seed := first + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l.T = t
			r := rand.New(rand.NewPCG(seed, 8))
			p := undeleteParams{Version: &version, Copy: r.IntN(2) == 0}
			for key := range l.Everything(path) {
				if r.IntN(2) == 0 {
					l.Deletes(key)
				}
			}
			req := l.Request(def, "orders")
			ch, err := def.Plan(t.Context(), req, prove.With(t, p))
			l.Must(err)
			req.Plan = &ch
			l.Killed(r, world.ChildCall{Action: def.Name, Run: req.Run, Item: req.Item, Estate: l.Estate, Plan: &ch, With: prove.With(t, p)}, 12)
			if obs, err := def.Verify(t.Context(), req, prove.With(t, p)); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
			}
			l.Reads("orders", 12)
		})
	}
	l.T = t
}
