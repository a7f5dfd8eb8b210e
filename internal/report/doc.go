// Package report says what a run did, how long it took, what was lost, who
// approved it and what is left to prove.
//
// A [Report] is a pure function of the run's ledger: its entries and the
// documents that they name, and nothing else. So it can be made offline, from a
// folder that the evidence was exported to, after Temporal and both regions are
// gone, and by somebody who trusts none of those who made the ledger. What the
// ledger does not hold is not in the report: a list is empty, a verdict unknown.
//
// The names in the JSON form are an interface that others read; a change of one
// is a breaking change. Text that came from outside (names of tables, errors,
// what people typed) is shown as text in every form: nothing of it is ever
// markup, and no control character reaches a terminal.
package report
