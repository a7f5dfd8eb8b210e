package write

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"time"

	"github.com/parquet-go/parquet-go"

	"breakwater/internal/plural"
	"breakwater/internal/table/delta"
)

// part is the rows that go to one data file.
type part struct {
	values map[string]*string // of the partition columns
	rows   []Row              // without them
}

// split distributes rows over their partitions' folders, which it names as Hive
// does. order is that of first occurrence.
func (t *Table) split(rows []Row) (parts map[string]*part, order []string, err error) {
	parts = map[string]*part{}
	for i, row := range rows {
		if len(row) != len(t.columns) {
			return nil, nil, fmt.Errorf("row %d has %d values for %s", i, len(row), plural.Of(len(t.columns), "column"))
		}
		dir, values, data := "", map[string]*string{}, Row{}
		for j, c := range t.columns {
			if !c.Partition {
				data = append(data, row[j])
				continue
			}
			switch v := row[j].(type) {
			case nil:
				values[c.Name] = nil
				dir += c.Name + "=__HIVE_DEFAULT_PARTITION__/"
			case string:
				values[c.Name] = &v
				if v == "" { // the protocol reads it as null
					return nil, nil, fmt.Errorf("row %d: partition column %s is the empty string", i, c.Name)
				}
				dir += c.Name + "=" + url.QueryEscape(v) + "/"
			default:
				return nil, nil, fmt.Errorf("row %d: partition column %s holds no text", i, c.Name)
			}
		}
		if parts[dir] == nil {
			parts[dir] = &part{values: values}
			order = append(order, dir)
		}
		parts[dir].rows = append(parts[dir].rows, data)
	}
	return parts, order, nil
}

// encode makes a Parquet file of rows that hold the data columns only.
func (t *Table) encode(rows []Row) ([]byte, error) {
	group := parquet.Group{}
	var columns []Column
	for _, c := range t.columns {
		if c.Partition {
			continue
		}
		columns = append(columns, c)
		node := parquet.String()
		switch c.Type {
		case Int64:
			node = parquet.Int(64)
		case Float64:
			node = parquet.Leaf(parquet.DoubleType)
		case Timestamp:
			node = parquet.Timestamp(parquet.Microsecond)
		}
		group[c.Name] = parquet.Compressed(parquet.Optional(node), &parquet.Snappy)
	}
	schema := parquet.NewSchema("rows", group)
	var b bytes.Buffer
	w := parquet.NewWriter(&b, schema)
	for i, row := range rows {
		out := make(parquet.Row, len(columns))
		for j, c := range columns {
			leaf, ok := schema.Lookup(c.Name)
			if !ok {
				return nil, fmt.Errorf("column %s is not in the file's schema", c.Name)
			}
			v, err := c.value(row[j])
			if err != nil {
				return nil, fmt.Errorf("row %d: %w", i, err)
			}
			def := 1
			if v.IsNull() {
				def = 0
			}
			out[leaf.ColumnIndex] = v.Level(0, def, leaf.ColumnIndex)
		}
		if _, err := w.WriteRows([]parquet.Row{out}); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (c Column) value(v any) (parquet.Value, error) {
	switch v := v.(type) {
	case nil:
		return parquet.NullValue(), nil
	case int64:
		if c.Type == Int64 {
			return parquet.Int64Value(v), nil
		}
	case float64:
		if c.Type == Float64 {
			return parquet.DoubleValue(v), nil
		}
	case string:
		if c.Type == String {
			return parquet.ByteArrayValue([]byte(v)), nil
		}
	case time.Time:
		if c.Type == Timestamp {
			return parquet.Int64Value(v.UnixMicro()), nil
		}
	}
	return parquet.Value{}, fmt.Errorf("column %s of type %s holds a value of another type", c.Name, c.Type)
}

// The rows of a classic checkpoint. Tombstones are left out: nothing is ever
// removed from these tables.
type (
	checkpointRow struct {
		Protocol *checkpointProtocol `parquet:"protocol,optional"`
		Metadata *checkpointMetadata `parquet:"metaData,optional"`
		Add      *checkpointAdd      `parquet:"add,optional"`
		Remove   *checkpointRemove   `parquet:"remove,optional"`
		Txn      *checkpointTxn      `parquet:"txn,optional"`
	}
	checkpointProtocol struct {
		MinReaderVersion int32 `parquet:"minReaderVersion"`
		MinWriterVersion int32 `parquet:"minWriterVersion"`
	}
	checkpointMetadata struct {
		ID     string `parquet:"id"`
		Format struct {
			Provider string            `parquet:"provider"`
			Options  map[string]string `parquet:"options"`
		} `parquet:"format"`
		SchemaString     string            `parquet:"schemaString"`
		PartitionColumns []string          `parquet:"partitionColumns,list"`
		Configuration    map[string]string `parquet:"configuration"`
		CreatedTime      *int64            `parquet:"createdTime,optional"`
	}
	checkpointAdd struct {
		Path             string             `parquet:"path"`
		PartitionValues  map[string]*string `parquet:"partitionValues"`
		Size             int64              `parquet:"size"`
		ModificationTime int64              `parquet:"modificationTime"`
		DataChange       bool               `parquet:"dataChange"`
		Stats            *string            `parquet:"stats,optional"`
	}
	checkpointRemove struct {
		Path              string `parquet:"path"`
		DeletionTimestamp *int64 `parquet:"deletionTimestamp,optional"`
		DataChange        bool   `parquet:"dataChange"`
	}
	checkpointTxn struct {
		AppID   string `parquet:"appId"`
		Version int64  `parquet:"version"`
	}
)

// Checkpoint writes a classic checkpoint of the head, and then the hint that
// names it.
func (t *Table) Checkpoint(ctx context.Context) error {
	s, err := t.head(ctx)
	if err != nil {
		return fmt.Errorf("checkpoint delta table %s: %w", t.root, err)
	}
	meta := &checkpointMetadata{ID: s.Metadata.ID, SchemaString: s.Metadata.SchemaString, PartitionColumns: s.Metadata.PartitionColumns, Configuration: s.Metadata.Configuration}
	meta.Format.Provider = s.Metadata.Format.Provider
	rows := []checkpointRow{
		{Protocol: &checkpointProtocol{int32(s.Protocol.MinReaderVersion), int32(s.Protocol.MinWriterVersion)}},
		{Metadata: meta},
	}
	for a := range s.Files() {
		add := &checkpointAdd{Path: a.Path, PartitionValues: a.PartitionValues, Size: a.Size, ModificationTime: s.Version.Time.UnixMilli()}
		if a.Records >= 0 {
			stats := fmt.Sprintf(`{"numRecords":%d}`, a.Records)
			add.Stats = &stats
		}
		rows = append(rows, checkpointRow{Add: add})
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[checkpointRow](&b, parquet.Compression(&parquet.Snappy))
	if _, err := w.Write(rows); err != nil {
		return fmt.Errorf("checkpoint delta table %s: %w", t.root, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("checkpoint delta table %s: %w", t.root, err)
	}
	v := s.Version.Number
	if err := t.store.PutIfAbsent(ctx, t.logKey("%020d.checkpoint.parquet", v), b.Bytes()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("checkpoint delta table %s: %w", t.root, err)
	}
	hint, err := json.Marshal(delta.Hint{Version: v, Size: int64(len(rows))})
	if err != nil {
		return err
	}
	if err := t.store.Put(ctx, delta.HintKey(t.root), hint); err != nil {
		return fmt.Errorf("hint at the checkpoint of delta table %s: %w", t.root, err)
	}
	return nil
}
