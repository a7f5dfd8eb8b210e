package scan_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/scan"
)

var record = flag.Bool("record", false, "write testdata/digests.txt from what is read now")

// The digests are those that the first release gave: journals of witnesses hold
// them, so a digest that moves would call unchanged rows changed.
func TestDigestsStay(t *testing.T) {
	const file = "testdata/digests.txt"
	store := deltatest.Loaded(t)
	var got bytes.Buffer
	for truth, v := range deltatest.Readable(t) {
		d, err := scan.Sum(t.Context(), store, snapshot(t, store, truth.Name, v.Version))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s %d %s\n", truth.Name, v.Version, d)
	}
	if *record {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g, w := bytes.Split(got.Bytes(), []byte("\n")), bytes.Split(want, []byte("\n"))
	if len(g) != len(w) {
		t.Fatalf("%d lines, recorded %d", len(g), len(w))
	}
	for i := range w {
		if !bytes.Equal(g[i], w[i]) {
			t.Errorf("digest %s, recorded %s", g[i], w[i])
		}
	}
}
