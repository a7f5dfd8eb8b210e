package deltatest

import (
	"bytes"
	"fmt"

	"github.com/parquet-go/parquet-go"
)

// The rows of a checkpoint as Spark writes them, with the columns that matter.
type (
	largeRow struct {
		Txn      *largeTxn      `parquet:"txn,optional"`
		Add      *largeAdd      `parquet:"add,optional"`
		Remove   *largeRemove   `parquet:"remove,optional"`
		Metadata *largeMetadata `parquet:"metaData,optional"`
		Protocol *largeProtocol `parquet:"protocol,optional"`
	}
	largeTxn struct {
		AppID       string `parquet:"appId"`
		Version     int64  `parquet:"version"`
		LastUpdated *int64 `parquet:"lastUpdated,optional"`
	}
	largeAdd struct {
		Path             string            `parquet:"path"`
		PartitionValues  map[string]string `parquet:"partitionValues"`
		Size             int64             `parquet:"size"`
		ModificationTime int64             `parquet:"modificationTime"`
		DataChange       bool              `parquet:"dataChange"`
		Stats            *string           `parquet:"stats,optional"`
	}
	largeRemove struct {
		Path              string `parquet:"path"`
		DeletionTimestamp int64  `parquet:"deletionTimestamp"`
		DataChange        bool   `parquet:"dataChange"`
	}
	largeMetadata struct {
		ID               string            `parquet:"id"`
		Format           largeFormat       `parquet:"format"`
		SchemaString     string            `parquet:"schemaString"`
		PartitionColumns []string          `parquet:"partitionColumns,list"`
		Configuration    map[string]string `parquet:"configuration"`
		CreatedTime      *int64            `parquet:"createdTime,optional"`
	}
	largeFormat struct {
		Provider string            `parquet:"provider"`
		Options  map[string]string `parquet:"options"`
	}
	largeProtocol struct {
		MinReaderVersion int32 `parquet:"minReaderVersion"`
		MinWriterVersion int32 `parquet:"minWriterVersion"`
	}
)

const largeSchema = `{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}},{"name":"p","type":"string","nullable":true,"metadata":{}}]}`

// LargeFile is the path and size in bytes of the nth file of a [LargeCheckpoint].
func LargeFile(n int) (path string, size int64) {
	return fmt.Sprintf("p=%d/part-%05d-%08x-6f1d-4c0a-9f3b-%012x.c000.snappy.parquet", n%100, n%1000, uint32(n)*2654435761, n), int64(1 + n%7)
}

// LargeCheckpoint is a checkpoint of a table of that many files, in 100
// partitions, with statistics as engines write them.
func LargeCheckpoint(files int) ([]byte, error) {
	var out bytes.Buffer
	w := parquet.NewGenericWriter[largeRow](&out, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(400_000))
	rows := []largeRow{
		{Protocol: &largeProtocol{1, 2}},
		{Metadata: &largeMetadata{
			ID: "6c5c3bb5-43a5-4e0a-8c6b-1f6f3c1b7d11", Format: largeFormat{"parquet", map[string]string{}}, SchemaString: largeSchema,
			PartitionColumns: []string{"p"}, Configuration: map[string]string{},
		}},
	}
	for n := range files {
		path, size := LargeFile(n)
		stats := fmt.Sprintf(`{"numRecords":%d,"minValues":{"id":%d},"maxValues":{"id":%d},"nullCount":{"id":0}}`, 10+n%90, n*100, n*100+99)
		rows = append(rows, largeRow{Add: &largeAdd{
			Path: path, PartitionValues: map[string]string{"p": fmt.Sprint(n % 100)}, Size: size,
			ModificationTime: 1_700_000_000_000 + int64(n), Stats: &stats,
		}})
		if len(rows) >= 4096 || n == files-1 {
			if _, err := w.Write(rows); err != nil {
				return nil, err
			}
			rows = rows[:0]
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
