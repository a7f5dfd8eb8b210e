package activities

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
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/location"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/verdict"
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

// downloaded is a folder with what the target's bucket holds of a table.
func (l *lake) downloaded(under, path string) string {
	l.t.Helper()
	dir, err := os.MkdirTemp(under, "table")
	l.must(err)
	for o, err := range l.rootBucket(west).List(l.t.Context(), path+"/") {
		l.must(err)
		body, _, err := l.rootBucket(west).Get(l.t.Context(), o.Key)
		l.must(err)
		file := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(o.Key, path)))
		l.must(os.MkdirAll(filepath.Dir(file), 0o750))
		l.must(os.WriteFile(file, body, 0o600))
	}
	return dir
}

// TestSparkReadsWhatActionsLeave lets Spark read the tables that table.rollback,
// table.promote and storage.rewind leave, at their heads and at older versions.
// make verify-spark installs it and runs this.
func TestSparkReadsWhatActionsLeave(t *testing.T) {
	python := os.Getenv("BREAKWATER_SPARK")
	if python == "" {
		t.Log("BREAKWATER_SPARK names no Python with pyspark: make verify-spark")
		return
	}
	all := &questions{dir: t.TempDir()}
	t.Run("rollback", func(t *testing.T) { rollbacksForSpark(t, all) })
	t.Run("promote", func(t *testing.T) { promotionForSpark(t, all) })
	t.Run("rewind", func(t *testing.T) { rewindForSpark(t, all) })
	if !t.Failed() {
		all.answered(t, python)
	}
}

// rollbacksForSpark rolls every fixture table back to a version in its middle.
func rollbacksForSpark(t *testing.T, all *questions) {
	l := newLake(t)
	l.run.Started = time.UnixMilli(1795238390000) // just after the fixtures were written
	tables, err := deltatest.Tables()
	l.must(err)
	done := 0
	for _, truth := range tables {
		if truth.Name == "clone_shallow" { // reads its source by an absolute path
			continue
		}
		l.plant(truth.Name, -1)
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
		d, r := l.rollback()
		r.Run.Workflow = "spark-" + truth.Name
		ch, err := d.Plan(t.Context(), r, toVersion(target))
		if errors.Is(err, action.ErrRefused) {
			t.Logf("%s: %v", truth.Name, err)
			continue
		}
		l.must(err)
		r.Plan = &ch
		o, err := d.Apply(t.Context(), r, toVersion(target))
		l.must(err)
		if obs, err := d.Verify(t.Context(), r, toVersion(target)); err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("%s: %v\n%s", truth.Name, err, told(obs))
		}
		var left RollbackOutcome
		l.must(json.Unmarshal(o.Data, &left))
		versions[left.Version] = versions[target]
		all.about(fmt.Sprintf("%s rolled back to %d", truth.Name, target), l.downloaded(all.dir, "orders/orders"), left.Version, versions)
		done++
	}
	if done < 25 {
		t.Errorf("%d tables were rolled back", done)
	}
}

// promotionForSpark promotes a table below its head, with a log compaction file
// that tells of what was moved aside, and lets the standby commit as far again.
func promotionForSpark(t *testing.T, all *questions) {
	l := newLake(t)
	l.create("orders", 3)
	l.create("payments", 3) // of the same group
	versions, ids, next := map[int64]idSums{}, []int64{}, int64(1)
	l.tick(10 * time.Second)
	batch := func() []write.Row {
		l.tick(10 * time.Second)
		var rows []write.Row
		for range 7 {
			rows = append(rows, write.Row{next, "note"})
			ids = append(ids, next)
			next++
		}
		return rows
	}
	for v := int64(1); v <= 8; v++ {
		_, err := l.writers["orders"].Append(t.Context(), batch())
		l.must(err)
		l.learn("orders")
		l.append("payments", 1)
		l.see("orders")
		l.see("payments")
		versions[v] = idSumsOf(ids)
	}
	late := l.dataOf("orders", 7)
	l.replicate("orders", func(key string) bool { return key == late[0] })
	l.replicate("payments", nil)
	l.compact("orders", 4, 8)
	l.lost()
	l.do("group.recovery-point", "orders")
	r, _ := l.do("table.promote", "orders")
	l.verified("table.promote", r, verdict.Pass)
	log, _ := l.log(west, "orders")
	if log.Head() != 6 {
		t.Fatalf("promoted to %d, want 6", log.Head())
	}
	delete(versions, 7)
	delete(versions, 8)
	all.about("promoted", l.downloaded(all.dir, "orders/orders"), 6, versions)

	b := l.rootBucket(west)
	w, err := write.Open(t.Context(), sourceStore{location.Bucket{Bucket: b}}, delta.Root{Bucket: b.Name(), Prefix: "orders/orders"}, orderColumns,
		write.Options{Now: func() time.Time { return l.clock }})
	l.must(err)
	ids, next = ids[:6*7], 1000
	for v := int64(7); v <= 9; v++ {
		_, err := w.Append(t.Context(), batch())
		l.must(err)
		versions[v] = idSumsOf(ids)
	}
	all.about("promoted and written to", l.downloaded(all.dir, "orders/orders"), 9, versions)
}

// rewindForSpark takes the table that delta-rs reads after a rewind.
func rewindForSpark(t *testing.T, all *questions) {
	l, ids := rewoundLake(t)
	versions := map[int64]idSums{}
	for v, of := range ids {
		versions[int64(v+1)] = idSumsOf(of)
	}
	all.about("rewound", l.downloaded(all.dir, "orders/orders"), int64(len(ids)), versions)
}
