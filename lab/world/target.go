package world

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Downloaded is a folder with what the target's bucket holds of a table.
func (l *Lake) Downloaded(under, path string) string {
	l.T.Helper()
	dir, err := os.MkdirTemp(under, "table")
	l.Must(err)
	for o, err := range l.RootBucket(West).List(l.T.Context(), path+"/") {
		l.Must(err)
		body, _, err := l.RootBucket(West).Get(l.T.Context(), o.Key)
		l.Must(err)
		file := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(o.Key, path)))
		l.Must(os.MkdirAll(filepath.Dir(file), 0o750))
		l.Must(os.WriteFile(file, body, 0o600))
	}
	return dir
}

// Deletes hides keys at the target, as a person does.
func (l *Lake) Deletes(keys ...string) {
	l.T.Helper()
	bucket := "lake-west"
	for _, key := range keys {
		_, err := l.S3[West].DeleteObject(l.T.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		l.Must(err)
	}
}

// Destroys removes every version of a key at the target.
func (l *Lake) Destroys(key string) {
	l.T.Helper()
	bucket := "lake-west"
	for v, err := range l.RootBucket(West).ListVersions(l.T.Context(), key) {
		l.Must(err)
		if v.Key == key {
			_, err = l.S3[West].DeleteObject(l.T.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: &v.VersionID})
			l.Must(err)
		}
	}
}

// Writes puts an object at the target as root.
func (l *Lake) Writes(key, body string) {
	l.T.Helper()
	bucket := "lake-west"
	_, err := l.S3[West].PutObject(l.T.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	l.Must(err)
}

// Reads holds the content of a version at the target against what was written.
func (l *Lake) Reads(name string, version int) {
	l.T.Helper()
	log, store := l.Log(West, name)
	s, err := log.Snapshot(l.T.Context(), int64(version))
	l.Must(err)
	d, err := scan.Sum(l.T.Context(), store, s)
	l.Must(err)
	if want := l.Truth[name][version]; d != want {
		l.T.Errorf("version %d of %s reads as %+v, want %+v", version, name, d, want)
	}
}

// Plant puts a fixture table at the target, in the place of orders, with its log
// up to head; -1 is all of it.
func (l *Lake) Plant(name string, head int64) {
	l.T.Helper()
	l.Empty(West, "orders/orders/")
	l.Unmark("orders/orders/")
	store, err := deltatest.Load(name)
	l.Must(err)
	to := "lake-west"
	for _, key := range store.Keys("delta/" + name + "/") {
		rel := strings.TrimPrefix(key, "delta/"+name+"/")
		if v, ok := versionIn(strings.TrimPrefix(rel, "_delta_log/")); head >= 0 && (ok && v > head || strings.HasSuffix(rel, "_last_checkpoint")) {
			continue
		}
		body, err := store.Get(l.T.Context(), key)
		l.Must(err)
		at := "orders/orders/" + rel
		_, err = l.S3[West].PutObject(l.T.Context(), &s3.PutObjectInput{Bucket: &to, Key: &at, Body: bytes.NewReader(body)})
		l.Must(err)
	}
}

// Commit writes a log entry by hand, right above the head of orders at the target.
func (l *Lake) Commit(actions ...string) int64 {
	l.T.Helper()
	log, _ := l.Log(West, "orders")
	v := log.Head() + 1
	_, err := l.RootBucket(West).PutIfAbsent(l.T.Context(), Entry("orders/orders", int(v)), []byte(strings.Join(actions, "\n")+"\n"))
	l.Must(err)
	return v
}

// Rows are what a version of orders at the target reads as.
func (l *Lake) Rows(v int64) table.Digest {
	l.T.Helper()
	log, store := l.Log(West, "orders")
	s, err := log.Snapshot(l.T.Context(), v)
	l.Must(err)
	d, err := scan.Sum(l.T.Context(), store, s)
	l.Must(err)
	return d
}

// Rollback is the action with a request on orders.
func (l *Lake) Rollback() (*action.Definition, action.Request) {
	l.T.Helper()
	d := l.Recorded("table.rollback")
	return d, l.Request(d, "orders")
}

// Planned plans a rollback.
func (l *Lake) Planned(with json.RawMessage) (action.Change, error) {
	l.T.Helper()
	d, r := l.Rollback()
	return d.Plan(l.T.Context(), r, with)
}

// DataAt is a data file of a version of orders at the target.
func (l *Lake) DataAt(v int64) string {
	l.T.Helper()
	log, _ := l.Log(West, "orders")
	s, err := log.Snapshot(l.T.Context(), v)
	l.Must(err)
	for a := range s.Files() {
		_, key := a.File()
		return key
	}
	l.T.Fatalf("version %d has no file", v)
	return ""
}

// versionIn is the version that a log file's name begins with.
func versionIn(name string) (int64, bool) {
	digits, _, _ := strings.Cut(name, ".")
	v, err := strconv.ParseInt(digits, 10, 64)
	return v, err == nil && len(digits) == 20
}

// Compact puts a log compaction file at the target, of the commits at the source.
func (l *Lake) Compact(name string, first, last int) string {
	l.T.Helper()
	decl, _, _ := l.Estate.Table(name)
	var commits [][]byte
	for v := first; v <= last; v++ {
		body, _, err := l.RootBucket(East).Get(l.T.Context(), Entry(decl.Path, v))
		l.Must(err)
		commits = append(commits, body)
	}
	body, err := deltatest.Compacted(commits...)
	l.Must(err)
	key := strings.TrimSuffix(Entry(decl.Path, first), "json") + fmt.Sprintf("%020d.compacted.json", last)
	_, err = l.RootBucket(West).Put(l.T.Context(), key, body)
	l.Must(err)
	return key
}

// Arrive empties the target's tables, lets a random subset arrive and chooses.
func (l *Lake) Arrive(r *rand.Rand) bool {
	l.T.Helper()
	l.Records.outcomes = map[string]action.Outcome{}
	for _, name := range []string{"orders", "payments"} {
		decl, _, _ := l.Estate.Table(name)
		l.Empty(West, decl.Path+"/")
		l.Unmark(decl.Path + "/")
		lag := r.Float64() * 0.4
		l.Replicate(name, func(key string) bool {
			if strings.HasSuffix(key, "0000.json") || strings.HasSuffix(key, "0001.json") || slices.Contains(l.DataOf(name, 1), key) {
				return r.IntN(30) == 0
			}
			return r.Float64() < lag
		})
	}
	d := l.Recorded("group.recovery-point")
	req := l.Request(d, "orders")
	ch, err := d.Plan(l.T.Context(), req, nil)
	if err != nil {
		if !strings.Contains(err.Error(), "choose the cut") {
			l.T.Errorf("Plan: %v", err)
		}
		return false
	}
	req.Plan = &ch
	_, err = d.Apply(l.T.Context(), req, nil)
	l.Must(err)
	l.Verified("group.recovery-point", req, verdict.Pass)
	for _, loss := range l.Point("orders").Losses {
		v := *loss.Version
		all := l.Truth[loss.Dataset]
		lost := all[len(all)-1].Rows - all[v].Rows
		if loss.Count.AtLeast > lost || loss.Count.AtMost != nil && *loss.Count.AtMost < lost {
			l.T.Errorf("%s at version %d: %s, in truth %d", loss.Dataset, v, loss.Words(), lost)
		}
		// One cut: no table is before, or after, its version at that moment.
		at := l.Point("orders").Cut.At
		if l.commits[loss.Dataset][v].After(at) || int(v)+1 < len(all) && !l.commits[loss.Dataset][v+1].After(at) {
			l.T.Errorf("%s at version %d is not where it was at %s", loss.Dataset, v, at)
		}
	}
	return true
}

// Holds promotes a table and holds what a reader finds against the truth.
func (l *Lake) Holds(name string) {
	l.T.Helper()
	r, _ := l.Do("table.promote", name)
	l.Verified("table.promote", r, verdict.Pass)
	p, _, _ := l.Point("orders").Table(name)
	log, store := l.Log(West, name)
	s, err := log.Snapshot(l.T.Context(), log.Head())
	l.Must(err)
	got, err := scan.Sum(l.T.Context(), store, s)
	l.Must(err)
	if want := l.Truth[name][p.Version]; log.Head() != p.Version || got != want {
		l.T.Errorf("%s promoted to %d: head %d holds %v, the writer's journal says %v", name, p.Version, log.Head(), got, want)
	}
	golden := l.Recorded("access.golden-queries")
	obs, err := golden.Verify(l.T.Context(), l.Request(golden, name), nil)
	l.Must(err)
	if action.Worst(obs) == verdict.Fail {
		l.T.Errorf("golden queries on %s:\n%s", name, prove.Told(obs))
	}
}

// RewoundLake destroys the table orders in every way that leaves versions, and
// rewinds it to its version 5. It gives the keys of each version from 1 on.
func RewoundLake(t *testing.T) (*Lake, [][]int64) {
	t.Helper()
	l := NewLake(t)
	l.Run.SourceUnreachable = false
	l.Create("orders", 3)
	var all [][]int64
	ids, next := []int64{}, int64(1)
	commit := func() {
		var rows []write.Row
		for range 7 {
			rows = append(rows, write.Row{next, "note"})
			ids = append(ids, next)
			next++
		}
		_, err := l.Writers["orders"].Append(t.Context(), rows)
		l.Must(err)
		all = append(all, append([]int64(nil), ids...))
	}
	for range 5 {
		commit()
	}
	l.Replicate("orders", nil)
	s := &Shelf{l.World, "lake-west", "ticks/"}
	at := s.Moment()
	for range 4 {
		commit()
	}
	l.Replicate("orders", nil)
	path := "orders/orders"
	file := func(v int) string { return l.DataOf("orders", v)[0] }
	l.Writes(file(1), "ransom")
	l.Deletes(file(2), Entry(path, 0), Entry(path, 3), path+"/_delta_log/_last_checkpoint")
	l.Writes(Entry(path, 4), `{"add":{"path":"elsewhere"}}`)

	def := l.World.Action("storage.rewind")
	r, p := l.Request(def, "lake"), prove.With(t, map[string]any{"at": at, "prefix": path + "/"})
	l.Act(def, &r, p)
	prove.Passes(t, def, r, p)
	return l, all[:5]
}
