package storage

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/world"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/lifecycle"
)

func rawWest(s *world.Shelf) *minio.Client {
	s.T.Helper()
	c, err := minio.New(s.Address(world.West), &minio.Options{Creds: miniocreds.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, "")})
	s.Must(err)
	return c
}

// versioning turns versioning on, with MinIO's exceptions, or suspends it.
func versioning(s *world.Shelf, on, exceptFolders bool) {
	s.T.Helper()
	status := minio.Suspended
	if on {
		status = minio.Enabled
	}
	s.Must(rawWest(s).SetBucketVersioning(s.T.Context(), s.Bucket, minio.BucketVersioningConfiguration{Status: status, ExcludeFolders: exceptFolders}))
}

// expiring gives the bucket a rule that removes something after so many days: old
// versions, or everything, which it may have done before the key came to be.
func expiring(s *world.Shelf, everything bool, days int) {
	s.T.Helper()
	r := lifecycle.Rule{ID: "tidy", Status: "Enabled"}
	if everything {
		r.Expiration = lifecycle.Expiration{Days: lifecycle.ExpirationDays(days), DeleteAll: true}
	} else {
		r.NoncurrentVersionExpiration = lifecycle.NoncurrentVersionExpiration{NoncurrentDays: lifecycle.ExpirationDays(days)}
	}
	s.Must(rawWest(s).SetBucketLifecycle(s.T.Context(), s.Bucket, &lifecycle.Configuration{Rules: []lifecycle.Rule{r}}))
}

// asks says which acceptances a plan asks for.
func asks(ch action.Change) (ids []string) {
	for _, a := range ch.Accepts {
		ids = append(ids, a.ID)
	}
	slices.Sort(ids)
	return ids
}

// TestRewindBeyondWhatIsKept: a rule may have removed what was there at the moment: what
// lives now stays, until people decide that it goes.
func TestRewindBeyondWhatIsKept(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/")
	s.Put("a", "one")
	at := s.Moment()
	then := s.Holds(s.Bucket, s.Prefix)
	s.Put("later", "two!") // and before it, perhaps, another
	before := s.Holds(s.Bucket, s.Prefix)
	delete(then, "tick2")
	kept := maps.Clone(before)
	kept["tick"] = then["tick"]
	def := s.World.Action("storage.rewind")
	doubt := []string{"ambiguous-versions", "removed-without-trace", "unknown-at-time"}
	for _, tc := range []struct {
		name       string
		everything bool
		unknown    string
		asks       []string
		want       map[string]string
	}{
		{"old versions are kept for a month", false, "", doubt[:1], then},
		{"a rule removes keys as a whole", true, "", doubt, kept},
		{"and people want them hidden", true, "hide", doubt, then},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.T = t
			expiring(s, tc.everything, 30)
			p := prove.With(t, rewindParams{At: at, Prefix: s.Prefix, Unknown: tc.unknown})
			r := s.Request(def, "lake")
			s.Act(def, &r, p)
			if d := cmp.Diff(tc.asks, asks(*r.Plan)); d != "" {
				t.Errorf("what people accept (-want +got): %s", d)
			}
			if d := cmp.Diff(tc.want, s.Holds(s.Bucket, s.Prefix)); d != "" {
				t.Errorf("after the rewind (-want +got): %s", d)
			}
			prove.Passes(t, def, r, p)
			if !tc.everything { // what was planned as known is looked at again
				expiring(s, true, 30)
				obs, err := def.Verify(t.Context(), r, p)
				s.Must(err)
				if action.Worst(obs) != verdict.Unknown || !strings.Contains(prove.Told(obs), "rule tidy removes current objects with every version after 30 days") {
					t.Errorf("Verify with a rule that may have removed it:\n%s", prove.Told(obs))
				}
			}
			s.TakenBack(def, &r, p)
			if d := cmp.Diff(before, s.Holds(s.Bucket, s.Prefix)); d != "" {
				t.Errorf("after the rewind was taken back (-want +got): %s", d)
			}
		})
	}
	p := prove.With(t, rewindParams{At: at, Prefix: s.Prefix, Unknown: "perhaps"})
	if _, err := def.Plan(t.Context(), s.Request(def, "lake"), p); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Plan with a word that means nothing = %v", err)
	}
}

// TestRewindOfWhatWasNotVersioned: what was written over while versioning was
// suspended, and what the store never versions, is left, and the rest comes back.
func TestRewindOfWhatWasNotVersioned(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/")
	versioning(s, false, false)
	s.Put("suspended", "one")
	at := s.Moment()
	s.Put("suspended", "two!")
	versioning(s, true, true)
	s.Put("folder/", "")
	s.Put("known", "new") // the bucket kept no versions, and so it may have been there
	before := s.Holds(s.Bucket, s.Prefix)
	def := s.World.Action("storage.rewind")
	p := prove.With(t, rewindParams{At: at, Prefix: s.Prefix})
	r := s.Request(def, "lake")
	s.Act(def, &r, p)
	if d := cmp.Diff([]string{"ambiguous-versions", "removed-without-trace", "unknown-at-time"}, asks(*r.Plan)); d != "" {
		t.Errorf("what people accept (-want +got): %s", d)
	}
	if !strings.Contains(r.Plan.Summary, "at least") {
		t.Errorf("the plan counts what it does not know: %s", r.Plan.Summary)
	}
	if d := cmp.Diff(before, s.Holds(s.Bucket, s.Prefix)); d != "" {
		t.Errorf("after the rewind (-want +got): %s", d)
	}
	prove.Passes(t, def, r, p)
	s.Put("suspended", "three") // it was to stay
	if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("Verify after a write: %v\n%s", err, prove.Told(obs))
	}
}

// TestRewindRace writes after the look and before the change, on a store that takes
// conditions for granted: what came in between is found, and undo brings it back.
func TestRewindRace(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/")
	s.Put("over", "one")
	at := s.Moment()
	s.Put("over", "two!")
	s.Put("new", "three")
	def := s.World.Action("storage.rewind")
	p := prove.With(t, rewindParams{At: at, Prefix: s.Prefix})
	r := s.Request(def, "lake")
	ch, err := def.Plan(t.Context(), r, p)
	s.Must(err)
	r.Plan = &ch
	raced := false
	r.Guard = func(context.Context) error {
		if !raced {
			raced = true
			s.Put("over", "somebody's")
			s.Put("new", "somebody's, too")
		}
		return nil
	}
	if _, err := def.Apply(t.Context(), r, p); err != nil && !errors.Is(err, action.ErrMoved) {
		t.Fatal(err)
	}
	obs, err := def.Verify(t.Context(), r, p)
	s.Must(err)
	if action.Worst(obs) != verdict.Fail {
		t.Errorf("what was written in between is buried unseen:\n%s", prove.Told(obs))
	}
	s.TakenBack(def, &r, p)
	if got := s.Holds(s.Bucket, s.Prefix); got["over"] != "somebody's" || got["new"] != "somebody's, too" {
		t.Errorf("after the rewind was taken back: %q", got)
	}
}

// TestRewindBehindTheFence is StorageRewind's order: the writers are denied, the rewind
// is not, and afterwards they write again.
func TestRewindBehindTheFence(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "orders/orders/")
	s.World.Put(world.East, s.Prefix+"a", "one")
	at := s.Moment() // of one machine's clock
	s.World.Put(world.East, s.Prefix+"a", "two!")
	writer := s.World.Minio[world.East].As(t, "orders-writer", world.SecretOf("orders-writer"))
	write := func() objectstore.ProbeOutcome {
		_, err := writer.Put(t.Context(), s.World.Bucket(world.East), s.Prefix+"late", []byte("late"))
		return objectstore.Attempted(err)
	}
	where := prove.With(t, barringWith{Region: world.East})
	p := prove.With(t, rewindParams{At: at, Prefix: s.Prefix, Region: world.East})
	for _, step := range []struct {
		action string
		with   json.RawMessage
		denied bool
	}{
		{"storage.fence", where, true},
		{"storage.rewind", p, true},
		{"storage.unfence", where, false},
	} {
		def := s.World.Action(step.action)
		r := s.Request(def, "lake")
		s.Act(def, &r, step.with)
		if obs, err := def.Verify(t.Context(), r, step.with); err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("%s: %v\n%s", step.action, err, prove.Told(obs))
		}
		if got := write(); (got == objectstore.ProbeDenied) != step.denied {
			t.Errorf("after %s a write is %v", step.action, got)
		}
	}
}
