package rollback

import (
	"context"
	"fmt"
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
	look.Got, look.OK = "made by "+m.Token, ok && m == want && commit.Operation == operation
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

// SameFiles compares the logical files of two versions.
func SameFiles(was, is *delta.Snapshot) table.Look {
	have := make(map[string]bool, is.Len())
	for a := range is.Each() {
		have[logical(a)] = true
	}
	var lost []string
	for a := range was.Files() {
		if id := logical(a); have[id] {
			delete(have, id)
		} else {
			lost = append(lost, a.Path)
		}
	}
	var problems []string
	if len(lost) > 0 {
		problems = append(problems, fmt.Sprintf("%d are missing, the first: %s", len(lost), lost[0]))
	}
	if len(have) > 0 {
		problems = append(problems, fmt.Sprintf("%d should not be there", len(have)))
	}
	look := table.Look{
		What: fmt.Sprintf("version %d has the files of version %d, by path and deletion vector", is.Version.Number, was.Version.Number),
		Want: fmt.Sprintf("the same %s", plural.Of(was.Len(), "file")), Got: fmt.Sprintf("the same %s", plural.Of(is.Len(), "file")), OK: problems == nil,
	}
	if problems != nil {
		look.Got = strings.Join(problems, "; ")
	}
	return look
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
