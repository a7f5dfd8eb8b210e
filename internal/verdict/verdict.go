// Package verdict holds the conclusions that a look at a system can have.
//
// Unknown is the zero value and never passes: whoever forgets to conclude has
// concluded nothing, and a composition of nothing is Unknown too. That there was
// nothing to do is said by name: it is no proof, and no failure.
package verdict

import "fmt"

// Verdict is what was concluded from looking at the real system.
type Verdict int

// The verdicts. Pass and Fail are conclusions; Unknown says that nothing could
// be concluded, because the thing could not be reached, read or counted; Nothing
// says that there is no such thing, so that nothing was to be concluded.
const (
	Unknown Verdict = iota
	Pass
	Fail
	Nothing
)

// String gives the word that people and files see.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Fail:
		return "fail"
	case Nothing:
		return "nothing"
	default:
		return "unknown"
	}
}

// MarshalText writes the word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads pass, fail, unknown or nothing and refuses everything else.
func (v *Verdict) UnmarshalText(text []byte) error {
	for _, w := range []Verdict{Unknown, Pass, Fail, Nothing} {
		if w.String() == string(text) {
			*v = w
			return nil
		}
	}
	return fmt.Errorf("verdict %q is none of pass, fail, unknown, nothing", text)
}

// Clear reports whether nothing is in the way of going on: it passed, or there was
// nothing to do.
func (v Verdict) Clear() bool { return v == Pass || v == Nothing }

// Worst composes verdicts: Fail outranks Unknown, which outranks Pass, which
// outranks Nothing. The worst of no verdict at all is Unknown.
func Worst(vs ...Verdict) Verdict {
	if len(vs) == 0 {
		return Unknown
	}
	worst := Nothing
	for _, v := range vs {
		switch v {
		case Fail:
			return Fail
		case Nothing:
		case Pass:
			if worst == Nothing {
				worst = Pass
			}
		default:
			worst = Unknown
		}
	}
	return worst
}
