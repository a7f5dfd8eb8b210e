package rollback_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rollback"
)

// append writes a commit right above the head, by hand.
func appendCommit(t testing.TB, s store, name string, actions ...map[string]any) int64 {
	t.Helper()
	v := open(t, s, name).Head() + 1
	var b bytes.Buffer
	for _, a := range actions {
		if err := json.NewEncoder(&b).Encode(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutIfAbsent(t.Context(), entry(name, v), b.Bytes()); err != nil {
		t.Fatal(err)
	}
	return v
}

func info(operation string, more ...string) map[string]any {
	i := map[string]any{"timestamp": noon.UnixMilli(), "operation": operation}
	if len(more) > 0 {
		i["operationParameters"] = map[string]string{"mode": more[0]}
	}
	return map[string]any{"commitInfo": i}
}

// rewrite changes one commit in place.
func rewrite(t testing.TB, s store, name string, v int64, change func(string) string) {
	t.Helper()
	body, err := s.Get(t.Context(), entry(name, v))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), entry(name, v), []byte(change(string(body)))); err != nil {
		t.Fatal(err)
	}
}

// Version 8 of this table differs from 7 in deletion vectors alone: keyed by path
// there would be nothing to restore.
func TestTrap08DeletionVectorsAreRestored(t *testing.T) {
	t.Parallel()
	s := load(t, "dv")
	headAt(s, "dv", 8)
	wantFiles, wantRows := content(t, s, "dv", 7)
	p := plan(t, s, "dv", 7)
	if p.Metrics.Restored == 0 || !slices.Equal(p.Added(), p.Removed()) {
		t.Errorf("adds %q, removes %q; want the same paths with other vectors", p.Added(), p.Removed())
	}
	files, rows := content(t, s, "dv", commit(t, s, p, "a"))
	if !slices.Equal(files, wantFiles) || rows != wantRows {
		t.Errorf("holds %v, want %v", rows, wantRows)
	}
}

func TestTrap09SkippedBatchesAreNamed(t *testing.T) {
	t.Parallel()
	s := load(t, "dv")
	headAt(s, "dv", 8)
	for _, v := range []int{4, 9} {
		appendCommit(t, s, "dv", info("STREAMING UPDATE"), map[string]any{"txn": map[string]any{"appId": "ingest", "version": v}})
	}
	head := appendCommit(t, s, "dv", info("STREAMING UPDATE"), map[string]any{"txn": map[string]any{"appId": "other", "version": 1}})
	p := plan(t, s, "dv", 9)
	want := []table.Skipped{{App: "ingest", Then: 4, Now: 9}, {App: "other", Then: -1, Now: 1}}
	if !slices.Equal(p.Between.Skipped, want) {
		t.Errorf("skipped %+v, want %+v", p.Between.Skipped, want)
	}
	if p := plan(t, s, "dv", head); len(p.Between.Skipped) > 0 {
		t.Errorf("nothing happened since the head: %+v", p.Between.Skipped)
	}
}

// A restore adds one version, and changes no byte of what is there.
func TestTrap11NoVersionIsUsedTwice(t *testing.T) {
	t.Parallel()
	s := load(t, "basic_part")
	before := map[string]string{}
	for _, key := range s.Keys("delta/basic_part/") {
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		before[key] = string(body)
	}
	head := open(t, s, "basic_part").Head()
	if v := commit(t, s, plan(t, s, "basic_part", 2), "a"); v != head+1 {
		t.Errorf("committed version %d above %d", v, head)
	}
	for key, was := range before {
		if body, err := s.Get(t.Context(), key); err != nil || string(body) != was {
			t.Errorf("%s changed: %v", key, err)
		}
	}
	if got := len(s.Keys("delta/basic_part/")); got != len(before)+1 {
		t.Errorf("%d objects, had %d", got, len(before))
	}
}

func TestTrap12HighWaterMarksNeverFall(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		head, target int64
		was          func(rollback.Marks) any
	}{
		"identity":     {5, 1, func(m rollback.Marks) any { return m.Identity["id"] }},
		"row_tracking": {7, 2, func(m rollback.Marks) any { return m.RowID }},
		"colmap_name":  {6, 2, func(m rollback.Marks) any { return m.ColumnID }},
	} {
		t.Run(name, func(t *testing.T) {
			s := load(t, name)
			headAt(s, name, tc.head)
			marks := func(v int64) rollback.Marks {
				l := open(t, s, name)
				snap, err := l.Snapshot(t.Context(), v)
				if err != nil {
					t.Fatal(err)
				}
				m, err := rollback.MarksOf(t.Context(), l, snap)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			was := marks(tc.head)
			if tc.was(marks(tc.target)) == tc.was(was) {
				t.Fatal("the mark did not rise between the two versions: the test shows nothing")
			}
			is := marks(commit(t, s, plan(t, s, name, tc.target), "a"))
			if tc.was(is) != tc.was(was) || len(is.Below(was)) > 0 {
				t.Errorf("marks %+v, were %+v: %q", is, was, is.Below(was))
			}
		})
	}
	// A column that counts down.
	low := rollback.Marks{Identity: map[string]int64{"id": -4}, Down: []string{"id"}}
	if low.Below(rollback.Marks{Identity: map[string]int64{"id": -9}, Down: []string{"id"}}) == nil {
		t.Error("-4 is taken for beyond -9 in a column that counts down")
	}
}

func TestTrap13VacuumUnderWayIsSeen(t *testing.T) {
	t.Parallel()
	s := load(t, "dv")
	v := appendCommit(t, s, "dv", info("VACUUM START"))
	if e := plan(t, s, "dv", 7).Between.Vacuum; e == nil || e.Version != v {
		t.Errorf("vacuum %+v, want the one started at %d", e, v)
	}
	appendCommit(t, s, "dv", info("VACUUM END"))
	if e := plan(t, s, "dv", 7).Between.Vacuum; e != nil {
		t.Errorf("vacuum %+v has ended", e)
	}
}

// The retention of a file runs from its remove, not from the target.
func TestTrap14RetentionRunsFromTheRemove(t *testing.T) {
	t.Parallel()
	s := load(t, "dv")
	headAt(s, "dv", 8)
	removed := lines(t, s, "dv", 8)["remove"]
	first := removed[0]["deletionTimestamp"].(float64)
	for _, r := range removed {
		first = min(first, r["deletionTimestamp"].(float64))
	}
	if got := plan(t, s, "dv", 7).Between.Oldest; got.UnixMilli() != int64(first) {
		t.Errorf("the oldest remove of a file that comes back is of %s, want %s", got, time.UnixMilli(int64(first)).UTC())
	}
}

// The bad head stays readable, and the commit says which one it was.
func TestTrap15TheBadHeadIsKeptAndNamed(t *testing.T) {
	t.Parallel()
	s := load(t, "dv")
	headAt(s, "dv", 8)
	badFiles, badRows := content(t, s, "dv", 8)
	v := commit(t, s, plan(t, s, "dv", 3), "a")
	c, err := open(t, s, "dv").Commit(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := rollback.MarkOf(c.Info)
	if !ok || m.Bad != 8 || m.Target != 3 || m.Run != "test" || c.Operation != "RESTORE" {
		t.Errorf("the commit says %+v, operation %s; want the bad head 8 and the target 3", m, c.Operation)
	}
	if files, rows := content(t, s, "dv", 8); !slices.Equal(files, badFiles) || rows != badRows {
		t.Errorf("the bad head reads as %v, was %v", rows, badRows)
	}
}

func TestTrap23UnexplainedRemovesAreNamed(t *testing.T) {
	t.Parallel()
	s := load(t, "basic_part")
	headAt(s, "basic_part", 8)
	l := open(t, s, "basic_part")
	snap, err := l.Snapshot(t.Context(), 8)
	if err != nil {
		t.Fatal(err)
	}
	var gone []map[string]any
	for a := range snap.Files() {
		gone = append(gone, map[string]any{"remove": map[string]any{"path": a.Path, "dataChange": true, "deletionTimestamp": noon.UnixMilli()}})
	}
	fsck := appendCommit(t, s, "basic_part", info("FSCK"), gone[0])
	appended := appendCommit(t, s, "basic_part", info("WRITE", "Append"), gone[1])
	appendCommit(t, s, "basic_part", info("WRITE", "Overwrite"), gone[2])
	p := plan(t, s, "basic_part", 8)
	var got []int64
	for _, e := range p.Between.Unexplained {
		got = append(got, e.Version)
	}
	if !slices.Equal(got, []int64{fsck, appended}) {
		t.Errorf("unexplained removes at %v, want %d and %d alone", got, fsck, appended)
	}
	if p := plan(t, s, "basic_part", 2); len(p.Between.Unexplained) != 2 {
		t.Errorf("from 2 on: %+v; the operations of Spark explain theirs", p.Between.Unexplained)
	}
}

// flaky loses the answer of the first put: the write was made, or was not.
type flaky struct {
	store
	made bool
	puts int
}

func (f *flaky) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	f.puts++
	if f.puts > 1 {
		return f.store.PutIfAbsent(ctx, key, body)
	}
	if f.made {
		if err := f.store.PutIfAbsent(ctx, key, body); err != nil {
			return err
		}
	}
	return fmt.Errorf("put %s: no answer: %w", key, reach.ErrUnreachable)
}

func TestTrap29ALostAnswerMakesNoSecondRestore(t *testing.T) {
	t.Parallel()
	for _, made := range []bool{true, false} {
		s := load(t, "dv")
		headAt(s, "dv", 8)
		p := plan(t, s, "dv", 3)
		f := &flaky{store: s, made: made}
		v, wrote, err := p.Commit(t.Context(), f, stamp("a"))
		if made && (err != nil || v != 9 || !wrote) {
			t.Errorf("the commit was made: %d, %v, %v", v, wrote, err)
		}
		if !made && !reach.Unreachable(err) {
			t.Errorf("nothing was written: %v, want an unreachable store", err)
		}
		v, wrote, err = p.Commit(t.Context(), f, stamp("a"))
		if err != nil || v != 9 || wrote == made {
			t.Errorf("again: %d, wrote %v, %v", v, wrote, err)
		}
		if head := open(t, s, "dv").Head(); head != 9 {
			t.Errorf("the head is %d, want one commit above 8", head)
		}
		if _, _, err := p.Commit(t.Context(), f, stamp("b")); !errors.Is(err, rollback.ErrMoved) {
			t.Errorf("another run's restore of the same plan = %v, want ErrMoved", err)
		}
	}
}

func TestCommitIsConditionalOnTheHead(t *testing.T) {
	t.Parallel()
	s := load(t, "dv")
	headAt(s, "dv", 8)
	p := plan(t, s, "dv", 3)
	appendCommit(t, s, "dv", info("SET TBLPROPERTIES"))
	if _, _, err := p.Commit(t.Context(), s, stamp("a")); !errors.Is(err, rollback.ErrMoved) {
		t.Errorf("a restore planned against 8 = %v at head 9, want ErrMoved", err)
	}
	if head := open(t, s, "dv").Head(); head != 9 {
		t.Errorf("head %d: something was written", head)
	}
	// Somebody who commits between the look and the put.
	s = load(t, "dv")
	headAt(s, "dv", 8)
	race := racing{s, func() { appendCommit(t, s, "dv", info("WRITE")) }}
	if _, _, err := p.Commit(t.Context(), race, stamp("a")); !errors.Is(err, rollback.ErrMoved) {
		t.Errorf("a lost race = %v, want ErrMoved", err)
	}
}

type racing struct {
	store
	first func()
}

func (r racing) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	r.first()
	return r.store.PutIfAbsent(ctx, key, body)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	protocol := func(writer ...string) map[string]any {
		return map[string]any{"protocol": map[string]any{"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": []string{"deletionVectors"}, "writerFeatures": append(writer, "deletionVectors")}}
	}
	for name, tc := range map[string]struct {
		harm   func(t *testing.T, s store)
		target int64
		want   error
		says   string
	}{
		"catalog-managed": {func(t *testing.T, s store) {
			appendCommit(t, s, "dv", map[string]any{"protocol": map[string]any{"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": []string{"catalogManaged"}, "writerFeatures": []string{"catalogManaged"}}})
		}, 3, rollback.ErrCatalogManaged, "catalogManaged"},
		"catalog-owned preview": {func(t *testing.T, s store) { appendCommit(t, s, "dv", protocol("catalogOwned-preview")) }, 3, rollback.ErrCatalogManaged, "catalog"},
		"catalog-owned":         {func(t *testing.T, s store) { appendCommit(t, s, "dv", protocol("catalogOwned")) }, 3, rollback.ErrCatalogManaged, "feature catalogOwned"},
		"coordinated":           {func(t *testing.T, s store) { appendCommit(t, s, "dv", protocol("coordinatedCommits-preview")) }, 3, rollback.ErrCatalogManaged, "DROP FEATURE"},
		"coordinator": {func(t *testing.T, s store) {
			rewrite(t, s, "dv", 0, func(b string) string {
				return strings.ReplaceAll(b, `"delta.enableDeletionVectors":"true"`, `"delta.enableDeletionVectors":"true","delta.coordinatedCommits.commitCoordinator-preview":"dynamodb"`)
			})
		}, 3, rollback.ErrCatalogManaged, "property delta.coordinatedCommits.commitCoordinator-preview of dynamodb"},
		"coordinator with an unpublished commit": {func(t *testing.T, s store) {
			appendCommit(t, s, "dv", protocol("coordinatedCommits-preview"))
			if err := s.Put(t.Context(), "delta/dv/_delta_log/_commits/00000000000000000010.3f1c.json", []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}, 3, rollback.ErrCatalogManaged, "1 lie beside its log"},
		"unknown writer feature": {func(t *testing.T, s store) { appendCommit(t, s, "dv", protocol("icebergCompatV9")) }, 3, rollback.ErrRefused, "icebergCompatV9"},
		"compaction of commits that are gone": {func(t *testing.T, s store) {
			if err := s.Put(t.Context(), strings.Replace(entry("dv", 7), ".json", ".00000000000000000009.compacted.json", 1), []byte(`{"txn":{}}`)); err != nil {
				t.Fatal(err)
			}
		}, 3, rollback.ErrRefused, "objects of the log speak of versions above the head 8: 1, the first "},
		"checksum of a commit that is gone": {func(t *testing.T, s store) {
			if err := s.Put(t.Context(), strings.Replace(entry("dv", 9), ".json", ".crc", 1), []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}, 3, rollback.ErrRefused, "move them aside"},
		"file gone":   {func(t *testing.T, s store) { s.Delete(fileOf(t, s, 3, table.Data)) }, 3, rollback.ErrRefused, "bring these 1 back"},
		"vector gone": {func(t *testing.T, s store) { s.Delete(fileOf(t, s, 3, table.DeletionVector)) }, 3, rollback.ErrRefused, "is absent"},
		"file resized": {func(t *testing.T, s store) {
			if err := s.Put(t.Context(), fileOf(t, s, 3, table.Data), []byte("PAR1")); err != nil {
				t.Fatal(err)
			}
		}, 3, rollback.ErrRefused, "has 4 bytes, recorded"},
		"append-only": {func(t *testing.T, s store) {
			rewrite(t, s, "dv", 0, func(b string) string {
				return strings.ReplaceAll(b, `"delta.enableDeletionVectors":"true"`, `"delta.enableDeletionVectors":"true","delta.appendOnly":"true"`)
			})
		}, 3, rollback.ErrRefused, "delta.appendOnly"},
		"vector without count": {func(t *testing.T, s store) {
			rewrite(t, s, "dv", 3, func(b string) string { return strings.ReplaceAll(b, `\"numRecords\"`, `\"n\"`) })
		}, 3, rollback.ErrRefused, "numRecords"},
		"no such version": {func(*testing.T, store) {}, 99, fs.ErrNotExist, "no version 99"},
		"unreadable version": {func(t *testing.T, s store) {
			for v := range int64(6) {
				s.Delete(entry("dv", v))
			}
		}, 3, delta.ErrNoStart, "version 3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := load(t, "dv")
			headAt(s, "dv", 8)
			for _, key := range s.Keys("delta/dv/_delta_log/") {
				if strings.Contains(key, ".crc") || strings.Contains(key, "checkpoint") && !errors.Is(tc.want, delta.ErrNoStart) {
					s.Delete(key)
				}
			}
			tc.harm(t, s)
			_, err := rollback.New(t.Context(), s, open(t, s, "dv"), tc.target)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("plan = %v; want %v saying %q", err, tc.want, tc.says)
			}
		})
	}
}

// fileOf is an object that a version needs.
func fileOf(t *testing.T, s store, v int64, why table.Why) string {
	t.Helper()
	then, err := open(t, s, "dv").Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	for f, err := range then.Closure() {
		if err == nil && f.Why == why {
			return f.Key
		}
	}
	t.Fatalf("version %d needs no %s", v, why)
	return ""
}

// Times inside of commits never go back, whatever the clock says, and stay on.
func TestInCommitTimestampsStayMonotonic(t *testing.T) {
	t.Parallel()
	s := load(t, "ict")
	l := open(t, s, "ict")
	was, err := l.Snapshot(t.Context(), l.Head())
	if err != nil {
		t.Fatal(err)
	}
	p := plan(t, s, "ict", 2)
	v, _, err := p.Commit(t.Context(), s, table.Stamp{Token: "a", Now: time.UnixMilli(5)})
	if err != nil {
		t.Fatal(err)
	}
	body, err := s.Get(t.Context(), entry("ict", v))
	if err != nil || !bytes.HasPrefix(body, []byte(`{"commitInfo":`)) {
		t.Errorf("the commit does not begin with its commitInfo: %.40s, %v", body, err)
	}
	is, err := open(t, s, "ict").Snapshot(t.Context(), v)
	if err != nil || !is.Version.Time.Equal(was.Version.Time.Add(time.Millisecond)) || is.Version.From != was.Version.From {
		t.Errorf("version %+v after %+v, %v", is.Version, was.Version, err)
	}
	// Back to before they were turned on they stay on, and forward to where they
	// were on they say since when.
	s = load(t, "ict_enabled_later")
	headAt(s, "ict_enabled_later", 6)
	v = commit(t, s, plan(t, s, "ict_enabled_later", 2), "a")
	if is, err = open(t, s, "ict_enabled_later").Snapshot(t.Context(), v); err != nil || is.Metadata.Configuration["delta.inCommitTimestampEnablementVersion"] != "4" {
		t.Errorf("%v, %v", is.Metadata.Configuration, err)
	}
	s = load(t, "ict_enabled_later") // whose head, by Spark, turned them off
	v = commit(t, s, plan(t, s, "ict_enabled_later", 6), "a")
	is, err = open(t, s, "ict_enabled_later").Snapshot(t.Context(), v)
	if conf := is.Metadata.Configuration; err != nil || conf["delta.inCommitTimestampEnablementVersion"] != fmt.Sprint(v) ||
		conf["delta.inCommitTimestampEnablementTimestamp"] != fmt.Sprint(is.Version.Time.UnixMilli()) || is.Version.From != "in-commit" {
		t.Errorf("%+v, %v, %v", is.Version, conf, err)
	}
}

// Files from before row tracking are given row ids that nobody had.
func TestRowIDsForFilesFromBefore(t *testing.T) {
	t.Parallel()
	s := load(t, "dv")
	headAt(s, "dv", 8)
	for _, key := range s.Keys("delta/dv/_delta_log/") {
		if strings.Contains(key, ".crc") {
			s.Delete(key)
		}
	}
	appendCommit(t, s, "dv",
		map[string]any{"protocol": map[string]any{"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": []string{"deletionVectors"}, "writerFeatures": []string{"deletionVectors", "rowTracking", "domainMetadata"}}},
		map[string]any{"domainMetadata": map[string]any{"domain": "delta.rowTracking", "configuration": `{"rowIdHighWaterMark":99}`, "removed": false}})
	v := commit(t, s, plan(t, s, "dv", 3), "a")
	next := float64(100)
	acts := lines(t, s, "dv", v)
	for _, a := range acts["add"] {
		var stats struct{ NumRecords float64 }
		if err := json.Unmarshal([]byte(a["stats"].(string)), &stats); err != nil {
			t.Fatal(err)
		}
		if a["baseRowId"] != next || a["defaultRowCommitVersion"] != float64(v) {
			t.Errorf("%s has row ids from %v of version %v, want %v of %d", a["path"], a["baseRowId"], a["defaultRowCommitVersion"], next, v)
		}
		next += stats.NumRecords
	}
	if len(acts["add"]) == 0 || !strings.Contains(fmt.Sprint(acts["domainMetadata"]), fmt.Sprintf(`"rowIdHighWaterMark":%v`, next-1)) {
		t.Errorf("the mark is %v, want %v", acts["domainMetadata"], next-1)
	}
}

// The digest is of the commit's content: it differs with the target and with the
// head, and not with who commits when.
func TestDigest(t *testing.T) {
	t.Parallel()
	s := load(t, "dv")
	headAt(s, "dv", 8)
	a, b, c := plan(t, s, "dv", 3), plan(t, s, "dv", 3), plan(t, s, "dv", 4)
	if a.Digest != b.Digest || a.Digest == c.Digest || len(a.Digest) != 64 {
		t.Errorf("digests %s %s %s", a.Digest, b.Digest, c.Digest)
	}
}
