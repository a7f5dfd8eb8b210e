package table

import "context"

// FileID tells what the log says of one file from what it says of any other: where the
// file lies, which of its rows are hidden, and whatever else is recorded with it.
type FileID [16]byte

// Digests are what single files of a table came to when they were read. Its methods may
// be called concurrently. What is known stays known.
type Digests interface {
	// Known is the digest of a file; false where it was not read.
	Known(FileID) (Digest, bool)
	// Learn takes the digest of a file that was read. Its error ends the reading.
	Learn(context.Context, FileID, Digest) error
}

// FileReader is a [RowReader] whose digest is the sum of those of its files, so that a
// version costs no more than the files that no version before it had.
type FileReader interface {
	RowReader
	// Reading is a hash of what beside a file decides how its rows count, such as the
	// schema that they are read with: digests of another reading are of no use.
	Reading() ([32]byte, error)
	// SumWith is Sum, and reads only the files that are not known. It asks for each file
	// before it reads the first, and tells how many it read.
	SumWith(ctx context.Context, files Digests) (d Digest, read int, err error)
}
