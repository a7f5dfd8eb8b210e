package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/google/go-cmp/cmp"
)

// versions is every version and delete marker below the table.
func (s *stand) versions() (all []string) {
	s.t.Helper()
	for v, err := range s.bucket.ListVersions(s.t.Context(), s.path+"/") {
		s.must(err)
		all = append(all, fmt.Sprintf("%s %s %v %v", v.Key, v.VersionID, v.DeleteMarker, v.Latest))
	}
	return all
}

func (s *stand) deletes(keys ...string) {
	s.t.Helper()
	for _, key := range keys {
		_, err := s.bucket.Delete(s.t.Context(), key)
		s.must(err)
	}
}

// vacuumed is a table of five files of which version 6 removed two, which a VACUUM has
// deleted since.
func vacuumed(t *testing.T) (*stand, *seen) {
	s, store := inMemory(t, false)
	s.write(5, 0)
	s.commit(6, append(s.removal(2), s.removal(4)[1:]...)...)
	s.deletes(s.dataOf(2), s.dataOf(4))
	return s, store
}

// effect finds what a plan does to an object.
func effect(ch *action.Change, on string) (int, string) {
	for i, e := range ch.Effects {
		if strings.HasSuffix(e.On, on) {
			return i, e.Do
		}
	}
	return -1, ""
}

// TestRollbackAfterAVacuum: one plan names what comes back and the commit; applied in
// two attempts and verified; taken back, the objects stay.
func TestRollbackAfterAVacuum(t *testing.T) {
	t.Parallel()
	for _, with := range []string{`{"to_version":5}`, `{"to_time":"%s"}`, `{"to_version":5,"copy":true}`} {
		s, _ := vacuumed(t)
		if strings.Contains(with, "%s") {
			o, err := s.bucket.Head(t.Context(), s.entry(5))
			s.must(err)
			with = fmt.Sprintf(with, o.LastModified.UTC().Format(time.RFC3339Nano))
		}
		p := []byte(with)
		d, r := s.planned("table.rollback", p)
		first, do := effect(r.Plan, s.dataOf(2))
		commit := -1
		for i, e := range r.Plan.Effects {
			if strings.Contains(e.Do, "commit version 7 with the content of version 5") {
				commit = i
			}
		}
		if first < 0 || commit < first || !strings.Contains(r.Plan.Summary, "2 deleted objects") {
			t.Fatalf("%s: the plan brings back as effect %d (%s) and commits as effect %d: %s", with, first, do, commit, r.Plan.Summary)
		}
		died := errors.New("died")
		asked := 0
		r.Guard = func(context.Context) error {
			if asked++; asked > 1 {
				return died
			}
			return nil
		}
		if out, err := d.Apply(t.Context(), r, p); !errors.Is(err, died) || out.Mutations == 0 {
			t.Fatalf("%s: Apply = %+v, %v", with, out, err)
		}
		r.Guard = func(context.Context) error { return nil }
		out, err := d.Apply(t.Context(), r, p)
		s.must(err)
		if out.Mutations != 1 {
			t.Errorf("%s: the second attempt made %d mutations", with, out.Mutations)
		}
		if out, err := d.Apply(t.Context(), r, p); err != nil || out.Mutations != 0 {
			t.Errorf("%s: the third attempt: %+v, %v", with, out, err)
		}
		prove.Passes(t, d, r, p)
		back, err := d.UndoPlan(t.Context(), r, p)
		s.must(err)
		r.Plan = &back
		_, err = d.UndoApply(t.Context(), r, p)
		s.must(err)
		if obs, err := d.UndoVerify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("%s: taken back: %v\n%s", with, err, prove.Told(obs))
		}
		for _, v := range []int{2, 4} {
			if there, err := s.bucket.Exists(t.Context(), s.dataOf(v)); err != nil || !there {
				t.Errorf("%s: taken back, %s is there: %v, %v", with, s.dataOf(v), there, err)
			}
		}
		if obs, err := d.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("%s: the head as it was: %v\n%s", with, err, prove.Told(obs))
		}
	}
}

// TestRollbackNeedsNothingBack: where nothing is deleted the plan says nothing of it.
func TestRollbackNeedsNothingBack(t *testing.T) {
	t.Parallel()
	s, store := inMemory(t, false)
	s.write(5, 0)
	s.commit(6, s.removal(2)...)
	listed := 0
	store.before = func(doing, _ string) {
		if doing == "ListVersions" {
			listed++
		}
	}
	_, r := s.planned("table.rollback", toVersion(5))
	if strings.Contains(string(r.Plan.Data), "undelete") || strings.Contains(r.Plan.Summary, "deleted") || listed > 0 {
		t.Errorf("%d listings of versions: %s\n%s", listed, r.Plan.Summary, r.Plan.Data)
	}
}

// TestRollbackOfALogThatWasCleanedUp: the version's own entries come back, too.
func TestRollbackOfALogThatWasCleanedUp(t *testing.T) {
	t.Parallel()
	s, _ := inMemory(t, false)
	s.write(6, 4)
	gone := []string{s.entry(0), s.entry(1), s.entry(2), s.dataOf(2)}
	s.deletes(gone...)
	d, r := s.planned("table.rollback", toVersion(2))
	for _, key := range gone {
		if _, do := effect(r.Plan, key); do == "" {
			t.Errorf("%s does not come back: %+v", key, r.Plan.Effects)
		}
	}
	_, err := d.Apply(t.Context(), r, toVersion(2))
	s.must(err)
	prove.Passes(t, d, r, toVersion(2))
}

// TestRollbackOfWhatIsDeletedAtTheHead: the head has the content already, and not its
// objects: they come back, and nothing is committed. What came back is read, although
// the head knew it before.
func TestRollbackOfWhatIsDeletedAtTheHead(t *testing.T) {
	t.Parallel()
	s, store := inMemory(t, false)
	s.write(5, 0)
	s.deletes(s.dataOf(3))
	d, r := s.planned("table.rollback", toVersion(5))
	for n := range int64(2) {
		out, err := d.Apply(t.Context(), r, toVersion(5))
		s.must(err)
		if out.Mutations != 1-n {
			t.Errorf("attempt %d: %d mutations", n+1, out.Mutations)
		}
	}
	count, stop := store.counting()
	prove.Passes(t, d, r, toVersion(5))
	stop()
	if count[s.dataOf(3)] == 0 || count[s.dataOf(2)] > 0 {
		t.Errorf("what came back is asked for %d times, another file %d times", count[s.dataOf(3)], count[s.dataOf(2)])
	}
	if there, err := s.bucket.Exists(t.Context(), s.entry(6)); err != nil || there {
		t.Errorf("something was committed: %v, %v", there, err)
	}
}

// TestRollbackRefusesBeforeAnyChange: what cannot come back, or may not be committed,
// is said by the plan, with names, and nothing was brought back until then.
func TestRollbackRefusesBeforeAnyChange(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		do   func(t *testing.T, s *stand)
		says func(s *stand) []string
	}{
		"of one object no version is left": {
			do: func(t *testing.T, s *stand) {
				for v, err := range s.bucket.ListVersions(t.Context(), s.dataOf(4)) {
					s.must(err)
					s.must(s.bucket.DeleteVersion(t.Context(), v.Key, v.VersionID))
				}
			},
			says: func(s *stand) []string {
				return []string{s.dataOf(4), "no version with the recorded size is left of 1", "backup"}
			},
		},
		"a rule of the table forbids it": {
			do: func(_ *testing.T, s *stand) {
				s.commit(7, strings.Replace(s.metadata(), `"configuration":{`, `"configuration":{"delta.appendOnly":"true"`, 1))
				s.commit(8, `{"commitInfo":{"timestamp":1,"operation":"WRITE"}}`, `{"add":{"path":"x.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}`)
			},
			says: func(*stand) []string { return []string{"append-only"} },
		},
		"there is no such version": {
			do:   func(_ *testing.T, s *stand) { s.deletes(s.entry(6), s.entry(5)) },
			says: func(*stand) []string { return []string{"no version 5"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := vacuumed(t)
			tc.do(t, s)
			before := s.versions()
			d, r := s.action("table.rollback")
			_, err := d.Plan(t.Context(), r, toVersion(5))
			if !errors.Is(err, action.ErrRefused) {
				t.Fatalf("Plan = %v", err)
			}
			for _, text := range tc.says(s) {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("it does not say %q: %v", text, err)
				}
			}
			if diff := cmp.Diff(before, s.versions()); diff != "" {
				t.Errorf("something changed: %s", diff)
			}
		})
	}
}

// metadata is the table's first metaData action.
func (s *stand) metadata() string {
	s.t.Helper()
	body, _, err := s.bucket.Get(s.t.Context(), s.entry(0))
	s.must(err)
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, `{"metaData"`) {
			return strings.TrimSpace(line)
		}
	}
	s.t.Fatal("version 0 has no metaData")
	return ""
}

// TestRollbackWithoutVersions: a bucket that keeps none has nothing to bring back.
func TestRollbackWithoutVersions(t *testing.T) {
	t.Parallel()
	server := memory.New()
	server.Create("lake", memory.Plain)
	s := standIn(t, objectstore.Bind(server.Owner(), "lake"), server.Owner(), "tables/orders")
	s.write(3, 0)
	gone := s.dataOf(2)
	s.deletes(gone)
	d, r := s.action("table.rollback")
	if _, err := d.Plan(t.Context(), r, toVersion(2)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), gone) || !strings.Contains(err.Error(), "keeps no versions") {
		t.Errorf("Plan = %v", err)
	}
}

// TestRollbackWhatIsDeletedAfterThePlan: nothing is committed over it, and the next
// plan brings it back.
func TestRollbackWhatIsDeletedAfterThePlan(t *testing.T) {
	t.Parallel()
	s, _ := vacuumed(t)
	d, r := s.planned("table.rollback", toVersion(5))
	s.deletes(s.dataOf(1))
	if _, err := d.Apply(t.Context(), r, toVersion(5)); !errors.Is(err, action.ErrMoved) || !strings.Contains(err.Error(), s.dataOf(1)) {
		t.Errorf("Apply = %v", err)
	}
	if there, err := s.bucket.Exists(t.Context(), s.entry(7)); err != nil || there {
		t.Errorf("something was committed: %v, %v", there, err)
	}
	d, r = s.planned("table.rollback", toVersion(5))
	_, err := d.Apply(t.Context(), r, toVersion(5))
	s.must(err)
	prove.Passes(t, d, r, toVersion(5))
}

// TestProveRollbackAfterAVacuum takes it through its whole life on MinIO.
func TestProveRollbackAfterAVacuum(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Plant("dv", 8)
	want, bad := l.Rows(3), l.Rows(8)
	log, _ := l.Log(world.West, "orders")
	then, err := log.Snapshot(t.Context(), 3)
	l.Must(err)
	now, err := log.Snapshot(t.Context(), 8)
	l.Must(err)
	live := map[string]bool{}
	for a := range now.Files() {
		_, key := a.File()
		live[key] = true
	}
	for a := range then.Files() {
		if _, key := a.File(); !live[key] {
			l.Deletes(key)
		}
	}
	d, r := l.Rollback()
	prove.ActionWith(t, d, r, toVersion(3), l.FaultSet())
	if got := l.Rows(9); got != want {
		t.Errorf("version 9 reads as %v, want version 3's %v", got, want)
	}
	if got := l.Rows(10); got != bad {
		t.Errorf("taken back, version 10 reads as %v, want version 8's %v", got, bad)
	}
}
