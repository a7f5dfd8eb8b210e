package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/parquet-go/parquet-go"

	"breakwater/internal/delta/columns"
)

// readActions appends the actions of a checkpoint or sidecar file.
func readActions(ctx context.Context, root Root, f *columns.File, into *actions) error {
	leaves, err := locateColumns(f)
	if err != nil {
		return err
	}
	r := &checkpointReader{root: root, prefix: root.key(""), into: into, partitions: map[string]map[string]*string{}}
	for b, err := range f.Batches(ctx, leaves, r.keys) {
		if err != nil {
			return err
		}
		if cap(into.adds) == 0 { // a number of rows is only claimed until they are read
			into.adds = make([]Add, 0, min(f.NumRows(), 1<<21))
		}
		if err := r.read(b); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// checkpointReader makes actions of rows. A checkpoint has one row per live file,
// so nothing is allocated per row that rows can share.
type checkpointReader struct {
	root   Root
	prefix string // of a relative path's key
	into   *actions
	// partitions are the partition values seen, by their encoding.
	partitions map[string]map[string]*string
	// byValue are those of the one partition column named so.
	byValue map[string]map[string]*string
	column  string
}

func (r *checkpointReader) read(b *columns.Batch) error {
	r.into.count += int64(b.Rows)
	keys, ok := b.Ahead.(keys)
	if !ok {
		return fmt.Errorf("%w: a batch of rows without its keys", columns.ErrMalformed)
	}
	rest, paths := keys.text, b.Flat(cAddPath)
	values := addValues{sizes: b.Flat(cAddSize), changes: b.Flat(cAddDataChange), stats: b.Flat(cAddStats)}
	for i := range b.Rows {
		row := checkpointRow{b, i}
		switch {
		case paths != nil && !paths[i].IsNull():
			n := len(r.prefix) + len(paths[i].ByteArray())
			if err := r.add(row, values, rest[:n], keys.plain); err != nil {
				return err
			}
			rest = rest[n:]
		case row.has(cMetaID):
			m := &Metadata{ID: row.text(cMetaID), Name: row.text(cMetaName), SchemaString: row.text(cMetaSchema), Configuration: map[string]string{}}
			m.PartitionColumns = row.texts(cMetaPartition)
			m.Format.Provider = row.text(cMetaProvider)
			for k, v := range row.pairs(cMetaConfKey, cMetaConfValue) {
				if v != nil {
					m.Configuration[k] = *v
				}
			}
			r.into.metadata = m
		case row.has(cReader):
			r.into.protocol = &Protocol{
				MinReaderVersion: int(row.integer(cReader)), MinWriterVersion: int(row.integer(cWriter)),
				ReaderFeatures: row.texts(cReaderFeatures), WriterFeatures: row.texts(cWriterFeatures),
			}
		case row.has(cTxnApp):
			r.into.txns = append(r.into.txns, txn{row.text(cTxnApp), row.integer(cTxnVersion)})
		case row.has(cSidePath):
			r.into.sidecars = append(r.into.sidecars, sidecar{row.text(cSidePath), row.integer(cSideSize)})
		}
	}
	return nil
}

// keys is what the paths of a batch lead to if they are plain, one after the
// other: one allocation for all of them.
type keys struct {
	text  string
	plain bool // all of them are relative and need no decoding
}

// keys is called ahead of read.
func (r *checkpointReader) keys(b *columns.Batch) any {
	paths := b.Flat(cAddPath)
	all, odd := 0, false
	for i := range paths {
		if path := paths[i].ByteArray(); !paths[i].IsNull() {
			odd = odd || len(path) == 0 || path[0] == '/'
			all += len(r.prefix) + len(path)
		}
	}
	var text strings.Builder
	text.Grow(all)
	for i := range paths {
		if !paths[i].IsNull() {
			text.WriteString(r.prefix)
			text.Write(paths[i].ByteArray())
		}
	}
	return keys{text.String(), !odd && isPlain(text.String())}
}

// addValues are columns that nearly every file has a value in.
type addValues struct{ sizes, changes, stats []parquet.Value }

// add makes a live file of a row in place. key is where its path leads to if it
// is plain, as all of its batch are or are not.
func (r *checkpointReader) add(row checkpointRow, values addValues, key string, plain bool) error {
	r.into.adds = append(r.into.adds, Add{})
	a := &r.into.adds[len(r.into.adds)-1]
	a.Path, a.Size, a.Records = key[len(r.prefix):], 0, -1
	if values.sizes != nil {
		a.Size = integer(&values.sizes[row.i])
	}
	a.PartitionValues = r.partition(row)
	a.DataChange = values.changes != nil && values.changes[row.i].Boolean()
	if values.stats != nil && !values.stats[row.i].IsNull() {
		a.Records = numRecords(values.stats[row.i].ByteArray())
	} else if row.has(cStatsRecords) { // delta.checkpoint.writeStatsAsJson=false
		a.Records = max(-1, row.integer(cStatsRecords))
	}
	if row.has(cDVType) {
		a.Vector = &DeletionVector{
			StorageType: row.text(cDVType), PathOrInlineDv: row.text(cDVPath),
			SizeInBytes: int32(row.integer(cDVSize)), Cardinality: row.integer(cDVCardinality),
		}
		if row.has(cDVOffset) {
			off := int32(row.integer(cDVOffset))
			a.Vector.Offset = &off
		}
	}
	if !plain {
		key = ""
	}
	return a.locate(r.root, key)
}

// partition is the row's partition values: the same map for the same values.
func (r *checkpointReader) partition(row checkpointRow) map[string]*string {
	keys, values := row.b.Values(cAddPartKey, row.i), row.b.Values(cAddPartValue, row.i)
	// Most tables have one partition column, and its values are few.
	one := len(keys) == 1 && len(values) == 1 && !keys[0].IsNull() && !values[0].IsNull()
	if one && string(keys[0].ByteArray()) == r.column {
		if m, ok := r.byValue[string(values[0].ByteArray())]; ok {
			return m
		}
	}
	var buf [256]byte
	id := buf[:0]
	for _, vs := range [][]parquet.Value{keys, values} {
		for _, v := range vs {
			if v.IsNull() {
				id = append(id, 0xff) // in no UTF-8 text
			} else {
				id = append(append(id, v.ByteArray()...), 0xfe)
			}
		}
		id = append(id, 0xfd)
	}
	m, ok := r.partitions[string(id)]
	if !ok {
		m = row.pairs(cAddPartKey, cAddPartValue)
		r.partitions[string(id)] = m
	}
	if one {
		if column := string(keys[0].ByteArray()); column != r.column {
			r.column, r.byValue = column, map[string]map[string]*string{}
		}
		r.byValue[string(values[0].ByteArray())] = m
	}
	return m
}

// checkpointRow is one row, by the constants of checkpoint.go.
type checkpointRow struct {
	b *columns.Batch
	i int
}

func (r checkpointRow) has(c int) bool {
	_, ok := r.b.Value(c, r.i)
	return ok
}

func (r checkpointRow) text(c int) string {
	v, ok := r.b.Value(c, r.i)
	if !ok {
		return ""
	}
	return string(v.ByteArray())
}

func (r checkpointRow) integer(c int) int64 {
	v, _ := r.b.Value(c, r.i)
	return integer(&v)
}

// integer is a number of either width; 0 of a null.
func integer(v *parquet.Value) int64 {
	switch v.Kind() {
	case parquet.Int32:
		return int64(v.Int32())
	case parquet.Int64:
		return v.Int64()
	}
	return 0
}

func (r checkpointRow) texts(c int) []string {
	var out []string
	for _, v := range r.b.Values(c, r.i) {
		if !v.IsNull() {
			out = append(out, string(v.ByteArray()))
		}
	}
	return out
}

func (r checkpointRow) pairs(key, value int) map[string]*string {
	out := map[string]*string{}
	values := r.b.Values(value, r.i)
	for i, k := range r.b.Values(key, r.i) {
		if k.IsNull() {
			continue
		}
		out[string(k.ByteArray())] = nil
		if i < len(values) && !values[i].IsNull() {
			v := string(values[i].ByteArray())
			out[string(k.ByteArray())] = &v
		}
	}
	return out
}

// numRecords is the row count in a file's statistics, -1 where they have none:
// they are optional, and may be cut short by their writer. Rows are then unknown,
// and the file is as live as before.
func numRecords(stats []byte) int64 {
	// As every engine writes it; the whole is parsed only where it differs.
	if rest, ok := bytes.CutPrefix(stats, []byte(`{"numRecords":`)); ok {
		n, digits := int64(0), 0
		for digits < len(rest) && digits < 18 && '0' <= rest[digits] && rest[digits] <= '9' {
			n = 10*n + int64(rest[digits]-'0')
			digits++
		}
		if digits > 0 && digits < len(rest) && (rest[digits] == ',' || rest[digits] == '}') {
			return n
		}
	}
	var s struct {
		NumRecords *int64 `json:"numRecords"`
	}
	if len(stats) == 0 || json.Unmarshal(stats, &s) != nil || s.NumRecords == nil || *s.NumRecords < 0 {
		return -1
	}
	return *s.NumRecords
}
