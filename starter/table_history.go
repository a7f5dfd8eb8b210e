package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"breakwater/internal/reach"
	"breakwater/internal/table"

	"github.com/spf13/cobra"
)

// commitView is one line of `table history`, as JSON has it.
type commitView struct {
	Version   int64            `json:"version"`
	Timestamp time.Time        `json:"timestamp,omitzero"` // as the protocol's readers date it
	From      table.TimeSource `json:"timestamp_from,omitempty"`
	Committed time.Time        `json:"committed,omitzero"` // by the clock of who committed
	Operation string           `json:"operation,omitempty"`
	Rows      *int64           `json:"rows"` // that it brought; null where unknown
	Removed   int              `json:"files_removed"`
	Readable  *bool            `json:"readable,omitempty"`
	Fault     string           `json:"fault,omitempty"`
	Info      json.RawMessage  `json:"commit_info,omitempty"`
}

func (a *app) tableHistoryCommand() *cobra.Command {
	var f tableFlags
	var limit int
	var readable bool
	c := &cobra.Command{
		Use: "history LOCATION", Short: "List a table's commits, the newest first",
		Long: `Lists the commits that the log still has, the newest first: when, what, and how
many rows it brought. A gap in the log is said where it is.

The time is that by which --at chooses: in-commit, or of the log's file. A copy
of the table changes the latter; "committed" in --json is the clock of whoever
committed, and does not change. With --readable it says of each version whether
time travel still finds all its files.`,
		Example: `  breakwater table history s3://standby-lake/orders
  breakwater table history /backup/lake/orders --limit 0 --readable --json`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if limit < 0 {
				return wrong(errUsage, "", "--limit %d: give how many commits, or 0 for all", limit)
			}
			return a.tableHistory(c, args[0], f, limit, readable)
		},
	}
	f.reach(c)
	c.Flags().IntVar(&limit, "limit", 20, "how many commits, the newest; 0 for all")
	c.Flags().BoolVar(&readable, "readable", false, "say of each version whether all its files are there")
	return c
}

func (a *app) tableHistory(c *cobra.Command, where string, f tableFlags, limit int, readable bool) error {
	ctx := c.Context()
	l, err := f.open(ctx, where)
	if err != nil {
		return err
	}
	times, err := l.Times(ctx)
	if err != nil {
		return refusal(err)
	}
	states := map[int64]table.State{}
	if readable {
		i, err := l.inspector()
		if err != nil {
			return err
		}
		for s, err := range i.States(ctx) {
			if err != nil {
				return refusal(err)
			}
			states[s.Version.Number] = s
		}
	}
	var versions []int64
	for _, r := range l.Extent().Committed {
		for v := r.First; v <= r.Last; v++ {
			versions = append(versions, v)
		}
	}
	all := len(versions)
	if limit > 0 && all > limit {
		versions = versions[all-limit:]
	}
	gaps := map[int64]table.Range{} // by the version above
	for _, g := range l.Extent().Gaps {
		gaps[g.Last+1] = g
	}
	a.say("%s", l.root)
	for _, v := range slices.Backward(versions) {
		e := commitView{Version: v}
		if t, ok := times.Of(v); ok {
			e.Timestamp, e.From = t.Time, t.From
		}
		commit, err := l.Commit(ctx, v)
		switch {
		case err != nil && !brokenLog(err):
			return refusal(err)
		case err != nil:
			e.Fault = err.Error()
		default:
			e.Operation, e.Removed, e.Info, e.Committed = commit.Operation, commit.Removed, commit.Info, commit.Committed
			if commit.Rows >= 0 {
				e.Rows = &commit.Rows
			}
		}
		if s, ok := states[v]; ok {
			can := s.Complete()
			e.Readable = &can
		}
		a.showCommit(e)
		if g, ok := gaps[v]; ok {
			a.say("  %-8s no log entry is there", g)
		}
	}
	if all == 0 {
		a.say("  no commit is in the log; checkpoints alone give %s", ranges(l.Extent().Readable))
	}
	if len(versions) < all {
		a.say("  %s below; --limit 0 shows all", countOf(int64(all-len(versions)), "commit", "commits"))
	}
	for _, w := range times.Warnings {
		a.text("  warning: ", w)
	}
	return nil
}

// brokenLog reports whether an error says that an object of the log is gone or
// unreadable, rather than that it was not answered.
func brokenLog(err error) bool {
	return !reach.Unreachable(err) && (errors.Is(err, table.ErrBroken) || errors.Is(err, fs.ErrNotExist))
}

func (a *app) showCommit(e commitView) {
	if a.json {
		a.line("commit", e)
		return
	}
	if e.Fault != "" {
		a.text(fmt.Sprintf("  %-8d ", e.Version), e.Fault)
		return
	}
	rows := ""
	if e.Rows != nil && *e.Rows > 0 {
		rows = "+" + countOf(*e.Rows, "row", "rows")
	}
	if e.Readable != nil && !*e.Readable {
		rows += "  NOT READABLE"
	}
	a.say("  %-8d %s  %-11s  %-22.22s %s", e.Version, e.Timestamp.UTC().Format("2006-01-02T15:04:05Z"), e.From, e.Operation, rows)
}
