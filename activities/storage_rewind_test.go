package activities

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

// shelf is a prefix of the target's bucket that tests write to as root.
type shelf struct {
	*world
	bucket, prefix string
}

func newShelf(t *testing.T, prefix string) *shelf {
	t.Helper()
	return &shelf{newWorld(t), "lake-west", prefix}
}

func (s *shelf) put(key, body string) string {
	s.t.Helper()
	key = s.prefix + key
	out, err := s.s3[west].PutObject(s.t.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: strings.NewReader(body)})
	s.must(err)
	return aws.ToString(out.VersionId)
}

func (s *shelf) remove(key string) {
	s.t.Helper()
	key = s.prefix + key
	_, err := s.s3[west].DeleteObject(s.t.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	s.must(err)
}

// holds is what a reader finds: key without the prefix, and content.
func (s *shelf) holds(bucket, prefix string) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for o, err := range s.minio[west].Client(s.t).List(s.t.Context(), bucket, prefix) {
		s.must(err)
		out, err := s.s3[west].GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &o.Key})
		s.must(err)
		body, err := io.ReadAll(out.Body)
		s.must(errors.Join(err, out.Body.Close()))
		all[strings.TrimPrefix(o.Key, prefix)] = string(body)
	}
	return all
}

// moment waits until the store's clock shows a time strictly between what was
// written before and what will be, and returns it. MinIO stamps to the
// microsecond, and lists to the millisecond.
func (s *shelf) moment() time.Time {
	s.t.Helper()
	key := s.prefix + "tick"
	for {
		s.put("tick", "x")
		h := s.minio[west].Client(s.t).ListVersions
		for v, err := range h(s.t.Context(), s.bucket, key) {
			s.must(err)
			if v.LastModified.Nanosecond() == 0 { // a whole second would stand for all of it
				break
			}
			at := v.LastModified
			for m := at; !m.After(at); { // the next write is a millisecond later
				s.put("tick2", "x")
				for v, err := range h(s.t.Context(), s.bucket, s.prefix+"tick2") {
					s.must(err)
					m = v.LastModified
					break
				}
			}
			return at
		}
	}
}

// act plans an action, and applies the plan, which stays in the request.
func (w *world) act(def *action.Definition, r *action.Request, with json.RawMessage) action.Outcome {
	w.t.Helper()
	ch, err := def.Plan(w.t.Context(), *r, with)
	w.must(err)
	r.Plan = &ch
	out, err := def.Apply(w.t.Context(), *r, with)
	w.must(err)
	return out
}

// passes asks that Verify does.
func passes(t *testing.T, def *action.Definition, r action.Request, with json.RawMessage) {
	t.Helper()
	if obs, err := def.Verify(t.Context(), r, with); err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("Verify: %v\n%s", err, told(obs))
	}
}

// takenBack takes an action back, by the plan in the request.
func (w *world) takenBack(def *action.Definition, r *action.Request, with json.RawMessage) {
	w.t.Helper()
	back, err := def.UndoPlan(w.t.Context(), *r, with)
	w.must(err)
	r.Plan = &back
	_, err = def.UndoApply(w.t.Context(), *r, with)
	w.must(err)
	if obs, err := def.UndoVerify(w.t.Context(), *r, with); err != nil || action.Worst(obs) != verdict.Pass {
		w.t.Errorf("Undo.Verify: %v\n%s", err, told(obs))
	}
}

// with encodes a step's parameters.
func with(t *testing.T, p any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestProveRewind(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"copy", "unmark"} {
		s := newShelf(t, "orders/orders/")
		p := rewindParams{Prefix: s.prefix, UnmarkDelete: mode == "unmark"}
		for i := range 40 {
			s.put(fmt.Sprintf("d/%02d", i), fmt.Sprintf("content %d", i))
		}
		s.put("d/back", "twice")
		s.remove("d/back")
		want := s.holds(s.bucket, s.prefix)
		p.At = s.moment()
		for i := range 40 {
			switch i % 4 {
			case 0:
				s.put(fmt.Sprintf("d/%02d", i), fmt.Sprintf("CONTENT %d", i)) // of the same length
			case 1:
				s.remove(fmt.Sprintf("d/%02d", i))
			case 2:
				s.put(fmt.Sprintf("d/%02d-new", i), "new")
			}
		}
		s.put("d/back", "again")
		before := s.holds(s.bucket, s.prefix)
		def := s.action("storage.rewind")
		r := s.request(def, "lake")
		t.Run(mode, func(t *testing.T) {
			s.t = t
			r.Run.SourceUnreachable = false
			if mode == "unmark" {
				ch, err := def.Plan(t.Context(), r, with(t, p))
				s.must(err)
				if !slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "remove-delete-markers" }) {
					t.Errorf("the plan removes delete markers and accepts only %+v", ch.Accepts)
				}
			}
			s.act(def, &r, with(t, p))
			got := s.holds(s.bucket, s.prefix)
			delete(want, "tick")
			delete(got, "tick")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("after the rewind (-want +got): %s", d)
			}
			back, err := def.UndoPlan(t.Context(), r, with(t, p))
			s.must(err)
			r.Plan = &back
			_, err = def.UndoApply(t.Context(), r, with(t, p))
			s.must(err)
			if d := cmp.Diff(before, s.holds(s.bucket, s.prefix)); d != "" {
				t.Errorf("after the rewind was rewound (-want +got): %s", d)
			}
			r.Plan = nil
			set := slices.Concat(faults.Rewinds(s.faults), faults.Tables(s.faults), faults.Regions(s.faults))
			proveActionWith(t, def, r, with(t, p), set)
		})
		s.t = t
		proveHalfwayWith(t, def, s.request(def, "lake"), with(t, p))
	}
}

// TestRewindInto puts a state into another bucket, and leaves the first alone.
func TestRewindInto(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "clicks/")
	s.put("a", "one")
	s.put("b/c", "two")
	s.put("gone", "three")
	want := s.holds(s.bucket, s.prefix)
	at := s.moment()
	s.put("a", "ONE")
	s.remove("gone")
	s.put("later", "four")
	before := s.holds(s.bucket, s.prefix)
	def := s.action("storage.rewind")
	r := s.request(def, "lake")
	p := rewindParams{At: at, Prefix: s.prefix, Into: "archive", IntoPrefix: "copy of/"}
	s.act(def, &r, with(t, p))
	got := s.holds("archive-west", "copy of/")
	want["tick"] = "x"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("in the other bucket (-want +got): %s", d)
	}
	if d := cmp.Diff(before, s.holds(s.bucket, s.prefix)); d != "" {
		t.Errorf("in the bucket itself: %s", d)
	}
	obs, err := def.Verify(t.Context(), r, with(t, p))
	s.must(err)
	if action.Worst(obs) != verdict.Pass {
		t.Errorf("Verify:\n%s", told(obs))
	}
	bucket, key := "archive-west", "copy of/stranger"
	_, err = s.s3[west].PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("x")})
	s.must(err)
	if obs, err := def.Verify(t.Context(), r, with(t, p)); err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("Verify with a stranger beside it: %v\n%s", err, told(obs))
	}
	if _, err := def.Plan(t.Context(), r, with(t, p)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "stranger") {
		t.Errorf("Plan over a stranger = %v", err)
	}
}

// TestRewindRefuses what cannot be planned safely.
func TestRewindRefuses(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "clicks/")
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	def := s.action("storage.rewind")
	for name, p := range map[string]rewindParams{
		"no time was given": {},
		"no region":         {At: now, Region: "mars"},
		"overlap":           {At: now, Into: "lake", IntoPrefix: "x/"},
		"without into":      {At: now, IntoPrefix: "x/"},
	} {
		if _, err := def.Plan(t.Context(), s.request(def, "lake"), with(t, p)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Plan = %v", name, err)
		}
	}
	_, err := s.s3[west].PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &s.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
	})
	s.must(err)
	if _, err := def.Plan(t.Context(), s.request(def, "lake"), with(t, rewindParams{At: now})); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "turn versioning on") {
		t.Errorf("Plan over suspended versioning = %v", err)
	}
}

// TestRewindMoved changes the world after the plan: nothing may be changed then.
func TestRewindMoved(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "clicks/")
	s.put("a", "one")
	s.put("b", "two")
	s.put("same", "three")
	at := s.moment()
	s.put("a", "ONE")
	s.remove("b")
	def := s.action("storage.rewind")
	p := with(t, rewindParams{At: at, Prefix: s.prefix, UnmarkDelete: true})
	for _, tc := range []struct {
		name   string
		change func()
	}{
		{"a planned key is written", func() { s.put("a", "another") }},
		{"another key is written", func() { s.put("same", "another") }},
		{"a key comes", func() { s.put("new", "x") }},
		{"a key is deleted", func() { s.remove("same") }},
		{"a planned key is deleted", func() { s.remove("a") }},
		{"a deleted key came and went", func() { s.put("b", "x"); s.remove("b") }},
		{"what was to come back is destroyed", func() {
			key := s.prefix + "a"
			for v, err := range s.minio[west].Client(t).ListVersions(t.Context(), s.bucket, key) {
				s.must(err)
				if !v.LastModified.After(at) {
					s.must(s.minio[west].Client(t).DeleteVersion(t.Context(), s.bucket, key, v.VersionID))
				}
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			r := s.request(def, "lake")
			ch, err := def.Plan(t.Context(), r, p)
			s.must(err)
			r.Plan = &ch
			tc.change()
			before := s.holds(s.bucket, s.prefix)
			out, err := def.Apply(t.Context(), r, p)
			if !errors.Is(err, action.ErrMoved) || out.Mutations != 0 {
				t.Errorf("Apply = %+v, %v; want ErrMoved and nothing done", out, err)
			}
			if d := cmp.Diff(before, s.holds(s.bucket, s.prefix)); d != "" {
				t.Errorf("something was changed: %s", d)
			}
			if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Fail {
				t.Errorf("Verify: %v\n%s", err, told(obs))
			}
		})
	}
}

// TestRewindEveryKey rewinds keys with every character that the server takes.
func TestRewindEveryKey(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "clicks/odd/")
	keys := []string{
		"plain", "with space", " lead", "plus+plus", "per%cent", "per%25", "what?x=1", "hash#h", "amp&lt;<>\"'", "semi;colon", "a=b,c:d@e",
		"ünïcode/日本語/🦀", "e\u0301", "tilde~", "star*", "back\\slash", "new\nline", "tab\there", "cr\rhere", "brackets[{()}]", "dollar$!", "pipe|^`",
		"date=2026-01-01 00%3A00%3A00/part-0", "\x01control", "a..b", "trail.",
	}
	var taken []string
	for _, k := range keys {
		full := s.prefix + k
		if _, err := s.s3[west].PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &full, Body: bytes.NewReader([]byte("first " + k))}); err != nil {
			t.Logf("the server does not take %q: %v", k, err)
			continue
		}
		taken = append(taken, k)
	}
	if len(taken) < len(keys)-3 {
		t.Errorf("only %d of %d keys were taken", len(taken), len(keys))
	}
	want := s.holds(s.bucket, s.prefix)
	if got := slices.Sorted(maps.Keys(want)); !slices.Equal(got, slices.Sorted(slices.Values(taken))) {
		t.Fatalf("listed %q, wrote %q", got, taken)
	}
	at := s.moment()
	for i, k := range taken {
		switch i % 3 {
		case 0:
			s.put(k, "second "+k)
		case 1:
			s.remove(k)
		}
		s.put(k+"-later", "new")
	}
	def := s.action("storage.rewind")
	for _, unmark := range []bool{true, false} {
		r, p := s.request(def, "lake"), with(t, rewindParams{At: at, Prefix: s.prefix, UnmarkDelete: unmark})
		s.act(def, &r, p)
		got := s.holds(s.bucket, s.prefix)
		delete(got, "tick")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("after the rewind (-want +got): %s", d)
		}
		obs, err := def.Verify(t.Context(), r, p)
		s.must(err)
		if action.Worst(obs) != verdict.Pass {
			t.Errorf("Verify:\n%s", told(obs))
		}
		s.takenBack(def, &r, p)
	}
}
