package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/record"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// question asks Spark for a version of a table in a folder, the one that is there
// where Version is nil.
type question struct {
	What    string `json:"-"`
	Dir     string `json:"dir"`
	Version *int64 `json:"version"`
	Want    idSums `json:"-"`
}

// idSums are what a version reads as: rows, and over them the sum of the column
// id and of the CRC-32 of its decimal text.
type idSums struct {
	Rows int64 `json:"rows"`
	Sum  int64 `json:"sum"`
	CRC  int64 `json:"crc"`
}

func idSumsOf(ids []int64) idSums {
	r := idSums{Rows: int64(len(ids))}
	for _, id := range ids {
		r.Sum += id
		r.CRC += int64(crc32.ChecksumIEEE([]byte(strconv.FormatInt(id, 10))))
	}
	return r
}

// questions are asked in one go, about tables in folders of dir.
type questions struct {
	dir string
	all []question
}

// about asks for the versions of a table, and for its head.
func (a *questions) about(what, dir string, head int64, versions map[int64]idSums) {
	for v, want := range versions {
		a.all = append(a.all, question{fmt.Sprintf("%s at version %d", what, v), dir, &v, want})
	}
	a.all = append(a.all, question{what + " at its head", dir, nil, versions[head]})
}

// answered lets Spark read what was asked for.
func (a *questions) answered(t *testing.T, python string) {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, q := range a.all {
		if err := json.NewEncoder(&in).Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	script, err := filepath.Abs("testdata/spark.py")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, script)
	cmd.Stdin, cmd.Stderr, cmd.Dir = &in, &stderr, t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+cmd.Dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Spark: %v: %s", err, &stderr)
	}
	answers := json.NewDecoder(bytes.NewReader(out))
	for _, q := range a.all {
		var got struct {
			idSums
			Error string `json:"error"`
		}
		if err := answers.Decode(&got); err != nil {
			t.Fatalf("an answer too few: %v: %s", err, &stderr)
		}
		if got.Error != "" || got.idSums != q.Want {
			t.Errorf("%s: Spark reads %+v, want %+v", q.What, got, q.Want)
		}
	}
	t.Logf("%d questions", len(a.all))
}

// TestSparkReadsWhatActionsLeave lets Spark read the tables that table.rollback,
// table.promote, storage.rewind and table.restore leave, at their heads and at older
// versions.
// make verify-spark installs it and runs this.
func TestSparkReadsWhatActionsLeave(t *testing.T) {
	python := os.Getenv("BREAKWATER_SPARK")
	if python == "" {
		t.Log("BREAKWATER_SPARK names no Python with pyspark: make verify-spark")
		return
	}
	all := &questions{dir: t.TempDir()}
	t.Run("rollback", func(t *testing.T) { rollbacksForSpark(t, all) })
	t.Run("rollback after a VACUUM", func(t *testing.T) { undeletedForSpark(t, all) })
	t.Run("restore", func(t *testing.T) { restoresForSpark(t, all) })
	t.Run("promote", func(t *testing.T) { promotionForSpark(t, all) })
	t.Run("rewind", func(t *testing.T) { rewindForSpark(t, all) })
	if !t.Failed() {
		all.answered(t, python)
	}
}

// rollbacksForSpark rolls every fixture table back to a version in its middle.
func rollbacksForSpark(t *testing.T, all *questions) {
	l := world.NewLake(t)
	l.Run.Started = time.UnixMilli(1795238390000) // just after the fixtures were written
	tables, err := deltatest.Tables()
	l.Must(err)
	done := 0
	for _, truth := range tables {
		if truth.Name == "clone_shallow" { // reads its source by an absolute path
			continue
		}
		l.Plant(truth.Name, -1)
		versions := map[int64]idSums{}
		head, target := truth.Versions[len(truth.Versions)-1].Version, int64(-1)
		for i, v := range truth.Versions {
			if v.Readable {
				versions[v.Version] = idSums{v.Rows, v.SumID, v.CRC32Sum}
				if target < 0 || i <= len(truth.Versions)/2 {
					target = v.Version
				}
			}
		}
		if target == head {
			continue
		}
		d, r := l.Rollback()
		r.Run.Workflow = "spark-" + truth.Name
		ch, err := d.Plan(t.Context(), r, toVersion(target))
		if errors.Is(err, action.ErrRefused) {
			t.Logf("%s: %v", truth.Name, err)
			continue
		}
		l.Must(err)
		r.Plan = &ch
		o, err := d.Apply(t.Context(), r, toVersion(target))
		l.Must(err)
		if obs, err := d.Verify(t.Context(), r, toVersion(target)); err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("%s: %v\n%s", truth.Name, err, prove.Told(obs))
		}
		var left record.RolledBack
		l.Must(json.Unmarshal(o.Data, &left))
		versions[left.Version] = versions[target]
		all.about(fmt.Sprintf("%s rolled back to %d", truth.Name, target), l.Downloaded(all.dir, "orders/orders"), left.Version, versions)
		done++
	}
	if done < 25 {
		t.Errorf("%d tables were rolled back", done)
	}
}

// undeletedForSpark rolls tables back of which a VACUUM took everything that the head
// does not need.
func undeletedForSpark(t *testing.T, all *questions) {
	l := world.NewLake(t)
	l.Run.Started = time.UnixMilli(1795238390000)
	for name, target := range map[string]int64{"dv": 3, "dv_part_nocheckpoint": 3, "colmap_name": 5, "checkpoint_v2": 4} {
		l.Plant(name, -1)
		truth := truthOf(t, name)
		head := truth.Versions[len(truth.Versions)-1].Version
		log, _ := l.Log(world.West, "orders")
		needs := func(v int64) map[string]bool {
			s, err := log.Snapshot(t.Context(), v)
			l.Must(err)
			keys := map[string]bool{}
			for f, err := range s.Closure() {
				l.Must(err)
				keys[f.Key] = f.Why != table.LogEntry
			}
			return keys
		}
		live, gone := needs(head), 0
		for key, data := range needs(target) {
			if data && !live[key] {
				l.Deletes(key)
				gone++
			}
		}
		d, r := l.Rollback()
		r.Run.Workflow = "spark-vacuumed-" + name
		ch, err := d.Plan(t.Context(), r, toVersion(target))
		l.Must(err)
		r.Plan = &ch
		o, err := d.Apply(t.Context(), r, toVersion(target))
		l.Must(err)
		prove.Passes(t, d, r, toVersion(target))
		if gone == 0 || o.Mutations < 2 {
			t.Errorf("%s: %d objects were deleted, %d changes made", name, gone, o.Mutations)
		}
		versions := map[int64]idSums{}
		for _, v := range truth.Versions {
			if v.Version == target || v.Version == head {
				versions[v.Version] = idSums{v.Rows, v.SumID, v.CRC32Sum}
			}
		}
		versions[head+1] = versions[target]
		all.about(fmt.Sprintf("%s vacuumed and rolled back to %d", name, target), l.Downloaded(all.dir, "orders/orders"), head+1, versions)
	}
}

// truthOf is what an engine says of a fixture.
func truthOf(t *testing.T, name string) deltatest.Truth {
	t.Helper()
	for _, truth := range deltatest.All(t) {
		if truth.Name == name {
			return truth
		}
	}
	t.Fatalf("there is no fixture %s", name)
	return deltatest.Truth{}
}

// restoresForSpark backs tables up at the source, and restores them at the target, in
// an empty place and over what somebody made of it. The standby then commits to one.
func restoresForSpark(t *testing.T, all *questions) {
	for _, name := range []string{"dv", "colmap_id_dv", "checkpoint_v2", "partition_values", "ict"} {
		v := world.NewVaulted(t)
		v.Create("payments", 4) // of the same group
		v.Append("payments", 3)
		store, err := deltatest.Load(name)
		v.Must(err)
		for _, key := range store.Keys("delta/" + name + "/") {
			body, err := store.Get(t.Context(), key)
			v.Must(err)
			_, err = v.RootBucket(world.East).Put(t.Context(), "orders/orders"+strings.TrimPrefix(key, "delta/"+name), body)
			v.Must(err)
		}
		v.Take("one")
		v.As("restore")
		v.Restored("orders", map[string]string{})
		truth := truthOf(t, name)
		last := truth.Versions[len(truth.Versions)-1]
		all.about(name+" restored", v.Downloaded(all.dir, "orders/orders"), last.Version, map[int64]idSums{last.Version: {last.Rows, last.SumID, last.CRC32Sum}})
	}

	v := world.NewVaulted(t)
	v.Create("payments", 4)
	v.Append("payments", 3)
	v.Create("orders", 3)
	var ids []int64
	batch := func(n int64) []write.Row {
		v.Tick(10 * time.Second)
		var rows []write.Row
		for range n {
			ids = append(ids, int64(len(ids)+1))
			rows = append(rows, write.Row{ids[len(ids)-1], "note"})
		}
		return rows
	}
	for range 7 {
		_, err := v.Writers["orders"].Append(t.Context(), batch(5))
		v.Must(err)
		v.Learn("orders")
	}
	v.Replicate("orders", nil)
	v.Take("one")
	v.Overwrite(world.West, "orders")
	v.As("restore")
	v.Restored("orders", map[string]string{})
	all.about("restored over garbage", v.Downloaded(all.dir, "orders/orders"), 7, map[int64]idSums{7: idSumsOf(ids)})
	b := v.RootBucket(world.West)
	w, err := write.Open(t.Context(), world.SourceStore{Bucket: location.Bucket{Of: b}}, table.Root{Bucket: b.Name(), Prefix: "orders/orders"}, world.OrderColumns,
		write.Options{CheckpointEvery: 4, Now: func() time.Time { return v.Clock }})
	v.Must(err)
	versions := map[int64]idSums{}
	for n := int64(8); n <= 9; n++ {
		_, err := w.Append(t.Context(), batch(3))
		v.Must(err)
		versions[n] = idSumsOf(ids)
	}
	all.about("restored and written to", v.Downloaded(all.dir, "orders/orders"), 9, versions)
}

// promotionForSpark promotes a table below its head, with a log compaction file
// that tells of what was moved aside, and lets the standby commit as far again.
func promotionForSpark(t *testing.T, all *questions) {
	l := world.NewLake(t)
	l.Create("orders", 3)
	l.Create("payments", 3) // of the same group
	versions, ids, next := map[int64]idSums{}, []int64{}, int64(1)
	l.Tick(10 * time.Second)
	batch := func() []write.Row {
		l.Tick(10 * time.Second)
		var rows []write.Row
		for range 7 {
			rows = append(rows, write.Row{next, "note"})
			ids = append(ids, next)
			next++
		}
		return rows
	}
	for v := int64(1); v <= 8; v++ {
		_, err := l.Writers["orders"].Append(t.Context(), batch())
		l.Must(err)
		l.Learn("orders")
		l.Append("payments", 1)
		l.See("orders")
		l.See("payments")
		versions[v] = idSumsOf(ids)
	}
	late := l.DataOf("orders", 7)
	l.Replicate("orders", func(key string) bool { return key == late[0] })
	l.Replicate("payments", nil)
	l.Compact("orders", 4, 8)
	l.Lost()
	l.Do("group.recovery-point", "orders")
	r, _ := l.Do("table.promote", "orders")
	l.Verified("table.promote", r, verdict.Pass)
	log, _ := l.Log(world.West, "orders")
	if log.Head() != 6 {
		t.Fatalf("promoted to %d, want 6", log.Head())
	}
	delete(versions, 7)
	delete(versions, 8)
	all.about("promoted", l.Downloaded(all.dir, "orders/orders"), 6, versions)

	b := l.RootBucket(world.West)
	w, err := write.Open(t.Context(), world.SourceStore{Bucket: location.Bucket{Of: b}}, table.Root{Bucket: b.Name(), Prefix: "orders/orders"}, world.OrderColumns,
		write.Options{Now: func() time.Time { return l.Clock }})
	l.Must(err)
	ids, next = ids[:6*7], 1000
	for v := int64(7); v <= 9; v++ {
		_, err := w.Append(t.Context(), batch())
		l.Must(err)
		versions[v] = idSumsOf(ids)
	}
	all.about("promoted and written to", l.Downloaded(all.dir, "orders/orders"), 9, versions)
}

// rewindForSpark takes the table that delta-rs reads after a rewind.
func rewindForSpark(t *testing.T, all *questions) {
	l, ids := world.RewoundLake(t)
	versions := map[int64]idSums{}
	for v, of := range ids {
		versions[int64(v+1)] = idSumsOf(of)
	}
	all.about("rewound", l.Downloaded(all.dir, "orders/orders"), int64(len(ids)), versions)
}
