package activities

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"breakwater/internal/objectstore/miniotest"
	"breakwater/internal/table/delta/write"
)

// deltaRS runs delta-rs at the target, and returns its answer. Its interpreter
// comes from the build; without one, only our own reader looks.
func (w *world) deltaRS(path string, q map[string]any) map[string]any {
	w.t.Helper()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		w.t.Fatal("BREAKWATER_PYTHON names no Python with delta-rs: make test sets it, after make tools")
	}
	q["uri"] = "s3://lake-west/" + path
	q["options"] = map[string]string{
		"AWS_ENDPOINT_URL": w.minio[west].Endpoint, "AWS_ACCESS_KEY_ID": miniotest.RootUser, "AWS_SECRET_ACCESS_KEY": miniotest.RootPassword,
		"AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true", "AWS_CONDITIONAL_PUT": "etag",
	}
	in, err := json.Marshal(q)
	w.must(err)
	cmd := exec.CommandContext(w.t.Context(), python, "testdata/deltars.py")
	cmd.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("delta-rs: %v: %s", err, stderr.String())
	}
	var answer map[string]any
	w.must(json.Unmarshal(out, &answer))
	return answer
}

// readAs is what delta-rs is to find in a version.
func readAs(ids []int64) map[string]any {
	sum := int64(0)
	for _, id := range ids {
		sum += id
	}
	return map[string]any{"rows": float64(len(ids)), "sum": fmt.Sprint(sum)}
}

// rewoundLake destroys the table orders in every way that leaves versions, and
// rewinds it to its version 5. It gives the keys of each version from 1 on.
func rewoundLake(t *testing.T) (*lake, [][]int64) {
	t.Helper()
	l := newLake(t)
	l.run.SourceUnreachable = false
	l.create("orders", 3)
	var all [][]int64
	ids, next := []int64{}, int64(1)
	commit := func() {
		var rows []write.Row
		for range 7 {
			rows = append(rows, write.Row{next, "note"})
			ids = append(ids, next)
			next++
		}
		_, err := l.writers["orders"].Append(t.Context(), rows)
		l.must(err)
		all = append(all, append([]int64(nil), ids...))
	}
	for range 5 {
		commit()
	}
	l.replicate("orders", nil)
	s := &shelf{l.world, "lake-west", "ticks/"}
	at := s.moment()
	for range 4 {
		commit()
	}
	l.replicate("orders", nil)
	path := "orders/orders"
	file := func(v int) string { return l.dataOf("orders", v)[0] }
	l.writes(file(1), "ransom")
	l.deletes(file(2), entry(path, 0), entry(path, 3), path+"/_delta_log/_last_checkpoint")
	l.writes(entry(path, 4), `{"add":{"path":"elsewhere"}}`)

	def := l.action("storage.rewind")
	r, p := l.request(def, "lake"), with(t, rewindParams{At: at, Prefix: path + "/"})
	l.act(def, &r, p)
	passes(t, def, r, p)
	return l, all[:5]
}

// TestRewindReadsBackInDeltaRS lets delta-rs read the head and the older versions
// of a rewound table.
func TestRewindReadsBackInDeltaRS(t *testing.T) {
	t.Parallel()
	l, all := rewoundLake(t)
	path := "orders/orders"
	got := l.deltaRS(path, map[string]any{"do": "read", "versions": []int{1, 2, 3, 4, 5}})
	if got["head"] != float64(5) {
		t.Errorf("the head is %v", got["head"])
	}
	for v := 1; v <= 5; v++ {
		if want := readAs(all[v-1]); fmt.Sprint(got[fmt.Sprint(v)]) != fmt.Sprint(want) {
			t.Errorf("delta-rs reads version %d as %v, want %v", v, got[fmt.Sprint(v)], want)
		}
	}
}

// TestUndeleteAfterVacuumByDeltaRS brings back what a real VACUUM deleted.
func TestUndeleteAfterVacuumByDeltaRS(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	l.run.SourceUnreachable = false
	path := "orders/orders"
	made := [][]int64{{1, 2, 3}, {10, 20}, {100}}
	if a := l.deltaRS(path, map[string]any{"do": "make", "rows": made}); a["vacuumed"] != float64(2) {
		t.Fatalf("delta-rs vacuumed %v files, want 2", a["vacuumed"])
	}
	def := l.action("storage.undelete")
	for version := range int64(2) {
		p := with(t, undeleteParams{Version: &version})
		r := l.request(def, "orders")
		ch, err := def.Plan(t.Context(), r, p)
		l.must(err)
		r.Plan = &ch
		if out, err := def.Apply(t.Context(), r, p); err != nil || out.Mutations != 1 {
			t.Errorf("Apply of version %d = %+v, %v", version, out, err)
		}
		passes(t, def, r, p)
	}
	got := l.deltaRS(path, map[string]any{"do": "read", "versions": []int{0, 1, 2}})
	for v, ids := range made {
		if fmt.Sprint(got[fmt.Sprint(v)]) != fmt.Sprint(readAs(ids)) {
			t.Errorf("delta-rs reads version %d as %v, want %v", v, got[fmt.Sprint(v)], readAs(ids))
		}
	}
}
