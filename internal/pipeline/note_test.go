package pipeline

import (
	"errors"
	"testing"
)

const run, other = "failover-1/6f0d1a52-0001", "failover-1/6f0d1a52-0002"

func TestNote(t *testing.T) {
	for _, tc := range []struct {
		did            Deed
		replaced, want string
	}{
		{PausedIt, "", "breakwater " + run + ": paused for failover"},
		{PausedIt, "runs at night", "breakwater " + run + ": paused for failover; before, it said: runs at night"},
		{ResumedIt, "standby", "breakwater " + run + ": resumed by failover; before, it said: standby"},
		{PausedIt, Note(other, ResumedIt, "standby"), "breakwater " + run + ": paused for failover; before, it said: breakwater " + other + ": resumed by failover; before, it said: standby"},
	} {
		note := Note(run, tc.did, tc.replaced)
		if note != tc.want {
			t.Errorf("Note = %q, want %q", note, tc.want)
		}
		if was, ok := Ours(run, tc.did, note); !ok || was != tc.replaced {
			t.Errorf("Ours(%q) = %q, %t; want %q back", note, was, ok, tc.replaced)
		}
		if _, ok := Ours(other, tc.did, note); ok {
			t.Errorf("%q passes for a note of another run", note)
		}
	}
	for _, note := range []string{"", "standby: a failover resumes this", Note(run, ResumedIt, ""), "it said: " + Note(run, PausedIt, "")} {
		if _, ok := Ours(run, PausedIt, note); ok {
			t.Errorf("%q passes for a pause of this run", note)
		}
	}
}

func TestPausedBy(t *testing.T) {
	for note, want := range map[string]string{
		"":                         "",
		"paused by erin":           "",
		Note(run, PausedIt, ""):    run,
		Note(run, PausedIt, "why"): run,
		Note(run, PausedIt, Note(other, PausedIt, "")): run,
		Note(run, ResumedIt, ""):                       "",
		"see breakwater x: paused for failover":        "",
	} {
		if got := PausedBy(note); got != want {
			t.Errorf("PausedBy(%q) = %q, want %q", note, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	if got := (Seen{State: Running}).String(); got != "running" {
		t.Errorf("without a note: %q", got)
	}
	found := Seen{State: Paused, Note: "mine"}
	if got := found.String(); got != `paused, noted "mine"` {
		t.Errorf("with a note: %q", got)
	}
	err := Lost(found, Running)
	if want := `is paused, noted "mine", and was to be running with our note; somebody else changed it just now; plan again`; err.Error() != want {
		t.Errorf("Lost = %q, want %q", err, want)
	}
	if !errors.Is(err, ErrMoved) {
		t.Error("Lost has no ErrMoved in its chain")
	}
}
