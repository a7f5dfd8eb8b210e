package storage

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/reach"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestStorageFence(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	def := w.Action("storage.fence")
	w.Run.SourceUnreachable = false
	prove.Action(t, def, w.Request(def, "lake"), slices.Concat(faults.Storages(w.Faults), faults.Regions(w.Faults)))
	w.NothingLeft(world.East, "lake-east")

	t.Run("and opened by a later step", func(t *testing.T) { openedAgain(t, w, def) })
	t.Run("in a region of the step's own", func(t *testing.T) { fencedWhere(t, w, def) })
	t.Run("half of the writers are left out", func(t *testing.T) { halfFence(t, w, def) })
	t.Run("two buckets share their writers", func(t *testing.T) { twoFences(t, w, def) })
	t.Run("the source is dead", func(t *testing.T) { deadSource(t, w, def) })
}

// openedAgain takes the fence away by a step of its own. Another run's stays.
func openedAgain(t *testing.T, w *world.World, def *action.Definition) {
	fenced := w.Applied("storage.fence", "lake")
	open := w.Action("storage.unfence")
	prove.Action(t, open, w.Request(open, "lake"), slices.Concat(faults.Storages(w.Faults), faults.Regions(w.Faults)))
	if obs, err := def.Verify(t.Context(), fenced, nil); err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("taking the opening back does not fence again: %v\n%s", err, prove.Told(obs))
	}

	other := w.Request(open, "lake")
	other.Run.FirstRun = "6f0d1a52-0009"
	plan, err := open.Plan(t.Context(), other, nil)
	if err != nil || len(plan.Effects) > 0 || !strings.Contains(plan.Summary, fenced.Run.FirstRun) {
		t.Errorf("another run plans %+v, %v; want this run's fence to stay", plan, err)
	}
	w.Undone("storage.fence", fenced)
	w.NothingLeft(world.East, "lake-east")
}

// fencedWhere fences the region that the step names, in a run that names none.
func fencedWhere(t *testing.T, w *world.World, def *action.Definition) {
	with := json.RawMessage(`{"region":"` + world.West + `"}`)
	r := w.Request(def, "lake")
	r.Run.Source, r.Run.Target = "", ""
	w.Act(def, &r, with)
	if obs, err := def.Verify(t.Context(), r, with); err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
	}
	w.NothingLeft(world.East, "lake-east")
	w.TakenBack(def, &r, with)
	w.NothingLeft(world.West, "lake-west")
}

// halfFence is what an Apply leaves that dies between two writers: Apply again
// completes it, and a half one is taken back.
func halfFence(t *testing.T, w *world.World, def *action.Definition) {
	r := w.Request(def, "lake")
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
			t.Fatalf("Verify of the whole fence: %v\n%s", err, prove.Told(obs))
		}
		info, err := w.Admin[world.East].GetUserInfo(t.Context(), "orders-writer")
		if err != nil {
			t.Fatal(err)
		}
		for p := range strings.SplitSeq(info.PolicyName, ",") {
			if strings.HasPrefix(p, "breakwater-") {
				if _, err := w.Admin[world.East].DetachPolicy(t.Context(), world.Attach(p, "orders-writer")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail {
			t.Errorf("Verify of half a fence: %v\n%s", err, prove.Told(obs))
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
		t.Errorf("UndoVerify: %v\n%s", err, prove.Told(obs))
	}
}

// twoFences closes both buckets' fences and opens one: the other must hold.
func twoFences(t *testing.T, w *world.World, def *action.Definition) {
	lake, archive := w.Request(def, "lake"), w.Request(def, "archive")
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
		t.Errorf("the lake's fence does not hold once the archive's is gone: %v\n%s", err, prove.Told(obs))
	}
	open(lake)
	obs, err = def.Verify(t.Context(), lake, nil)
	if err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("with both taken back the writers write: %v\n%s", err, prove.Told(obs))
	}
	info, err := w.Admin[world.East].GetUserInfo(t.Context(), "orders-writer")
	if err != nil || info.PolicyName != "orders-writer" {
		t.Errorf("the writer's policies are not as they were: %q, %v", info.PolicyName, err)
	}
}

// deadSource follows the whole life where the source does not answer.
func deadSource(t *testing.T, w *world.World, def *action.Definition) {
	w.Minio[world.East].Kill()
	r := w.Request(def, "lake")
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
		t.Fatalf("Verify = %v\n%s", err, prove.Told(obs))
	}
	prove.WellFormed(t, def, obs)
	const owed = "Fence the writers of lake in us-east-1 before its network returns"
	if !slices.ContainsFunc(obs, func(o action.Observation) bool { return o.Obligation == owed }) {
		t.Errorf("no obligation %q\n%s", owed, prove.Told(obs))
	}
	w.Minio[world.East].Restart(t)
	if _, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply once the source answers again = %v, want ErrMoved", err)
	}
}

func TestStopReplication(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Minio[world.East].Kill() // the source is dead: the intake is closed all the same
	w.Run.SourceUnreachable = true
	def := w.Action("storage.stop-replication")
	prove.Action(t, def, w.Request(def, "lake"), slices.Concat(faults.Storages(w.Faults), faults.Regions(w.Faults)))
	w.NothingLeft(world.West, "lake-west")

	r, _ := w.Estate.Region(world.West)
	r.Storage.Replication = nil
	if _, err := def.Plan(t.Context(), w.Request(def, "lake"), nil); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Plan without a replication principal = %v, want a refusal", err)
	}
}

func TestPlacesOf(t *testing.T) {
	writers := &estate.Access{Writers: []estate.AccessPrincipal{{Region: world.East, Name: "a-writer"}}}
	e := &estate.Estate{Groups: []estate.Group{
		{Group: "a", Access: writers, Tables: []estate.Table{{Bucket: "lake", Path: "a/1"}, {Bucket: "lake", Path: "a/2"}}},
		{Group: "b", Tables: []estate.Table{{Bucket: "other", Path: "b/0"}, {Bucket: "lake", Path: "b/1"}, {Bucket: "lake", Path: "b/2"}}},
	}}
	for _, tc := range []struct {
		bucket, region, name string
		want                 []string
	}{
		{"lake", world.East, "a-writer", []string{"a/1", "a/2"}},
		{"lake", world.West, "a-writer", []string{"a/1", "b/1"}},
		{"lake", world.East, "loader", []string{"a/1", "b/1"}},
		{"other", world.East, "a-writer", []string{"b/0"}},
		{"empty", world.East, "a-writer", []string{".breakwater/probe"}},
	} {
		if got := placesOf(e, tc.bucket, tc.region, tc.name); !slices.Equal(got, tc.want) {
			t.Errorf("placesOf(%s, %s, %s) = %v, want %v", tc.bucket, tc.region, tc.name, got, tc.want)
		}
	}
}
