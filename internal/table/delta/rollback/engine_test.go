package rollback_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/internal/table/delta/deltatest"
)

// The fixtures that delta-rs reads: it knows no deletion vectors, row tracking or
// in-commit timestamps.
var forDeltaRS = []string{
	"basic_part", "checkpoint_multipart", "cdf", "constraints_generated", "partition_types", "converted", "vacuumed",
	"rs_part_checkpoint", "rs_optimize", "rs_vacuumed", "rs_cdf", "rs_schema_evolution",
}

// onDisk writes the objects of a table into a folder, where another engine reads them.
func onDisk(t *testing.T, s store, name, dir string) {
	t.Helper()
	for _, key := range s.Keys("delta/" + name + "/") {
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, strings.TrimPrefix(key, "delta/"+name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, body, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// byDeltaRS are the answers of delta-rs to questions, one after the other.
func byDeltaRS(t *testing.T, python string, asked io.Reader) *json.Decoder {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, "testdata/read.py")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = asked, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("delta-rs: %v: %s", err, &stderr)
	}
	return json.NewDecoder(bytes.NewReader(out))
}

// delta-rs reads restored tables, at their head and at every older version, with
// the rows that the writing engine reported.
func TestDeltaRSReadsRestoredTables(t *testing.T) {
	t.Parallel()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		t.Log("BREAKWATER_PYTHON is not set: read with our own reader only, not with delta-rs")
		return
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	type question struct {
		Table   string                 `json:"-"`
		Dir     string                 `json:"dir"`
		Version int64                  `json:"version"`
		Truth   deltatest.VersionTruth `json:"-"`
	}
	var all []question
	var asked bytes.Buffer
	for _, name := range forDeltaRS {
		var of deltatest.Truth
		for _, truth := range deltatest.All(t) {
			if truth.Name == name {
				of = truth
			}
		}
		s := load(t, name)
		dir := t.TempDir()
		ask := func(v int64, truth deltatest.VersionTruth) {
			if truth.Readable {
				all = append(all, question{name, dir, v, truth})
			}
		}
		for _, v := range of.Versions {
			ask(v.Version, v)
		}
		for _, token := range []string{"first", "second"} {
			target := of.Versions[r.IntN(len(of.Versions))]
			for !target.Readable {
				target = of.Versions[r.IntN(len(of.Versions))]
			}
			ask(commit(t, s, plan(t, s, name, target.Version), token), target)
		}
		onDisk(t, s, name, dir)
	}
	for _, q := range all {
		if err := json.NewEncoder(&asked).Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	answers := byDeltaRS(t, python, &asked)
	for _, q := range all {
		var a struct {
			Rows, Sum int64
			Error     string
		}
		if err := answers.Decode(&a); err != nil {
			t.Fatalf("an answer too few: %v", err)
		}
		if a.Error != "" || a.Rows != q.Truth.Rows || a.Sum != q.Truth.SumID {
			t.Errorf("%s at %d: delta-rs reads %+v; want %d rows with sum %d, those of version %d", q.Table, q.Version, a, q.Truth.Rows, q.Truth.SumID, q.Truth.Version)
		}
	}
	t.Logf("%d versions of %d tables", len(all), len(forDeltaRS))
}
