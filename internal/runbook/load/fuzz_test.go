package load_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/runbook/runbooktest"
)

// FuzzFile asks of any bytes: no panic, every mistake in one line and at a place
// inside the file, the same answer twice, and a file without mistakes compiles.
func FuzzFile(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "../../../runbooks/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d seeds, %v", pattern, len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte("\xef\xbb\xbfrunbook: A"))
	f.Add([]byte("a: 1\r\nb: [\r\n"))
	f.Add([]byte("%TAG ! tag:x,2000:\n--- \n? {a: b}\n: c\n...\n"))
	cat, e := runbooktest.Catalogue(), runbooktest.Estate()
	f.Fuzz(func(t *testing.T, data []byte) {
		rb, ms := load.File(data, "f")
		if rb == nil && len(ms) == 0 {
			t.Fatal("neither a runbook nor a mistake")
		}
		lint := func(rb *runbook.Runbook, ms []mistake.Mistake) []mistake.Mistake {
			if rb != nil {
				ms = append(ms, runbook.Lint(rb, cat, e)...)
			}
			return mistake.Sort(ms)
		}
		ms = lint(rb, ms)
		lines := bytes.Split(data, []byte("\n"))
		for _, m := range ms {
			at := m.At
			if at.Line < 1 || at.Column < 1 || at.Line > len(lines) || at.Column > utf8.RuneCount(lines[at.Line-1])+1 {
				t.Errorf("%v: no such place in %q", m, data)
			}
			if strings.ContainsAny(m.Text, "\n\r") || m.Text == "" {
				t.Errorf("not one line: %q", m.Text)
			}
		}
		again, twice := load.File(data, "f")
		if twice = lint(again, twice); mistake.Error(twice) != nil && mistake.Error(twice).Error() != mistake.Error(ms).Error() {
			t.Errorf("other mistakes at the second look:\n%v\n%v", mistake.Error(ms), mistake.Error(twice))
		}
		if len(ms) > 0 {
			return
		}
		if _, err := runbook.Compile(rb, e, cat, runbook.Input{}); err != nil {
			t.Errorf("clean and does not compile: %v", err)
		}
		if runbook.Markdown(rb, cat, e) == "" {
			t.Error("clean and does not render")
		}
	})
}
