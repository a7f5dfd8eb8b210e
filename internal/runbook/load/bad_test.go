package load_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/runbook/runbooktest"
)

var update = flag.Bool("update", false, "write the .want files of testdata/bad from what the linter says")

// TestBad lints the folder of broken runbooks as a whole, as `runbooks lint`
// does: each file NAME.yaml has one mistake, the kind NAME, and NAME.want says
// where and how it must be reported.
func TestBad(t *testing.T) {
	folder := filepath.Join("testdata", "bad")
	_, ms := load.Lint(os.DirFS(folder), runbooktest.Catalogue(), runbooktest.Estate())
	got := map[string]string{}
	for _, m := range ms {
		name := strings.TrimSuffix(m.At.File, ".yaml")
		got[name] += strings.TrimPrefix(m.Error(), m.At.File+":") + "\n"
	}
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
		wantFile := strings.TrimSuffix(f, ".yaml") + ".want"
		if *update {
			if err := os.WriteFile(wantFile, []byte(got[name]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(wantFile)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(want), got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f, diff)
		}
		if n := strings.Count(got[name], "\n"); n != 1 && name != "alias" { // which needs an anchor
			t.Errorf("%s: one slip must be one mistake, got\n%s", f, got[name])
		}
		lines := strings.Split(strings.TrimSpace(string(want)), "\n")
		_, text, _ := strings.Cut(lines[len(lines)-1], ": ")
		if example, listed := kinds[name]; !listed || example != text {
			t.Errorf("%s: Kinds has %q, the file says %q", f, example, text)
		}
		delete(kinds, name)
	}
	for name := range kinds {
		t.Errorf("kind %s has no file in %s", name, folder)
	}
	if n := len(load.Kinds()); n < 30 {
		t.Errorf("%d kinds of mistake", n)
	}
}

// TestEverythingAtOnce has several mistakes in one file, which are all reported,
// in file order.
func TestEverythingAtOnce(t *testing.T) {
	const file = `runbook: everything
summary: Several mistakes.
owner: data-platfrom
inputs:
  groups: {type: region, help: Which groups.}
  source: {type: regions, help: 7}
stages:
  - stage: Fence
    steps:
      - step: Deny
        do: storage.fense
      - step: Deny
        do: storage.stop-replication
        eech: bucket
        where: {nam: lake}
  - per: tier
    stages:
      - stage: Restore
        approval: {role: incident-commander, quorum: 02, remind: 5m}
        steps:
          - do: table.promote
`
	rb, ms := load.File([]byte(file), "f")
	ms = mistake.Sort(append(ms, runbook.Lint(rb, runbooktest.Catalogue(), runbooktest.Estate())...))
	var got []string
	for _, m := range ms {
		_, at, _ := strings.Cut(m.Error(), ":")
		at, _, _ = strings.Cut(at, ": ")
		got = append(got, at)
	}
	want := []string{"1:10", "3:8", "5:3", "6:18", "6:33", "8:12", "11:13", "12:15", "14:9", "15:22", "19:54", "19:58", "21:13", "21:17", "21:17"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, mistake.Error(ms))
	}
}
