package lake

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/table"

	"golang.org/x/crypto/ssh"
)

// heavy is a format whose tables take memory, and are read when they are let.
type heavy struct {
	table.Format
	table.Table
	memory  int64
	let     chan struct{}
	reading atomic.Int64
}

func (h *heavy) Open(context.Context, table.Store, table.Root) (table.Table, error) { return h, nil }
func (h *heavy) Extent() table.Extent                                               { return table.Extent{Memory: h.memory} }

func (h *heavy) Newest(ctx context.Context, _ time.Time) (table.Newest, error) {
	h.reading.Add(1)
	defer h.reading.Add(-1)
	<-h.let
	return table.Newest{}, table.ErrNoneComplete
}

func (h *heavy) History(context.Context, int64) iter.Seq2[table.Commit, error] {
	return func(func(table.Commit, error) bool) {}
}

// heavySystems have tables of one format.
type heavySystems struct{ of *heavy }

func (s heavySystems) Bucket(context.Context, *estate.Estate, string, string) (objectstore.Bucket, error) {
	return objectstore.Bind(nil, "lake"), nil
}

func (s heavySystems) StorageAs(context.Context, *estate.Estate, string, estate.Ref, string) (objectstore.Store, error) {
	return nil, objectstore.ErrLacks
}

func (s heavySystems) Depot(context.Context, *estate.Estate) (d depot.Depot, err error) {
	return d, objectstore.ErrLacks
}

func (s heavySystems) Signer(context.Context, *estate.Estate) (ssh.Signer, error) {
	return nil, objectstore.ErrLacks
}

func (s heavySystems) Format(string) (table.Format, error) { return s.of, nil }

// TestLargeTablesWait: as many tables are read at the same time as there is memory for,
// however many may be, and one that is larger than all of it is read alone.
func TestLargeTablesWait(t *testing.T) {
	const tables = 20
	for name, tc := range map[string]struct{ memory, want int64 }{
		"small":         {1 << 10, action.AtOnce},
		"a third of it": {budget / 3, 3},
		"half and more": {budget/2 + 1, 1},
		"too large":     {100 * budget, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &estate.Estate{Groups: []estate.Group{{Group: "g"}}}
				for n := range tables {
					e.Groups[0].Tables = append(e.Groups[0].Tables, estate.Table{Table: fmt.Sprint(n), Bucket: "lake", Path: fmt.Sprint(n)})
				}
				h := &heavy{memory: tc.memory, let: make(chan struct{})}
				failed := make(chan error, 1)
				go func() {
					_, err := New(heavySystems{h}).Evidence(t.Context(), action.Call[action.None]{Request: action.Request{
						Estate: e, Item: estate.Item{Name: "g"}, Run: action.Run{Target: "west"}, Progress: func(int64, int64, string) {},
					}})
					failed <- err
				}()
				for n := range tables {
					synctest.Wait()
					if got, want := h.reading.Load(), min(tc.want, int64(tables-n)); got != want {
						t.Errorf("%d tables are read at once with %d to go, want %d", got, tables-n, want)
					}
					h.let <- struct{}{}
				}
				if err := <-failed; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
