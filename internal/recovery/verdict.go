package recovery

import "fmt"

// Verdict is what was concluded about an objective. Its zero value is
// VerdictUnknown, which never passes. In JSON it is "pass", "fail" or "unknown".
type Verdict uint8

// The three verdicts.
const (
	VerdictUnknown Verdict = iota
	VerdictPass
	VerdictFail
)

var verdictNames = [...]string{"unknown", "pass", "fail"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// MarshalText implements [encoding.TextMarshaler].
func (v Verdict) MarshalText() ([]byte, error) {
	if int(v) >= len(verdictNames) {
		return nil, fmt.Errorf("write verdict %d: there is no such verdict", uint8(v))
	}
	return []byte(verdictNames[v]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, name := range verdictNames {
		if name == string(text) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("read verdict %q: want pass, fail or unknown", text)
}

// within judges an interval against a limit: pass only if all of it is inside,
// fail only if all of it is outside.
func within(s SecondsInterval, limit float64) Verdict {
	switch {
	case limit <= 0:
		return VerdictUnknown
	case s.AtLeast > limit:
		return VerdictFail
	case s.AtMost != nil && *s.AtMost <= limit:
		return VerdictPass
	}
	return VerdictUnknown
}
