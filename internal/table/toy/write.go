package toy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/tabletest"
)

// Create begins a toy table.
func Create(t testing.TB, store *tabletest.Store, root table.Root, now func() time.Time) tabletest.Writer {
	t.Helper()
	w := &writer{store: store, root: root, now: now}
	w.begun = w.commit(t)
	return w
}

type writer struct {
	store *tabletest.Store
	root  table.Root
	now   func() time.Time
	last  manifest
	begun tabletest.Written
}

func (w *writer) Begun() tabletest.Written { return w.begun }

func (w *writer) Append(t testing.TB, rows int) tabletest.Written {
	t.Helper()
	w.last.Version++
	w.last.Brought = int64(rows)
	var body strings.Builder
	for i := range rows {
		fmt.Fprintf(&body, "row %d of version %d\n", i, w.last.Version)
	}
	f := file{fmt.Sprintf("part-%d.txt", w.last.Version), int64(body.Len()), int64(rows)}
	w.put(t, w.root.Key(f.Name), []byte(body.String()))
	w.last.Files = append(w.last.Files, f)
	v := w.commit(t)
	v.Data = []string{w.root.Key(f.Name)}
	return v
}

func (w *writer) commit(t testing.TB) tabletest.Written {
	t.Helper()
	w.last.Time = w.now()
	body, err := json.Marshal(w.last)
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("%s%020d.json", Format{}.Log(w.root), w.last.Version)
	w.put(t, key, body)
	return tabletest.Written{Number: w.last.Version, Log: []string{key}}
}

func (w *writer) put(t testing.TB, key string, body []byte) {
	t.Helper()
	if err := w.store.PutIfAbsent(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
}
