package oracle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func commit(id string, version int64, rows ...int64) Commit {
	c := Commit{ID: id, Region: "east", Table: "orders", Version: version}
	for _, r := range rows {
		c.Rows = append(c.Rows, Row{ID: r, Time: r, Sum: Sum([]byte{byte(r)})})
	}
	return c
}

func ids(rows []Row) (ids []int64) {
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestTables(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	must(t, j.Tried(commit("a", 1, 1, 2)))
	must(t, j.Acked(commit("a", 1, 1, 2)))
	must(t, j.Tried(commit("b", 1, 3))) // another writer's version: tried, lost, and taken further
	must(t, j.Lost(commit("b", 1)))
	must(t, j.Tried(commit("b", 2, 3)))
	must(t, j.Acked(commit("b", 2, 3)))
	must(t, j.Tried(commit("c", 3, 4))) // never answered
	other := commit("z", 9, 99)
	other.Region = "west"
	must(t, j.Acked(other))
	must(t, j.Close())

	o, err := Read(dir, "east")
	must(t, err)
	if head, err := o.Head("orders"); err != nil || head.Version != 2 {
		t.Errorf("Head = %+v, %v; want version 2", head, err)
	}
	for version, want := range map[int64][]int64{1: {1, 2}, 2: {1, 2, 3}, 3: {1, 2, 3, 4}} {
		rows, err := o.RowsAt("orders", version)
		if diff := cmp.Diff(want, ids(rows)); err != nil || diff != "" {
			t.Errorf("RowsAt %d: %v %s", version, err, diff)
		}
	}
	if _, acked, err := o.At("orders", 3); acked || err != nil {
		t.Errorf("At 3: acknowledged %v, %v; want an unanswered commit", acked, err)
	}
	if _, err := o.RowsAt("orders", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("RowsAt 4: %v; want fs.ErrNotExist", err)
	}
	if lost := o.After("orders", 1); len(lost) != 1 || lost[0].ID != "b" {
		t.Errorf("After 1 = %+v; want commit b", lost)
	}
}

func TestTwoUnansweredWritersAreAmbiguous(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"a", "b"} {
		j := open(t, dir)
		must(t, j.Tried(commit(id, 1, 1)))
		must(t, j.Close())
	}
	o, err := Read(dir, "east")
	must(t, err)
	if _, _, err := o.At("orders", 1); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("At = %v; want ErrAmbiguous", err)
	}
}

func TestMessagesAndOffsets(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	at := time.Now()
	var wg sync.WaitGroup
	for i := range int64(50) { // many wait for one sync
		wg.Go(func() {
			if err := j.Delivered(Message{Region: "east", Topic: "orders", Partition: 2, Offset: i, Key: string(rune('A' + i))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, j.Sent(Message{Region: "east", Topic: "orders", Key: "tried", Offset: 7}))
	must(t, j.Committed(Consumed{Region: "east", Group: "app", Topic: "orders", Partition: 2, Offset: 10, Time: at}))
	must(t, j.Committed(Consumed{Region: "east", Group: "app", Topic: "orders", Partition: 2, Offset: 20, Time: at.Add(time.Second)}))
	must(t, j.Close())
	o, err := Read(dir, "east")
	must(t, err)
	ms := o.Messages("orders", 2)
	for i, m := range ms {
		if m.Offset != int64(i) {
			t.Fatalf("message %d has offset %d", i, m.Offset)
		}
	}
	if len(ms) != 50 {
		t.Errorf("%d messages, want 50", len(ms))
	}
	if m, ok := o.Sent("orders", "tried"); !ok || m.Offset != -1 {
		t.Errorf("Sent = %+v, %v; want an attempt", m, ok)
	}
	if c, ok := o.Consumed("app", "orders", 2, time.Time{}); !ok || c.Offset != 20 {
		t.Errorf("Consumed = %+v, %v; want 20", c, ok)
	}
	if c, ok := o.Consumed("app", "orders", 2, at.Add(time.Millisecond)); !ok || c.Offset != 10 {
		t.Errorf("Consumed before = %+v, %v; want 10", c, ok)
	}
}

// An acknowledgement is on the disk when Acked returns: the journal is read here
// as a killed process leaves it, without Close, and with half a line at its end.
// TestATopicCreatedAnew: what was in it is no more, and its numbers begin again.
func TestATopicCreatedAnew(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	send := func(log int, offset int64, key string) {
		t.Helper()
		m := Message{Region: "east", Topic: "orders", Partition: 1, Offset: offset, Key: key, Log: log}
		must(t, j.Sent(m))
		must(t, j.Delivered(m))
	}
	send(0, 0, "a")
	send(0, 1, "b")
	must(t, j.Created(Anew{Region: "east", Topic: "orders", Log: 1}))
	must(t, j.Created(Anew{Region: "west", Topic: "orders", Log: 2}))
	send(1, 0, "c")
	must(t, j.Close())
	o, err := Read(dir, "east")
	must(t, err)
	if ms := o.Messages("orders", 1); o.Log("orders") != 1 || len(ms) != 1 || ms[0].Key != "c" {
		t.Errorf("log %d holds %+v; want log 1 with c alone", o.Log("orders"), ms)
	}
	if m, ok := o.Sent("orders", "a"); !ok || m.Log != 0 {
		t.Errorf("what was in the log before is forgotten: %+v, %t", m, ok)
	}
	if ids := o.Partitions("orders"); len(ids) != 1 || ids[0] != 1 {
		t.Errorf("partitions %v, want 1", ids)
	}
}

func TestAcknowledgedBeforeReturn(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	must(t, j.Acked(commit("a", 1, 1)))
	must(t, j.Tried(commit("b", 2, 2))) // in memory only
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	must(t, err)
	f, err := os.OpenFile(files[0], os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(`{"acked":true,"comm`)
	must(t, errors.Join(err, f.Close()))
	o, err := Read(dir, "east")
	must(t, err)
	if head, err := o.Head("orders"); err != nil || head.Version != 1 {
		t.Errorf("Head = %+v, %v; want version 1", head, err)
	}
}

func TestNoJournal(t *testing.T) {
	if _, err := Read(t.TempDir(), "east"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read = %v; want fs.ErrNotExist", err)
	}
}
