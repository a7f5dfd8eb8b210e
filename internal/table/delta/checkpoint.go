package delta

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/columns"
)

// readCheckpoint reads all parts and sidecars of a checkpoint. An error that
// [broken] accepts means that this checkpoint is not usable, where another one
// may be.
func (l *Log) readCheckpoint(ctx context.Context, c checkpoint) (*actions, []table.Object, error) {
	if !c.whole() {
		return nil, nil, fmt.Errorf("%w: checkpoint %d of %s lacks some of its %s", ErrNoStart, c.version, l.root, plural.Of(len(c.parts), "part"))
	}
	all := &actions{}
	objects := c.parts
	for _, o := range c.parts {
		if err := l.readPart(ctx, o, all); err != nil {
			return nil, nil, err
		}
	}
	all.inParts = all.count
	for _, s := range all.sidecars {
		o, err := l.sidecar(c, s)
		if err != nil {
			return nil, nil, err
		}
		if err := l.readPart(ctx, o, all); err != nil {
			return nil, nil, err
		}
		objects = append(objects[:len(objects):len(objects)], o)
	}
	key := c.parts[0].Key
	if all.protocol == nil || all.metadata == nil {
		return nil, nil, badLog(key, "checkpoint without protocol or metadata")
	}
	return all, objects, nil
}

// sidecar finds a sidecar that a checkpoint names in the listing.
func (l *Log) sidecar(c checkpoint, s sidecar) (table.Object, error) {
	name := s.Path
	if _, _, absolute := cutScheme(name); absolute { // absolute: only its place in this log counts
		name = path.Base(name)
	}
	name = strings.TrimPrefix(name, "_sidecars/")
	o, ok := l.sidecars[name]
	if !ok {
		return o, fmt.Errorf("%w: sidecar %s of checkpoint %d of %s is absent", ErrNoStart, s.Path, c.version, l.root)
	}
	if o.Size != s.SizeInBytes {
		return o, badLog(o.Key, "sidecar has %s, recorded %d", plural.Of(o.Size, "byte"), s.SizeInBytes)
	}
	return o, nil
}

func (l *Log) readPart(ctx context.Context, o table.Object, into *actions) error {
	if strings.HasSuffix(o.Key, ".json") {
		body, err := l.get(ctx, o)
		if err != nil {
			return err
		}
		acts, err := parseActions(l.root, o.Key, body)
		if err != nil {
			return err
		}
		into.merge(acts)
		return nil
	}
	fail := func(err error) error {
		if errors.Is(err, columns.ErrMalformed) || errors.Is(err, ErrCorrupt) {
			return badLog(o.Key, "%w", err)
		}
		return fmt.Errorf("read checkpoint %s of %s: %w", InLog(o.Key), l.root, reach.Mark(err))
	}
	f, err := columns.Open(ReaderAt(ctx, l.store, o.Key, o.Size), o.Size)
	if err != nil {
		return fail(err)
	}
	if err := readActions(ctx, l.root, f, into); err != nil {
		return fail(err)
	}
	return nil
}

// merge adds the actions of a part that is JSON.
func (acts *actions) merge(b *actions) {
	for _, a := range b.adds {
		acts.files.add(a)
	}
	acts.txns = append(acts.txns, b.txns...)
	acts.sidecars = append(acts.sidecars, b.sidecars...)
	acts.count += b.count
	acts.odd = append(acts.odd, b.odd...)
	if b.protocol != nil {
		acts.protocol = b.protocol
	}
	if b.metadata != nil {
		acts.metadata = b.metadata
	}
}

// The leaf columns of a checkpoint that matter here. Tombstones do not: at a
// checkpoint they are already applied. A column that a writer left out reads as
// null.
const (
	cAddPath = iota
	cAddPartKey
	cAddPartValue
	cAddSize
	cAddDataChange
	cAddStats
	cDVType
	cDVPath
	cDVOffset
	cDVSize
	cDVCardinality
	cMetaID
	cMetaName
	cMetaSchema
	cMetaPartition
	cMetaConfKey
	cMetaConfValue
	cMetaProvider
	cReader
	cWriter
	cReaderFeatures
	cWriterFeatures
	cTxnApp
	cTxnVersion
	cSidePath
	cSideSize
	cStatsRecords
	columnCount
)

// columnPaths are dotted paths; a map or list is named by its group, whose
// leaves follow in the order key, value.
var columnPaths = [columnCount]string{
	cAddPath: "add.path", cAddPartKey: "add.partitionValues/0", cAddPartValue: "add.partitionValues/1",
	cAddSize: "add.size", cAddDataChange: "add.dataChange", cAddStats: "add.stats",
	cDVType: "add.deletionVector.storageType", cDVPath: "add.deletionVector.pathOrInlineDv",
	cDVOffset: "add.deletionVector.offset", cDVSize: "add.deletionVector.sizeInBytes",
	cDVCardinality: "add.deletionVector.cardinality",
	cMetaID:        "metaData.id", cMetaName: "metaData.name", cMetaSchema: "metaData.schemaString",
	cMetaPartition: "metaData.partitionColumns/0", cMetaConfKey: "metaData.configuration/0",
	cMetaConfValue: "metaData.configuration/1", cMetaProvider: "metaData.format.provider",
	cReader: "protocol.minReaderVersion", cWriter: "protocol.minWriterVersion",
	cReaderFeatures: "protocol.readerFeatures/0", cWriterFeatures: "protocol.writerFeatures/0",
	cTxnApp: "txn.appId", cTxnVersion: "txn.version",
	cSidePath: "sidecar.path", cSideSize: "sidecar.sizeInBytes",
	cStatsRecords: "add.stats_parsed.numRecords",
}

// locateColumns finds each column's index in a file. The groups inside of maps
// and lists are named differently by different writers, so their leaves go by
// position.
func locateColumns(f *columns.File) ([]int, error) {
	leaves := f.Leaves()
	ordered := f.Schema().Columns()
	at := make([]int, columnCount)
	for i, want := range columnPaths {
		at[i] = -1
		group, nth, nested := strings.Cut(want, "/")
		if !nested {
			if leaf, ok := leaves[want]; ok {
				at[i] = leaf
			}
		} else {
			skip := int(nth[0] - '0')
			for leaf, p := range ordered {
				if strings.HasPrefix(strings.Join(p, "."), group+".") {
					if skip == 0 {
						at[i] = leaf
						break
					}
					skip--
				}
			}
		}
		if at[i] < 0 {
			continue
		}
		if f.Repeated(at[i]) != nested || !slices.Contains(kindsOf(i), f.Kind(at[i])) {
			return nil, fmt.Errorf("%w: column %s has the physical type %d, or repeats otherwise than in a checkpoint", columns.ErrMalformed, want, f.Kind(at[i]))
		}
	}
	return at, nil
}

// kindsOf are the physical types that a column may have: some writers make
// numbers 32 bits wide and others 64.
func kindsOf(c int) []parquet.Kind {
	switch c {
	case cAddDataChange:
		return []parquet.Kind{parquet.Boolean}
	case cAddSize, cDVOffset, cDVSize, cDVCardinality, cReader, cWriter, cTxnVersion, cSideSize, cStatsRecords:
		return []parquet.Kind{parquet.Int32, parquet.Int64}
	}
	return []parquet.Kind{parquet.ByteArray}
}
