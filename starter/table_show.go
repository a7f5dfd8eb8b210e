package main

import (
	"fmt"
	"strings"
	"time"

	"breakwater/internal/plural"
	"breakwater/internal/table"

	"github.com/spf13/cobra"
)

// tableView is what `table show` says of a version, as JSON has it.
type tableView struct {
	Format    string           `json:"format"`
	Location  string           `json:"location"`
	ID        string           `json:"id"`
	Name      string           `json:"name,omitempty"`
	Version   int64            `json:"version"`
	Head      int64            `json:"head"`
	Timestamp time.Time        `json:"timestamp,omitzero"`
	Millis    int64            `json:"timestamp_ms,omitempty"` // since 1970
	From      table.TimeSource `json:"timestamp_from,omitempty"`
	Files     int              `json:"live_files"`
	Bytes     int64            `json:"live_bytes"`
	Rows      *int64           `json:"rows"` // null where they could not be counted
	Vectors   int              `json:"deletion_vectors"`
	Deleted   int64            `json:"deleted_rows"` // by deletion vectors
	Partition []string         `json:"partition_columns"`
	Protocol  table.Protocol   `json:"protocol"`
	Features  []string         `json:"features"`
	// Properties are the table's, such as delta.logRetentionDuration.
	Properties map[string]string `json:"properties"`
	Complete   bool              `json:"complete"`
	Lacks      []table.Lack      `json:"lacks,omitempty"`
	Above      []table.Above     `json:"above,omitempty"`
	Outside    []string          `json:"outside,omitempty"`
	Txns       map[string]int64  `json:"txns,omitempty"` // last version of each streaming writer
	Warnings   []string          `json:"warnings,omitempty"`
}

func (a *app) tableShowCommand() *cobra.Command {
	var f tableFlags
	c := &cobra.Command{
		Use: "show LOCATION", Short: "Show a table's content at one version",
		Long: `Shows what a version of a table consists of: files, bytes, rows, deletion
vectors, protocol and features, and what the versions above it lack.

Rows are those that the log's statistics give, less those that deletion vectors
hide; of files without statistics the footers are read. It exits with 1 for a
version that is not complete, having said what it lacks, and with 4 for a table
that asks its readers for a feature that is not known here.`,
		Example: `  breakwater table show /backup/lake/orders
  breakwater table show s3://standby-lake/orders --endpoint http://127.0.0.1:9000
  breakwater table show s3://standby-lake/orders --version 41 --json
  breakwater table show s3://standby-lake/orders --at 2026-11-21T03:12:05Z`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error { return a.tableShow(c, args[0], f) },
	}
	f.reach(c)
	f.choice(c)
	return c
}

func (a *app) tableShow(c *cobra.Command, where string, f tableFlags) error {
	ctx := c.Context()
	t, p, err := a.point(ctx, where, f)
	if err != nil {
		return err
	}
	s, err := t.described(p.Snapshot)
	if err != nil {
		return err
	}
	v := describeTable(t, s.Describe(), p.Snapshot.Version(), p.Time)
	v.Complete, v.Lacks, v.Above, v.Outside, v.Warnings = p.Complete, p.Lacks, p.Above, p.Outside, p.Warnings
	if v.Lacks == nil {
		v.Lacks = []table.Lack{}
	}
	rows, read, err := s.CountRows(ctx)
	switch {
	case err == nil:
		v.Rows = &rows
	case p.Complete:
		return err
	default: // of files that are not there nothing can be counted
		v.Warnings = append(v.Warnings, err.Error())
	}
	if read > 0 && v.Rows != nil {
		v.Warnings = append(v.Warnings, fmt.Sprintf("the log has no row counts for %s: the footers were read", countOf(int64(read), "file", "files")))
	}
	a.showTable(v)
	if !v.Complete {
		return wrong(errFailed, f.again("check", where, v.Version), "version %d of %s is not complete: %s", v.Version, v.Location, lacking(v.Lacks))
	}
	return nil
}

// describeTable is what a version says of itself, and when it was committed.
func describeTable(t tableAt, d table.Description, version, dated table.Version) tableView {
	v := tableView{
		Format: t.format.Name(), Location: t.root.String(), ID: d.ID, Name: d.Name, Version: version.Number, Head: t.Extent().Head,
		Timestamp: dated.Time, From: dated.From, Files: d.Files, Bytes: d.Bytes, Vectors: d.Deletes, Deleted: d.Deleted, Partition: d.Partition,
		Protocol: d.Protocol, Features: d.Features, Properties: d.Properties, Txns: d.Txns,
	}
	if dated.From == table.None { // log cleanup took the commit: the checkpoint's time is something
		v.Timestamp, v.From = version.Time, version.From
	}
	if v.From != table.None {
		v.Millis = v.Timestamp.UnixMilli()
	}
	if v.Partition == nil {
		v.Partition = []string{}
	}
	return v
}

func (a *app) showTable(v tableView) {
	if a.json {
		a.line("table", v)
		return
	}
	a.say("%s", v.Location)
	field := func(name, format string, args ...any) {
		for i, line := range wrap(fmt.Sprintf(format, args...), 60, "") {
			if i > 0 {
				name = ""
			}
			a.say("  %-17s %s", name, strings.TrimSpace(line))
		}
	}
	head := "the head of the log"
	if v.Version != v.Head {
		head = fmt.Sprintf("the head of the log is %d", v.Head)
	}
	field("version", "%d; %s", v.Version, head)
	if v.From != table.None {
		field("committed", "%s (%s)", v.Timestamp.Format(time.RFC3339Nano), v.From)
	}
	field("live files", "%d, %s", v.Files, plural.Of(v.Bytes, "byte"))
	if v.Rows != nil {
		field("rows", "%d", *v.Rows)
	} else {
		field("rows", "unknown")
	}
	if v.Vectors > 0 {
		field("deletion vectors", "%d, which hide %s", v.Vectors, countOf(v.Deleted, "row", "rows"))
	}
	if len(v.Partition) > 0 {
		field("partitioned by", "%s", strings.Join(v.Partition, ", "))
	}
	field("protocol", "%s", v.Protocol)
	if len(v.Features) > 0 {
		field("features", "%s", strings.Join(v.Features, ", "))
	}
	for _, o := range v.Outside {
		field("needs", "%s", o)
	}
	complete := "yes"
	if !v.Complete {
		complete = "NO: " + lacking(v.Lacks)
	}
	field("complete", "%s", complete)
	a.above(v.Above)
	for _, w := range v.Warnings {
		a.text("  warning: ", w)
	}
}

// above says why no later version was taken.
func (a *app) above(above []table.Above) {
	const most = 10
	for i, u := range above {
		if i == most && len(above) > most+1 {
			a.text("  ", fmt.Sprintf("and %s above, up to %d", plural.Of(len(above)-most, "more version"), above[len(above)-1].Through))
			return
		}
		which := fmt.Sprintf("  version %d is not complete: ", u.Version.Number)
		if u.Through > u.Version.Number {
			which = fmt.Sprintf("  versions %d to %d are not complete: ", u.Version.Number, u.Through)
		}
		a.text(which, u.Why())
	}
}

// lacking is what a version lacks, in words: the first, and how many there are.
func lacking(lacks []table.Lack) string {
	if len(lacks) == 0 {
		return "nothing lacks"
	}
	if len(lacks) == 1 {
		return lacks[0].String()
	}
	return fmt.Sprintf("%s, the first: %s", plural.Of(len(lacks), "object", "lacks", "lack"), lacks[0])
}

// text is a line for people, broken at words to 80 columns and set in.
func (a *app) text(before, text string) {
	for _, line := range wrap(before+text, 80, "    ") {
		a.say("%s", line)
	}
}
