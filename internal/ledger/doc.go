// Package ledger is the hash-chained record of a run: what was planned, who
// approved it, what was about to be done, what was done, and what was seen
// afterwards. It is evidence: read offline, by someone who trusts neither the
// worker nor the store, but only a list of public keys.
//
// Everything here is pure: bytes in, bytes out. The workflow of a run is the
// only one that appends, so [Chain] is safe inside a Temporal workflow (no
// clock, no randomness, no iteration over maps), and the package store keeps
// its bytes in an object store.
//
// # Layout
//
// All keys are relative to the ledger's location, which an estate names once
// for every direction of failover. Names that people chose are escaped by
// [Escape].
//
//	runs/<workflow>/<first run>/chain/000000000001.json    an entry          [ChainKey]
//	runs/<workflow>/<first run>/heads/000000000001.sig     a signed head     [HeadKey]
//	runs/<workflow>/<first run>/docs/<step>/<item>/0001/plan.json            [DocKey]
//	runs/<workflow>/<first run>/parts/<digest>             a part of a plan  [PartKey]
//	lock/<estate>.json                                     lock and epoch    [LockKey]
//
// # Chain
//
// An entry's bytes are canonical ([Entry.Bytes]) and end in a newline, so that
// the entries of a run, concatenated in order, are JSON Lines. An entry holds
// the SHA-256 of the bytes of the one before, the first holds none. Large
// things (plans, outcomes, observations of items) are documents of their own,
// which entries name together with their digests.
//
// # Documents
//
// A document's key is known before it is written, also to others who can write to the
// store. So each ends in a line with the worker's signature over its key and its body's
// digest ([SealDoc]), and whoever finds one that no entry names yet believes it for that
// alone. An entry names the body's digest. Older ledgers have no such line.
//
// A chain alone can be rewritten from any point on by whoever can write to the
// store. Signed heads are what prevents that; [Verify] holds the chain against
// them.
package ledger
