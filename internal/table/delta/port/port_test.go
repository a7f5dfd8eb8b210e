package port_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"
)

func TestPort(t *testing.T) {
	tabletest.Run(t, tabletest.World{Format: port.Format{}, Create: create(0)})
}

func TestPortWithCheckpoints(t *testing.T) {
	tabletest.Run(t, tabletest.World{Format: port.Format{}, Create: create(2)})
}

// writer writes as traffic of the laboratory does.
type writer struct {
	table *write.Table
	store *tabletest.Store
	root  table.Root
	begun tabletest.Written
	rows  int64
}

func create(checkpointEvery int64) func(testing.TB, *tabletest.Store, table.Root, func() time.Time) tabletest.Writer {
	return func(t testing.TB, store *tabletest.Store, root table.Root, now func() time.Time) tabletest.Writer {
		t.Helper()
		columns := []write.Column{{Name: "id", Type: write.Int64}, {Name: "at", Type: write.Timestamp}}
		w, err := write.Create(t.Context(), store, root, columns, write.Options{Now: now, CheckpointEvery: checkpointEvery})
		if err != nil {
			t.Fatal(err)
		}
		return &writer{w, store, root, tabletest.Written{Log: []string{delta.CommitKey(root, 0)}}, 0}
	}
}

func (w *writer) Begun() tabletest.Written { return w.begun }

func (w *writer) Append(t testing.TB, n int) tabletest.Written {
	t.Helper()
	before := w.store.Keys(w.root.Prefix)
	rows := make([]write.Row, n)
	for i := range rows {
		w.rows++
		rows[i] = write.Row{w.rows, time.UnixMicro(w.rows).UTC()}
	}
	v, err := w.table.Append(t.Context(), rows)
	if err != nil {
		t.Fatal(err)
	}
	out := tabletest.Written{Number: v}
	for _, key := range w.store.Keys(w.root.Prefix) {
		switch _, log := delta.NameInLog(key); {
		case slices.Contains(before, key), key == delta.CommitKey(w.root, v):
		case log:
			out.Log = append(out.Log, key)
		default:
			out.Data = append(out.Data, key)
		}
	}
	out.Log = append(out.Log, delta.CommitKey(w.root, v))
	return out
}

func TestEntry(t *testing.T) {
	const log = "lake/orders/_delta_log/"
	v7 := fmt.Sprintf("%020d", 7)
	for key, want := range map[string]table.Entry{
		log + v7 + ".json":                                     {Role: table.RoleCommit, Version: 7},
		log + v7 + ".crc":                                      {Role: table.RoleCheckpoint, Version: 7},
		log + v7 + ".checkpoint.parquet":                       {Role: table.RoleCheckpoint, Version: 7},
		log + "_sidecars/x.parquet":                            {Role: table.RoleCheckpoint, Version: -1},
		log + "_last_checkpoint":                               {Role: table.RolePointer, Version: -1},
		log + "_staged_commits/" + v7 + ".x.json":              {Role: table.RoleStaged, Version: 7},
		log + ".tmp/" + v7 + ".json.x":                         {Role: table.RoleStaged, Version: 7},
		log + "somebody's":                                     {Role: table.RoleCheckpoint, Version: -1},
		"_delta_log/" + v7 + ".json":                           {Role: table.RoleCommit, Version: 7},
		"lake/orders/part-0.parquet":                           {Role: table.RoleData, Version: -1},
		"lake/orders/" + v7 + ".json":                          {Role: table.RoleData, Version: -1},
		"lake/orders/my_delta_log/" + v7 + ".json":             {Role: table.RoleData, Version: -1},
		"lake/orders/.breakwater/q/_delta_log/" + v7 + ".json": {Role: table.RoleCommit, Version: 7},
	} {
		if got := (port.Format{}).Entry(key); got != want {
			t.Errorf("Entry(%s) = %+v, want %+v", key, got, want)
		}
	}
}
