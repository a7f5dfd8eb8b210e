package lastgood

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// Commit is what the log says of one version.
type Commit struct {
	Version   table.Version
	Operation string
	Author    table.Author
}

// Words say when, what and by whom.
func (c Commit) Words() string {
	words := cmp.Or(c.Operation, "a commit of no named operation")
	if len(c.Author.Users) > 0 {
		words += " by " + c.Author.Users[0]
	}
	if jobs := slices.Concat(c.Author.Jobs, c.Author.Runs); len(jobs) > 0 {
		words += " for " + plural.Few(jobs)
	}
	if c.Version.From != table.None {
		words += " at " + c.Version.Time.UTC().Format(time.RFC3339)
	}
	return words
}

// Named is what people say of a fault. Each narrows what the others leave.
type Named struct {
	Bad       *int64     `json:"bad,omitempty"`   // a version that holds it
	Since     *time.Time `json:"since,omitempty"` // it came then or later
	Job       string     `json:"job,omitempty"`   // came by this job, or this run of one
	User      string     `json:"user,omitempty"`
	Operation string     `json:"operation,omitempty"`
}

// Writer reports whether it is said by whom or by what it came.
func (n Named) Writer() bool { return n.Job != "" || n.User != "" || n.Operation != "" }

// Empty reports whether nothing is said.
func (n Named) Empty() bool { return n.Bad == nil && n.Since == nil && !n.Writer() }

// Words are what is said, for people.
func (n Named) Words() string {
	var words []string
	add := func(ok bool, format string, args ...any) {
		if ok {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(n.Operation != "", "operation %s", n.Operation)
	add(n.Job != "", "job %q", n.Job)
	add(n.User != "", "user %q", n.User)
	if n.Since != nil {
		add(true, "since %s", n.Since.UTC().Format(time.RFC3339Nano))
	}
	if n.Bad != nil {
		add(true, "in version %d", *n.Bad)
	}
	return strings.Join(words, ", ")
}

// Names reports whether a commit is by whom is named. Nobody named names every commit.
func (n Named) Names(c Commit) bool {
	return (n.Job == "" || c.Author.Is(n.Job)) && (n.User == "" || slices.Contains(c.Author.Users, n.User)) &&
		(n.Operation == "" || strings.EqualFold(n.Operation, c.Operation))
}

// ErrNoCommit says that no commit in the log is as people say.
var ErrNoCommit = errors.New("no commit is as named")

// ErrAmbiguous says that several are, and that nothing tells which of them is meant.
var ErrAmbiguous = errors.New("more than one commit is as named")

// Between are the commits, which are in order, that may have brought the fault: those
// from the time named on, up to the version named. since is the last version before
// that time, nil without one.
func (n Named) Between(commits []Commit) (between []Commit, since *int64, err error) {
	from, to := 0, len(commits)
	if to == 0 {
		return nil, nil, fmt.Errorf("%w: no commit is left in the log, only what it came to: ask a quality query", ErrNoCommit)
	}
	if n.Since != nil {
		for from = len(commits); from > 0 && !commits[from-1].Version.Time.Before(*n.Since); from-- {
		}
		if from == len(commits) {
			return nil, nil, fmt.Errorf("%w: nothing was committed at or after %s%s: name an earlier time", ErrNoCommit, n.Since.UTC().Format(time.RFC3339Nano), newest(commits))
		}
		if from > 0 {
			since = &commits[from-1].Version.Number
		}
	}
	if n.Bad != nil {
		for to > 0 && commits[to-1].Version.Number > *n.Bad {
			to--
		}
	}
	switch {
	case n.Bad != nil && (to == 0 || commits[to-1].Version.Number != *n.Bad):
		return nil, nil, fmt.Errorf("%w: the log has no commit of version %d, and those from %d to %d: name one that it has",
			ErrNoCommit, *n.Bad, commits[0].Version.Number, commits[len(commits)-1].Version.Number)
	case from >= to:
		return nil, nil, fmt.Errorf("%w: version %d was committed before %s: name an earlier time, or a later version", ErrNoCommit, *n.Bad, n.Since.UTC().Format(time.RFC3339Nano))
	}
	return commits[from:to], since, nil
}

func newest(commits []Commit) string {
	if len(commits) == 0 {
		return ""
	}
	v := commits[len(commits)-1].Version
	return fmt.Sprintf(", the newest version is %d of %s", v.Number, v.Time.UTC().Format(time.RFC3339Nano))
}

// By are those of the commits that are by whom is named; all of them where nobody is.
func (n Named) By(between []Commit) ([]Commit, error) {
	var by []Commit
	for _, c := range between {
		if n.Names(c) {
			by = append(by, c)
		}
	}
	if len(by) == 0 {
		return nil, fmt.Errorf("%w: none of %s, versions %d to %d, is by %s; their log names %s: name one of those, or ask a quality query alone",
			ErrNoCommit, plural.Of(len(between), "commit"), between[0].Version.Number, between[len(between)-1].Version.Number, n.WriterWords(), n.known(between))
	}
	return by, nil
}

// WriterWords say by whom or by what it came.
func (n Named) WriterWords() string {
	return Named{Job: n.Job, User: n.User, Operation: n.Operation}.Words()
}

// known are the names that the log does tell, of the kinds that were asked for.
func (n Named) known(commits []Commit) string {
	var parts []string
	for _, kind := range []struct {
		asked bool
		noun  string
		of    func(Commit) []string
	}{
		{n.Operation != "", "operation", func(c Commit) []string { return []string{c.Operation} }},
		{n.Job != "", "job", func(c Commit) []string { return slices.Concat(c.Author.Jobs, c.Author.Runs) }},
		{n.User != "", "user", func(c Commit) []string { return c.Author.Users }},
	} {
		if !kind.asked {
			continue
		}
		var names []string
		for _, c := range slices.Backward(commits) {
			for _, name := range kind.of(c) {
				if name != "" && !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		if names == nil {
			parts = append(parts, "no "+kind.noun)
		} else {
			parts = append(parts, kind.noun+" "+plural.Few(names))
		}
	}
	return strings.Join(parts, " and ")
}

// First is the commit that brought the fault, by what is said alone: with a version or
// a time it is the first one from there; else those named must all be of one run.
func (n Named) First(between []Commit) (Commit, error) {
	if !n.Writer() && n.Since == nil { // a version alone
		return between[len(between)-1], nil
	}
	by, err := n.By(between)
	if err != nil || n.Since != nil {
		return at(by, 0), err
	}
	last := len(by) - 1
	first := last
	for ; first > 0 && sameRun(by[first-1], by[last]); first-- {
	}
	if first > 0 && n.Bad == nil {
		var texts []string
		for _, c := range slices.Backward(by) {
			texts = append(texts, fmt.Sprintf("version %d, %s", c.Version.Number, c.Words()))
		}
		return Commit{}, fmt.Errorf("%w: %s are by %s (%s): name one run, a version or a time, or ask a quality query, too", ErrAmbiguous, plural.Of(len(by), "commit"), n.WriterWords(), strings.Join(texts[:min(3, len(texts))], "; "))
	}
	return by[first], nil
}

func at(all []Commit, i int) Commit {
	if i >= len(all) {
		return Commit{}
	}
	return all[i]
}

// sameRun reports whether one run of a job made both.
func sameRun(a, b Commit) bool {
	return slices.ContainsFunc(a.Author.Runs, func(run string) bool { return slices.Contains(b.Author.Runs, run) })
}

// Before is the newest of the versions that can be read below one.
func Before(versions []int64, bad int64) (int64, error) {
	i, _ := slices.BinarySearch(versions, bad)
	if i == 0 {
		return 0, fmt.Errorf("%w: no version before %d, which brought the fault, can be read any more: bring its files back first, or restore the table from a backup", ErrOutside, bad)
	}
	return versions[i-1], nil
}

// Found is a last good version as an action leaves it.
type Found struct {
	Table  string        `json:"table"`
	Region string        `json:"region"`           // whose copy was looked at
	Good   table.Version `json:"good"`             // the last good version
	Bad    table.Version `json:"bad"`              // the first one after it that can be read, which holds the fault
	Head   table.Version `json:"head"`             // as it was then
	By     string        `json:"by"`               // how it was found, in words
	Named  string        `json:"named"`            // what people said of the fault, in words
	Said   Named         `json:"said,omitzero"`    // the same
	Asked  []string      `json:"asked"`            // the quality queries that pass at Good and do not all pass at Bad; none where commit records alone decided
	Times  int           `json:"times"`            // how many versions were asked
	Of     int           `json:"of"`               // how many can be read
	Oldest int64         `json:"oldest"`           // the oldest that can be read
	Wrote  Commit        `json:"wrote"`            // the commit of Bad
	Broken string        `json:"broken,omitempty"` // why the rows of Bad cannot be read, where that is how it fails
	Lost   []table.Range `json:"lost,omitempty"`   // versions from Oldest to Head that cannot be read, and were not asked
	// Scanned and Islands are those of [Answer].
	Scanned []table.Range `json:"scanned,omitempty"`
	Islands []Island      `json:"islands,omitempty"`
}

// Together reports whether there was a moment at which both were the newest versions of
// their tables. Without times nothing says that there was.
func (f Found) Together(o Found) bool {
	for _, v := range []table.Version{f.Good, f.Bad, o.Good, o.Bad} {
		if v.From == table.None {
			return false
		}
	}
	return f.Good.Time.Before(o.Bad.Time) && o.Good.Time.Before(f.Bad.Time)
}

// Proven reports whether a query proved both ends.
func (f Found) Proven() bool { return len(f.Asked) > 0 }
