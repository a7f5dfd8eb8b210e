package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// Options say how thorough a check is: see [table.CheckOptions], of which Against
// is a log here.
type Options struct {
	Want    table.Choice
	Sample  int
	Seed    uint64
	Against *delta.Log
	Now     time.Time
}

// What can be wrong.
const (
	Log       table.ProblemKind = "log"             // the log contradicts itself, or has a hole
	Hint      table.ProblemKind = "hint"            // _last_checkpoint leads readers astray
	DataFile  table.ProblemKind = "data file"       // not the Parquet file that was recorded
	Vector    table.ProblemKind = "deletion vector" // not the vector that was recorded
	Diverged  table.ProblemKind = "diverged"        // the other copy has commits of its own
	Elsewhere table.ProblemKind = "elsewhere"       // a needed object lies outside of the table
)

// Result is what a check found, and of which version.
type Result struct {
	table.Findings
	Snapshot *delta.Snapshot // nil where the log gives none
}

func (r *Result) problem(kind table.ProblemKind, format string, args ...any) {
	r.Problems = append(r.Problems, table.Problem{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// Table checks a table. Its error says that something could not be looked at, or
// that the table asks for an unknown feature; what is wrong with the table is in
// the result.
func Table(ctx context.Context, store table.Store, l *delta.Log, o Options) (Result, error) {
	r := Result{Findings: table.Findings{Version: l.Head(), Head: l.Head(), Missing: []table.Lack{}, Resized: []table.Lack{}, Problems: []table.Problem{}, Warnings: []string{}}}
	fail := func(doing string, err error) (Result, error) {
		return r, fmt.Errorf("check delta table %s: %s: %w", l.Root(), doing, err)
	}
	want := o.Want
	if want.Version == nil && want.At.IsZero() {
		want.Version = &r.Head
	}
	p, err := l.Point(ctx, want)
	r.Warnings = append(r.Warnings, p.Warnings...)
	for _, c := range l.Pending() {
		r.problem(Log, "%s", c)
		r.Warnings = slices.DeleteFunc(r.Warnings, func(w string) bool { return w == c.String() })
	}
	switch {
	case err == nil:
		r.Complete = p.Complete
		if err := r.content(ctx, store, p, o); err != nil {
			return fail("read its objects", err)
		}
	case !saysSomething(err):
		return fail("read its log", err)
	default:
		r.problem(Log, "%v", err)
	}
	for _, g := range l.Gaps() {
		r.problem(Log, "no commit of %s is in the log%s; time travel to there is lost", g.Words(), l.Covered(g))
	}
	if err := r.compactions(ctx, l); err != nil {
		return fail("read its log compaction files", err)
	}
	if err := r.hint(ctx, l); err != nil {
		return fail("read the hint", err)
	}
	bad, err := l.Unopenable(ctx)
	if err != nil {
		return fail("read its checkpoints", err)
	}
	for _, b := range bad {
		r.problem(Log, "%v; move it aside, with the hint that names it", b)
	}
	if !o.Now.IsZero() {
		if err := r.travel(ctx, l, o.Now); err != nil {
			return fail("look at older versions", err)
		}
	}
	if o.Against != nil {
		if err := r.fork(ctx, l, o.Against); err != nil {
			return fail("compare the logs", err)
		}
	}
	return r, nil
}

// saysSomething reports whether an error is about the table rather than about
// the way to it.
func saysSomething(err error) bool {
	var feature *delta.FeatureError
	return !errors.As(err, &feature) && (errors.Is(err, delta.ErrCorrupt) || errors.Is(err, delta.ErrNoStart) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, table.ErrTooEarly))
}

// content checks the objects of one version.
func (r *Result) content(ctx context.Context, store table.Store, p delta.Point, o Options) error {
	r.Snapshot, r.Version, r.Time = p.Snapshot, p.Snapshot.Version.Number, p.Time
	r.Files, r.Objects = p.Snapshot.Len(), p.Objects
	gone := map[[2]string]bool{}
	for _, l := range p.Lacks {
		gone[[2]string{l.File.Bucket, l.File.Key}] = true
		switch l.Fault {
		case table.Resized:
			r.Resized = append(r.Resized, l)
		case table.Elsewhere:
			r.Missing = append(r.Missing, l)
			r.problem(Elsewhere, "%s: a recovery of this table alone does not bring it back; say where its copy is with --map", l)
		default:
			r.Missing = append(r.Missing, l)
		}
	}
	for _, uri := range p.Outside {
		r.Warnings = append(r.Warnings, "it needs objects of "+uri+": they are recovered with that table, not with this one")
	}
	if err := r.kept(ctx, store); err != nil {
		return err
	}
	return r.files(ctx, store, gone, o)
}

// compactions checks that what engines may read in place of commits says what the
// commits say, and that nothing speaks of versions that the log does not have.
func (r *Result) compactions(ctx context.Context, l *delta.Log) error {
	if beyond := l.Beyond(); len(beyond) > 0 {
		r.problem(Log, "objects of the log speak of versions above the head %d: %d, the first %s; their commits are gone, or have not come yet, and whoever writes version %d makes them speak of other commits: bring the commits, or move the objects aside",
			l.Head(), len(beyond), beyond[0], l.Head()+1)
	}
	for _, c := range l.Compactions() {
		if c.Last > l.Head() {
			continue
		}
		differs, err := l.Compare(ctx, c)
		switch {
		case errors.Is(err, fs.ErrNotExist) && saysSomething(err), err == nil && differs == "": // log cleanup leaves some; a gap is told above
		case err != nil && !saysSomething(err):
			return err
		case err != nil:
			r.problem(Log, "%v", err)
		default:
			r.problem(Log, "%s contradicts the commits %s that it stands for: %s; Spark reads it in place of them, so move it aside", delta.InLog(c.Key), c.Range, differs)
		}
	}
	return nil
}

// hint checks that _last_checkpoint names what is there.
func (r *Result) hint(ctx context.Context, l *delta.Log) error {
	h, state, err := l.Hinted(ctx)
	switch {
	case err != nil && !saysSomething(err):
		return err
	case err != nil:
		r.problem(Hint, "%v; move the hint aside: readers find the log without it", err)
	case state == delta.HintAbsent, state == delta.HintGood:
	case h.Version > l.Head():
		r.problem(Hint, "_last_checkpoint names version %d, and the log ends at %d: it came before the log, or the log was cut; bring the rest of the log, or move the hint aside", h.Version, l.Head())
	default:
		r.problem(Hint, "_last_checkpoint names a checkpoint of version %d that is not there whole; readers that believe it fail, so move the hint aside", h.Version)
	}
	return nil
}

// travel finds which versions can be read, and holds that against the retention
// that the table declares.
func (r *Result) travel(ctx context.Context, l *delta.Log, now time.Time) error {
	var readable, lost []int64
	var states []table.State
	for s, err := range l.States(ctx) {
		if err != nil {
			return err
		}
		states = append(states, s)
		if s.Complete() {
			readable = append(readable, s.Version.Number)
		}
	}
	t := &table.Travel{Readable: table.Ranges(readable), Promised: r.Head}
	r.Travel = t
	if r.Snapshot == nil {
		return nil
	}
	keeps, why, err := retention(r.Snapshot.Metadata.Configuration)
	if err != nil {
		r.Warnings = append(r.Warnings, err.Error())
		return nil
	}
	t.Keeps = why
	times, err := l.Times(ctx)
	if err != nil {
		return err
	}
	// A version was the table until the next one was committed.
	for i, s := range states {
		if i+1 < len(states) {
			next, ok := times.Of(states[i+1].Version.Number)
			if !ok || next.Time.Before(now.Add(-keeps)) {
				continue
			}
		}
		t.Promised = min(t.Promised, s.Version.Number)
		if !s.Complete() {
			lost = append(lost, s.Version.Number)
		}
	}
	t.Lost = table.Ranges(lost)
	if len(lost) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s promises versions from %d on, and %d of them cannot be read in full, the first %d; a VACUUM or a log cleanup with a shorter retention ran, objects were lost, or they lie in an archive",
			why, t.Promised, len(lost), slices.Min(lost)))
	}
	return nil
}

// fork compares the log with another copy of it.
func (r *Result) fork(ctx context.Context, l, other *delta.Log) error {
	f, err := l.Fork(ctx, other)
	if errors.Is(err, delta.ErrIncomparable) {
		r.problem(Diverged, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	r.Fork = &f
	if f.Diverged() {
		r.problem(Diverged, "the log and that of %s part after version %d: versions %s here and %s there are not in the other; copying one over the other loses commits, so copy one branch to a fresh prefix and replay the other's",
			other.Root(), f.Common, words(f.Here), words(f.There))
	}
	return nil
}

// words are versions as ranges, for people.
func words(versions []int64) string {
	text := ""
	for i, r := range table.Ranges(versions) {
		if i > 0 {
			text += ", "
		}
		text += r.String()
	}
	return text
}
