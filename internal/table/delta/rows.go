package delta

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/parquet-go/parquet-go"

	"breakwater/internal/clip"
	"breakwater/internal/strictjson"
	"breakwater/internal/table/delta/columns"
)

// readActions appends the actions of a checkpoint or sidecar file.
func readActions(ctx context.Context, root folder, f *columns.File, into *actions) error {
	leaves, err := locateColumns(f)
	if err != nil {
		return err
	}
	if into.bare {
		for c := range leaves {
			if c < cMetaID || c > cWriterFeatures {
				leaves[c] = -1
			}
		}
	}
	r := &checkpointReader{root: root, prefix: root.Key(""), into: into, partitions: map[string]uint32{}}
	into.files.prefix = len(r.prefix)
	for b, err := range f.Batches(ctx, leaves, r.keys) {
		if err != nil {
			return err
		}
		if cap(into.files.files) == 0 { // a number of rows is only claimed until they are read
			into.files.files = make([]file, 0, min(f.NumRows(), 1<<21))
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
	root   folder
	prefix string // of a relative path's key
	into   *actions
	// partitions are the partition values seen, as numbers in the list of files, by
	// their encoding.
	partitions map[string]uint32
	// recent holds values of column that were seen a short while ago, so that most
	// rows need not be encoded for partitions: most tables have one partition column
	// with few values. A value's place follows from its last bytes, where values
	// mostly differ, and a newer one takes the place of an older.
	recent [1024]valueNumber
	column string // whose values recent holds
}

// valueNumber is a partition column's value, and the number of a map of it alone.
type valueNumber struct {
	value  string
	number uint32
	known  bool
}

func (r *checkpointReader) read(b *columns.Batch) error {
	r.into.count += int64(b.Rows)
	keys, ok := b.Ahead.(keys)
	if !ok {
		return fmt.Errorf("%w: a batch of rows without its keys", columns.ErrMalformed)
	}
	files := &r.into.files
	text, at, paths := uint32(len(files.texts)), 0, b.Flat(cAddPath)
	if keys.plain {
		files.texts = append(files.texts, keys.text)
	}
	values := addValues{sizes: b.Flat(cAddSize), changes: b.Flat(cAddDataChange), stats: b.Flat(cAddStats)}
	for i := range b.Rows {
		row := checkpointRow{b, i}
		switch {
		case paths != nil && !paths[i].IsNull():
			key := keys.text[at : at+len(r.prefix)+len(paths[i].ByteArray())]
			size, records := values.numbers(row)
			if keys.plain && simple(size, records, len(key)) && !row.has(cDVType) {
				files.files = append(files.files, file{
					size: size, records: int32(records), values: r.partition(row), change: values.change(row),
					text: text, from: uint32(at), length: uint16(len(key)), hash: place{key: key}.hash(),
				})
			} else if err := r.other(row, values, size, records, key[len(r.prefix):]); err != nil {
				return err
			}
			at += len(key)
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
	plain bool // all of them are relative and need no decoding, and file can tell where
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
	return keys{text.String(), !odd && all <= math.MaxUint32 && isPlain(text.String())}
}

// addValues are columns that nearly every file has a value in.
type addValues struct{ sizes, changes, stats []parquet.Value }

// numbers are a file's bytes and rows, -1 where they are not recorded.
func (v addValues) numbers(row checkpointRow) (size, records int64) {
	if v.sizes != nil {
		size = integer(&v.sizes[row.i])
	}
	records = -1
	if v.stats != nil && !v.stats[row.i].IsNull() {
		records, _ = numRecords(v.stats[row.i].ByteArray())
	} else if row.has(cStatsRecords) { // delta.checkpoint.writeStatsAsJson=false
		records = max(-1, row.integer(cStatsRecords))
	}
	return size, records
}

func (v addValues) change(row checkpointRow) bool {
	return v.changes != nil && v.changes[row.i].Boolean()
}

// other adds a file that is not simple: it has a deletion vector, say, or its path
// is encoded.
func (r *checkpointReader) other(row checkpointRow, values addValues, size, records int64, path string) error {
	files := &r.into.files
	a := Add{Path: path, Size: size, Records: records, PartitionValues: files.values[r.partition(row)], DataChange: values.change(row)}
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
	if err := a.locate(r.root); err != nil {
		return err
	}
	files.add(a)
	return nil
}

// partition is the number of the row's partition values: the same for the same
// values.
func (r *checkpointReader) partition(row checkpointRow) uint32 {
	keys, values := row.b.Values(cAddPartKey, row.i), row.b.Values(cAddPartValue, row.i)
	var place *valueNumber // of the row's value in r.recent; nil for several columns
	if len(keys) == 1 && len(values) == 1 && !keys[0].IsNull() && !values[0].IsNull() {
		if column := keys[0].ByteArray(); string(column) != r.column {
			r.column, r.recent = string(column), [1024]valueNumber{}
		}
		value := values[0].ByteArray()
		h := uint32(len(value))
		for _, b := range value[max(0, len(value)-8):] {
			h = 31*h + uint32(b)
		}
		place = &r.recent[h%uint32(len(r.recent))]
		if place.known && place.value == string(value) {
			return place.number
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
	number, ok := r.partitions[string(id)]
	if !ok {
		number = uint32(len(r.into.files.values))
		r.into.files.values = append(r.into.files.values, row.pairs(cAddPartKey, cAddPartValue))
		r.partitions[string(id)] = number
	}
	if place != nil {
		*place = valueNumber{string(values[0].ByteArray()), number, true}
	}
	return number
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

// recordsIn is [numRecords] of statistics as an action has them: as a JSON text.
func recordsIn(raw jsontext.Value) (n int64, odd string) {
	switch raw.Kind() {
	case '"':
		text, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return -1, "are no text"
		}
		return numRecords(text)
	case 0, 'n': // none, which is as good
		return -1, ""
	}
	return -1, "are no text"
}

// numRecords is the row count in a file's statistics, -1 where they have none:
// they are optional, and may be cut short by their writer, which odd says. Rows are
// then unknown, and the file is as live as before.
func numRecords(stats []byte) (n int64, odd string) {
	// As every engine writes it; the whole is parsed only where it differs.
	if rest, ok := bytes.CutPrefix(stats, []byte(`{"numRecords":`)); ok {
		n, digits := int64(0), 0
		for digits < len(rest) && digits < 18 && '0' <= rest[digits] && rest[digits] <= '9' {
			n = 10*n + int64(rest[digits]-'0')
			digits++
		}
		if digits > 0 && digits < len(rest) && (rest[digits] == ',' || rest[digits] == '}') {
			return n, ""
		}
	}
	if len(stats) == 0 {
		return -1, ""
	}
	var fields map[string]jsontext.Value
	if err := strictjson.Unmarshal(stats, &fields); err != nil {
		return -1, "are no JSON object"
	}
	const name = "numRecords"
	if text, ok := fields[name]; ok && string(text) != "null" {
		if n, err := strconv.ParseInt(string(text), 10, 64); err == nil && n >= 0 {
			return n, ""
		}
		return -1, "say that numRecords is " + clip.Text(string(text), 60)
	}
	for other := range fields {
		if other != name && strings.EqualFold(other, name) {
			return -1, "name " + other + " instead of " + name
		}
	}
	return -1, ""
}
