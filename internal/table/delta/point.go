package delta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"breakwater/internal/table"
)

// Point is a version of a table that can be gone back to.
type Point struct {
	Snapshot *Snapshot
	// Time is when the protocol's readers say that the version was committed: see
	// [Log.Times].
	Time table.Version
	// Complete says that every object that the version needs is there at its size.
	// Lacks are those that are not.
	Complete bool
	Lacks    []table.Lack
	Objects  int // data files and deletion vectors that were looked for
	// Above is what the versions above lack, for the newest complete one.
	Above []table.Above
	// Outside is [Snapshot.Outside] of the version.
	Outside []string
	// Warnings say why the choice may be another than the one meant.
	Warnings []string
}

// Point finds a version by number, by time, or the newest complete one, and
// holds it against one listing of the table. A version that can be reconstructed
// but is not complete is no error: see Complete. The errors are those of
// [Log.Snapshot] and [Log.NewestComplete], or [table.ErrTooEarly].
func (l *Log) Point(ctx context.Context, w table.Choice) (Point, error) {
	times, err := l.Times(ctx)
	if err != nil {
		return Point{}, err
	}
	p := Point{Warnings: times.Warnings}
	for _, c := range l.Pending() {
		p.Warnings = append(p.Warnings, c.String())
	}
	if w.Version == nil && w.At.IsZero() {
		n, err := l.NewestComplete(ctx, time.Time{})
		if err != nil {
			return Point{Above: n.Above}, err
		}
		p.Snapshot, p.Above, p.Outside, p.Complete = n.Snapshot, n.Above, n.Outside, true
		p.Time, _ = times.Of(n.Snapshot.Version.Number)
		p.Warnings = append(p.Warnings, p.Snapshot.Odd()...)
		return p, nil
	}
	var number int64
	if w.Version != nil {
		number = *w.Version
	} else {
		v, err := times.At(w.At)
		if err != nil {
			return Point{}, fmt.Errorf("delta table %s: %w", l.root, err)
		}
		number = v.Number
	}
	if p.Snapshot, err = l.Snapshot(ctx, number); err != nil {
		return Point{}, err
	}
	p.Warnings = append(p.Warnings, p.Snapshot.Odd()...)
	p.Time, _ = times.Of(number)
	have, err := l.listData(ctx)
	if err != nil {
		return Point{}, err
	}
	if err := have.settle(ctx, p.Snapshot.files.all()); err != nil {
		return Point{}, err
	}
	for a := range p.Snapshot.files.all() {
		lacks, err := have.lacks(ctx, a)
		if err != nil {
			return Point{}, err
		}
		p.Lacks = append(p.Lacks, lacks...)
		p.Objects += len(a.needs())
	}
	slices.SortFunc(p.Lacks, table.Lack.Compare)
	p.Lacks, p.Outside = unique(p.Lacks), p.Snapshot.Outside()
	p.Complete = len(p.Lacks) == 0
	return p, nil
}

// Times dates the listed commits as the protocol's readers do: by in-commit
// timestamps from the version on at which the table's newest metadata enables
// them, and below by the modification times of the log's objects, moved past
// each other where they are not in order. Without in-commit timestamps it reads
// one snapshot and no other commit.
func (l *Log) Times(ctx context.Context) (table.Times, error) {
	var t table.Times
	from, err := l.inCommitFrom(ctx)
	if err != nil {
		return t, err
	}
	var numbers []int64
	for _, v := range l.known() {
		if _, ok := l.commits[v]; ok {
			numbers = append(numbers, v)
		}
	}
	split, _ := slices.BinarySearch(numbers, from)
	l.fileTimes(&t, numbers[:split])
	for f := range l.commitsOf(ctx, slices.Values(numbers[split:])) {
		if f.err != nil {
			if !broken(f.err) {
				return t, f.err
			}
			t.Warnings = append(t.Warnings, fmt.Sprintf("version %d has no time: %v", f.version, f.err))
			continue
		}
		if ms := f.info.InCommitTimestamp; ms != nil {
			t.Versions = append(t.Versions, table.Version{Number: f.version, Time: time.UnixMilli(*ms).UTC(), From: table.InCommit})
		} else {
			t.Warnings = append(t.Warnings, fmt.Sprintf("version %d has no in-commit timestamp, which its table demands", f.version))
		}
	}
	return t, ctx.Err()
}

// inCommitFrom is the version from which on in-commit timestamps hold, past the
// head where they do not.
func (l *Log) inCommitFrom(ctx context.Context) (int64, error) {
	never := l.Head() + 1
	s, err := l.newestReadable(ctx)
	if err != nil || s == nil || s.Metadata.Configuration["delta.enableInCommitTimestamps"] != "true" {
		return never, err
	}
	var from int64
	if text := s.Metadata.Configuration["delta.inCommitTimestampEnablementVersion"]; text != "" {
		if _, err := fmt.Sscan(text, &from); err != nil || from < 0 {
			return never, badLog(LogDir(l.root.Root), "delta.inCommitTimestampEnablementVersion is %q", text)
		}
	}
	return from, nil
}

// newestReadable is the newest snapshot that the log gives, nil where it gives
// none.
func (l *Log) newestReadable(ctx context.Context) (*Snapshot, error) {
	ranges := l.Versions()
	for _, r := range slices.Backward(ranges) {
		s, err := l.Snapshot(ctx, r.Last)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !broken(err) {
			return nil, err
		}
	}
	return nil, nil
}

// fileTimes dates versions by their objects' modification times.
func (l *Log) fileTimes(t *table.Times, numbers []int64) {
	var last, written time.Time // as moved, and as listed
	disorder, first := 0, int64(-1)
	for _, n := range numbers {
		listed := l.commits[n].Modified.UTC()
		at := listed
		if !last.IsZero() && !at.After(last) {
			at = last.Add(time.Millisecond)
		}
		if listed.Before(written) { // equal ones are whole seconds' doing
			if disorder++; first < 0 {
				first = n
			}
		}
		last, written = at, listed
		t.Versions = append(t.Versions, table.Version{Number: n, Time: at, From: table.ObjectTime})
	}
	if disorder > 0 {
		t.Warnings = append(t.Warnings, fmt.Sprintf(
			"the modification times of %d log objects are older than those of the versions before them, the first at version %d: the log was copied, and these times are the copy's; choose by version, or by a time that the commits record themselves",
			disorder, first))
	}
}
