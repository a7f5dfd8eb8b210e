package storage

import (
	"errors"
	"slices"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
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

	t.Run("half of the writers are left out", func(t *testing.T) { w.HalfFence(t, def) })
	t.Run("two buckets share their writers", func(t *testing.T) { w.TwoFences(t, def) })
	t.Run("the source is dead", func(t *testing.T) { w.DeadSource(t, def) })
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
