package wire

import (
	"slices"
	"testing"

	"breakwater/internal/verdict"
)

func TestMergeLooks(t *testing.T) {
	pass := Look{Verdict: verdict.Pass, Passed: 2}
	dead := Look{Verdict: verdict.Unknown, OnlySource: true, Unknown: 1, Findings: []string{"silence"}, Obligations: []string{"fence it"}}
	other := Look{Verdict: verdict.Unknown, Unknown: 1, Findings: []string{"no rights"}}
	red := Look{Verdict: verdict.Fail, Failed: 1, Findings: []string{"gone"}}
	none := Look{Verdict: verdict.Nothing, Nothing: 1, None: []string{"no vault"}}
	for name, tc := range map[string]struct {
		looks   []Look
		verdict verdict.Verdict
		only    bool
	}{
		"nothing":                      {nil, verdict.Unknown, false},
		"all pass":                     {[]Look{pass, pass}, verdict.Pass, false},
		"the dead source alone":        {[]Look{pass, dead, dead}, verdict.Unknown, true},
		"another cause beside it":      {[]Look{dead, other}, verdict.Unknown, false},
		"a failure beside it":          {[]Look{dead, red, pass}, verdict.Fail, false},
		"nothing to do":                {[]Look{none, none}, verdict.Nothing, false},
		"nothing to do beside a pass":  {[]Look{none, pass}, verdict.Pass, false},
		"and beside the dead source":   {[]Look{dead, none}, verdict.Unknown, true},
		"something that never answers": {[]Look{{}}, verdict.Unknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := MergeLooks(tc.looks...)
			if got.Verdict != tc.verdict || got.OnlySource != tc.only {
				t.Errorf("MergeLooks = %+v, want %s, only the source %v", got, tc.verdict, tc.only)
			}
		})
	}
	got := MergeLooks(pass, dead, dead, red)
	if got.Passed != 2 || got.Unknown != 2 || got.Failed != 1 || !slices.Equal(got.Findings, []string{"silence", "silence", "gone"}) || !slices.Equal(got.Obligations, []string{"fence it"}) {
		t.Errorf("MergeLooks = %+v", got)
	}
	if m := MergeLooks(none, pass, none); m.Nothing != 2 || m.Passed != 2 || !slices.Equal(m.None, []string{"no vault"}) {
		t.Errorf("MergeLooks = %+v", m)
	}
}
