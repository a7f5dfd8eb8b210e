package activities

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/verdict"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// plant puts a fixture table at the target, in the place of orders, with its log
// up to head; -1 is all of it.
func (l *lake) plant(name string, head int64) {
	l.t.Helper()
	l.empty(west, "orders/orders/")
	l.unmark("orders/orders/")
	store, err := deltatest.Load(name)
	l.must(err)
	to := "lake-west"
	for _, key := range store.Keys("delta/" + name + "/") {
		rel := strings.TrimPrefix(key, "delta/"+name+"/")
		if v, ok := speaksOf(strings.TrimPrefix(rel, "_delta_log/")); head >= 0 && (ok && v > head || strings.HasSuffix(rel, "_last_checkpoint")) {
			continue
		}
		body, err := store.Get(l.t.Context(), key)
		l.must(err)
		at := "orders/orders/" + rel
		_, err = l.s3[west].PutObject(l.t.Context(), &s3.PutObjectInput{Bucket: &to, Key: &at, Body: bytes.NewReader(body)})
		l.must(err)
	}
}

// commit writes a log entry by hand, right above the head of orders at the target.
func (l *lake) commit(actions ...string) int64 {
	l.t.Helper()
	log, _ := l.log(west, "orders")
	v := log.Head() + 1
	_, err := l.rootBucket(west).PutIfAbsent(l.t.Context(), entry("orders/orders", int(v)), []byte(strings.Join(actions, "\n")+"\n"))
	l.must(err)
	return v
}

// rows are what a version of orders at the target reads as.
func (l *lake) rows(v int64) scan.Digest {
	l.t.Helper()
	log, store := l.log(west, "orders")
	s, err := log.Snapshot(l.t.Context(), v)
	l.must(err)
	d, err := scan.Sum(l.t.Context(), store, s)
	l.must(err)
	return d
}

func toVersion(v int64) json.RawMessage { return fmt.Appendf(nil, `{"to_version":%d}`, v) }

// rollback is the action with a request on orders.
func (l *lake) rollback() (*action.Definition, action.Request) {
	l.t.Helper()
	d := l.recorded("table.rollback")
	return d, l.request(d, "orders")
}

// planned plans a rollback.
func (l *lake) planned(with json.RawMessage) (action.Change, error) {
	l.t.Helper()
	d, r := l.rollback()
	return d.Plan(l.t.Context(), r, with)
}

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
	l := newLake(t)
	l.plant("dv", 8)
	want, bad := l.rows(3), l.rows(8)
	d, r := l.rollback()
	proveActionWith(t, d, r, toVersion(3), l.faultSet())
	if got := l.rows(9); got != want {
		t.Errorf("version 9 reads as %v, want version 3's %v", got, want)
	}
	log, _ := l.log(west, "orders")
	if got := l.rows(log.Head()); log.Head() != 10 || got != bad {
		t.Errorf("taken back, head %d reads as %v, want version 8's %v", log.Head(), got, bad)
	}
}

// TestRollback takes one world through everything else that a rollback promises;
// each part plants its own table.
func TestRollback(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	for name, part := range map[string]func(*testing.T, *lake){
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
			l.t, l.run.Started = t, time.UnixMilli(1795238390000) // just after the fixtures were written
			part(t, l)
		})
	}
	l.t = t
}

// Another's commit is never thrown away: neither by applying nor by taking back.
func rollbackNoticesWhatMoved(t *testing.T, l *lake) {
	l.plant("dv", 8)
	d, r := l.rollback()
	ch, err := l.planned(toVersion(3))
	l.must(err)
	r.Plan = &ch
	l.commit(`{"commitInfo":{"timestamp":1,"operation":"SET TBLPROPERTIES"}}`)
	if _, err := d.Apply(t.Context(), r, toVersion(3)); !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply after another commit = %v, want ErrMoved", err)
	}
	if log, _ := l.log(west, "orders"); log.Head() != 9 {
		t.Errorf("head %d: something was written", log.Head())
	}
	ch, err = l.planned(toVersion(3))
	l.must(err)
	r.Plan = &ch
	_, err = d.Apply(t.Context(), r, toVersion(3))
	l.must(err)
	l.commit(`{"commitInfo":{"timestamp":1,"operation":"WRITE"}}`, `{"remove":{"path":"x.parquet","dataChange":true}}`)
	obs, err := d.Verify(t.Context(), r, toVersion(3))
	l.must(err)
	if action.Worst(obs) != verdict.Fail {
		t.Errorf("a writer that was not stopped is not seen\n%s", told(obs))
	}
	if _, err := d.UndoPlan(t.Context(), r, toVersion(3)); !errors.Is(err, action.ErrRefused) {
		t.Errorf("taking back below another's commit = %v, want ErrRefused", err)
	}
}

// What the plan refuses, it refuses with the next move.
func rollbackRefuses(t *testing.T, l *lake) {
	l.plant("dv", 8)
	for with, says := range map[string]string{
		`{}`: "either to_version or to_time", `{"to_version":3,"to_time":"2026-11-20T00:00:00Z"}`: "either to_version or to_time",
		`{"to_version":99}`: "no version 99", `{"to_time":"2001-01-01T00:00:00Z"}`: "before version 0",
	} {
		if _, err := l.planned(json.RawMessage(with)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("with %s: %v; want it refused, saying %q", with, err, says)
		}
	}
	gone := l.dataAt(3)
	_, err := l.rootBucket(west).Delete(t.Context(), gone)
	l.must(err)
	if _, err := l.planned(toVersion(3)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "bring these 1 back with storage.undelete") || !strings.Contains(err.Error(), gone) {
		t.Errorf("with %s deleted: %v", gone, err)
	}
	l.unmark("orders/orders/")
	stale := "orders/orders/_delta_log/00000000000000000007.00000000000000000009.compacted.json"
	_, err = l.rootBucket(west).Put(t.Context(), stale, []byte(`{"txn":{"appId":"a","version":1}}`))
	l.must(err)
	if _, err := l.planned(toVersion(3)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), stale) || !strings.Contains(err.Error(), "table.promote to version 8") {
		t.Errorf("with commits that a compaction alone tells of: %v", err)
	}
	_, err = l.rootBucket(west).Delete(t.Context(), stale)
	l.must(err)
	l.commit(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged","inCommitTimestamp"]}}`)
	if _, err := l.planned(toVersion(3)); !errors.Is(err, action.ErrRefused) || !errors.Is(err, rollback.ErrCatalogManaged) || !strings.Contains(err.Error(), "catalogManaged") {
		t.Errorf("catalog-managed: %v", err)
	}
}

// dataAt is a data file of a version of orders at the target.
func (l *lake) dataAt(v int64) string {
	l.t.Helper()
	log, _ := l.log(west, "orders")
	s, err := log.Snapshot(l.t.Context(), v)
	l.must(err)
	for a := range s.Files() {
		_, key := a.File()
		return key
	}
	l.t.Fatalf("version %d has no file", v)
	return ""
}

// By time the plan says which clock chose the version.
func rollbackToATime(t *testing.T, l *lake) {
	l.plant("ict", 6)
	log, _ := l.log(west, "orders")
	times, err := log.Times(t.Context())
	l.must(err)
	v2, _ := times.Of(2)
	with := fmt.Appendf(nil, `{"to_time":%q}`, v2.Time.Add(time.Millisecond).Format(time.RFC3339Nano))
	ch, err := l.planned(with)
	l.must(err)
	plan, err := action.Decode[rollbackPlan](ch.Data)
	l.must(err)
	if plan.Target != 2 || !strings.Contains(ch.Summary, "in-commit time") {
		t.Errorf("target %d: %s", plan.Target, ch.Summary)
	}
	l.plant("dv", 8)
	ch, err = l.planned(fmt.Appendf(nil, `{"to_time":%q}`, time.Now().UTC().Format(time.RFC3339Nano)))
	l.must(err)
	if len(ch.Effects) > 0 || !strings.Contains(ch.Summary, "the time of its log object") {
		t.Errorf("to now: %s", ch.Summary)
	}
}

func trap09SkippedBatchesAreAccepted(t *testing.T, l *lake) {
	l.plant("dv", 8)
	l.commit(`{"commitInfo":{"timestamp":1,"operation":"STREAMING UPDATE"}}`, `{"txn":{"appId":"ingest","version":41}}`)
	ch, err := l.planned(toVersion(8))
	l.must(err)
	if got := accepted(ch, "skipped-batches"); got != "" && len(ch.Effects) > 0 {
		t.Errorf("no file and no property differs, so nothing is done: %s", ch.Summary)
	}
	ch, err = l.planned(toVersion(3))
	l.must(err)
	if got := accepted(ch, "skipped-batches"); !strings.Contains(got, `"ingest"`) || !strings.Contains(got, "batches 0 to 41 are skipped") {
		t.Errorf("accepted: %q", got)
	}
}

func trap11StreamingReadersAreAccepted(t *testing.T, l *lake) {
	l.plant("dv", 8)
	ch, err := l.planned(toVersion(3))
	l.must(err)
	if got := accepted(ch, "streaming-readers"); !strings.Contains(got, "stop at version 9") || !strings.Contains(got, "Caches") {
		t.Errorf("accepted: %q", got)
	}
}

func trap13VacuumUnderWayIsAccepted(t *testing.T, l *lake) {
	l.plant("dv", 8)
	v := l.commit(`{"commitInfo":{"timestamp":1795238390000,"operation":"VACUUM START"}}`)
	ch, err := l.planned(toVersion(3))
	l.must(err)
	if got := accepted(ch, "vacuum-unfinished"); !strings.Contains(got, fmt.Sprintf("began with version %d", v)) {
		t.Errorf("accepted: %q", got)
	}
	// It deletes a file between the plan and the act.
	d, r := l.rollback()
	r.Plan = &ch
	_, err = l.rootBucket(west).Delete(t.Context(), l.dataAt(3))
	l.must(err)
	if _, err := d.Apply(t.Context(), r, toVersion(3)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "storage.undelete") {
		t.Errorf("Apply after a vacuum took a file = %v", err)
	}
	if log, _ := l.log(west, "orders"); log.Head() != v {
		t.Errorf("head %d: something was committed", log.Head())
	}
}

func trap14ATargetPastItsRetentionIsAccepted(t *testing.T, l *lake) {
	l.plant("dv", 8)
	ch, err := l.planned(toVersion(3))
	l.must(err)
	if got := accepted(ch, "past-retention"); got != "" {
		t.Errorf("removed after the run began, and yet: %s", got)
	}
	l.run.Started = time.UnixMilli(1795238390000).Add(8 * 24 * time.Hour)
	ch, err = l.planned(toVersion(3))
	l.must(err)
	if got := accepted(ch, "past-retention"); !strings.Contains(got, "192h0m0s ago and its retention is 168h0m0s") || !strings.Contains(got, "Extend delta.deletedFileRetentionDuration first") {
		t.Errorf("accepted: %q", got)
	}
}

func trap15TheEvidenceIsNamed(t *testing.T, l *lake) {
	l.plant("dv", 8)
	ch, err := l.planned(toVersion(3))
	l.must(err)
	until := l.run.Started.Add(7 * 24 * time.Hour).Format(time.RFC3339)
	if !slices.ContainsFunc(ch.Effects, func(e action.EffectLine) bool {
		return strings.Contains(e.Do, "keep version 8 as evidence") && strings.Contains(e.Do, until)
	}) {
		t.Errorf("effects %+v; want them to say until %s", ch.Effects, until)
	}
	if got := accepted(ch, "evidence"); got != "" {
		t.Errorf("the retention is the usual one, and yet: %s", got)
	}
	d, r := l.rollback()
	r.Plan = &ch
	o, err := d.Apply(t.Context(), r, toVersion(3))
	l.must(err)
	var left RollbackOutcome
	l.must(json.Unmarshal(o.Data, &left))
	if left.BadHead != 8 || left.Version != 9 {
		t.Errorf("it leaves %+v", left)
	}
	// A table whose files may be vacuumed at once.
	l.plant("dv", 8)
	for _, v := range []int64{0, 3} {
		b := l.rootBucket(west)
		body, _, err := b.Get(t.Context(), entry("orders/orders", int(v)))
		l.must(err)
		short := strings.ReplaceAll(string(body), `"delta.enableDeletionVectors":"true"`, `"delta.enableDeletionVectors":"true","delta.deletedFileRetentionDuration":"interval 0 hours"`)
		_, err = b.Put(t.Context(), entry("orders/orders", int(v)), []byte(short))
		l.must(err)
	}
	for _, v := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8} {
		_, err := l.rootBucket(west).Delete(t.Context(), fmt.Sprintf("orders/orders/_delta_log/%020d.crc", v))
		l.must(err)
	}
	ch, err = l.planned(toVersion(3))
	l.must(err)
	if got := accepted(ch, "evidence"); !strings.Contains(got, "may delete the files of the bad head, version 8") {
		t.Errorf("accepted: %q", got)
	}
}

func trap23UnexplainedRemovesAreAccepted(t *testing.T, l *lake) {
	l.plant("dv", 8)
	log, _ := l.log(west, "orders")
	s, err := log.Snapshot(t.Context(), 8)
	l.must(err)
	path := ""
	for a := range s.Files() {
		if a.Vector == nil {
			path = a.Path
		}
	}
	v := l.commit(`{"commitInfo":{"timestamp":1,"operation":"FSCK"}}`, fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true,"deletionTimestamp":1795238390000}}`, path))
	ch, err := l.planned(toVersion(8))
	l.must(err)
	if got := accepted(ch, "unexplained-removes"); !strings.Contains(got, fmt.Sprintf("Version %d of table orders (FSCK) removed 1 files", v)) {
		t.Errorf("accepted: %q", got)
	}
}

// A rollback whose answer is lost, or that is begun again after its worker died,
// ends as one commit.
func trap29ASecondAttemptFindsTheFirst(t *testing.T, l *lake) {
	l.plant("dv", 8)
	d, r := l.rollback()
	ch, err := l.planned(toVersion(3))
	l.must(err)
	r.Plan = &ch
	for n := range int64(3) {
		o, err := d.Apply(t.Context(), r, toVersion(3))
		l.must(err)
		if o.Mutations != max(0, 1-n) {
			t.Errorf("attempt %d made %d mutations", n+1, o.Mutations)
		}
	}
	again, err := l.planned(toVersion(3))
	l.must(err)
	r.Plan = &again
	o, err := d.Apply(t.Context(), r, toVersion(3))
	l.must(err)
	if log, _ := l.log(west, "orders"); log.Head() != 9 || o.Mutations != 0 || len(again.Effects) > 0 {
		t.Errorf("planned and applied again: head %d, %d mutations, effects %+v", log.Head(), o.Mutations, again.Effects)
	}
	obs, err := d.Verify(t.Context(), r, toVersion(3))
	l.must(err)
	if action.Worst(obs) != verdict.Pass {
		t.Errorf("the plan of what is done does not pass\n%s", told(obs))
	}
	if back, err := d.UndoPlan(t.Context(), r, toVersion(3)); err != nil || len(back.Effects) == 0 {
		t.Errorf("what a first attempt did cannot be taken back by the second's plan: %+v, %v", back, err)
	}
}
