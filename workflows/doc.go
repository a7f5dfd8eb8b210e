// Package workflows is the interpreter: one Temporal workflow that runs every
// runbook, stage by stage, gate by gate.
//
// It is registered once under each runbook's name, so that the Temporal UI, tctl
// and Schedules show and start "RegionalFailover". It reads no file and calls no
// outside system: everything it knows came through the start input, an activity's
// result, a signal or an update, and all of it is in the history.
//
// # A stage
//
//	plan every step → gate → plan again: same root? → intent → apply → verify → ledger
//
// A stage without a gate plans, applies and proves step by step. One that only
// looks runs its checks as its plan, so that its gate shows
// what they found. A step that does not pass stops the run there and asks a
// person; nothing is undone by itself, since that can reopen a split brain.
//
// # Changing this package
//
// Runs stay open for days. A change that alters the sequence of commands needs
// workflow.GetVersion where the behaviour changes, or a new runbook.Engine; the
// stored histories in testdata/history are replayed by the tests and show where
// it does.
package workflows
