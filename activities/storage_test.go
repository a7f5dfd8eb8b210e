package activities

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/reach"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestStorageFence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	def := w.action("storage.fence")
	w.run.SourceUnreachable = false
	proveAction(t, def, w.request(def, "lake"), slices.Concat(faults.Storages(w.faults), faults.Regions(w.faults)))
	w.nothingLeft(east, "lake-east")

	t.Run("half of the writers are left out", func(t *testing.T) { w.halfFence(t, def) })
	t.Run("two buckets share their writers", func(t *testing.T) { w.twoFences(t, def) })
	t.Run("the source is dead", func(t *testing.T) { w.deadSource(t, def) })
}

// nothingLeft fails if a probe, or a version of one, is in the bucket.
func (w *world) nothingLeft(region, bucket string) {
	w.t.Helper()
	out, err := w.s3[region].ListObjectVersions(w.t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	w.must(err)
	for _, v := range out.Versions {
		if strings.Contains(*v.Key, probePart) {
			w.t.Errorf("a probe was left: %s", *v.Key)
		}
	}
	for _, m := range out.DeleteMarkers {
		if strings.Contains(*m.Key, probePart) {
			w.t.Errorf("a probe's delete marker was left: %s", *m.Key)
		}
	}
}

// halfFence is what an Apply leaves that dies between two writers: Apply again
// completes it, and a half one is taken back.
func (w *world) halfFence(t *testing.T, def *action.Definition) {
	r := w.request(def, "lake")
	plan, err := def.Plan(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = &plan
	half := func() {
		if out, err := def.Apply(t.Context(), r, nil); err != nil || out.Mutations == 0 {
			t.Fatalf("Apply = %+v, %v", out, err)
		}
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Pass {
			t.Fatalf("Verify of the whole fence: %v\n%s", err, told(obs))
		}
		info, err := w.admin[east].GetUserInfo(t.Context(), "orders-writer")
		if err != nil {
			t.Fatal(err)
		}
		for p := range strings.SplitSeq(info.PolicyName, ",") {
			if strings.HasPrefix(p, "breakwater-") {
				if _, err := w.admin[east].DetachPolicy(t.Context(), attach(p, "orders-writer")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail {
			t.Errorf("Verify of half a fence: %v\n%s", err, told(obs))
		}
	}
	half()
	half() // Apply completes what the first one left
	back, err := def.UndoPlan(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan, r.Prior = &back, nil
	if out, err := def.UndoApply(t.Context(), r, nil); err != nil || out.Mutations == 0 {
		t.Errorf("UndoApply = %+v, %v", out, err)
	}
	if obs, err := def.UndoVerify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("UndoVerify: %v\n%s", err, told(obs))
	}
}

// twoFences closes both buckets' fences and opens one: the other must hold.
func (w *world) twoFences(t *testing.T, def *action.Definition) {
	lake, archive := w.request(def, "lake"), w.request(def, "archive")
	for _, r := range []*action.Request{&lake, &archive} {
		plan, err := def.Plan(t.Context(), *r, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Plan = &plan
	}
	for _, r := range []action.Request{lake, archive} {
		if _, err := def.Apply(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
	}
	open := func(r action.Request) {
		back, err := def.UndoPlan(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Plan = &back
		if out, err := def.UndoApply(t.Context(), r, nil); err != nil || out.Mutations == 0 {
			t.Fatalf("UndoApply = %+v, %v", out, err)
		}
	}
	open(archive)
	obs, err := def.Verify(t.Context(), lake, nil)
	if err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("the lake's fence does not hold once the archive's is gone: %v\n%s", err, told(obs))
	}
	open(lake)
	obs, err = def.Verify(t.Context(), lake, nil)
	if err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("with both taken back the writers write: %v\n%s", err, told(obs))
	}
	info, err := w.admin[east].GetUserInfo(t.Context(), "orders-writer")
	if err != nil || info.PolicyName != "orders-writer" {
		t.Errorf("the writer's policies are not as they were: %q, %v", info.PolicyName, err)
	}
}

// deadSource follows the whole life where the source does not answer.
func (w *world) deadSource(t *testing.T, def *action.Definition) {
	w.minio[east].Kill()
	r := w.request(def, "lake")
	if _, err := def.Plan(t.Context(), r, nil); !reach.Unreachable(err) {
		t.Errorf("Plan before anybody accepted it = %v, want an unreachable source", err)
	}
	r.Run.SourceUnreachable = true
	plan, err := def.Plan(t.Context(), r, nil)
	if err != nil || len(plan.Effects) != 0 || !strings.Contains(plan.Summary, "obligation") {
		t.Fatalf("Plan = %+v, %v", plan, err)
	}
	r.Plan = &plan
	if out, err := def.Apply(t.Context(), r, nil); err != nil || out.Mutations != 0 {
		t.Errorf("Apply = %+v, %v", out, err)
	}
	obs, err := def.Verify(t.Context(), r, nil)
	if err != nil || !action.OnlySourceUnreachable(obs) {
		t.Fatalf("Verify = %v\n%s", err, told(obs))
	}
	wellFormed(t, def, obs)
	const owed = "Fence the writers of lake in us-east-1 before its network returns"
	if !slices.ContainsFunc(obs, func(o action.Observation) bool { return o.Obligation == owed }) {
		t.Errorf("no obligation %q\n%s", owed, told(obs))
	}
	w.minio[east].Restart(t)
	if _, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply once the source answers again = %v, want ErrMoved", err)
	}
}

func TestStopReplication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.minio[east].Kill() // the source is dead: the intake is closed all the same
	w.run.SourceUnreachable = true
	def := w.action("storage.stop-replication")
	proveAction(t, def, w.request(def, "lake"), slices.Concat(faults.Storages(w.faults), faults.Regions(w.faults)))
	w.nothingLeft(west, "lake-west")

	r, _ := w.estate.Region(west)
	r.Storage.Replication = nil
	if _, err := def.Plan(t.Context(), w.request(def, "lake"), nil); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Plan without a replication principal = %v, want a refusal", err)
	}
}

func TestPlacesOf(t *testing.T) {
	writers := &estate.Access{Writers: []estate.AccessPrincipal{{Region: east, Name: "a-writer"}}}
	e := &estate.Estate{Groups: []estate.Group{
		{Group: "a", Access: writers, Tables: []estate.Table{{Bucket: "lake", Path: "a/1"}, {Bucket: "lake", Path: "a/2"}}},
		{Group: "b", Tables: []estate.Table{{Bucket: "other", Path: "b/0"}, {Bucket: "lake", Path: "b/1"}, {Bucket: "lake", Path: "b/2"}}},
	}}
	for _, tc := range []struct {
		bucket, region, name string
		want                 []string
	}{
		{"lake", east, "a-writer", []string{"a/1", "a/2"}},
		{"lake", west, "a-writer", []string{"a/1", "b/1"}},
		{"lake", east, "loader", []string{"a/1", "b/1"}},
		{"other", east, "a-writer", []string{"b/0"}},
		{"empty", east, "a-writer", []string{".breakwater/probe"}},
	} {
		if got := placesOf(e, tc.bucket, tc.region, tc.name); !slices.Equal(got, tc.want) {
			t.Errorf("placesOf(%s, %s, %s) = %v, want %v", tc.bucket, tc.region, tc.name, got, tc.want)
		}
	}
}
