package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
)

// undeletable is a lake whose table orders is whole at the target.
func undeletable(t *testing.T, every int64, commits int) *world.Lake {
	t.Helper()
	l := world.NewLake(t)
	l.Create("orders", every)
	for range commits {
		l.Tick(time.Second)
		l.Append("orders", 5)
	}
	l.Replicate("orders", nil)
	l.Run.SourceUnreachable = false
	return l
}

func TestProveUndelete(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 4, 9)
	path := "orders/orders"
	files := make([]string, 0, 10)
	for v := 1; v <= 9; v++ {
		files = append(files, l.DataOf("orders", v)...)
	}
	l.Deletes(files[0], files[1], files[2], files[3])
	l.Writes(files[4], "other bytes") // of another size, over it
	l.Writes(files[5], "other bytes")
	l.Deletes(files[5]) // and deleted: its marker hides the wrong one
	l.Deletes(world.Entry(path, 9), path+"/_delta_log/_last_checkpoint", fmt.Sprintf("%s/_delta_log/%020d.checkpoint.parquet", path, 8))
	before := l.Everything(path)
	def := l.World.Action("storage.undelete")
	version := int64(9)
	for _, p := range []undeleteParams{{Version: &version}, {Version: &version, Copy: true}} {
		t.Run(fmt.Sprintf("copy=%v", p.Copy), func(t *testing.T) {
			l.T = t
			r := l.Request(def, "orders")
			ch, err := def.Plan(t.Context(), r, prove.With(t, p))
			l.Must(err)
			if accepts := slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "remove-delete-markers" }); accepts == p.Copy {
				t.Errorf("copy is %v, and the plan accepts %+v", p.Copy, ch.Accepts)
			}
			r.Plan = &ch
			_, err = def.Apply(t.Context(), r, prove.With(t, p))
			l.Must(err)
			l.Reads("orders", 9)
			l.Reads("orders", 4)
			back, err := def.UndoPlan(t.Context(), r, prove.With(t, p))
			l.Must(err)
			r.Plan = &back
			_, err = def.UndoApply(t.Context(), r, prove.With(t, p))
			l.Must(err)
			if d := cmp.Diff(before, l.Everything(path)); d != "" {
				t.Errorf("after taking it back: %s", d)
			}
			r.Plan = nil
			prove.ActionWith(t, def, r, prove.With(t, p), l.FaultSet())
		})
		l.T = t
	}
	prove.HalfwayWith(t, def, l.Request(def, "orders"), prove.With(t, undeleteParams{Version: &version}))
}

// TestUndeleteRefuses names what nothing can bring back.
func TestUndeleteRefuses(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 3)
	lost := l.DataOf("orders", 2)[0]
	l.Deletes(l.DataOf("orders", 1)...)
	l.Destroys(lost)
	def := l.World.Action("storage.undelete")
	if _, err := def.Plan(t.Context(), l.Request(def, "orders"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), lost) {
		t.Errorf("Plan = %v; want it to name %s", err, lost)
	}
	// Version 1 does not need it.
	version := int64(1)
	p := prove.With(t, undeleteParams{Version: &version})
	r := l.Request(def, "orders")
	l.Act(def, &r, p)
	l.Reads("orders", 1)
	version = 7
	if _, err := def.Plan(t.Context(), r, prove.With(t, undeleteParams{Version: &version})); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Plan of a version that never was = %v", err)
	}
}

// TestUndeleteByTime brings back what the version of a moment needs, which is the one
// that a rollback to that moment will commit.
func TestUndeleteByTime(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 3)
	l.Deletes(l.DataOf("orders", 1)...)
	log, _ := l.Log(world.West, "orders")
	times, err := log.Times(t.Context())
	l.Must(err)
	at, version := times.Versions[2].Time, int64(1)
	def := l.World.Action("storage.undelete")
	r := l.Request(def, "orders")
	if _, err := def.Plan(t.Context(), r, prove.With(t, undeleteParams{ToTime: &at, Version: &version})); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Plan of a version and a moment = %v", err)
	}
	early := times.Versions[0].Time.Add(-time.Hour)
	if _, err := def.Plan(t.Context(), r, prove.With(t, undeleteParams{ToTime: &early})); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Plan of a moment before the table = %v", err)
	}
	p := prove.With(t, undeleteParams{ToTime: &at})
	l.Act(def, &r, p)
	if plan, err := action.Decode[undeletePlan](r.Plan.Data); err != nil || plan.Version != 2 || len(plan.Lines) == 0 {
		t.Errorf("planned %+v, %v; want version 2", plan, err)
	}
	prove.Passes(t, def, r, p)
	l.Reads("orders", 2)
}

// TestUndeleteNewest takes the newest version that the log, as it is, means.
func TestUndeleteNewest(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 4)
	path := "orders/orders"
	def := l.World.Action("storage.undelete")
	plan := func() (undeletePlan, action.Change) {
		t.Helper()
		ch, err := def.Plan(t.Context(), l.Request(def, "orders"), nil)
		l.Must(err)
		p, err := action.Decode[undeletePlan](ch.Data)
		l.Must(err)
		return p, ch
	}
	if p, ch := plan(); p.Version != 4 || len(ch.Effects) > 0 || len(ch.Accepts) > 0 {
		t.Errorf("of a whole table: version %d, %+v, %+v", p.Version, ch.Effects, ch.Accepts)
	}
	l.Deletes(world.Entry(path, 4)) // as a promotion moves it aside
	l.Deletes(l.DataOf("orders", 1)...)
	if p, ch := plan(); p.Version != 3 || !slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "later-versions-deleted" }) {
		t.Errorf("with the head deleted: version %d, %+v", p.Version, ch.Accepts)
	}
	l.Deletes(world.Entry(path, 0)) // the log as it is cannot be read any more
	if p, _ := plan(); p.Version != 3 {
		t.Errorf("with the first entry deleted: version %d", p.Version)
	}
	l.Deletes(world.Entry(path, 1), world.Entry(path, 2), world.Entry(path, 3))
	if p, _ := plan(); p.Version != 4 {
		t.Errorf("with the whole log deleted: version %d", p.Version)
	}
	l.Unmark(path)
	l.Deletes(l.DataOf("orders", 1)...)
	l.Writes(world.Entry(path, 5), `{"commitInfo":{"timestamp":1790000000000,"operation":"VACUUM START"}}`+"\n")
	if p, ch := plan(); p.Version != 5 || !slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "vacuum-under-way" }) {
		t.Errorf("during a VACUUM: version %d, %+v", p.Version, ch.Accepts)
	}
	l.Writes(world.Entry(path, 6), `{"commitInfo":{"timestamp":1790000001000,"operation":"VACUUM END"}}`+"\n")
	if p, ch := plan(); p.Version != 6 || slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "vacuum-under-way" }) {
		t.Errorf("after a VACUUM: version %d, %+v", p.Version, ch.Accepts)
	}
}

// TestTrap13VacuumDuringUndelete lets maintenance delete while objects come back:
// before Apply the plan has moved, after it Verify sees it.
func TestTrap13VacuumDuringUndelete(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 4)
	one, two := l.DataOf("orders", 1)[0], l.DataOf("orders", 2)[0]
	def := l.World.Action("storage.undelete")
	r := l.Request(def, "orders")
	plan := func() {
		t.Helper()
		ch, err := def.Plan(t.Context(), l.Request(def, "orders"), nil)
		l.Must(err)
		r.Plan = &ch
	}
	t.Run("what was to come back is expired", func(t *testing.T) {
		l.T = t
		l.Deletes(one)
		plan()
		l.Destroys(one)
		if out, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) || out.Mutations > 0 {
			t.Errorf("Apply = %+v, %v", out, err)
		}
		l.Carry(one)
	})
	t.Run("what was to come back is expired below its delete marker", func(t *testing.T) {
		l.T = t
		l.Deletes(one)
		plan()
		for v, err := range l.RootBucket(world.West).ListVersions(t.Context(), one) {
			l.Must(err)
			if !v.DeleteMarker {
				l.Must(l.Minio[world.West].Client(t).DeleteVersion(t.Context(), "lake-west", one, v.VersionID))
			}
		}
		if out, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) || out.Mutations > 0 || !strings.Contains(err.Error(), "which was to come back") {
			t.Errorf("Apply = %+v, %v", out, err)
		}
		l.Carry(one)
	})
	t.Run("what came back is deleted again before it was looked at", func(t *testing.T) {
		l.T = t
		l.Deletes(one)
		plan()
		l.Unmark(one)
		l.Deletes(one)
		if out, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) || out.Mutations > 0 {
			t.Errorf("Apply = %+v, %v", out, err)
		}
	})
	t.Run("another object is deleted meanwhile", func(t *testing.T) {
		l.T = t
		plan()
		l.Deletes(two)
		_, err := def.Apply(t.Context(), r, nil)
		l.Must(err)
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(prove.Told(obs), two) {
			t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
		}
		plan()
		_, err = def.Apply(t.Context(), r, nil)
		l.Must(err)
		l.Reads("orders", 4)
	})
	t.Run("a file is deleted after Apply", func(t *testing.T) {
		l.T = t
		l.Deletes(one)
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(prove.Told(obs), one) {
			t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
		}
	})
}

// TestTrap13ExpiryDuringRewind destroys, while a rewind is under way, a version
// that it does not even have to copy.
func TestTrap13ExpiryDuringRewind(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/")
	s.Put("a", "one")
	s.Put("keeps", "two")
	at := s.Moment()
	s.Put("a", "ONE")
	def := s.World.Action("storage.rewind")
	r, p := s.Request(def, "lake"), prove.With(t, rewindParams{At: at, Prefix: s.Prefix})
	s.Act(def, &r, p)
	prove.Passes(t, def, r, p)
	for v, err := range s.Minio[world.West].Client(t).ListVersions(t.Context(), s.Bucket, s.Prefix+"keeps") {
		s.Must(err)
		s.Must(s.Minio[world.West].Client(t).DeleteVersion(t.Context(), s.Bucket, v.Key, v.VersionID))
	}
	// By the listing alone nothing differs: what is gone is gone then and now.
	if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(prove.Told(obs), "what was approved") {
		t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
	}
}

// TestTrap16DeleteMarkersReplicatedOrNot undeletes at a standby to which half of
// the delete markers were replicated: its own versions decide, whatever the
// source's are.
func TestTrap16DeleteMarkersReplicatedOrNot(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 6)
	bucket := "lake-east"
	var here []string
	for v := 1; v <= 6; v++ {
		key := l.DataOf("orders", v)[0]
		_, err := l.S3[world.East].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		l.Must(err)
		if v%2 == 0 {
			here = append(here, key)
			l.Deletes(key)
		}
	}
	def := l.World.Action("storage.undelete")
	for _, tc := range []struct {
		region string
		want   int
	}{{world.West, len(here)}, {world.East, 6}, {world.West, 0}} {
		r, p := l.Request(def, "orders"), prove.With(t, undeleteParams{Region: tc.region})
		out := l.Act(def, &r, p)
		if out.Mutations != int64(tc.want) {
			t.Errorf("in %s: %d mutations, want %d", tc.region, out.Mutations, tc.want)
		}
		if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("in %s: %v\n%s", tc.region, err, prove.Told(obs))
		}
	}
	l.Reads("orders", 6)
}
