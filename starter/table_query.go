package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"breakwater/internal/query"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/table"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
)

func (a *app) tableQueryCommand() *cobra.Command {
	var f tableFlags
	var within time.Duration
	c := &cobra.Command{
		Use: "query LOCATION SQL", Short: "Ask a table in SQL, at one version",
		Long: `Answers a query over one version of a table, which is called t, with DuckDB and
its SQL. The engine is built in: no server is needed, and the query reaches this
table and nothing else, no file and no network.

With --json it prints one JSON list of row objects. Numbers keep all their
digits, times are in ISO 8601, binary is in base64, a map is a list of pairs.

Where the answer is from another version than the head of the log, and --version
does not name it, that is said below the rows; with --json in a second line.

A query that is wrong exits with 2, one that would need more than --within or
1 GiB of memory with 3: its answer is unknown.`,
		Example: `  breakwater table query /backup/lake/orders "SELECT count(*) FROM t"
  breakwater table query s3://standby-lake/orders --version 41 --json \
      "SELECT region, sum(amount) AS amount FROM t GROUP BY region ORDER BY 1"`,
		Args: exactly(2),
		RunE: func(c *cobra.Command, args []string) error { return a.tableQuery(c, args[0], args[1], f, within) },
	}
	f.reach(c)
	f.choice(c)
	c.Flags().DurationVar(&within, "within", 10*time.Minute, "how long the query may take")
	return c
}

func (a *app) tableQuery(c *cobra.Command, where, sql string, f tableFlags, within time.Duration) error {
	ctx := c.Context()
	if within <= 0 {
		return wrong(errUsage, "", "--within %v leaves no time; give something like 30s", within)
	}
	at, p, err := a.point(ctx, where, f)
	if err != nil {
		return err
	}
	s := p.Snapshot
	if !p.Complete {
		return wrong(errFailed, f.again("check", where, s.Version().Number), "version %d of %s is not complete: %s", s.Version().Number, at.root, lacking(p.Lacks))
	}
	source, err := table.Able[query.Source](at.format.Name(), s, "queried")
	if err != nil {
		return refusal(err)
	}
	t, err := source.Queryable()
	if err != nil {
		return refusal(err)
	}
	r, err := duckdb.Engine{Timeout: within}.Query(ctx, map[string]query.Table{"t": t}, sql)
	var list json.RawMessage
	if err == nil && a.json {
		list, err = r.Objects()
	}
	switch {
	case errors.Is(err, query.ErrQuery):
		return wrong(errUsage, "", "%w", err)
	case errors.Is(err, query.ErrLimit):
		return wrong(errUnknown, "", "%w", err)
	case err != nil:
		return err
	}
	head, pending := at.Extent().Head, at.Extent().Pending
	older := f.version == "" && (s.Version().Number != head || len(pending) > 0)
	if a.json {
		fmt.Fprintf(a.out, "%s\n", list)
		if older {
			a.line("answered", answeredView{s.Version().Number, head, pending, p.Above})
		}
		return nil
	}
	for _, line := range aligned(r, 80) {
		a.say("%s", line)
	}
	a.say("%s; version %d", countOf(int64(len(r.Rows)), "row", "rows"), s.Version().Number)
	if older {
		a.say("NOT the newest version: the head of the log is %d", head)
		for _, v := range pending {
			a.text("  ", fmt.Sprintf("version %d above it is named and not in the log: another log store may have acknowledged it", v.Number))
		}
		a.above(p.Above)
	}
	return nil
}

// everyRow are a table's rows as query results have them.
func everyRow(ctx context.Context, t query.Table) (query.Result, error) {
	return duckdb.Engine{}.Query(ctx, map[string]query.Table{"t": t}, "SELECT * FROM t")
}

// answeredView says from which version an answer is, where that is not the newest that
// the log names and nobody asked for it.
type answeredView struct {
	Version int64           `json:"version"`
	Head    int64           `json:"head"`
	Pending []table.Version `json:"pending,omitempty"` // above the head, and not in the log
	Above   []table.Above   `json:"above,omitempty"`
}

// aligned lays an answer out in columns, numbers to the right, in no more than
// width cells: what is too wide is cut, and where there are too many columns for
// that each row becomes a block of lines.
func aligned(r query.Result, width int) []string {
	const gap, least = 2, 4
	names := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		names[i] = oneLine(c.Name)
	}
	texts := make([][]string, len(r.Rows))
	widths := make([]int, len(names))
	for i, n := range names {
		widths[i] = ansi.StringWidth(n)
	}
	right := make([]bool, len(names))
	for n, row := range r.Rows {
		texts[n] = make([]string, len(row))
		for i, v := range row {
			texts[n][i] = plainText(v)
			widths[i] = max(widths[i], ansi.StringWidth(texts[n][i]))
			right[i] = right[i] || len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9')
		}
	}
	if len(names)*(least+gap)-gap > width {
		return blocks(names, texts, width)
	}
	total := func() (sum int) {
		for _, w := range widths {
			sum += w + gap
		}
		return sum - gap
	}
	for total() > width { // the widest gives way
		widths[slices.Index(widths, slices.Max(widths))]--
	}
	line := func(cells []string) string {
		var b strings.Builder
		for i, c := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			c = ansi.Truncate(c, widths[i], "…")
			pad := strings.Repeat(" ", widths[i]-ansi.StringWidth(c))
			if right[i] {
				c, pad = pad, c
			}
			b.WriteString(c + pad)
		}
		return strings.TrimRight(b.String(), " ")
	}
	out := []string{line(names)}
	var rule []string
	for _, w := range widths {
		rule = append(rule, strings.Repeat("-", w))
	}
	out = append(out, strings.Join(rule, "  "))
	for _, row := range texts {
		out = append(out, line(row))
	}
	return out
}

func blocks(names []string, texts [][]string, width int) (out []string) {
	for n, row := range texts {
		out = append(out, fmt.Sprintf("row %d", n+1))
		for i, v := range row {
			out = append(out, ansi.Truncate(fmt.Sprintf("  %s: %s", names[i], v), width, "…"))
		}
	}
	return out
}

// plainText is a value as people read it: text without its quotes.
func plainText(v json.RawMessage) string {
	var s string
	if len(v) > 0 && v[0] == '"' && json.Unmarshal(v, &s) == nil {
		return oneLine(s)
	}
	return oneLine(string(v))
}

// oneLine shows what a terminal would obey.
func oneLine(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
