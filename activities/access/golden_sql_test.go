package access

import (
	"fmt"
	"strings"
	"testing"

	"breakwater/internal/estate"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/verdict"
	"breakwater/lab/world"
)

// The estate's queries are asked of the promoted tables at the versions of the
// cut, and only what they select decides; a query that cannot be answered says
// nothing of the table.
func TestGoldenSQL(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	l.Do("group.recovery-point", "orders")
	for _, name := range []string{"orders", "payments"} {
		r, _ := l.Do("table.promote", name)
		l.Verified("table.promote", r, verdict.Pass)
	}
	p, _, _ := l.Point("orders").Table("orders")
	n := l.Truth["orders"][p.Version].Rows
	d := l.Recorded("access.golden-queries")
	row := func(format string, args ...any) []string { return []string{fmt.Sprintf(format, args...)} }
	for name, tc := range map[string]struct {
		query  estate.Query
		engine bool
		want   verdict.Verdict
		says   string
	}{
		"golden":             {estate.Query{Golden: "SELECT count(*), 'x' FROM orders", Answer: row(`[%d, "x"]`, n)}, true, verdict.Pass, ""},
		"in any order":       {estate.Query{Golden: "SELECT * FROM (VALUES (1), (2)) v", Answer: []string{"[2]", "[1]"}}, true, verdict.Pass, ""},
		"another answer":     {estate.Query{Golden: "SELECT count(*) FROM orders", Answer: row("[%d]", n+1)}, true, verdict.Fail, fmt.Sprintf("[%d]", n)},
		"a row too many":     {estate.Query{Golden: "SELECT * FROM (VALUES (1), (1)) v", Answer: []string{"[1]"}}, true, verdict.Fail, "[1] [1]"},
		"quality":            {estate.Query{Quality: "SELECT o.id FROM orders o JOIN payments p ON o.id = p.id WHERE o.id < 0"}, true, verdict.Pass, ""},
		"quality broken":     {estate.Query{Quality: "SELECT id FROM orders"}, true, verdict.Fail, fmt.Sprintf("%d rows that must not be", n)},
		"wrong SQL":          {estate.Query{Quality: "SELECT nope FROM orders"}, true, verdict.Unknown, "nope"},
		"a table not ours":   {estate.Query{Quality: "SELECT 1 FROM clicks"}, true, verdict.Unknown, "clicks"},
		"no engine":          {estate.Query{Quality: "SELECT 1 FROM orders"}, false, verdict.Unknown, "no query engine"},
		"a file is no table": {estate.Query{Quality: "SELECT * FROM read_text('/etc/hostname')"}, true, verdict.Unknown, "no file"},
	} {
		t.Run(name, func(t *testing.T) {
			l.Systems.Engine = nil
			if tc.engine {
				l.Systems.Engine = duckdb.Engine{}
			}
			tc.query.Query = "q"
			decl, _, _ := l.Estate.Table("orders")
			decl.Queries = []estate.Query{tc.query}
			obs, err := d.Verify(t.Context(), l.Request(d, "orders"), nil)
			if err != nil {
				t.Fatal(err)
			}
			o := obs[len(obs)-1]
			if !strings.Contains(o.What, "query \"q\"") || o.Verdict != tc.want || !strings.Contains(o.Got, tc.says) {
				t.Errorf("%+v, want %s and %q", o, tc.want, tc.says)
			}
		})
	}
}
