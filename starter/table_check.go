package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/plural"
	"breakwater/internal/table"

	"github.com/spf13/cobra"
)

// checkView is what `table check` found, as JSON has it: what `table show` says
// of the version, and the findings.
type checkView struct {
	*tableView
	table.Findings
	Version  int64    `json:"version"`
	Head     int64    `json:"head"`
	Complete bool     `json:"complete"`
	Warnings []string `json:"warnings"`
	Sound    bool     `json:"sound"`
}

func (a *app) tableCheckCommand() *cobra.Command {
	var f tableFlags
	var against string
	var sample int
	var full bool
	var seed uint64
	c := &cobra.Command{
		Use: "check LOCATION", Short: "Check that a table is whole and is what its log says",
		Long: `Checks the head of the log, or another version: that the log has no hole and
agrees with its checksums, that every data file and deletion vector is there at
its size, that data files are Parquet with as many rows as recorded, that
deletion vectors have their checksum and cardinality, and which older versions
can still be read in full. It reads the footers of a sample of the data files,
or of all with --full, and says which.

With --against it compares the log with that of another copy of the table and
finds the version after which both have commits of their own.

It exits with 0 only if nothing is wrong. What older versions lack is a warning.
In a bucket that keeps versions it says of what is missing which version is
kept; where versioning is suspended, and all that is missing is kept, it exits
with 3: what is lost is not known before versioning is on and the objects are
back.`,
		Example: `  breakwater table check s3://standby-lake/orders
  breakwater table check /backup/lake/orders --full --json
  breakwater table check s3://standby-lake/orders --against s3://primary-lake/orders`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			o := table.CheckOptions{Sample: sample, Seed: seed, Now: time.Now()}
			if full {
				o.Sample = -1
			} else if sample < 0 {
				return wrong(errUsage, "", "--sample %d: give how many files, or --full", sample)
			}
			return a.tableCheck(c, args[0], f, o, against)
		},
	}
	f.reach(c)
	f.choice(c)
	c.Flags().Lookup("version").Usage = "this version (default: the head of the log)"
	c.Flags().IntVar(&sample, "sample", 100, "read the footers of so many data files")
	c.Flags().BoolVar(&full, "full", false, "read the footers of all data files")
	c.Flags().Uint64Var(&seed, "seed", 1, "draws the sample: the same seed draws the same files")
	c.Flags().StringVar(&against, "against", "", "location of another copy of the table, whose log to compare")
	return c
}

func (a *app) tableCheck(c *cobra.Command, where string, f tableFlags, o table.CheckOptions, against string) error {
	ctx := c.Context()
	var err error
	if o.Choice, err = f.want(); err != nil {
		return err
	}
	t, err := f.open(ctx, where)
	if err != nil {
		return err
	}
	if against != "" {
		other, err := f.open(ctx, against)
		if err != nil {
			return err
		}
		o.Against = other.Table
	}
	i, err := t.inspector()
	if err != nil {
		return err
	}
	r, err := i.Check(ctx, o)
	if err != nil {
		return refusal(err)
	}
	v := checkView{Findings: r, Version: r.Version, Head: r.Head, Complete: r.Complete, Warnings: r.Warnings, Sound: r.Sound()}
	if r.Snapshot != nil {
		s, err := t.described(r.Snapshot)
		if err != nil {
			return err
		}
		view := describeTable(t, s.Describe(), r.Snapshot.Version(), r.Time)
		if n := r.Snapshot.Rows(); n >= 0 {
			view.Rows = &n
		}
		v.tableView = &view
	}
	if a.json {
		a.line("check", v)
	} else {
		a.showCheck(t.root.String(), r)
	}
	if v.Sound {
		return nil
	}
	return unsound(t.root.String(), r, f.again("history", where, -1, "--readable"))
}

// unsound is the error of a check that found something, with what tells more of it: how an
// object that is kept comes back, or what was committed when.
func unsound(where string, r table.Findings, history string) error {
	next := history
	if slices.ContainsFunc(slices.Concat(r.Missing, r.Resized), func(l table.Lack) bool { return l.Kept != "" }) {
		next = "breakwater actions storage.undelete"
	}
	if r.Hidden() {
		return wrong(errUnknown, next, "%s is not complete as it lies, and what it lacks is hidden, not lost: %s; %s", where, verdictOf(r), r.Unversioned)
	}
	return wrong(errFailed, next, "%s is not sound: %s", where, verdictOf(r))
}

// verdictOf is what is wrong, in a few words.
func verdictOf(r table.Findings) string {
	var parts []string
	archived := 0
	for _, l := range r.Missing {
		if l.Fault == table.Archived {
			archived++
		}
	}
	for _, p := range []struct {
		n         int
		one, more string
	}{{len(r.Missing) - archived, "object is missing", "objects are missing"}, {archived, "object lies in an archive", "objects lie in an archive"}, {len(r.Resized), "object has another size", "objects have another size"}, {len(r.Problems), "problem", "problems"}} {
		if p.n > 0 {
			parts = append(parts, countOf(int64(p.n), p.one, p.more))
		}
	}
	if parts == nil {
		return "nothing is known to be wrong, and it is not complete"
	}
	return strings.Join(parts, ", ")
}

func (a *app) showCheck(where string, r table.Findings) {
	a.say("%s", where)
	a.say("  version %d, the head of the log is %d", r.Version, r.Head)
	footers := fmt.Sprintf("the footers of all %s read", plural.Of(r.Footers, "data file"))
	if r.Sampled {
		footers = fmt.Sprintf("the footers of %d of %s read (seed %d)", r.Footers, plural.Of(r.Files, "data file"), r.Seed)
	}
	a.text("  ", fmt.Sprintf("looked for %s, %s, %s read", countOf(int64(r.Objects), "object", "objects"), footers,
		countOf(int64(r.Vectors), "deletion vector", "deletion vectors")))
	if t := r.Travel; t != nil && len(t.Readable) > 0 {
		a.text("  ", "can be read in full: "+ranges(t.Readable))
	}
	if f := r.Fork; f != nil {
		a.text("  ", fmt.Sprintf("compared %s with the other copy; the last common version is %d", countOf(int64(f.Compared), "commit", "commits"), f.Common))
	}
	const most = 20
	for _, part := range []struct {
		name  string
		lacks []table.Lack
	}{{"MISSING: ", r.Missing}, {"RESIZED: ", r.Resized}} {
		for i, l := range part.lacks {
			if i == most {
				a.say("  %s%d more; --json has all", part.name, len(part.lacks)-most)
				break
			}
			a.text("  ", part.name+l.String())
		}
	}
	for i, p := range r.Problems {
		if i == most {
			a.say("  %d more problems; --json has all", len(r.Problems)-most)
			break
		}
		a.text("  ", fmt.Sprintf("PROBLEM (%s): %s", p.Kind, p.Text))
	}
	for _, w := range r.Warnings {
		a.text("  ", "warning: "+w)
	}
	if r.Sound() {
		a.say("  sound: nothing is wrong with what was looked at")
	}
}

// ranges are runs of versions, for people.
func ranges(all []table.Range) string {
	if len(all) == 0 {
		return "no version"
	}
	if len(all) == 1 {
		return all[0].Words()
	}
	var parts []string
	for _, r := range all {
		parts = append(parts, r.String())
	}
	return "versions " + strings.Join(parts, ", ")
}
