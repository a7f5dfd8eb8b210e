package rollback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/scan"
)

// SameRows looks whether two versions read the same, where the first came back over a
// head.
//
// Files that both record in the same way, under metadata that reads them in the same
// way, are the same objects and are not read: nobody writes over a data file, and that
// all are there at their sizes is another look. What is read, as a reader does it:
//
//   - files that the replaced head did not have, or whose objects were brought back, of
//     which nobody knows yet that they open and hold what the log says;
//   - files that the two versions record otherwise, in both;
//   - all files of both versions where their metadata reads files otherwise.
func SameRows(ctx context.Context, store table.Store, l *delta.Log, head int64, was, is *delta.Snapshot, brought []string) table.Look {
	look := table.Look{
		What: fmt.Sprintf("version %d reads as version %d does", is.Version.Number, was.Version.Number),
		Want: fmt.Sprintf("the same %s, read in the same way, and in those that came back the rows that the log says", plural.Of(was.Len(), "file")),
	}
	var said []string
	alike, err := readAlike(was.Metadata, is.Metadata)
	if err != nil {
		look.Err = err
		return look
	}
	then, now := slices.Collect(was.Each()), slices.Collect(is.Each())
	if alike {
		then, now = unlike(was, is), unlike(is, was)
	} else {
		said = append(said, "its metadata reads files otherwise")
	}
	if len(then)+len(now) > 0 {
		want, err := scan.Files(ctx, store, was, slices.Values(then))
		var got table.Digest
		if err == nil {
			got, err = scan.Files(ctx, store, is, slices.Values(now))
		}
		if err != nil {
			look.Err = err
			return look
		}
		said = append(said, fmt.Sprintf("%s recorded otherwise and hold rows with digest %s, for %s", plural.Of(len(now), "file", "is", "are"), got, want))
		if got != want {
			look.Got = strings.Join(said, "; ")
			return look
		}
	}
	back := cameBack(ctx, l, head, is, now, brought)
	if len(back) > 0 {
		got, bare, err := rowsIn(ctx, store, is, back)
		if err != nil {
			look.Err = err
			return look
		}
		said = append(said, fmt.Sprintf("%s came back with %s%s", plural.Of(len(back), "file"), plural.Of(got, "row"), bare))
		if want := rowsOf(slices.Values(back)); want >= 0 && got != want {
			look.Got = strings.Join(append(said, fmt.Sprintf("the log says %s", plural.Of(want, "row"))), "; ")
			return look
		}
	}
	look.Got, look.OK = strings.Join(append([]string{fmt.Sprintf("the same %s", plural.Of(is.Len(), "file"))}, said...), "; "), true
	return look
}

// unlike are the files of a version that another one does not have, or records
// otherwise in what decides which rows are read.
func unlike(of, from *delta.Snapshot) []delta.Add {
	var all []delta.Add
	for a := range of.Each() {
		b, ok := from.Find(a)
		same := ok && a.Size == b.Size && a.Records == b.Records && maps.EqualFunc(a.PartitionValues, b.PartitionValues, equal)
		if same && a.Vector != nil { // found by its place
			same = a.Vector.SizeInBytes == b.Vector.SizeInBytes && a.Vector.Cardinality == b.Vector.Cardinality
		}
		if !same {
			all = append(all, a)
		}
	}
	return all
}

func equal(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// cameBack are the files of a version that the replaced head did not have, or of which
// an object was brought back, without those that were read already; all where the head
// cannot be asked.
func cameBack(ctx context.Context, l *delta.Log, head int64, is *delta.Snapshot, read []delta.Add, brought []string) []delta.Add {
	bad, err := l.Snapshot(ctx, head)
	again := make(map[string]bool, len(brought))
	for _, key := range brought {
		again[key] = true
	}
	needs := func(f table.File) bool { return f.Bucket == "" && again[f.Key] }
	known := make(map[string]bool, len(read))
	for _, a := range read {
		known[logical(a)] = true
	}
	var back []delta.Add
	for a := range is.Each() {
		if (err != nil || !bad.Has(a) || slices.ContainsFunc(a.Needs(), needs)) && !known[logical(a)] {
			back = append(back, a)
		}
	}
	return back
}

// rowsIn reads files. Where a column's type cannot be read it opens them and counts,
// and says so.
func rowsIn(ctx context.Context, store table.Store, s *delta.Snapshot, files []delta.Add) (rows int64, bare string, err error) {
	d, err := scan.Files(ctx, store, s, slices.Values(files))
	if errors.Is(err, table.ErrColumn) {
		rows, err := scan.Count(ctx, store, s, slices.Values(files))
		return rows, ", which were counted and not read: a column's type cannot be read", err
	}
	return d.Rows, "", err
}

// readAlike reports whether files are read in the same way under two metadata: as the
// same columns, found in the same way. Marks of identity columns only count upward.
func readAlike(was, is delta.Metadata) (bool, error) {
	const mapping = "delta.columnMapping.mode"
	if !slices.Equal(was.PartitionColumns, is.PartitionColumns) || was.Configuration[mapping] != is.Configuration[mapping] {
		return false, nil
	}
	if was.SchemaString == is.SchemaString {
		return true, nil
	}
	var texts [2]string
	for i, schema := range []string{was.SchemaString, is.SchemaString} {
		var s any
		if err := json.Unmarshal([]byte(schema), &s); err != nil {
			return false, fmt.Errorf("%w: schema: %w", delta.ErrCorrupt, err)
		}
		unmarked(s)
		text, err := json.Marshal(s)
		if err != nil {
			return false, err
		}
		texts[i] = string(text)
	}
	return texts[0] == texts[1], nil
}

// unmarked takes the marks of identity columns out of a schema.
func unmarked(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		if meta, ok := s["metadata"].(map[string]any); ok {
			delete(meta, "delta.identity.highWaterMark")
		}
		for _, v := range s {
			unmarked(v)
		}
	case []any:
		for _, v := range s {
			unmarked(v)
		}
	}
}
