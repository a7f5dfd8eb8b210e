package perform

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"breakwater/internal/rewind"
)

// Lines are the lines of a plan, sorted by key, in parts that are read when they are
// needed and not held: a plan has as many lines as there are keys.
type Lines []Part

// Part reads a part of a plan's lines. Read again, it gives the same.
type Part func(ctx context.Context) ([]rewind.Line, error)

// Whole are lines in memory, as one part.
func Whole(lines []rewind.Line) Lines {
	return Lines{func(context.Context) ([]rewind.Line, error) { return lines, nil }}
}

// ErrLines means that the parts of a plan do not fit each other.
var ErrLines = errors.New("the parts of the plan are not in the order of its keys; verify the evidence of this run")

// All yields every line in order, and ends after the first error.
func (l Lines) All(ctx context.Context) iter.Seq2[rewind.Line, error] {
	return l.counted(ctx, func(int) {})
}

// counted is All, and says before each part how many lines it has.
func (l Lines) counted(ctx context.Context, has func(n int)) iter.Seq2[rewind.Line, error] {
	return func(yield func(rewind.Line, error) bool) {
		last, begun := "", false
		for _, read := range l {
			lines, err := read(ctx)
			if err != nil {
				yield(rewind.Line{}, err)
				return
			}
			has(len(lines))
			for _, line := range lines {
				if begun && line.Key <= last {
					yield(rewind.Line{}, fmt.Errorf("%w: %q comes after %q", ErrLines, line.Key, last))
					return
				}
				if last, begun = line.Key, true; !yield(line, nil) {
					return
				}
			}
		}
	}
}

// Cursor goes over sorted lines beside a listing, from one key to the next.
type Cursor struct {
	Line  rewind.Line // the line it stands at
	There bool        // false after the last one, and after an error
	Err   error
	next  func() (rewind.Line, error, bool)
	stop  func()
}

// NewCursor stands at the first line. It must be stopped.
func NewCursor(lines iter.Seq2[rewind.Line, error]) *Cursor {
	c := &Cursor{}
	c.next, c.stop = iter.Pull2(lines)
	c.Next()
	return c
}

// Next goes to the next line.
func (c *Cursor) Next() {
	c.Line, c.Err, c.There = c.next()
	c.There = c.There && c.Err == nil
}

// Below reports whether it stands at a line of a lower key.
func (c *Cursor) Below(key string) bool { return c.There && c.Line.Key < key }

// At reports whether it stands at the line of that key.
func (c *Cursor) At(key string) bool { return c.There && c.Line.Key == key }

// Stop lets go of the lines.
func (c *Cursor) Stop() { c.stop() }
