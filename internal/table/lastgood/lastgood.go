// Package lastgood finds the last good version of a table: one that passes, and whose
// next one fails. Who asks a version whether it passes, and how, is the caller's.
//
// # It is never taken to be monotonic
//
// A table can be good, bad, and good again. A bisection finds a place where a version
// passes and the next one fails; which other such places there are, it does not see.
// So further versions are asked afterwards, one by one: from the bad end down, which
// would show that the table was good again later, and from the found version down,
// which would show that it was bad before. How many that are is a bound of the caller,
// and the answer says how far they reached. What was not asked is not known.
package lastgood

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// Ask says whether a version passes. Its error ends the search.
type Ask func(ctx context.Context, version int64) (good bool, err error)

// Question is which versions are asked.
type Question struct {
	// Versions can be read, in order. Others are passed over: what they hold is not known.
	Versions []int64
	// Since is the version at which the fault cannot have been there yet, and Bad one
	// that holds it. Both are of Versions, the ends of them where nil.
	Since, Bad *int64
	// Proposed are versions of which one brought the fault, as commits tell. Then only
	// what one of them brought is an answer.
	Proposed []int64
	// Scan is how many versions more than the bisection needs may be asked.
	Scan int
}

// Answer is what the search found, proven at both ends.
type Answer struct {
	Good int64 // passes
	Bad  int64 // fails, and is the first of Versions after Good
	// Asked counts the versions that were asked.
	Asked int
	// Scanned are the runs in which every version was asked, the newest first: the one
	// down from the bad end, and the one down from Bad where that is another.
	Scanned []table.Range
	// Islands are the versions that were asked and do not fit: bad ones before Good, and
	// good ones after Bad, the oldest first.
	Islands []Island
}

// Island is a run of versions that were asked, all with the same answer, where a table
// that was good up to one version and bad after it would have the other one.
type Island struct {
	table.Range
	Good bool `json:"good"`
}

// The refusals. Each error says which versions it is about and what to do next.
var (
	// ErrPasses says that the bad end passes.
	ErrPasses = errors.New("it passes where the fault must be")
	// ErrFails says that no version passes, as far as was asked.
	ErrFails = errors.New("it passes nowhere")
	// ErrNotProposed says that the fault came by another commit than the ones proposed.
	ErrNotProposed = errors.New("another commit than the ones named brought the fault")
	// ErrOutside says that a version is none of those that can be read.
	ErrOutside = errors.New("the version cannot be read")
)

// AskError is what asking a version ended with.
type AskError struct {
	Version int64
	Err     error
}

func (e *AskError) Error() string { return fmt.Sprintf("ask version %d: %v", e.Version, e.Err) }
func (e *AskError) Unwrap() error { return e.Err }

// search is one search. It speaks of versions by their places in the question.
type search struct {
	Question
	ctx   context.Context // of this one search
	ask   Ask
	known map[int]bool
	first int // the least place that may be good
	last  int // the bad end
}

// Search finds the newest version that passes and whose next one fails. It asks at most
// as many versions as [Question.Scan], two for the ends, two to find a proposed one, and
// one for each halving of the versions between.
func Search(ctx context.Context, q Question, ask Ask) (Answer, error) {
	s := &search{Question: q, ctx: ctx, ask: ask, known: map[int]bool{}}
	if err := s.ends(); err != nil {
		return Answer{}, err
	}
	lo, hi, err := s.bracket()
	if err == nil {
		lo, hi, err = s.bisect(lo, hi)
	}
	if err == nil {
		err = s.scan(lo, hi)
	}
	if err != nil {
		return Answer{}, err
	}
	return s.answer(lo, hi)
}

// ends finds the places of both ends, and asks the bad one.
func (s *search) ends() error {
	if len(s.Versions) == 0 {
		return fmt.Errorf("%w: the table has no version that can be read: bring its files back first, or restore it from a backup", ErrOutside)
	}
	s.last = len(s.Versions) - 1
	for _, end := range []struct {
		version *int64
		at      *int
	}{{s.Since, &s.first}, {s.Bad, &s.last}} {
		if end.version == nil {
			continue
		}
		at, ok := slices.BinarySearch(s.Versions, *end.version)
		if !ok {
			return s.outside(*end.version)
		}
		*end.at = at
	}
	newest := s.last == len(s.Versions)-1 && s.Bad == nil
	switch good, err := s.passes(s.last); {
	case err != nil:
		return err
	case good && newest:
		return fmt.Errorf("%w: it passes at version %d, the newest that can be read: ask what sees the fault, or name a version that holds it", ErrPasses, s.Versions[s.last])
	case good:
		return fmt.Errorf("%w: it passes at version %d, which is named as one that holds it: ask what sees the fault, or name another version", ErrPasses, s.Versions[s.last])
	case s.first >= s.last:
		return fmt.Errorf("%w: it fails at version %d, and no version before that %s: restore the table from a backup that is older", ErrFails, s.Versions[s.last], s.before())
	}
	return nil
}

func (s *search) outside(version int64) error {
	return fmt.Errorf("%w: version %d is none of %s that can be read, %d to %d: name one of those, or bring its files back first",
		ErrOutside, version, plural.Of(len(s.Versions), "version"), s.Versions[0], s.Versions[len(s.Versions)-1])
}

func (s *search) before() string {
	if s.Since != nil {
		return "and not before the time that is named can be asked"
	}
	return "can be read"
}

// passes asks a version, once.
func (s *search) passes(at int) (bool, error) {
	if good, ok := s.known[at]; ok {
		return good, nil
	}
	if err := s.ctx.Err(); err != nil {
		return false, err
	}
	good, err := s.ask(s.ctx, s.Versions[at])
	if err != nil {
		return false, &AskError{s.Versions[at], err}
	}
	s.known[at] = good
	return good, nil
}

// bracket finds a place that passes and a later one that fails.
func (s *search) bracket() (lo, hi int, err error) {
	lo, hi, err = s.proposed()
	if err != nil || lo >= 0 {
		return lo, hi, err
	}
	good, err := s.passes(s.first)
	switch {
	case err != nil, good:
		return s.first, hi, err
	case s.Since != nil:
		return 0, 0, fmt.Errorf("%w: it fails at version %d already, the last one before the time since when the table is named bad: name an earlier time, or none", ErrFails, s.Versions[s.first])
	}
	return s.backwards(s.last)
}

// proposed bisects the proposed versions: the first of them that fails is asked together
// with the version before it. lo is negative where none of them shows a version that passes.
func (s *search) proposed() (lo, hi int, err error) {
	lo, hi = -1, s.last
	var at []int
	for _, v := range s.Proposed {
		if i, _ := slices.BinarySearch(s.Versions, v); i > s.first && i <= s.last {
			at = append(at, i)
		}
	}
	slices.Sort(at)
	for at = slices.Compact(at); len(at) > 0; {
		m := len(at) / 2
		good, err := s.passes(at[m])
		switch {
		case err != nil:
			return lo, hi, err
		case good:
			lo, at = at[m], at[m+1:]
		default:
			hi, at = at[m], at[:m]
		}
	}
	if hi == s.last && !slices.ContainsFunc(s.Proposed, func(v int64) bool { return s.brought(s.last, v) }) || hi-1 <= lo {
		return lo, hi, nil
	}
	switch good, err := s.passes(hi - 1); {
	case err != nil:
		return lo, hi, err
	case good:
		lo = hi - 1
	default:
		hi--
	}
	return lo, hi, nil
}

// brought reports whether a version came between the place before one and that one.
func (s *search) brought(at int, version int64) bool {
	return at > 0 && s.Versions[at-1] < version && version <= s.Versions[at]
}

// backwards looks for a place that passes where both ends fail: in growing steps, and
// then one by one, which counts as scanning.
func (s *search) backwards(hi int) (int, int, error) {
	bad, more := hi, 0
	for step := 1; hi-step > s.first && s.Scan > 0; step *= 2 {
		s.Scan, more = s.Scan-1, more+1
		good, err := s.passes(hi - step)
		if err != nil || good {
			return hi - step, bad, err
		}
		bad = hi - step
	}
	for _, i := range s.unknown(s.first, hi) {
		if s.Scan == 0 {
			break
		}
		s.Scan, more = s.Scan-1, more+1
		good, err := s.passes(i)
		if err != nil || good {
			return i, i + 1, err
		}
	}
	between := ""
	if more > 0 {
		between = fmt.Sprintf(", and at %s between", plural.Of(more, "more version"))
	}
	return 0, 0, fmt.Errorf("%w: it fails at version %d, the oldest that can be read, and at version %d%s: ask what older versions pass, let more versions be scanned, or restore the table from a backup that is older",
		ErrFails, s.Versions[s.first], s.Versions[hi], between)
}

// bisect narrows to two places beside each other.
func (s *search) bisect(lo, hi int) (int, int, error) {
	for hi-lo > 1 {
		m := lo + (hi-lo)/2
		good, err := s.passes(m)
		if err != nil {
			return lo, hi, err
		}
		if good {
			lo = m
		} else {
			hi = m
		}
	}
	return lo, hi, nil
}

// scan asks one by one: half of what may be scanned from the bad end down, and the
// other half from the version found down; what one half leaves, the other has.
func (s *search) scan(lo, hi int) error {
	above := s.unknown(hi, s.last)
	below := s.unknown(-1, lo)
	take := min(len(above), max(s.Scan/2, s.Scan-len(below)))
	for _, i := range slices.Concat(above[:take], below[:min(len(below), s.Scan-take)]) {
		if _, err := s.passes(i); err != nil {
			return err
		}
	}
	return nil
}

// unknown are the places between two that were not asked, the newest first.
func (s *search) unknown(above, below int) []int {
	var all []int
	for i := below - 1; i > above; i-- {
		if _, ok := s.known[i]; !ok {
			all = append(all, i)
		}
	}
	return all
}

// answer says what all that was asked comes to. The newest place where a version passes
// and the next one fails counts, among those that a proposed version brought where any
// are proposed.
func (s *search) answer(lo, hi int) (Answer, error) {
	for i := s.last; i > 0; i-- {
		good, askedGood := s.known[i-1]
		bad, askedBad := s.known[i]
		if !askedGood || !askedBad || !good || bad {
			continue
		}
		if len(s.Proposed) == 0 || slices.ContainsFunc(s.Proposed, func(v int64) bool { return s.brought(i, v) }) {
			return s.answerAt(i), nil
		}
	}
	a := s.answerAt(hi)
	return a, fmt.Errorf("%w: it passes at version %d and fails at %d, and none of the commits named, %s, came between: name other commits, or none",
		ErrNotProposed, s.Versions[lo], s.Versions[hi], versions(s.Proposed))
}

func (s *search) answerAt(hi int) Answer {
	a := Answer{Good: s.Versions[hi-1], Bad: s.Versions[hi], Asked: len(s.known)}
	down := func(from int) int {
		for i := from; i >= 0; i-- {
			if _, ok := s.known[i]; !ok {
				return i + 1
			}
		}
		return 0
	}
	end := down(s.last)
	a.Scanned = []table.Range{{First: s.Versions[end], Last: s.Versions[s.last]}}
	if end > hi {
		a.Scanned = append(a.Scanned, table.Range{First: s.Versions[down(hi)], Last: s.Versions[hi]})
	}
	for i := range s.last + 1 {
		good, ok := s.known[i]
		if !ok || good == (i < hi) {
			continue
		}
		before, asked := s.known[i-1]
		if n := len(a.Islands); n > 0 && asked && before == good && a.Islands[n-1].Last == s.Versions[i-1] {
			a.Islands[n-1].Last = s.Versions[i]
		} else {
			a.Islands = append(a.Islands, Island{table.Range{First: s.Versions[i], Last: s.Versions[i]}, good})
		}
	}
	return a
}

// versions lists a few of them.
func versions(all []int64) string {
	var texts []string
	for _, r := range table.Ranges(slices.Compact(slices.Sorted(slices.Values(all)))) {
		texts = append(texts, r.String())
	}
	return plural.Few(texts)
}
