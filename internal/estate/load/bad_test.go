package load_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/estate/load"
)

var update = flag.Bool("update", false, "write the .want files of testdata/bad from what the loader says")

// TestBad loads the broken estates: each file NAME.yaml is the good one with one
// slip, the kind NAME, and NAME.want says where and how it must be reported.
func TestBad(t *testing.T) {
	folder := filepath.Join("testdata", "bad")
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, k := range load.Kinds() {
		kinds[k.Name] = k.Example
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		e, ms := load.Bytes(data, filepath.Base(f))
		if e != nil {
			t.Errorf("%s: loaded", f)
		}
		got := ""
		for _, m := range ms {
			got += strings.TrimPrefix(m.Error(), filepath.Base(f)+":") + "\n"
		}
		wantFile := strings.TrimSuffix(f, ".yaml") + ".want"
		if *update {
			if err := os.WriteFile(wantFile, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(wantFile)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f, diff)
		}
		if strings.Count(got, "\n") != 1 {
			t.Errorf("%s: one slip must be one mistake, got\n%s", f, got)
		}
		_, text, _ := strings.Cut(strings.TrimSpace(string(want)), ": ")
		if example, listed := kinds[name]; !listed || example != text {
			t.Errorf("%s: Kinds has %q, the file says %q", f, example, text)
		}
		delete(kinds, name)
	}
	for name := range kinds {
		t.Errorf("kind %s has no file in %s", name, folder)
	}
}
