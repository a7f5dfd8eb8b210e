// Package activities is where actions and Temporal meet. It holds the actions, a
// file per layer (region, storage, tables, kafka, secrets, routing, pipelines,
// access, obligations), and the [Host], which serves every action of the
// catalogue as Temporal activities, one per phase.
//
// An action stays thin: it turns an item into arguments, calls the package of
// the outside system, and turns the answer into a Change, an Outcome or
// Observations. Rules that hold for all of them live in the Host: the plan is
// the approved one, the epoch holds, documents go to the ledger, the first
// answer of an attempt stays.
package activities
