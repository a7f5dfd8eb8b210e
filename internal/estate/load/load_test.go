package load_test

import (
	"testing"

	"breakwater/internal/estate/load"
)

func TestGood(t *testing.T) {
	e, ms := load.File("testdata/good.yaml")
	for _, m := range ms {
		t.Error(m)
	}
	if e == nil {
		t.Fatal("no estate")
	}
}
