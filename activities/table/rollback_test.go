package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/record"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func toVersion(v int64) json.RawMessage { return fmt.Appendf(nil, `{"to_version":%d}`, v) }

// accepted is the sentence of an acceptance; empty where the plan does not ask
// for it.
func accepted(ch action.Change, id string) string {
	for _, a := range ch.Accepts {
		if a.ID == id+" orders" {
			return a.Sentence
		}
	}
	return ""
}

func TestProveRollback(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Plant("dv", 8)
	want, bad := l.Rows(3), l.Rows(8)
	d, r := l.Rollback()
	prove.ActionWith(t, d, r, toVersion(3), l.FaultSet())
	if got := l.Rows(9); got != want {
		t.Errorf("version 9 reads as %v, want version 3's %v", got, want)
	}
	log, _ := l.Log(world.West, "orders")
	if got := l.Rows(log.Head()); log.Head() != 10 || got != bad {
		t.Errorf("taken back, head %d reads as %v, want version 8's %v", log.Head(), got, bad)
	}
}

// TestRollback takes one world through everything else that a rollback promises;
// each part plants its own table.
func TestRollback(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	for name, part := range map[string]func(*testing.T, *world.Lake){
		"TestRollbackNoticesWhatMoved":                rollbackNoticesWhatMoved,
		"TestRollbackRefuses":                         rollbackRefuses,
		"TestRollbackToATime":                         rollbackToATime,
		"TestTrap09SkippedBatchesAreAccepted":         trap09SkippedBatchesAreAccepted,
		"TestTrap11StreamingReadersAreAccepted":       trap11StreamingReadersAreAccepted,
		"TestTrap13VacuumUnderWayIsAccepted":          trap13VacuumUnderWayIsAccepted,
		"TestTrap14ATargetPastItsRetentionIsAccepted": trap14ATargetPastItsRetentionIsAccepted,
		"TestTrap15TheEvidenceIsNamed":                trap15TheEvidenceIsNamed,
		"TestTrap23UnexplainedRemovesAreAccepted":     trap23UnexplainedRemovesAreAccepted,
		"TestTrap29ASecondAttemptFindsTheFirst":       trap29ASecondAttemptFindsTheFirst,
	} {
		t.Run(name, func(t *testing.T) {
			l.T, l.Run.Started = t, time.UnixMilli(1795238390000) // just after the fixtures were written
			part(t, l)
		})
	}
	l.T = t
}

// Another's commit is never thrown away: neither by applying nor by taking back.
func rollbackNoticesWhatMoved(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	d, r := l.Rollback()
	ch, err := l.Planned(toVersion(3))
	l.Must(err)
	r.Plan = &ch
	l.Commit(`{"commitInfo":{"timestamp":1,"operation":"SET TBLPROPERTIES"}}`)
	if _, err := d.Apply(t.Context(), r, toVersion(3)); !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply after another commit = %v, want ErrMoved", err)
	}
	if log, _ := l.Log(world.West, "orders"); log.Head() != 9 {
		t.Errorf("head %d: something was written", log.Head())
	}
	ch, err = l.Planned(toVersion(3))
	l.Must(err)
	r.Plan = &ch
	_, err = d.Apply(t.Context(), r, toVersion(3))
	l.Must(err)
	l.Commit(`{"commitInfo":{"timestamp":1,"operation":"WRITE"}}`, `{"remove":{"path":"x.parquet","dataChange":true}}`)
	obs, err := d.Verify(t.Context(), r, toVersion(3))
	l.Must(err)
	if action.Worst(obs) != verdict.Fail {
		t.Errorf("a writer that was not stopped is not seen\n%s", prove.Told(obs))
	}
	if _, err := d.UndoPlan(t.Context(), r, toVersion(3)); !errors.Is(err, action.ErrRefused) {
		t.Errorf("taking back below another's commit = %v, want ErrRefused", err)
	}
}

// What the plan refuses, it refuses with the next move.
func rollbackRefuses(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	for with, says := range map[string]string{
		`{}`: "either to_version or to_time", `{"to_version":3,"to_time":"2026-11-20T00:00:00Z"}`: "either to_version or to_time",
		`{"to_version":99}`: "no version 99", `{"to_time":"2001-01-01T00:00:00Z"}`: "before version 0",
	} {
		if _, err := l.Planned(json.RawMessage(with)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("with %s: %v; want it refused, saying %q", with, err, says)
		}
	}
	gone := l.DataAt(3)
	_, err := l.RootBucket(world.West).Delete(t.Context(), gone)
	l.Must(err)
	if ch, err := l.Planned(toVersion(3)); err != nil || !strings.Contains(ch.Summary, "first 1 deleted object ") {
		t.Errorf("with %s deleted: %v, %s", gone, err, ch.Summary)
	}
	l.Unmark("orders/orders/")
	stale := "orders/orders/_delta_log/00000000000000000007.00000000000000000009.compacted.json"
	_, err = l.RootBucket(world.West).Put(t.Context(), stale, []byte(`{"txn":{"appId":"a","version":1}}`))
	l.Must(err)
	if _, err := l.Planned(toVersion(3)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), stale) || !strings.Contains(err.Error(), "table.promote to version 8") {
		t.Errorf("with commits that a compaction alone tells of: %v", err)
	}
	_, err = l.RootBucket(world.West).Delete(t.Context(), stale)
	l.Must(err)
	l.Commit(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged","inCommitTimestamp"]}}`)
	if _, err := l.Planned(toVersion(3)); !errors.Is(err, action.ErrRefused) || !errors.Is(err, rollback.ErrCatalogManaged) || !strings.Contains(err.Error(), "catalogManaged") {
		t.Errorf("catalog-managed: %v", err)
	}
}

// By time the plan says which clock chose the version.
func rollbackToATime(t *testing.T, l *world.Lake) {
	l.Plant("ict", 6)
	log, _ := l.Log(world.West, "orders")
	times, err := log.Times(t.Context())
	l.Must(err)
	v2, _ := times.Of(2)
	with := fmt.Appendf(nil, `{"to_time":%q}`, v2.Time.Add(time.Millisecond).Format(time.RFC3339Nano))
	ch, err := l.Planned(with)
	l.Must(err)
	plan, err := action.Decode[rollbackPlan](ch.Data)
	l.Must(err)
	if plan.Target != 2 || !strings.Contains(ch.Summary, "in-commit time") {
		t.Errorf("target %d: %s", plan.Target, ch.Summary)
	}
	l.Plant("dv", 8)
	ch, err = l.Planned(fmt.Appendf(nil, `{"to_time":%q}`, time.Now().UTC().Format(time.RFC3339Nano)))
	l.Must(err)
	if len(ch.Effects) > 0 || !strings.Contains(ch.Summary, "the time of its log object") {
		t.Errorf("to now: %s", ch.Summary)
	}
}

func trap09SkippedBatchesAreAccepted(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	l.Commit(`{"commitInfo":{"timestamp":1,"operation":"STREAMING UPDATE"}}`, `{"txn":{"appId":"ingest","version":41}}`)
	ch, err := l.Planned(toVersion(8))
	l.Must(err)
	if got := accepted(ch, "skipped-batches"); got != "" && len(ch.Effects) > 0 {
		t.Errorf("no file and no property differs, so nothing is done: %s", ch.Summary)
	}
	ch, err = l.Planned(toVersion(3))
	l.Must(err)
	if got := accepted(ch, "skipped-batches"); !strings.Contains(got, `"ingest"`) || !strings.Contains(got, "batches 0 to 41 are skipped") {
		t.Errorf("accepted: %q", got)
	}
}

func trap11StreamingReadersAreAccepted(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	ch, err := l.Planned(toVersion(3))
	l.Must(err)
	if got := accepted(ch, "streaming-readers"); !strings.Contains(got, "stop at version 9") || !strings.Contains(got, "Caches") {
		t.Errorf("accepted: %q", got)
	}
}

func trap13VacuumUnderWayIsAccepted(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	v := l.Commit(`{"commitInfo":{"timestamp":1795238390000,"operation":"VACUUM START"}}`)
	ch, err := l.Planned(toVersion(3))
	l.Must(err)
	if got := accepted(ch, "vacuum-unfinished"); !strings.Contains(got, fmt.Sprintf("began with version %d", v)) {
		t.Errorf("accepted: %q", got)
	}
	// It deletes a file between the plan and the act.
	d, r := l.Rollback()
	r.Plan = &ch
	_, err = l.RootBucket(world.West).Delete(t.Context(), l.DataAt(3))
	l.Must(err)
	if _, err := d.Apply(t.Context(), r, toVersion(3)); !errors.Is(err, action.ErrMoved) || !strings.Contains(err.Error(), "plan again") {
		t.Errorf("Apply after a vacuum took a file = %v", err)
	}
	if log, _ := l.Log(world.West, "orders"); log.Head() != v {
		t.Errorf("head %d: something was committed", log.Head())
	}
}

func trap14ATargetPastItsRetentionIsAccepted(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	ch, err := l.Planned(toVersion(3))
	l.Must(err)
	if got := accepted(ch, "past-retention"); got != "" {
		t.Errorf("removed after the run began, and yet: %s", got)
	}
	l.Run.Started = time.UnixMilli(1795238390000).Add(8 * 24 * time.Hour)
	ch, err = l.Planned(toVersion(3))
	l.Must(err)
	if got := accepted(ch, "past-retention"); !strings.Contains(got, "192h0m0s ago and its retention is 168h0m0s") || !strings.Contains(got, "Extend delta.deletedFileRetentionDuration first") {
		t.Errorf("accepted: %q", got)
	}
}

func trap15TheEvidenceIsNamed(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	ch, err := l.Planned(toVersion(3))
	l.Must(err)
	until := l.Run.Started.Add(7 * 24 * time.Hour).Format(time.RFC3339)
	if !slices.ContainsFunc(ch.Effects, func(e action.EffectLine) bool {
		return strings.Contains(e.Do, "keep version 8 as evidence") && strings.Contains(e.Do, until)
	}) {
		t.Errorf("effects %+v; want them to say until %s", ch.Effects, until)
	}
	if got := accepted(ch, "evidence"); got != "" {
		t.Errorf("the retention is the usual one, and yet: %s", got)
	}
	d, r := l.Rollback()
	r.Plan = &ch
	o, err := d.Apply(t.Context(), r, toVersion(3))
	l.Must(err)
	var left record.RolledBack
	l.Must(json.Unmarshal(o.Data, &left))
	if left.BadHead != 8 || left.Version != 9 {
		t.Errorf("it leaves %+v", left)
	}
	// A table whose files may be vacuumed at once.
	l.Plant("dv", 8)
	for _, v := range []int64{0, 3} {
		b := l.RootBucket(world.West)
		body, _, err := b.Get(t.Context(), world.Entry("orders/orders", int(v)))
		l.Must(err)
		short := strings.ReplaceAll(string(body), `"delta.enableDeletionVectors":"true"`, `"delta.enableDeletionVectors":"true","delta.deletedFileRetentionDuration":"interval 0 hours"`)
		_, err = b.Put(t.Context(), world.Entry("orders/orders", int(v)), []byte(short))
		l.Must(err)
	}
	for _, v := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8} {
		_, err := l.RootBucket(world.West).Delete(t.Context(), fmt.Sprintf("orders/orders/_delta_log/%020d.crc", v))
		l.Must(err)
	}
	ch, err = l.Planned(toVersion(3))
	l.Must(err)
	if got := accepted(ch, "evidence"); !strings.Contains(got, "may delete the files of the bad head, version 8") {
		t.Errorf("accepted: %q", got)
	}
}

func trap23UnexplainedRemovesAreAccepted(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	log, _ := l.Log(world.West, "orders")
	s, err := log.Snapshot(t.Context(), 8)
	l.Must(err)
	path := ""
	for a := range s.Files() {
		if a.Vector == nil {
			path = a.Path
		}
	}
	v := l.Commit(`{"commitInfo":{"timestamp":1,"operation":"FSCK"}}`, fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true,"deletionTimestamp":1795238390000}}`, path))
	ch, err := l.Planned(toVersion(8))
	l.Must(err)
	if got := accepted(ch, "unexplained-removes"); !strings.Contains(got, fmt.Sprintf("Version %d of table orders (FSCK) removed 1 file ", v)) {
		t.Errorf("accepted: %q", got)
	}
}

// A rollback whose answer is lost, or that is begun again after its worker died,
// ends as one commit.
func trap29ASecondAttemptFindsTheFirst(t *testing.T, l *world.Lake) {
	l.Plant("dv", 8)
	d, r := l.Rollback()
	ch, err := l.Planned(toVersion(3))
	l.Must(err)
	r.Plan = &ch
	for n := range int64(3) {
		o, err := d.Apply(t.Context(), r, toVersion(3))
		l.Must(err)
		if o.Mutations != max(0, 1-n) {
			t.Errorf("attempt %d made %d mutations", n+1, o.Mutations)
		}
	}
	again, err := l.Planned(toVersion(3))
	l.Must(err)
	r.Plan = &again
	o, err := d.Apply(t.Context(), r, toVersion(3))
	l.Must(err)
	if log, _ := l.Log(world.West, "orders"); log.Head() != 9 || o.Mutations != 0 || len(again.Effects) > 0 {
		t.Errorf("planned and applied again: head %d, %d mutations, effects %+v", log.Head(), o.Mutations, again.Effects)
	}
	obs, err := d.Verify(t.Context(), r, toVersion(3))
	l.Must(err)
	if action.Worst(obs) != verdict.Pass {
		t.Errorf("the plan of what is done does not pass\n%s", prove.Told(obs))
	}
	if back, err := d.UndoPlan(t.Context(), r, toVersion(3)); err != nil || len(back.Effects) == 0 {
		t.Errorf("what a first attempt did cannot be taken back by the second's plan: %+v, %v", back, err)
	}
}
