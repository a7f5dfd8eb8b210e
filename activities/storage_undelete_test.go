package activities

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/verdict"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
)

// undeletable is a lake whose table orders is whole at the target.
func undeletable(t *testing.T, every int64, commits int) *lake {
	t.Helper()
	l := newLake(t)
	l.create("orders", every)
	for range commits {
		l.tick(time.Second)
		l.append("orders", 5)
	}
	l.replicate("orders", nil)
	l.run.SourceUnreachable = false
	return l
}

// deletes hides keys at the target, as a person does.
func (l *lake) deletes(keys ...string) {
	l.t.Helper()
	bucket := "lake-west"
	for _, key := range keys {
		_, err := l.s3[west].DeleteObject(l.t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		l.must(err)
	}
}

// destroys removes every version of a key at the target.
func (l *lake) destroys(key string) {
	l.t.Helper()
	bucket := "lake-west"
	for v, err := range l.rootBucket(west).ListVersions(l.t.Context(), key) {
		l.must(err)
		if v.Key == key {
			_, err = l.s3[west].DeleteObject(l.t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: &v.VersionID})
			l.must(err)
		}
	}
}

func (l *lake) writes(key, body string) {
	l.t.Helper()
	bucket := "lake-west"
	_, err := l.s3[west].PutObject(l.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	l.must(err)
}

// reads holds the content of a version at the target against what was written.
func (l *lake) reads(name string, version int) {
	l.t.Helper()
	log, store := l.log(west, name)
	s, err := log.Snapshot(l.t.Context(), int64(version))
	l.must(err)
	d, err := scan.Sum(l.t.Context(), store, s)
	l.must(err)
	if want := l.truth[name][version]; d != want {
		l.t.Errorf("version %d of %s reads as %+v, want %+v", version, name, d, want)
	}
}

func TestProveUndelete(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 4, 9)
	path := "orders/orders"
	files := make([]string, 0, 10)
	for v := 1; v <= 9; v++ {
		files = append(files, l.dataOf("orders", v)...)
	}
	l.deletes(files[0], files[1], files[2], files[3])
	l.writes(files[4], "other bytes") // of another size, over it
	l.writes(files[5], "other bytes")
	l.deletes(files[5]) // and deleted: its marker hides the wrong one
	l.deletes(entry(path, 9), path+"/_delta_log/_last_checkpoint", fmt.Sprintf("%s/_delta_log/%020d.checkpoint.parquet", path, 8))
	before := l.everything(path)
	def := l.action("storage.undelete")
	version := int64(9)
	for _, p := range []undeleteParams{{Version: &version}, {Version: &version, Copy: true}} {
		t.Run(fmt.Sprintf("copy=%v", p.Copy), func(t *testing.T) {
			l.t = t
			r := l.request(def, "orders")
			ch, err := def.Plan(t.Context(), r, with(t, p))
			l.must(err)
			if accepts := slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "remove-delete-markers" }); accepts == p.Copy {
				t.Errorf("copy is %v, and the plan accepts %+v", p.Copy, ch.Accepts)
			}
			r.Plan = &ch
			_, err = def.Apply(t.Context(), r, with(t, p))
			l.must(err)
			l.reads("orders", 9)
			l.reads("orders", 4)
			back, err := def.UndoPlan(t.Context(), r, with(t, p))
			l.must(err)
			r.Plan = &back
			_, err = def.UndoApply(t.Context(), r, with(t, p))
			l.must(err)
			if d := cmp.Diff(before, l.everything(path)); d != "" {
				t.Errorf("after taking it back: %s", d)
			}
			r.Plan = nil
			proveActionWith(t, def, r, with(t, p), l.faultSet())
		})
		l.t = t
	}
	proveHalfwayWith(t, def, l.request(def, "orders"), with(t, undeleteParams{Version: &version}))
}

// TestUndeleteRefuses names what nothing can bring back.
func TestUndeleteRefuses(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 3)
	lost := l.dataOf("orders", 2)[0]
	l.deletes(l.dataOf("orders", 1)...)
	l.destroys(lost)
	def := l.action("storage.undelete")
	if _, err := def.Plan(t.Context(), l.request(def, "orders"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), lost) {
		t.Errorf("Plan = %v; want it to name %s", err, lost)
	}
	// Version 1 does not need it.
	version := int64(1)
	p := with(t, undeleteParams{Version: &version})
	r := l.request(def, "orders")
	l.act(def, &r, p)
	l.reads("orders", 1)
	version = 7
	if _, err := def.Plan(t.Context(), r, with(t, undeleteParams{Version: &version})); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Plan of a version that never was = %v", err)
	}
}

// TestUndeleteNewest takes the newest version that the log, as it is, means.
func TestUndeleteNewest(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 4)
	path := "orders/orders"
	def := l.action("storage.undelete")
	plan := func() (undeletePlan, action.Change) {
		t.Helper()
		ch, err := def.Plan(t.Context(), l.request(def, "orders"), nil)
		l.must(err)
		p, err := action.Decode[undeletePlan](ch.Data)
		l.must(err)
		return p, ch
	}
	if p, ch := plan(); p.Version != 4 || len(ch.Effects) > 0 || len(ch.Accepts) > 0 {
		t.Errorf("of a whole table: version %d, %+v, %+v", p.Version, ch.Effects, ch.Accepts)
	}
	l.deletes(entry(path, 4)) // as a promotion moves it aside
	l.deletes(l.dataOf("orders", 1)...)
	if p, ch := plan(); p.Version != 3 || !slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "later-versions-deleted" }) {
		t.Errorf("with the head deleted: version %d, %+v", p.Version, ch.Accepts)
	}
	l.deletes(entry(path, 0)) // the log as it is cannot be read any more
	if p, _ := plan(); p.Version != 3 {
		t.Errorf("with the first entry deleted: version %d", p.Version)
	}
	l.deletes(entry(path, 1), entry(path, 2), entry(path, 3))
	if p, _ := plan(); p.Version != 4 {
		t.Errorf("with the whole log deleted: version %d", p.Version)
	}
	l.unmark(path)
	l.deletes(l.dataOf("orders", 1)...)
	l.writes(entry(path, 5), `{"commitInfo":{"timestamp":1790000000000,"operation":"VACUUM START"}}`+"\n")
	if p, ch := plan(); p.Version != 5 || !slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "vacuum-under-way" }) {
		t.Errorf("during a VACUUM: version %d, %+v", p.Version, ch.Accepts)
	}
	l.writes(entry(path, 6), `{"commitInfo":{"timestamp":1790000001000,"operation":"VACUUM END"}}`+"\n")
	if p, ch := plan(); p.Version != 6 || slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "vacuum-under-way" }) {
		t.Errorf("after a VACUUM: version %d, %+v", p.Version, ch.Accepts)
	}
}

// TestTrap13VacuumDuringUndelete lets maintenance delete while objects come back:
// before Apply the plan has moved, after it Verify sees it.
func TestTrap13VacuumDuringUndelete(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 4)
	one, two := l.dataOf("orders", 1)[0], l.dataOf("orders", 2)[0]
	def := l.action("storage.undelete")
	r := l.request(def, "orders")
	plan := func() {
		t.Helper()
		ch, err := def.Plan(t.Context(), l.request(def, "orders"), nil)
		l.must(err)
		r.Plan = &ch
	}
	t.Run("what was to come back is expired", func(t *testing.T) {
		l.t = t
		l.deletes(one)
		plan()
		l.destroys(one)
		if out, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) || out.Mutations > 0 {
			t.Errorf("Apply = %+v, %v", out, err)
		}
		l.carry(one)
	})
	t.Run("what was to come back is expired below its delete marker", func(t *testing.T) {
		l.t = t
		l.deletes(one)
		plan()
		for v, err := range l.rootBucket(west).ListVersions(t.Context(), one) {
			l.must(err)
			if !v.DeleteMarker {
				l.must(l.minio[west].Client(t).DeleteVersion(t.Context(), "lake-west", one, v.VersionID))
			}
		}
		if out, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) || out.Mutations > 0 || !strings.Contains(err.Error(), "which was to come back") {
			t.Errorf("Apply = %+v, %v", out, err)
		}
		l.carry(one)
	})
	t.Run("what came back is deleted again before it was looked at", func(t *testing.T) {
		l.t = t
		l.deletes(one)
		plan()
		l.unmark(one)
		l.deletes(one)
		if out, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) || out.Mutations > 0 {
			t.Errorf("Apply = %+v, %v", out, err)
		}
	})
	t.Run("another object is deleted meanwhile", func(t *testing.T) {
		l.t = t
		plan()
		l.deletes(two)
		_, err := def.Apply(t.Context(), r, nil)
		l.must(err)
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(told(obs), two) {
			t.Errorf("Verify: %v\n%s", err, told(obs))
		}
		plan()
		_, err = def.Apply(t.Context(), r, nil)
		l.must(err)
		l.reads("orders", 4)
	})
	t.Run("a file is deleted after Apply", func(t *testing.T) {
		l.t = t
		l.deletes(one)
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(told(obs), one) {
			t.Errorf("Verify: %v\n%s", err, told(obs))
		}
	})
}

// TestTrap13ExpiryDuringRewind destroys, while a rewind is under way, a version
// that it does not even have to copy.
func TestTrap13ExpiryDuringRewind(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "clicks/")
	s.put("a", "one")
	s.put("keeps", "two")
	at := s.moment()
	s.put("a", "ONE")
	def := s.action("storage.rewind")
	r, p := s.request(def, "lake"), with(t, rewindParams{At: at, Prefix: s.prefix})
	s.act(def, &r, p)
	passes(t, def, r, p)
	for v, err := range s.minio[west].Client(t).ListVersions(t.Context(), s.bucket, s.prefix+"keeps") {
		s.must(err)
		s.must(s.minio[west].Client(t).DeleteVersion(t.Context(), s.bucket, v.Key, v.VersionID))
	}
	// By the listing alone nothing differs: what is gone is gone then and now.
	if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(told(obs), "what was approved") {
		t.Errorf("Verify: %v\n%s", err, told(obs))
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
		key := l.dataOf("orders", v)[0]
		_, err := l.s3[east].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		l.must(err)
		if v%2 == 0 {
			here = append(here, key)
			l.deletes(key)
		}
	}
	def := l.action("storage.undelete")
	for _, tc := range []struct {
		region string
		want   int
	}{{west, len(here)}, {east, 6}, {west, 0}} {
		r, p := l.request(def, "orders"), with(t, undeleteParams{Region: tc.region})
		out := l.act(def, &r, p)
		if out.Mutations != int64(tc.want) {
			t.Errorf("in %s: %d mutations, want %d", tc.region, out.Mutations, tc.want)
		}
		if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("in %s: %v\n%s", tc.region, err, told(obs))
		}
	}
	l.reads("orders", 6)
}
