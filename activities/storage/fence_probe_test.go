package storage

import (
	"context"
	"errors"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/poll"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// TestProbesAreTakenOutOfTheReplica: where a bucket is replicated, what a trial of rights
// writes there crosses to the other region at once, and its removal for good does not. So
// it is removed at both.
func TestProbesAreTakenOutOfTheReplica(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	w.Run.SourceUnreachable = false
	def := w.Action("storage.fence")
	for range 3 { // what crosses, crosses side by side with the removal
		r := w.Request(def, "lake")
		w.Act(def, &r, nil)
		back, err := def.UndoPlan(t.Context(), r, nil)
		w.Must(err)
		r.Plan = &back
		_, err = def.UndoApply(t.Context(), r, nil)
		w.Must(err)
		obs, err := def.UndoVerify(t.Context(), r, nil)
		w.Must(err)
		if action.Worst(obs) != verdict.Pass {
			t.Errorf("taken back: %s", prove.Told(obs))
		}
	}
	// What is written later crosses later.
	w.Put(world.East, "orders/orders/part-1.parquet", "data")
	w.Must(poll.Until(t.Context(), 50*time.Millisecond, func(context.Context) (bool, error) {
		if w.Status(world.East, "orders/orders/part-1.parquet") != objectstore.ReplicationCompleted {
			return false, errors.New("it has not crossed")
		}
		return true, nil
	}))
	w.NothingLeft(world.East, "lake-east")
	w.NothingLeft(world.West, "lake-west")
}
