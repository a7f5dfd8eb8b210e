package verdict_test

import (
	"encoding/json"
	"testing"

	"breakwater/internal/verdict"
)

func TestWorst(t *testing.T) {
	const p, f, u, n = verdict.Pass, verdict.Fail, verdict.Unknown, verdict.Nothing
	for name, tc := range map[string]struct {
		of   []verdict.Verdict
		want verdict.Verdict
	}{
		"nothing concludes nothing": {nil, u},
		"all pass":                  {[]verdict.Verdict{p, p}, p},
		"one unknown":               {[]verdict.Verdict{p, u, p}, u},
		"fail outranks unknown":     {[]verdict.Verdict{u, f, p}, f},
		"nothing to do at all":      {[]verdict.Verdict{n, n}, n},
		"nothing beside a pass":     {[]verdict.Verdict{n, p, n}, p},
		"nothing beside an unknown": {[]verdict.Verdict{u, n}, u},
		"nothing beside a failure":  {[]verdict.Verdict{n, f, p}, f},
		"an undefined value":        {[]verdict.Verdict{p, verdict.Verdict(7)}, u},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verdict.Worst(tc.of...); got != tc.want {
				t.Errorf("Worst(%v) = %v, want %v", tc.of, got, tc.want)
			}
		})
	}
}

func TestZeroValueIsUnknown(t *testing.T) {
	var v verdict.Verdict
	if v != verdict.Unknown || v.String() != "unknown" {
		t.Errorf("zero value is %v", v)
	}
}

func TestText(t *testing.T) {
	for _, v := range []verdict.Verdict{verdict.Pass, verdict.Fail, verdict.Unknown, verdict.Nothing} {
		if want := v == verdict.Pass || v == verdict.Nothing; v.Clear() != want {
			t.Errorf("%s is clear: %t", v, !want)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back verdict.Verdict
		if err := json.Unmarshal(b, &back); err != nil || back != v {
			t.Errorf("%s came back as %v, %v", b, back, err)
		}
	}
	var v verdict.Verdict
	if err := json.Unmarshal([]byte(`"ok"`), &v); err == nil {
		t.Error(`"ok" was taken for a verdict`)
	}
}
