package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"breakwater/internal/query"
	"breakwater/internal/table"
	"breakwater/internal/table/difference"

	"github.com/spf13/cobra"
)

// diffFlags say what of a table is compared, and how much of it is shown.
type diffFlags struct {
	tableFlags
	from, to string
	key      string
	samples  int
}

// diffView is what `table diff` found, as JSON has it.
type diffView struct {
	Location string        `json:"location"`
	From     table.Version `json:"from"`
	To       table.Version `json:"to"`
	Same     bool          `json:"same"`
	Key      []string      `json:"key,omitempty"`
	difference.Counts
	Repeated   int64                  `json:"repeated_keys,omitempty"`
	Columns    []difference.Column    `json:"columns"`  // that are not the same in both
	Compared   []string               `json:"compared"` // the columns by which rows are compared
	Files      difference.Files       `json:"files"`
	Rows       int64                  `json:"rows_read"`
	Partitions []difference.Partition `json:"partitions"`
	Samples    diffSamples            `json:"samples"`
}

// diffSamples are rows as JSON objects.
type diffSamples struct {
	Added   json.RawMessage `json:"added,omitempty"`
	Removed json.RawMessage `json:"removed,omitempty"`
	Was     json.RawMessage `json:"was,omitempty"` // the rows that changed, before; in the order of Is
	Is      json.RawMessage `json:"is,omitempty"`
}

func (a *app) tableDiffCommand() *cobra.Command {
	var f diffFlags
	c := &cobra.Command{
		Use: "diff LOCATION", Short: "Say what two versions of a table differ in, row by row",
		Long: `Compares two versions of a table: rows that were added, rows that were removed
and, with a key, rows that are others under the same key; in all, by partition,
and some of them. A row that is there twice and then once was removed once.

It reads the data files that one of the versions has alone, with their deletion
vectors, and no others: what both versions share costs nothing. What does not
fit into memory goes to a scratch file in the folder for temporary files, 40
bytes for each row read.

Columns that were added, dropped, renamed or given another type are named. Rows
are compared by the columns that both versions have with the same kind of type.

It exits with 0 whether or not there is a difference: "same" in --json says.`,
		Example: `  breakwater table diff s3://primary-lake/orders --from 41 --to 42
  breakwater table diff /backup/lake/orders --from 41 --key id --samples 20
  breakwater table diff /backup/lake/orders --from 2026-11-21T03:00:00Z --json`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error { return a.tableDiff(c, args[0], f) },
	}
	f.reach(c)
	c.Flags().StringVar(&f.from, "from", "", "the first version, or the last one at or before a time")
	c.Flags().StringVar(&f.to, "to", "", "the second version, or a time (default: the head of the log)")
	c.Flags().StringVar(&f.key, "key", "", "columns that tell rows apart, such as id or region,id")
	c.Flags().IntVar(&f.samples, "samples", 5, "how many rows of each kind are shown")
	return c
}

func (a *app) tableDiff(c *cobra.Command, where string, f diffFlags) error {
	ctx := c.Context()
	o := difference.Options{Samples: f.samples, Scratch: scratch}
	switch {
	case f.from == "":
		return wrong(errUsage, f.again("history", where, -1), "name the first version with --from; the history lists them")
	case f.samples < 0 || f.samples > 1000:
		return wrong(errUsage, "", "--samples %d: give how many rows, up to 1000", f.samples)
	case f.key != "":
		for name := range strings.SplitSeq(f.key, ",") {
			o.Key = append(o.Key, strings.TrimSpace(name))
		}
	}
	t, err := f.open(ctx, where)
	if err != nil {
		return err
	}
	times, err := t.Times(ctx)
	if err != nil {
		return refusal(err)
	}
	var snaps [2]table.Snapshot
	var versions [2]table.Version
	for i, text := range []string{f.from, f.to} {
		flag := []string{"--from", "--to"}[i]
		if versions[i], err = t.named(times, flag, text); err != nil {
			return err
		}
		if snaps[i], err = t.Snapshot(ctx, versions[i].Number); err != nil {
			return hint(refusal(err), f.again("history", where, -1, "--readable"))
		}
	}
	s, err := table.Able[difference.Differ](t.format.Name(), snaps[1], "compared")
	if err != nil {
		return refusal(err)
	}
	d, err := s.Since(ctx, snaps[0], o)
	switch {
	case errors.Is(err, difference.ErrKey):
		return wrong(errUsage, "", "--key: %w", err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, table.ErrBroken):
		return hint(err, f.again("history", where, -1, "--readable"))
	case err != nil:
		return refusal(err)
	}
	rows, err := sampled(ctx, d.Samples)
	if err != nil {
		return err
	}
	if !a.json {
		a.showDiff(t, versions[0], versions[1], d, rows)
		return nil
	}
	v := diffView{
		Location: t.root.String(), From: versions[0], To: versions[1], Same: d.Same(), Key: d.Key, Counts: d.Counts, Repeated: d.Repeated,
		Columns: d.Columns, Compared: d.Compared, Files: d.Files, Rows: d.Rows, Partitions: d.Partitions,
	}
	if v.Columns == nil {
		v.Columns = []difference.Column{}
	}
	if v.Partitions == nil {
		v.Partitions = []difference.Partition{}
	}
	if v.Samples, err = rows.objects(); err != nil {
		return err
	}
	a.line("diff", v)
	return nil
}

// named is the version that a flag names: by its number, by a time, or the head.
func (t tableAt) named(times table.Times, flag, text string) (table.Version, error) {
	if text == "" {
		v, _ := times.Of(t.Extent().Head)
		return v, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		v, _ := times.Of(n)
		return v, nil
	}
	choice, err := (&tableFlags{at: text}).want()
	if err != nil {
		return table.Version{}, wrong(errUsage, "", "%s %q is no version and no time; give a number from 0, or a time as 2026-11-21T03:12:05Z", flag, text)
	}
	v, err := times.At(choice.At)
	if err != nil {
		return v, fmt.Errorf("%s: %w", flag, err)
	}
	return v, nil
}

// sampledRows are the samples of a difference as people and programs read them.
type sampledRows struct{ added, removed, was, is query.Result }

func sampled(ctx context.Context, s difference.Samples) (r sampledRows, err error) {
	for _, part := range []struct {
		from query.Table
		to   *query.Result
	}{{s.Added, &r.added}, {s.Removed, &r.removed}, {s.Was, &r.was}, {s.Is, &r.is}} {
		if part.from == nil {
			continue
		}
		if *part.to, err = everyRow(ctx, part.from); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r sampledRows) objects() (out diffSamples, err error) {
	for _, part := range []struct {
		from query.Result
		to   *json.RawMessage
	}{{r.added, &out.Added}, {r.removed, &out.Removed}, {r.was, &out.Was}, {r.is, &out.Is}} {
		if len(part.from.Rows) == 0 {
			continue
		}
		if *part.to, err = part.from.Objects(); err != nil {
			return out, err
		}
	}
	return out, nil
}

// scratchFile is a file for temporary use, which is gone when it is closed.
type scratchFile struct{ *os.File }

func scratch() (difference.Scratch, error) {
	f, err := os.CreateTemp("", "breakwater-diff-*")
	if err != nil {
		return nil, err
	}
	return scratchFile{f}, nil
}

// Close removes it.
func (f scratchFile) Close() error { return errors.Join(f.File.Close(), os.Remove(f.Name())) }
