package runbook_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/estate"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/runbook/runbooktest"
)

var update = flag.Bool("update", false, "write the papers in testdata from what is rendered")

// TestMarkdown holds the papers against ones that a person has read.
func TestMarkdown(t *testing.T) {
	for file, tc := range map[string]struct {
		runbook string
		estate  *estate.Estate
	}{
		"regional-failover.md":      {"RegionalFailover", runbooktest.Estate()},
		"regional-failover-bare.md": {"RegionalFailover", nil},
		"witness.md":                {"Witness", runbooktest.Estate()},
	} {
		rb := shipped(t, tc.runbook)
		rb.Digest = "sha256:" + strings.Repeat("0", 64)
		got := runbook.Markdown(rb, runbooktest.Catalogue(), tc.estate)
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
		for i, line := range strings.Split(got, "\n") {
			if n := len([]rune(line)); n > 80 {
				t.Errorf("%s:%d is %d columns wide: %s", file, i+1, n, line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%s:%d ends in a space", file, i+1)
			}
		}
	}
}

// TestMarkdownOfMany: paper has an end, whatever the estate has.
func TestMarkdownOfMany(t *testing.T) {
	e := runbooktest.Estate()
	for range 50000 {
		e.Groups[0].Tables = append(e.Groups[0].Tables, estate.Table{Table: "t"})
	}
	got := runbook.Markdown(shipped(t, "RegionalFailover"), runbooktest.Catalogue(), e)
	if len(got) > 20000 || !strings.Contains(strings.Join(strings.Fields(got), " "), "and 49962 more") {
		t.Errorf("%d bytes:\n%s", len(got), got[:min(len(got), 4000)])
	}
}

// TestLintWithoutEstate asks only what the file and the catalogue can answer.
func TestLintWithoutEstate(t *testing.T) {
	rb, ms := load.File([]byte(`runbook: Test
summary: Roles and names that only an estate knows.
owner: anybody
stages:
  - stage: Fence
    approval: {role: anybody, quorum: 99}
    steps:
      - {step: Deny, do: storage.fence, each: bucket, where: {name: any}, owner: anybody}
`), "f")
	if ms = append(ms, runbook.Lint(rb, runbooktest.Catalogue(), nil)...); len(ms) > 0 {
		t.Error(ms)
	}
	if ms = runbook.Lint(rb, runbooktest.Catalogue(), runbooktest.Estate()); len(ms) != 4 {
		t.Errorf("with an estate: %v", ms)
	}
}
