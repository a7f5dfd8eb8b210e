package storage

import (
	"testing"

	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestReplication(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	def := w.Action("storage.replication")
	prove.Action(t, def, w.Request(def, "lake"), w.ReplicationFaults())
}

func TestStandbyReady(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	def := w.Action("storage.standby-ready")
	prove.Action(t, def, w.Request(def, "lake"), w.ReplicationFaults())
}

func TestLateReplicas(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	def := w.Action("storage.late-replicas")
	prove.Action(t, def, w.Request(def, "lake"), w.ReplicationFaults())
}
