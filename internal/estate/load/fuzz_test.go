package load_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"breakwater/internal/estate"
	"breakwater/internal/estate/load"
)

// FuzzBytes asks of any bytes: no panic, either an estate or mistakes, each in
// one line and at a place inside the file, and an estate whose items can be
// counted.
func FuzzBytes(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d seeds, %v", len(files), err)
	}
	for _, file := range append(files, "testdata/good.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, ms := load.Bytes(data, "f")
		if (e == nil) != (len(ms) > 0) {
			t.Fatalf("%v with %d mistakes", e, len(ms))
		}
		lines := bytes.Split(data, []byte("\n"))
		for _, m := range ms {
			at := m.At
			if at.Line < 1 || at.Column < 1 || at.Line > len(lines) || at.Column > utf8.RuneCount(lines[at.Line-1])+1 {
				t.Errorf("%v: no such place", m)
			}
			if strings.ContainsAny(m.Text, "\n\r") || m.Text == "" {
				t.Errorf("not one line: %q", m.Text)
			}
		}
		if e == nil {
			return
		}
		for _, kind := range estate.Kinds() {
			seen := map[string]bool{}
			for _, i := range e.Items(kind, estate.Filter{}) {
				if i.Name == "" || seen[i.Name] {
					t.Errorf("item %+v has no name of its own", i)
				}
				seen[i.Name] = true
			}
		}
	})
}
