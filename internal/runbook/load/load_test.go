package load_test

import (
	"slices"
	"testing"

	"breakwater/internal/runbook/load"
	"breakwater/internal/runbook/runbooktest"
	"breakwater/runbooks"
)

func TestShippedRunbooksAreClean(t *testing.T) {
	cat := runbooktest.Catalogue()
	if err := cat.Err(); err != nil {
		t.Fatal(err)
	}
	all, ms := load.Lint(runbooks.FS, cat, runbooktest.Estate())
	for _, m := range ms {
		t.Error(m)
	}
	var names []string
	for _, rb := range all {
		names = append(names, rb.Name)
	}
	if !slices.Contains(names, "RegionalFailover") {
		t.Errorf("runbooks: %v", names)
	}
}
