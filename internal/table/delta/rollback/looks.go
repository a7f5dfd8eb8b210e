package rollback

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// The looks of this file go by what the versions themselves say, and share nothing
// with what plans a restore but the high-water marks' reader and package delta.

// operation is what a restore's commit is called.
const operation = "RESTORE"

// Committed looks whether the commit with a mark, and nobody else's, is a version.
func Committed(ctx context.Context, l *delta.Log, version int64, want table.Mark) table.Look {
	look := table.Look{What: fmt.Sprintf("version %d is the rollback that was approved", version), Want: "made by " + want.Token}
	commit, err := l.Commit(ctx, version)
	if err != nil {
		look.Err = err
		return look
	}
	m, ok := MarkOf(commit.Info)
	look.Got, look.OK = "made by "+m.Token, ok && m.Equal(want) && commit.Operation == operation
	if !ok {
		look.Got = "made by somebody else: " + operationName(commit.Operation)
	}
	return look
}

func operationName(operation string) string {
	if operation == "" {
		return "of no named operation"
	}
	return operation
}

// Undisturbed looks whether no version after one changed data: those that only
// rearrange it may follow.
func Undisturbed(ctx context.Context, l *delta.Log, v int64) table.Look {
	look := table.Look{What: fmt.Sprintf("nothing changed the data after version %d", v), Want: "no later version that adds or removes data"}
	if l.Head() == v {
		look.Got, look.OK = fmt.Sprintf("version %d is the head", v), true
		return look
	}
	for _, g := range l.Gaps() {
		if g.Last > v {
			look.Got = fmt.Sprintf("versions %d to %d are missing from the log", g.First, g.Last)
			return look
		}
	}
	for a, err := range l.Actions(ctx, v+1, l.Head()) {
		var f delta.Add
		if err == nil && (a.Kind == "add" || a.Kind == "remove") {
			f, err = l.File(a)
		}
		if err != nil {
			look.Err = err
			return look
		}
		if f.DataChange {
			look.Got = fmt.Sprintf("version %s data: a writer was not stopped", plural.Of(a.Version, "change"))
			return look
		}
	}
	look.Got, look.OK = fmt.Sprintf("versions %d to %d only rearrange data", v+1, l.Head()), true
	return look
}

// logical names a logical file: a path alone would not tell which of its rows
// are deleted.
func logical(a delta.Add) string {
	bucket, key := a.File()
	return bucket + "/" + key + " " + a.Vector.ID()
}

// SameFiles compares the logical files of a version with those of another one and what
// the kept versions changed.
func SameFiles(ctx context.Context, l *delta.Log, was *delta.Snapshot, kept []int64, is *delta.Snapshot) table.Look {
	look := table.Look{What: fmt.Sprintf("version %d has the files of version %d%s, by path and deletion vector", is.Version.Number, was.Version.Number, withKept(kept))}
	changes, err := changesOf(ctx, l, was, kept)
	if err != nil {
		look.Err = err
		return look
	}
	want := make(map[string]int, was.Len())
	paths := map[string]string{}
	for a := range was.Each() {
		want[logical(a)]++
	}
	for _, c := range changes {
		for _, a := range c.added {
			want[logical(a)]++
			paths[logical(a)] = a.Path
		}
		for _, a := range c.removed {
			want[logical(a)]--
		}
	}
	of := 0
	for id, n := range want {
		switch {
		case n < 0 || n > 1: // not so many times can a version have it
			look.Got = fmt.Sprintf("what was kept does not fit together: it leaves %s %d times", paths[id], n)
			return look
		case n == 0:
			delete(want, id)
		}
		of += n
	}
	more := 0
	for a := range is.Each() {
		if _, ok := want[logical(a)]; ok {
			delete(want, logical(a))
		} else {
			more++
		}
	}
	var lost []string
	for a := range was.Files() {
		if _, ok := want[logical(a)]; ok {
			lost = append(lost, a.Path)
			delete(want, logical(a))
		}
	}
	for id := range want {
		lost = append(lost, paths[id])
	}
	var problems []string
	if len(lost) > 0 {
		problems = append(problems, fmt.Sprintf("%d are missing, the first: %s", len(lost), lost[0]))
	}
	if more > 0 {
		problems = append(problems, fmt.Sprintf("%d should not be there", more))
	}
	look.Want, look.Got, look.OK = fmt.Sprintf("the same %s", plural.Of(of, "file")), fmt.Sprintf("the same %s", plural.Of(is.Len(), "file")), problems == nil
	if problems != nil {
		look.Got = strings.Join(problems, "; ")
	}
	return look
}

// withKept says which versions' changes come on top.
func withKept(kept []int64) string {
	if len(kept) == 0 {
		return ""
	}
	var all []string
	for _, r := range table.Ranges(kept) {
		all = append(all, r.String())
	}
	return " with what " + plural.Few(all) + " changed"
}

// change is what a version changed: the files that the version before it does not have, or
// has otherwise, and the other way around.
type change struct {
	before, after  *delta.Snapshot // without their files
	removed, added []delta.Add
}

// changesOf compares each kept version with the one before it. It goes by what is live in
// both, and does not share what a plan goes by.
func changesOf(ctx context.Context, l *delta.Log, was *delta.Snapshot, kept []int64) ([]change, error) {
	if len(kept) == 0 {
		return nil, nil
	}
	var all []change
	for c, err := range l.Changes(ctx, was, kept[len(kept)-1]) {
		if err != nil {
			return nil, fmt.Errorf("see what versions changed that were kept: %w", err)
		}
		if _, ok := slices.BinarySearch(kept, c.After.Version.Number); !ok {
			continue
		}
		out := change{before: c.Before, after: c.After}
		for _, f := range c.Files {
			if f.Was != nil && f.Is != nil && sameRecord(*f.Was, *f.Is) {
				continue
			}
			if f.Was != nil {
				out.removed = append(out.removed, *f.Was)
			}
			if f.Is != nil {
				out.added = append(out.added, *f.Is)
			}
		}
		all = append(all, out)
	}
	if len(all) != len(kept) {
		return nil, fmt.Errorf("%w: of %s that were kept the log has %d", delta.ErrNoStart, plural.Of(len(kept), "version"), len(all))
	}
	return all, nil
}

// MarksHold looks whether nothing that only grows fell below what the replaced
// head had given out, as far as the version that came back has it.
func MarksHold(ctx context.Context, l *delta.Log, head int64, was, is *delta.Snapshot) table.Look {
	look := table.Look{What: "identity, row id, column id and protocol marks did not fall", Want: fmt.Sprintf("at least those of version %d", head)}
	bad, err := l.Snapshot(ctx, head)
	var given, old, now Marks
	if err == nil {
		given, err = MarksOf(ctx, l, bad)
	}
	if err == nil {
		old, err = MarksOf(ctx, l, was)
	}
	if err == nil {
		now, err = MarksOf(ctx, l, is)
	}
	if err != nil {
		look.Err = err
		return look
	}
	for name := range given.Identity { // a column that the target does not have gives nothing out
		if _, ok := old.Identity[name]; !ok {
			delete(given.Identity, name)
		}
	}
	low := append(now.Below(given), now.Below(old)...)
	look.Got, look.OK = "none is lower", len(low) == 0
	if len(low) > 0 {
		look.Got = strings.Join(low, "; ")
	}
	return look
}
