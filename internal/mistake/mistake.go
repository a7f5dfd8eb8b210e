// Package mistake says what is wrong with a file that a person wrote: where,
// what was found, what is allowed, and the name that was probably meant.
//
// A file's mistakes are reported all at once and in file order, since a person
// who mends one and is shown the next loses patience with the checker.
package mistake

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. Lines and columns count from 1, columns in
// characters.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String gives file:line:column, the form that editors jump to.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// IsZero reports whether there is no position, as in what no file says.
func (p Position) IsZero() bool { return p == Position{} }

// Mistake is one thing wrong with a file: where, what was found, what is allowed.
type Mistake struct {
	At   Position
	Text string
}

// Error gives the mistake on one line.
func (m Mistake) Error() string { return m.At.String() + ": " + m.Text }

// Sort puts mistakes in file order and drops what was reported twice.
func Sort(ms []Mistake) []Mistake {
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column))
	})
	return slices.Compact(ms)
}

// Error joins mistakes into one error, a line each, or returns nil where there
// are none. Each stays reachable by errors.As.
func Error(ms []Mistake) error {
	if len(ms) == 0 {
		return nil
	}
	return all(ms)
}

type all []Mistake

func (a all) Error() string {
	lines := make([]string, len(a))
	for i, m := range a {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

func (a all) Unwrap() []error {
	errs := make([]error, len(a))
	for i, m := range a {
		errs[i] = m
	}
	return errs
}

// DidYouMean gives `; did you mean "x"?` when one of the allowed names is close
// to what was found, and nothing otherwise.
func DidYouMean(found string, allowed []string) string {
	if n, ok := Nearest(found, allowed); ok {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// longest is the length beyond which a text is no slip of a name: the distance
// costs time in the product of both lengths.
const longest = 100

// Nearest returns the allowed name closest to found by edit distance, if it is
// close enough to be a slip: one edit in a name of three
// letters, two in a longer one, a third of a long one.
func Nearest(found string, allowed []string) (string, bool) {
	if len(found) > longest {
		return "", false
	}
	best, at := "", -1
	for _, a := range allowed {
		if len(a) > longest {
			continue
		}
		if d := distance(found, a); at < 0 || d < at {
			best, at = a, d
		}
	}
	limit := 1
	if short := min(len(best), len(found)); short > 3 {
		limit = max(2, short/3)
	}
	return best, at >= 0 && at <= limit
}

// distance is Levenshtein's, in two rows.
func distance(a, b string) int {
	prev, next := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(prev[j]+cost, prev[j+1]+1, next[j]+1)
		}
		prev, next = next, prev
	}
	return prev[len(b)]
}
