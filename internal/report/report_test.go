package report_test

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"breakwater/internal/report"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestGolden(t *testing.T) {
	r := whole(t, folder(t), "orders").report()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"failover.json": func(b *bytes.Buffer) error { return r.JSON(b) },
		"failover.md":   func(b *bytes.Buffer) error { return r.Markdown(b) },
		"failover.txt":  func(b *bytes.Buffer) error { return r.Text(b, 100) },
		"failover.html": func(b *bytes.Buffer) error { return r.HTML(b) },
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s changed (-want +got); look at it, then run the test with -update:\n%s", name, diff)
		}
	}
}

func TestNoRun(t *testing.T) {
	if _, err := report.Build(t.Context(), memory{}, run, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("report of nothing: %v, want fs.ErrNotExist", err)
	}
}
