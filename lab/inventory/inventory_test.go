package inventory

import (
	"strings"
	"testing"
)

// TestCompare: whatever is otherwise than before is said, each in a sentence.
func TestCompare(t *testing.T) {
	fact := func(kind Kind, name string) Fact { return Fact{"west", kind, name} }
	before := Inventory{fact(User, "ana"): "enabled", fact(Object, "lake/a"): "1 byte", fact(Schedule, "x"): "daily", fact(Version, "lake/a 1"): "1 byte"}
	after := Inventory{fact(User, "ana"): "disabled", fact(Object, "lake/b"): "2 bytes", fact(Schedule, "x"): "daily", fact(Version, "lake/a 1"): "1 byte"}
	want := []string{
		"west: object lake/a is gone, and was 1 byte",
		"west: object lake/b is new: 2 bytes",
		"west: user ana was enabled, and is disabled",
	}
	if got := Compare(before, after, Rules()...); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := Compare(before, before); len(got) > 0 {
		t.Errorf("the same is told apart: %q", got)
	}
	if got := Compare(before, after.Without("west")); len(got) != len(before) {
		t.Errorf("of a world without its one place it says %q", got)
	}
}

// TestRulesAreNarrow: a rule covers what is new where something may be, and neither what
// changed there nor what is gone.
func TestRulesAreNarrow(t *testing.T) {
	const aside = "lake/orders/orders/.breakwater/quarantine/run/7.json"
	for _, c := range []struct {
		f       Fact
		was, is string
		covered bool
	}{
		{Fact{"west", Version, "lake/a 2"}, "", "a delete marker", true},
		{Fact{"west", Version, "lake/a 1"}, "1 byte", "", false},
		{Fact{"west", Version, "lake/a 1"}, "1 byte", "2 bytes", false},
		{Fact{"west", Object, aside}, "", "1 byte", true},
		{Fact{"west", Object, aside}, "1 byte", "", false},
		{Fact{"west", Object, aside}, "1 byte", "2 bytes", false},
		{Fact{"west", Object, "lake/orders/orders/part-9.parquet"}, "", "1 byte", false},
		{Fact{"west", Policy, "fence"}, "", "{}", false},
		{Fact{"west", Group, "app"}, "", holdsNothing, true},
		{Fact{"west", Group, "app"}, "", "with commits in 1 partitions", false},
		{Fact{"west", Group, "app"}, "with commits in 1 partitions", holdsNothing, false},
		{Fact{"west", Group, "app"}, holdsNothing, "", false},
		{Fact{"west", Topic, "__consumer_offsets"}, "", "4 partitions", true},
		{Fact{"west", Topic, "__consumer_offsets"}, "4 partitions", "", false},
		{Fact{"west", Topic, "orders"}, "", "4 partitions", false},
	} {
		before, after := Inventory{}, Inventory{}
		if c.was != "" {
			before[c.f] = c.was
		}
		if c.is != "" {
			after[c.f] = c.is
		}
		if got := len(Compare(before, after, Rules()...)) == 0; got != c.covered {
			t.Errorf("%s from %q to %q: passed over %t, want %t", c.f, c.was, c.is, got, c.covered)
		}
	}
	for _, r := range Rules() {
		if r.What == "" || r.Why == "" {
			t.Errorf("a rule does not say what it covers and why: %+v", r)
		}
	}
}
