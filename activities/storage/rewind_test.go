package storage

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

func TestProveRewind(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"copy", "unmark"} {
		s := world.NewShelf(t, "orders/orders/")
		p := rewindParams{Prefix: s.Prefix, UnmarkDelete: mode == "unmark"}
		for i := range 40 {
			s.Put(fmt.Sprintf("d/%02d", i), fmt.Sprintf("content %d", i))
		}
		s.Put("d/back", "twice")
		s.Remove("d/back")
		want := s.Holds(s.Bucket, s.Prefix)
		p.At = s.Moment()
		for i := range 40 {
			switch i % 4 {
			case 0:
				s.Put(fmt.Sprintf("d/%02d", i), fmt.Sprintf("CONTENT %d", i)) // of the same length
			case 1:
				s.Remove(fmt.Sprintf("d/%02d", i))
			case 2:
				s.Put(fmt.Sprintf("d/%02d-new", i), "new")
			}
		}
		s.Put("d/back", "again")
		before := s.Holds(s.Bucket, s.Prefix)
		def := s.World.Action("storage.rewind")
		r := s.Request(def, "lake")
		t.Run(mode, func(t *testing.T) {
			s.T = t
			r.Run.SourceUnreachable = false
			if mode == "unmark" {
				ch, err := def.Plan(t.Context(), r, prove.With(t, p))
				s.Must(err)
				if !slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "remove-delete-markers" }) {
					t.Errorf("the plan removes delete markers and accepts only %+v", ch.Accepts)
				}
			}
			s.Act(def, &r, prove.With(t, p))
			got := s.Holds(s.Bucket, s.Prefix)
			delete(want, "tick")
			delete(got, "tick")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("after the rewind (-want +got): %s", d)
			}
			back, err := def.UndoPlan(t.Context(), r, prove.With(t, p))
			s.Must(err)
			r.Plan = &back
			_, err = def.UndoApply(t.Context(), r, prove.With(t, p))
			s.Must(err)
			if d := cmp.Diff(before, s.Holds(s.Bucket, s.Prefix)); d != "" {
				t.Errorf("after the rewind was rewound (-want +got): %s", d)
			}
			r.Plan = nil
			set := slices.Concat(faults.Rewinds(s.Faults), faults.Tables(s.Faults), faults.Regions(s.Faults))
			prove.ActionWith(t, def, r, prove.With(t, p), set)
		})
		s.T = t
		prove.HalfwayWith(t, def, s.Request(def, "lake"), prove.With(t, p))
	}
}

// TestRewindInto puts a state into another bucket, and leaves the first alone.
func TestRewindInto(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/")
	s.Put("a", "one")
	s.Put("b/c", "two")
	s.Put("gone", "three")
	want := s.Holds(s.Bucket, s.Prefix)
	at := s.Moment()
	s.Put("a", "ONE")
	s.Remove("gone")
	s.Put("later", "four")
	before := s.Holds(s.Bucket, s.Prefix)
	def := s.World.Action("storage.rewind")
	r := s.Request(def, "lake")
	p := rewindParams{At: at, Prefix: s.Prefix, Into: "archive", IntoPrefix: "copy of/"}
	s.Act(def, &r, prove.With(t, p))
	got := s.Holds("archive-west", "copy of/")
	want["tick"] = "x"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("in the other bucket (-want +got): %s", d)
	}
	if d := cmp.Diff(before, s.Holds(s.Bucket, s.Prefix)); d != "" {
		t.Errorf("in the bucket itself: %s", d)
	}
	obs, err := def.Verify(t.Context(), r, prove.With(t, p))
	s.Must(err)
	if action.Worst(obs) != verdict.Pass {
		t.Errorf("Verify:\n%s", prove.Told(obs))
	}
	bucket, key := "archive-west", "copy of/stranger"
	_, err = s.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("x")})
	s.Must(err)
	if obs, err := def.Verify(t.Context(), r, prove.With(t, p)); err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("Verify with a stranger beside it: %v\n%s", err, prove.Told(obs))
	}
	if _, err := def.Plan(t.Context(), r, prove.With(t, p)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "stranger") {
		t.Errorf("Plan over a stranger = %v", err)
	}
}

// TestRewindRefuses what cannot be planned safely.
func TestRewindRefuses(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/")
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	def := s.World.Action("storage.rewind")
	for name, p := range map[string]rewindParams{
		"no time was given": {},
		"no region":         {At: now, Region: "mars"},
		"overlap":           {At: now, Into: "lake", IntoPrefix: "x/"},
		"without into":      {At: now, IntoPrefix: "x/"},
	} {
		if _, err := def.Plan(t.Context(), s.Request(def, "lake"), prove.With(t, p)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Plan = %v", name, err)
		}
	}
	_, err := s.S3[world.West].PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &s.Bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
	})
	s.Must(err)
	if _, err := def.Plan(t.Context(), s.Request(def, "lake"), prove.With(t, rewindParams{At: now})); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "turn versioning on") {
		t.Errorf("Plan over suspended versioning = %v", err)
	}
}

// TestRewindMoved changes the world after the plan: nothing may be changed then.
func TestRewindMoved(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/")
	s.Put("a", "one")
	s.Put("b", "two")
	s.Put("same", "three")
	at := s.Moment()
	s.Put("a", "ONE")
	s.Remove("b")
	def := s.World.Action("storage.rewind")
	p := prove.With(t, rewindParams{At: at, Prefix: s.Prefix, UnmarkDelete: true})
	for _, tc := range []struct {
		name   string
		change func()
	}{
		{"a planned key is written", func() { s.Put("a", "another") }},
		{"another key is written", func() { s.Put("same", "another") }},
		{"a key comes", func() { s.Put("new", "x") }},
		{"a key is deleted", func() { s.Remove("same") }},
		{"a planned key is deleted", func() { s.Remove("a") }},
		{"a deleted key came and went", func() { s.Put("b", "x"); s.Remove("b") }},
		{"what was to come back is destroyed", func() {
			key := s.Prefix + "a"
			for v, err := range s.Minio[world.West].Client(t).ListVersions(t.Context(), s.Bucket, key) {
				s.Must(err)
				if !v.LastModified.After(at) {
					s.Must(s.Minio[world.West].Client(t).DeleteVersion(t.Context(), s.Bucket, key, v.VersionID))
				}
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.T = t
			r := s.Request(def, "lake")
			ch, err := def.Plan(t.Context(), r, p)
			s.Must(err)
			r.Plan = &ch
			tc.change()
			before := s.Holds(s.Bucket, s.Prefix)
			out, err := def.Apply(t.Context(), r, p)
			if !errors.Is(err, action.ErrMoved) || out.Mutations != 0 {
				t.Errorf("Apply = %+v, %v; want ErrMoved and nothing done", out, err)
			}
			if d := cmp.Diff(before, s.Holds(s.Bucket, s.Prefix)); d != "" {
				t.Errorf("something was changed: %s", d)
			}
			if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Fail {
				t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
			}
		})
	}
}

// TestRewindEveryKey rewinds keys with every character that the server takes.
func TestRewindEveryKey(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/odd/")
	keys := []string{
		"plain", "with space", " lead", "plus+plus", "per%cent", "per%25", "what?x=1", "hash#h", "amp&lt;<>\"'", "semi;colon", "a=b,c:d@e",
		"ünïcode/日本語/🦀", "e\u0301", "tilde~", "star*", "back\\slash", "new\nline", "tab\there", "cr\rhere", "brackets[{()}]", "dollar$!", "pipe|^`",
		"date=2026-01-01 00%3A00%3A00/part-0", "\x01control", "a..b", "trail.",
	}
	var taken []string
	for _, k := range keys {
		full := s.Prefix + k
		if _, err := s.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.Bucket, Key: &full, Body: bytes.NewReader([]byte("first " + k))}); err != nil {
			t.Logf("the server does not take %q: %v", k, err)
			continue
		}
		taken = append(taken, k)
	}
	if len(taken) < len(keys)-3 {
		t.Errorf("only %d of %d keys were taken", len(taken), len(keys))
	}
	want := s.Holds(s.Bucket, s.Prefix)
	if got := slices.Sorted(maps.Keys(want)); !slices.Equal(got, slices.Sorted(slices.Values(taken))) {
		t.Fatalf("listed %q, wrote %q", got, taken)
	}
	at := s.Moment()
	for i, k := range taken {
		switch i % 3 {
		case 0:
			s.Put(k, "second "+k)
		case 1:
			s.Remove(k)
		}
		s.Put(k+"-later", "new")
	}
	def := s.World.Action("storage.rewind")
	for _, unmark := range []bool{true, false} {
		r, p := s.Request(def, "lake"), prove.With(t, rewindParams{At: at, Prefix: s.Prefix, UnmarkDelete: unmark})
		s.Act(def, &r, p)
		got := s.Holds(s.Bucket, s.Prefix)
		delete(got, "tick")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("after the rewind (-want +got): %s", d)
		}
		obs, err := def.Verify(t.Context(), r, p)
		s.Must(err)
		if action.Worst(obs) != verdict.Pass {
			t.Errorf("Verify:\n%s", prove.Told(obs))
		}
		s.TakenBack(def, &r, p)
	}
}
