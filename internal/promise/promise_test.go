package promise

import (
	"slices"
	"testing"
)

// adder is a port of one method.
type adder func(a, b int) int

var sums = Suite[adder]{
	{"two and two are four", func(t testing.TB, add adder) {
		if add(2, 2) != 4 {
			t.Fatal("they are not")
		}
	}},
	{"the order has no say", func(t testing.TB, add adder) {
		t.Log("asked both ways")
		if a, b := add(1, 2), add(2, 1); a != b {
			t.Errorf("%d and %d", a, b)
		}
	}},
}

func right(a, b int) int { return a + b }

func is(add adder) func(testing.TB) adder { return func(testing.TB) adder { return add } }

var (
	first = Broken[adder]{"takes the first", "the order has no say", is(func(a, _ int) int { return a })}
	zero  = Broken[adder]{"always nothing", "two and two are four", is(func(int, int) int { return 0 })}
)

func TestSuite(t *testing.T) {
	sums.Run(t, right)
	sums.Honest(t, []Broken[adder]{first, zero})
}

// The suite fails by the name of the promise, and of that one alone.
func TestFailures(t *testing.T) {
	said := sums.failures(t, zero.Target(t))
	if len(said) != 1 || !slices.Contains(said[zero.Breaks], "they are not") {
		t.Errorf("always nothing fails %v", said)
	}
	if said := sums.failures(t, right); len(said) != 0 {
		t.Errorf("the right one fails %v", said)
	}
}

// Honest notices an implementation that is not broken, a promise that is not the
// suite's, and one that nothing breaks.
func TestHonestComplains(t *testing.T) {
	none := sums.failures(t, right)
	if got := sums.kept(zero.Breaks, none); got != `it passes "two and two are four", which it breaks` {
		t.Error(got)
	}
	if got := sums.kept("no such promise", none); got != `the suite has no promise "no such promise"` {
		t.Error(got)
	}
	if got := sums.unbroken([]Broken[adder]{first}); !slices.Equal(got, []string{zero.Breaks}) {
		t.Error(got)
	}
}
