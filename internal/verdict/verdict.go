// Package verdict holds the three conclusions that a look at a system can have.
//
// Unknown is the zero value and never passes: whoever forgets to conclude has
// concluded nothing, and a composition of nothing is Unknown too.
package verdict

import "fmt"

// Verdict is what was concluded from looking at the real system.
type Verdict int

// The verdicts. Pass and Fail are conclusions; Unknown says that nothing could
// be concluded, because the thing could not be reached, read or counted.
const (
	Unknown Verdict = iota
	Pass
	Fail
)

// String gives the word that people and files see.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Fail:
		return "fail"
	default:
		return "unknown"
	}
}

// MarshalText writes the word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads pass, fail or unknown and refuses everything else.
func (v *Verdict) UnmarshalText(text []byte) error {
	for _, w := range []Verdict{Unknown, Pass, Fail} {
		if w.String() == string(text) {
			*v = w
			return nil
		}
	}
	return fmt.Errorf("verdict %q is none of pass, fail, unknown", text)
}

// Worst composes verdicts: Fail outranks Unknown, which outranks Pass. The worst
// of nothing is Unknown.
func Worst(vs ...Verdict) Verdict {
	if len(vs) == 0 {
		return Unknown
	}
	worst := Pass
	for _, v := range vs {
		switch {
		case v == Fail:
			return Fail
		case v != Pass:
			worst = Unknown
		}
	}
	return worst
}
