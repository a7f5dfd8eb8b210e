// Package recovery decides what a consistency group comes back to, how much
// that loses, and where the time went. It reads no clock and does no I/O: what
// was seen goes in as plain values, and the same values give the same answer,
// so that a ledger holding the evidence can be checked years later.
//
// # The cut
//
// [ChooseCut] finds one moment for all tables and topics of a group. Every
// dataset forbids some moments: those after which something newer may have
// existed, less the clock skew, and those at which its version is known not to
// be complete or is not known at all. The cut is the latest moment that no
// dataset forbids. Objects replicate in any order, so a table's version 5 can
// be whole while its version 3 is not: allowed moments are not one interval,
// and a cut that would land in the window of version 3 steps back before it.
//
// # Clocks
//
// Skew is the largest difference between two clocks of the estate (writers,
// producers, witness, worker) read at one instant. A table's commit times come
// from a single order and must not decrease with the version. A version nobody
// has seen is taken to carry a later commit time than the version before it.
// Producers stamp records when they are sent; a record stamped more than the
// skew before one that precedes it in the partition breaks the declaration.
//
// # Loss
//
// [Losses] states an interval that holds the truth, never an estimate. "At
// least" is what is proven to have existed beyond the recovery point; "at most"
// is exact when the source answered, bounded when a peak rate is declared, and
// otherwise absent. That nothing was lost is claimed only when the source said
// so itself.
package recovery
