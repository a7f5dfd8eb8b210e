package delta_test

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"
)

// A checkpoint gives the same files as the commits that it stands for, whether or
// not they fit into the short form in which most of its files are kept.
func TestCheckpointOfOddFiles(t *testing.T) {
	add := func(path, values, size, stats string) string {
		if stats != "" {
			stats = `,"stats":"{\"numRecords\":` + stats + `}"`
		}
		return `{"add":{"path":"` + path + `","partitionValues":{` + values + `},"size":` + size + `,"dataChange":false` + stats + `}}`
	}
	plain := []string{
		add("a.parquet", `"p":"1"`, "1", "10"),
		add("b.parquet", `"p":"1"`, "2", ""),
		add("c.parquet", `"p":null`, "3", "0"),
		add("d.parquet", `"p":"1","q":"2"`, "4611686018427387904", "2147483647"),
		add("e.parquet", ``, "0", "2147483648"),
		add("f.parquet", `"q":"1"`, "5", "900000000000000000"),
		add(strings.Repeat("g/", math.MaxUint16/2)+"g", `"p":""`, "6", "1"),
		add(strings.Repeat("h/", math.MaxUint16/2-1)+"h", `"p":"1"`, "7", "1"),
	}
	for name, lines := range map[string][]string{
		"plain paths": plain,
		"with others": append(plain, add("p=%20/i.parquet", `"p":" "`, "8", "1"), add("s3://other/j.parquet", `"p":"1"`, "9", "1"), add("k/.l", `"p":"1"`, "10", "1")),
	} {
		t.Run(name, func(t *testing.T) {
			s := &tabletest.Store{}
			w, err := write.Create(t.Context(), s, table.Root{Bucket: "b", Prefix: "t"}, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{})
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, jsonKey("t", 1), infoLine(1000)+"\n"+strings.Join(lines, "\n"))
			put(t, s, jsonKey("t", 2), infoLine(2000))
			want, err := open(t, s, "t").Snapshot(t.Context(), 2)
			if err != nil || want.Start != -1 {
				t.Fatalf("%+v, %v", want, err)
			}
			if err := w.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Delete(jsonKey("t", 1))
			got, err := open(t, s, "t").Snapshot(t.Context(), 2)
			if err != nil || got.Start != 2 || got.Len() != want.Len() {
				t.Fatalf("%+v, %v", got, err)
			}
			there := map[string]delta.Add{}
			for a := range want.Files() {
				there[a.Path] = a
			}
			for a := range got.Files() {
				if b := there[a.Path]; !reflect.DeepEqual(a, b) {
					t.Errorf("%.60s: %+v by the checkpoint, %+v by the commit", a.Path, a.Size, b.Size)
				}
				if !got.Has(a) || !want.Has(a) {
					t.Errorf("%.60s is in one of them alone", a.Path)
				}
			}
			if got.Rows() != want.Rows() || got.Bytes() != want.Bytes() {
				t.Errorf("%d rows and %d bytes, and %d and %d", got.Rows(), got.Bytes(), want.Rows(), want.Bytes())
			}
		})
	}
}
