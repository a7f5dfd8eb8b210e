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

// SameRows looks whether a version reads as the one that came back over a head does, with
// what each of the kept versions changed: its rows less those of the version before it.
//
// Files that both sides record in the same way, under metadata that reads them in the same
// way, are the same objects and are not read: nobody writes over a data file, and that
// all are there at their sizes is another look. What is read, as a reader does it:
//
//   - files that the replaced head did not have, or whose objects were brought back, of
//     which nobody knows yet that they open and hold what the log says;
//   - files that the two sides record otherwise, in both;
//   - all files of both sides where their metadata reads files otherwise.
func SameRows(ctx context.Context, store table.Store, l *delta.Log, head int64, was *delta.Snapshot, kept []int64, is *delta.Snapshot, brought []string) table.Look {
	look := table.Look{
		What: fmt.Sprintf("version %d reads as version %d does%s", is.Version.Number, was.Version.Number, withKept(kept)),
		Want: fmt.Sprintf("the same %s, read in the same way, and in those that came back the rows that the log says", plural.Of(was.Len(), "file")),
	}
	if len(kept) > 0 {
		look.Want = "the rows of that version and those that the kept versions added, less those that they removed"
	}
	var said []string
	changes, err := changesOf(ctx, l, was, kept)
	var b *balance
	if err == nil {
		b, err = weigh(was, changes, is)
	}
	if err != nil {
		look.Err = err
		return look
	}
	if b.otherwise {
		said = append(said, "its metadata reads files otherwise")
	}
	if b.len() > 0 {
		want, got, err := b.sums(ctx, store)
		if err != nil {
			look.Err = err
			return look
		}
		said = append(said, fmt.Sprintf("%s recorded otherwise and hold rows with digest %s, for %s", plural.Of(len(b.now[is]), "file", "is", "are"), got, want))
		if got != want {
			look.Got = strings.Join(said, "; ")
			return look
		}
	}
	if len(kept) > 0 {
		text, ok := counted(was, changes, is)
		if said = append(said, text); !ok {
			look.Got = strings.Join(said, "; ")
			return look
		}
	}
	back := cameBack(ctx, l, head, is, b.now[is], brought)
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
	if len(kept) > 0 {
		look.Got = strings.Join(append([]string{plural.Of(is.Len(), "file")}, said...), "; ")
	}
	return look
}

// counted compares the numbers of rows by the log's statistics, as far as they say.
func counted(was *delta.Snapshot, changes []change, is *delta.Snapshot) (string, bool) {
	added, removed := int64(0), int64(0)
	known := was.Rows() >= 0 && is.Rows() >= 0
	for _, c := range changes {
		a, r := rowsOf(slices.Values(c.added)), rowsOf(slices.Values(c.removed))
		known = known && a >= 0 && r >= 0
		added, removed = added+a, removed+r
	}
	if !known {
		return "its statistics do not say how many rows were kept", true
	}
	return fmt.Sprintf("%s of version %d, and %d that were kept less %d that those removed, make %d", plural.Of(was.Rows(), "row"), was.Version.Number, added, removed, is.Rows()),
		was.Rows()+added-removed == is.Rows()
}

// balance is which files must be read on either side: then what is to be read, now what is
// read. A kept version's removed files count with the latter.
type balance struct {
	then, now map[*delta.Snapshot][]delta.Add
	otherwise bool // metadata reads files otherwise
}

// weigh leaves out what both sides record in the same way.
func weigh(was *delta.Snapshot, changes []change, is *delta.Snapshot) (*balance, error) {
	b := &balance{then: map[*delta.Snapshot][]delta.Add{}, now: map[*delta.Snapshot][]delta.Add{}}
	snaps := []*delta.Snapshot{was}
	for _, c := range changes {
		snaps = append(snaps, c.before, c.after)
	}
	for _, s := range snaps {
		alike, err := readAlike(s.Metadata, is.Metadata)
		if err != nil {
			return nil, err
		}
		b.otherwise = b.otherwise || !alike
	}
	if b.otherwise {
		b.then[was], b.now[is] = slices.Collect(was.Each()), slices.Collect(is.Each())
		for _, c := range changes {
			b.then[c.after] = append(b.then[c.after], c.added...)
			b.now[c.before] = append(b.now[c.before], c.removed...)
		}
		return b, nil
	}
	// What a version has more than the one that came back weighs on its own side, until
	// the other side has it, too.
	type weight struct {
		at *delta.Snapshot
		a  delta.Add
	}
	then, now := map[string][]weight{}, map[string][]weight{}
	put := func(mine, other map[string][]weight, at *delta.Snapshot, all []delta.Add) {
		for _, a := range all {
			id := recorded(a)
			if n := len(other[id]); n > 0 {
				other[id] = other[id][:n-1]
			} else {
				mine[id] = append(mine[id], weight{at, a})
			}
		}
	}
	put(then, now, was, unlike(was, is))
	put(now, then, is, unlike(is, was))
	for _, c := range changes {
		put(then, now, c.after, c.added)
		put(now, then, c.before, c.removed)
	}
	for side, all := range map[*map[*delta.Snapshot][]delta.Add]map[string][]weight{&b.then: then, &b.now: now} {
		for _, ws := range all {
			for _, w := range ws {
				(*side)[w.at] = append((*side)[w.at], w.a)
			}
		}
	}
	return b, nil
}

func (b *balance) len() int {
	n := 0
	for _, side := range []map[*delta.Snapshot][]delta.Add{b.then, b.now} {
		for _, files := range side {
			n += len(files)
		}
	}
	return n
}

// sums reads both sides.
func (b *balance) sums(ctx context.Context, store table.Store) (want, got table.Digest, err error) {
	for side, sum := range map[*map[*delta.Snapshot][]delta.Add]*table.Digest{&b.then: &want, &b.now: &got} {
		for s, files := range *side {
			d, err := scan.Files(ctx, store, s, slices.Values(files))
			if err != nil {
				return want, got, err
			}
			*sum = scan.Plus(*sum, d)
		}
	}
	return want, got, nil
}

// recorded tells files apart by all that decides which rows are read of them.
func recorded(a delta.Add) string {
	id := fmt.Sprintf("%s %d %d", logical(a), a.Size, a.Records)
	for _, name := range slices.Sorted(maps.Keys(a.PartitionValues)) {
		if v := a.PartitionValues[name]; v != nil {
			id += fmt.Sprintf(" %q=%q", name, *v)
		}
	}
	if a.Vector != nil {
		id += fmt.Sprintf(" %d %d", a.Vector.SizeInBytes, a.Vector.Cardinality)
	}
	return id
}

// unlike are the files of a version that another one does not have, or records
// otherwise in what decides which rows are read.
func unlike(of, from *delta.Snapshot) []delta.Add {
	var all []delta.Add
	for a := range of.Each() {
		if b, ok := from.Find(a); !ok || !sameRecord(a, b) {
			all = append(all, a)
		}
	}
	return all
}

// sameRecord reports whether the same rows are read of a logical file by both records of it.
func sameRecord(a, b delta.Add) bool {
	same := a.Size == b.Size && a.Records == b.Records && maps.EqualFunc(a.PartitionValues, b.PartitionValues, equal)
	return same && (a.Vector == nil || a.Vector.SizeInBytes == b.Vector.SizeInBytes && a.Vector.Cardinality == b.Vector.Cardinality)
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
