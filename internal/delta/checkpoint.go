package delta

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/parquet-go/parquet-go"

	"breakwater/internal/delta/columns"
	"breakwater/internal/reach"
	"breakwater/internal/table"
)

// readCheckpoint reads all parts and sidecars of a checkpoint. An error that
// [broken] accepts means that this checkpoint is not usable, where another one
// may be.
func (l *Log) readCheckpoint(ctx context.Context, c checkpoint) (*actions, []table.Object, error) {
	if !c.whole() {
		return nil, nil, fmt.Errorf("%w: checkpoint %d of %s lacks some of its %d parts", ErrNoStart, c.version, l.root, len(c.parts))
	}
	all := &actions{}
	objects := c.parts
	for _, o := range c.parts {
		if err := l.readPart(ctx, o, all); err != nil {
			return nil, nil, err
		}
	}
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
	return all, objects, all.unique(key)
}

// sidecar finds a sidecar that a checkpoint names in the listing.
func (l *Log) sidecar(c checkpoint, s sidecar) (table.Object, error) {
	name := s.Path
	if schemed.MatchString(name) { // absolute: only its place in this log counts
		name = path.Base(name)
	}
	name = strings.TrimPrefix(name, "_sidecars/")
	o, ok := l.sidecars[name]
	if !ok {
		return o, fmt.Errorf("%w: sidecar %s of checkpoint %d of %s is absent", ErrNoStart, s.Path, c.version, l.root)
	}
	if o.Size != s.SizeInBytes {
		return o, badLog(o.Key, "sidecar has %d bytes, recorded %d", o.Size, s.SizeInBytes)
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
		return fmt.Errorf("read checkpoint %s of %s: %w", o.Key, l.root, reach.Mark(err))
	}
	f, err := columns.Open(ReaderAt(ctx, l.store, o.Key, o.Size), o.Size)
	if err != nil {
		return fail(err)
	}
	if err := readActions(l.root, f, into); err != nil {
		return fail(err)
	}
	return nil
}

func (acts *actions) merge(b *actions) {
	acts.adds = append(acts.adds, b.adds...)
	acts.txns = append(acts.txns, b.txns...)
	acts.sidecars = append(acts.sidecars, b.sidecars...)
	acts.count += b.count
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
func locateColumns(f *columns.File) []int {
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
			continue
		}
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
	return at
}

// readActions appends the actions of a checkpoint or sidecar file.
func readActions(root Root, f *columns.File, into *actions) error {
	for raw, err := range f.Rows(locateColumns(f)) {
		if err != nil {
			return err
		}
		into.count++
		row := checkpointRow(raw)
		switch {
		case row.has(cAddPath):
			if err := into.add(root, row.add()); err != nil {
				return err
			}
		case row.has(cMetaID):
			m := &Metadata{ID: row.text(cMetaID), Name: row.text(cMetaName), SchemaString: row.text(cMetaSchema), Configuration: map[string]string{}}
			m.PartitionColumns = row.texts(cMetaPartition)
			m.Format.Provider = row.text(cMetaProvider)
			for k, v := range row.pairs(cMetaConfKey, cMetaConfValue) {
				if v != nil {
					m.Configuration[k] = *v
				}
			}
			into.metadata = m
		case row.has(cReader):
			into.protocol = &Protocol{
				MinReaderVersion: int(row.integer(cReader)), MinWriterVersion: int(row.integer(cWriter)),
				ReaderFeatures: row.texts(cReaderFeatures), WriterFeatures: row.texts(cWriterFeatures),
			}
		case row.has(cTxnApp):
			into.txns = append(into.txns, txn{row.text(cTxnApp), row.integer(cTxnVersion)})
		case row.has(cSidePath):
			into.sidecars = append(into.sidecars, sidecar{row.text(cSidePath), row.integer(cSideSize)})
		}
	}
	return nil
}

// checkpointRow is one row, by the constants above.
type checkpointRow [][]parquet.Value

func (r checkpointRow) has(c int) bool { return len(r[c]) == 1 && !r[c][0].IsNull() }

func (r checkpointRow) text(c int) string {
	if !r.has(c) {
		return ""
	}
	return string(r[c][0].ByteArray())
}

// integer reads a column that some writers make 32 bits wide and others 64.
func (r checkpointRow) integer(c int) int64 {
	switch {
	case !r.has(c):
		return 0
	case r[c][0].Kind() == parquet.Int32:
		return int64(r[c][0].Int32())
	}
	return r[c][0].Int64()
}

func (r checkpointRow) texts(c int) []string {
	var out []string
	for _, v := range r[c] {
		if !v.IsNull() {
			out = append(out, string(v.ByteArray()))
		}
	}
	return out
}

func (r checkpointRow) pairs(key, value int) map[string]*string {
	out := map[string]*string{}
	for i, k := range r[key] {
		if k.IsNull() {
			continue
		}
		out[string(k.ByteArray())] = nil
		if i < len(r[value]) && !r[value][i].IsNull() {
			v := string(r[value][i].ByteArray())
			out[string(k.ByteArray())] = &v
		}
	}
	return out
}

func (r checkpointRow) add() fileAction {
	a := fileAction{
		Path: r.text(cAddPath), Size: r.integer(cAddSize), Stats: r.text(cAddStats),
		PartitionValues: r.pairs(cAddPartKey, cAddPartValue),
		DataChange:      r.has(cAddDataChange) && r[cAddDataChange][0].Boolean(),
	}
	if a.Stats == "" && r.has(cStatsRecords) { // delta.checkpoint.writeStatsAsJson=false
		a.Stats = fmt.Sprintf(`{"numRecords":%d}`, r.integer(cStatsRecords))
	}
	if r.has(cDVType) {
		a.DeletionVector = &DeletionVector{
			StorageType: r.text(cDVType), PathOrInlineDv: r.text(cDVPath),
			SizeInBytes: int32(r.integer(cDVSize)), Cardinality: r.integer(cDVCardinality),
		}
		if r.has(cDVOffset) {
			off := int32(r.integer(cDVOffset))
			a.DeletionVector.Offset = &off
		}
	}
	return a
}
