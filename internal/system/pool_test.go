package system

import (
	"errors"
	"slices"
	"testing"
)

func TestPool(t *testing.T) {
	var p pool[string]
	opened := 0
	open := func(as string) func() (string, error) {
		return func() (string, error) { opened++; return as, nil }
	}
	failed := errors.New("no answer")
	if _, err := p.get("west", func() (string, error) { return "half", failed }); !errors.Is(err, failed) {
		t.Errorf("get = %v, want %v", err, failed)
	}
	for _, key := range []string{"west", "east", "west"} {
		if got, err := p.get(key, open(key)); got != key || err != nil {
			t.Errorf("get %s = %q, %v", key, got, err)
		}
	}
	if opened != 2 {
		t.Errorf("%d connections were opened for two systems, one of which failed at first; want 2", opened)
	}
	if got := p.empty(); !slices.Equal(got, []string{"east", "west"}) {
		t.Errorf("empty = %q", got)
	}
	if got := p.empty(); len(got) != 0 {
		t.Errorf("emptied, and there are still %q", got)
	}
}
