package pipeline

import "strings"

// Deed is what a run did to a pipeline, as a note says it.
type Deed string

// What a run does to a pipeline.
const (
	PausedIt  Deed = ": paused for failover"
	ResumedIt Deed = ": resumed by failover"
)

// A note of a run begins with us and its name, and ends with what it replaced.
const (
	us     = "breakwater "
	before = "; before, it said: "
)

// Note is the note that a run leaves on a pipeline. Orchestrators do not say who
// paused a pipeline and why, so the note does, and keeps the one that it replaces
// (empty for none), to be put back by an undo.
func Note(run string, did Deed, replaced string) string {
	n := us + run + string(did)
	if replaced != "" {
		n += before + replaced
	}
	return n
}

// Ours reports whether a run wrote a note for that deed, and which note it
// replaced.
func Ours(run string, did Deed, note string) (replaced string, ok bool) {
	rest, ok := strings.CutPrefix(note, us+run+string(did))
	return strings.TrimPrefix(rest, before), ok
}

// PausedBy names the run that a note says paused a pipeline; empty where the note
// is a person's.
func PausedBy(note string) string {
	rest, ok := strings.CutPrefix(note, us)
	run, _, paused := strings.Cut(rest, string(PausedIt))
	if !ok || !paused {
		return ""
	}
	return run
}
