package objectstore

import "time"

// LockMode says who may take a version's retention away.
type LockMode string

// The modes of Object Lock.
const (
	Governance LockMode = "GOVERNANCE" // whoever has the right to bypass it
	Compliance LockMode = "COMPLIANCE" // nobody, the account's root included
)

// Hold is a retention by Object Lock: until then the version cannot be deleted.
// It holds a version and not a key: a plain delete still puts a marker over it,
// and a put a newer version. The zero value is no hold.
type Hold struct {
	Mode  LockMode
	Until time.Time // whole seconds
}

// Sealed is what a store says about one version that is to be kept.
type Sealed struct {
	Object
	Hold Hold
	// SHA256 is the checksum that the store computed over the whole content when
	// it was written, in hex; empty where it keeps none, or one of parts only.
	SHA256 string
}
