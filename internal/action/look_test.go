package action

import (
	"strings"
	"testing"
	"unicode/utf8"

	"breakwater/internal/verdict"
)

func TestFinding(t *testing.T) {
	o := Observation{What: "the topic is there", Item: "orders", Want: "yes", Got: "no", Verdict: verdict.Fail}
	if got, want := Finding(o), "orders: the topic is there: want yes, got no (fail)"; got != want {
		t.Errorf("Finding = %q, want %q", got, want)
	}
	for _, got := range []string{strings.Repeat("x", 600), strings.Repeat("é", 600), strings.Repeat("日", 600), "x" + strings.Repeat("é", 600)} {
		o.Got = got
		f := Finding(o)
		if !utf8.ValidString(f) || !strings.HasSuffix(f, "…") || utf8.RuneCountInString(f) != 501 {
			t.Errorf("%d bytes of %.10s… end in %q, with %d characters", len(got), got, f[len(f)-8:], utf8.RuneCountInString(f))
		}
	}
}
