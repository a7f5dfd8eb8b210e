package table_test

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/table"
)

func seq[T any](err error, items ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, i := range items {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			var zero T
			yield(zero, err)
		}
	}
}

func TestLacking(t *testing.T) {
	a := table.File{Key: "t/a", Size: 10, Why: table.Data}
	dv := table.File{Key: "t/dv", Size: 40, AtLeast: true, Why: table.DeletionVector}
	away := table.File{Bucket: "old", Key: "t/a", Size: 10, Why: table.Data}
	for name, tc := range map[string]struct {
		closure []table.File
		listing []table.Object
		want    []table.Lack
	}{
		"all there":              {[]table.File{a, dv}, []table.Object{{Key: "t/a", Size: 10}, {Key: "t/dv", Size: 90}, {Key: "t/old", Size: 1}}, nil},
		"absent":                 {[]table.File{a, dv}, []table.Object{{Key: "t/dv", Size: 40}}, []table.Lack{{a, table.Absent, -1, ""}}},
		"shorter":                {[]table.File{a}, []table.Object{{Key: "t/a", Size: 9}}, []table.Lack{{a, table.Resized, 9, ""}}},
		"longer":                 {[]table.File{a}, []table.Object{{Key: "t/a", Size: 11}}, []table.Lack{{a, table.Resized, 11, ""}}},
		"vector shorter":         {[]table.File{dv}, []table.Object{{Key: "t/dv", Size: 39}}, []table.Lack{{dv, table.Resized, 39, ""}}},
		"other bucket, same key": {[]table.File{away, a}, []table.Object{{Key: "t/a", Size: 10}}, []table.Lack{{away, table.Elsewhere, -1, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, counted, err := table.Lacking(t.Context(), seq(nil, tc.closure...), seq(nil, tc.listing...))
			if err != nil || counted != len(tc.closure) {
				t.Fatalf("Lacking = %d counted, %v", counted, err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// A walk or a listing that broke off must not read as "nothing else is lacking".
func TestLackingConcludesNothingFromHalfAnAnswer(t *testing.T) {
	cut := errors.New("connection reset")
	if _, _, err := table.Lacking(t.Context(), seq(cut, table.File{Key: "a"}), seq(nil, table.Object{Key: "a"})); !errors.Is(err, cut) {
		t.Errorf("broken closure: %v", err)
	}
	if _, _, err := table.Lacking(t.Context(), seq(nil, table.File{Key: "a"}), seq(cut, table.Object{Key: "a"})); !errors.Is(err, cut) {
		t.Errorf("broken listing: %v", err)
	}
}

func BenchmarkLacking(b *testing.B) {
	const n = 100_000
	files := make([]table.File, n)
	objects := make([]table.Object, n)
	for i := range n {
		files[i] = table.File{Key: fmt.Sprintf("lake/orders/p=%d/part-%06d.parquet", i%100, i), Size: int64(i), Why: table.Data}
		objects[i] = table.Object{Key: files[i].Key, Size: files[i].Size}
	}
	objects = objects[1:]
	b.ReportAllocs()
	for b.Loop() {
		if lacks, _, err := table.Lacking(b.Context(), seq(nil, files...), seq(nil, objects...)); err != nil || len(lacks) != 1 {
			b.Fatal(len(lacks), err)
		}
	}
}
