package port_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/tabletest"
)

// TestTypesThatAreNotRead: a table with a column whose type no reader here has is refused
// row by row, by the column's name, and is counted, copied and rolled back all the same.
func TestTypesThatAreNotRead(t *testing.T) {
	for name, tc := range map[string]struct{ kind, features string }{
		"variant":              {`"variant"`, `,"readerFeatures":["variantType"],"writerFeatures":["variantType"]`},
		"void":                 {`"void"`, ""},
		"an interval of days":  {`"interval day to second"`, ""},
		"an interval of years": {`"interval year to month"`, ""},
		"an array of variants": {`{"type":"array","elementType":"variant","containsNull":true}`, `,"readerFeatures":["variantType-preview"],"writerFeatures":["variantType-preview"]`},
	} {
		t.Run(name, func(t *testing.T) {
			s := &tabletest.Store{Now: time.Now}
			put := func(key, body string) {
				t.Helper()
				if err := s.Put(t.Context(), key, []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
			protocol := `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`
			if tc.features != "" {
				protocol = `{"protocol":{"minReaderVersion":3,"minWriterVersion":7` + tc.features + `}}`
			}
			schema := fmt.Sprintf(`{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}},{"name":"odd","type":%s,"nullable":true,"metadata":{}}]}`, tc.kind)
			add := func(n, rows int) string {
				put(fmt.Sprintf("t/f%d.parquet", n), "0123456789")
				return fmt.Sprintf(`{"add":{"path":"f%d.parquet","partitionValues":{},"size":10,"modificationTime":0,"dataChange":true,"stats":"{\"numRecords\":%d}"}}`, n, rows)
			}
			put("t/_delta_log/00000000000000000000.json", protocol+"\n"+
				fmt.Sprintf(`{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":%q,"partitionColumns":[],"configuration":{}}}`, schema)+"\n"+add(0, 3))
			put("t/_delta_log/00000000000000000001.json", add(1, 4))

			root := table.Root{Bucket: "lake", Prefix: "t"}
			l, err := port.Format{}.Open(t.Context(), s, root)
			if err != nil {
				t.Fatal(err)
			}
			n, err := l.Newest(t.Context(), time.Time{})
			if err != nil || n.Snapshot.Version().Number != 1 || n.Snapshot.Rows() != 7 {
				t.Fatalf("the newest complete version is %+v, %v; want version 1 of 7 rows", n, err)
			}
			if _, err := table.Able[table.Portable]("delta", n.Snapshot, "backed up"); err != nil {
				t.Error(err)
			}
			beside, err := n.Snapshot.(table.Portable).Beside(t.Context())
			if err != nil {
				t.Errorf("a copy of it cannot be made: %+v, %v", beside, err)
			}
			if d, err := n.Snapshot.(table.RowReader).Sum(t.Context()); !errors.Is(err, table.ErrColumn) || !strings.Contains(err.Error(), "odd") {
				t.Errorf("its rows are read as %v, %v; want a refusal that names the column", d, err)
			}
			r, err := port.Format{}.PlanRollback(t.Context(), table.Site{Store: s, Root: root, Name: "t"}, l, table.Destination{})
			if err != nil || r.Facts().Metrics.Removed != 1 {
				t.Errorf("a rollback is planned as %v, %v; want that it removes one file", r, err)
			}
		})
	}
}
