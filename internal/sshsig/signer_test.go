package sshsig_test

import (
	"strings"
	"testing"
	"time"

	"breakwater/internal/sshsig"
)

func TestParseSigner(t *testing.T) {
	key := sshsig.Public(signer(t, 1)).String()
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for line, want := range map[string]sshsig.Signer{
		key:                                 {},
		key + " worker@example.org":         {},
		`valid-after="20260101Z" ` + key:    {After: at("2026-01-01T00:00:00Z")},
		`valid-before=202612011230Z ` + key: {Before: at("2026-12-01T12:30:00Z")},
		`VALID-AFTER="20260101Z" ` + key:    {After: at("2026-01-01T00:00:00Z")},
		`valid-before="20261201123059Z",valid-after="20260101Z" ` + key + " old": {After: at("2026-01-01T00:00:00Z"), Before: at("2026-12-01T12:30:59Z")},
	} {
		got, err := sshsig.ParseSigner(line)
		if err != nil || got.Key.String() != key || !got.After.Equal(want.After) || !got.Before.Equal(want.Before) {
			t.Errorf("%q is %+v, %v", line, got, err)
		}
	}
	for line, want := range map[string]string{
		"":                                 "write it as in a .pub file",
		key + "\n" + key:                   "more than one line",
		"no-pty " + key:                    `"no-pty" has no meaning`,
		`valid-after="20260101" ` + key:    "no time in UTC",
		`valid-after="2026-01-01Z" ` + key: "no time in UTC",
		`valid-after="20261301Z" ` + key:   "no time in UTC",
		`valid-after ` + key:               "no time in UTC",
		`valid-after="20260101Z",valid-after="20260101Z" ` + key:  "twice",
		`valid-after="20260101Z",valid-before="20260101Z" ` + key: "valid-before it is",
	} {
		if got, err := sshsig.ParseSigner(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v; want %q", line, got, err, want)
		}
	}
}

func TestSignerIsValid(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		s                 sshsig.Signer
		before, at, later bool // an hour before noon, at noon, an hour later
	}{
		"without a period": {sshsig.Signer{}, true, true, true},
		"from noon":        {sshsig.Signer{After: noon}, false, true, true},
		"until noon":       {sshsig.Signer{Before: noon}, true, false, false},
		"for an hour":      {sshsig.Signer{After: noon, Before: noon.Add(time.Hour)}, false, true, false},
	} {
		if b, a, l := tc.s.Valid(noon.Add(-time.Hour)), tc.s.Valid(noon), tc.s.Valid(noon.Add(time.Hour)); b != tc.before || a != tc.at || l != tc.later {
			t.Errorf("%s: %v, %v, %v", name, b, a, l)
		}
	}
}
