package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/shell"
	"breakwater/internal/system"
	"breakwater/internal/table"
	"breakwater/internal/table/location"

	"github.com/spf13/cobra"
)

const tableLong = `Looks at a table where it lies, and changes nothing. LOCATION is a folder,
file:///folder or s3://bucket/prefix. An s3:// location is reached with the
usual AWS variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL, or --endpoint.

Without --version and --at it is the newest complete version: the largest one of
which the log and every data file and deletion vector are there at their sizes.
--at takes the last version committed at or before a time, by in-commit
timestamps where the table has them, else by the times of the log's files, and
says which. A copy changes the times of files.

A table that was copied may name objects where they were: --map FROM=TO says
where they are now, as in --map s3://primary-lake=s3://standby-lake.`

func (a *app) tableCommand() *cobra.Command {
	return group(&cobra.Command{
		Use: "table", Short: "Look at a Delta table: its content, history and integrity", Long: tableLong,
	}, a.tableShowCommand(), a.tableHistoryCommand(), a.tableCheckCommand(), a.tableQueryCommand(), a.tableDiffCommand())
}

// tableFlags say how a table is reached and which of its versions is meant.
type tableFlags struct {
	endpoint string
	maps     []string
	version  string
	at       string
}

// reach adds the flags that say how a table is reached.
func (f *tableFlags) reach(c *cobra.Command) {
	c.Flags().StringVar(&f.endpoint, "endpoint", "", "URL of the S3 endpoint (default: AWS_ENDPOINT_URL, else AWS)")
	c.Flags().StringArrayVar(&f.maps, "map", nil, "FROM=TO: read what the log names under FROM under TO (repeatable)")
}

// choice adds the flags that say which version is meant.
func (f *tableFlags) choice(c *cobra.Command) {
	c.Flags().StringVar(&f.version, "version", "", "this version (default: the newest complete one)")
	c.Flags().StringVar(&f.at, "at", "", "the last version at or before a time, such as 2026-11-21T03:12:05Z")
	c.MarkFlagsMutuallyExclusive("version", "at")
}

// again is a command to go on with about the same table, reached in the same way; of the
// version, unless that is negative.
func (f *tableFlags) again(do, where string, version int64, more ...string) string {
	words := []string{"breakwater", "table", do, where}
	if version >= 0 {
		words = append(words, "--version", strconv.FormatInt(version, 10))
	}
	if f.endpoint != "" {
		words = append(words, "--endpoint", f.endpoint)
	}
	for _, m := range f.maps {
		words = append(words, "--map", m)
	}
	words = append(words, more...)
	return shell.Command(words...)
}

// tableAt is a table where it was found.
type tableAt struct {
	root   table.Root
	format table.Format
	table.Table
}

// inspector is the table as people look into it.
func (t tableAt) inspector() (table.Inspector, error) {
	i, err := table.Able[table.Inspector](t.format.Name(), t.Table, "looked into")
	return i, refusal(err)
}

// described is a version of the table as people look at it.
func (t tableAt) described(s table.Snapshot) (table.Described, error) {
	d, err := table.Able[table.Described](t.format.Name(), s, "described")
	return d, refusal(err)
}

// open looks at the table at a location.
func (f *tableFlags) open(ctx context.Context, where string) (tableAt, error) {
	o := location.Options{Store: func() (objectstore.Store, error) { return system.StorageFromEnv(f.endpoint, os.Getenv) }}
	for _, text := range f.maps {
		m, err := location.ParseMap(text)
		if err != nil {
			return tableAt{}, wrong(errUsage, "breakwater table --help", "--map: %w", err)
		}
		o.Maps = append(o.Maps, m)
	}
	loc, err := location.Open(where, o)
	if errors.Is(err, location.ErrBad) {
		err = wrong(errUsage, "breakwater table --help", "%w", err)
	}
	if err != nil {
		return tableAt{}, err
	}
	format, t, err := system.Formats().Open(ctx, loc.Store, loc.Root)
	return tableAt{loc.Root, format, t}, refusal(err)
}

// want reads which version is meant.
func (f *tableFlags) want() (table.Choice, error) {
	var w table.Choice
	switch {
	case f.version != "":
		n, err := strconv.ParseInt(f.version, 10, 64)
		if err != nil || n < 0 {
			return w, wrong(errUsage, "", "--version %q is no version; give a number from 0", f.version)
		}
		w.Version = &n
	case f.at != "":
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", time.DateOnly} {
			if t, err := time.Parse(layout, f.at); err == nil { // without a zone: UTC
				w.At = t
				return w, nil
			}
		}
		return w, wrong(errUsage, "", "--at %q is no time; write it as 2026-11-21T03:12:05Z", f.at)
	}
	return w, nil
}

// point finds the version that the flags choose.
func (a *app) point(ctx context.Context, where string, f tableFlags) (tableAt, table.Point, error) {
	w, err := f.want()
	if err != nil {
		return tableAt{}, table.Point{}, err
	}
	t, err := f.open(ctx, where)
	if err != nil {
		return t, table.Point{}, err
	}
	i, err := t.inspector()
	if err != nil {
		return t, table.Point{}, err
	}
	p, err := i.Point(ctx, w)
	switch {
	case errors.Is(err, table.ErrNoneComplete):
		a.above(p.Above)
		err = hint(err, f.again("check", where, -1))
	case errors.Is(err, table.ErrBroken) && w.Version != nil:
		err = hint(err, f.again("check", where, *w.Version))
	}
	return t, p, refusal(err)
}

// refusal makes an error about a table that asks for more than is known here a
// refusal: reading it anyway could give a plausible wrong table.
func refusal(err error) error {
	if errors.Is(err, table.ErrUnsupported) || errors.Is(err, table.ErrUnable) {
		return wrong(errRefused, "", "%w", err)
	}
	return err
}
