package scan

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"slices"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
)

// encoding is the number of the way in which rows are read and encoded. Whoever changes
// what a row comes to raises it, so that nothing is added to digests of before.
const encoding = 1

// Reading is a hash of what beside a file decides what its rows come to: the table, and
// the columns as they are looked for in files and encoded. A column that was added, say,
// is null in all rows, and part of each one's encoding.
func Reading(s *delta.Snapshot) ([32]byte, error) {
	t, err := rows.Of(nil, s)
	if err != nil {
		return [32]byte{}, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "encoding %d of table %q at %q\n%s", encoding, s.Metadata.ID, s.Root, t.Reading())
	return [32]byte(h.Sum(nil)), nil
}

// idOf is a file's identity: a hash of all that the log says of the file and that
// reading goes by.
func idOf(a delta.Add) table.FileID {
	h := sha256.New()
	bucket, key := a.File()
	texts(h, bucket, key, a.Vector.ID())
	numbers(h, a.Size, a.Records)
	if v := a.Vector; v != nil {
		numbers(h, 1, int64(v.SizeInBytes), v.Cardinality)
	}
	for _, name := range slices.Sorted(maps.Keys(a.PartitionValues)) {
		texts(h, name)
		if v := a.PartitionValues[name]; v != nil {
			numbers(h, 1)
			texts(h, *v)
		} else {
			numbers(h, 0)
		}
	}
	return table.FileID(h.Sum(nil))
}

// texts writes each text behind its length.
func texts(h hash.Hash, all ...string) {
	for _, s := range all {
		numbers(h, int64(len(s)))
		h.Write([]byte(s))
	}
}

func numbers(h hash.Hash, all ...int64) {
	for _, n := range all {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
}
