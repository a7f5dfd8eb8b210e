package duckdb_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"breakwater/internal/query"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"
)

// TestSpeed compares queries over 1,000,000 rows with DuckDB's own reader on the
// same Parquet files, in one run. It runs in make bench alone.
func TestSpeed(t *testing.T) {
	if os.Getenv("BREAKWATER_BENCH") == "" {
		return
	}
	const all, files = 1_000_000, 10
	s := &tabletest.Store{}
	root := table.Root{Bucket: "lake", Prefix: "t"}
	tab, err := write.Create(t.Context(), s, root, []write.Column{
		{Name: "id", Type: write.Int64}, {Name: "region", Type: write.String}, {Name: "amount", Type: write.Float64}, {Name: "placed", Type: write.Timestamp},
	}, write.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for f := range files {
		batch := make([]write.Row, 0, all/files)
		for i := range all / files {
			id := int64(f*all/files + i)
			batch = append(batch, write.Row{id, fmt.Sprintf("region %d", id%50), float64(id%1000) / 4, time.UnixMicro(1_700_000_000_000_000 + id)})
		}
		if _, err := tab.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	l, err := delta.Open(t.Context(), s, root)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := l.Snapshot(t.Context(), l.Head())
	if err != nil {
		t.Fatal(err)
	}
	content, err := rows.Of(s, snap)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for a := range snap.Files() {
		_, key := a.File()
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(key)), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("duckdb", "?threads=2")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("CREATE VIEW t AS SELECT * FROM read_parquet('%s/*.parquet')", dir)); err != nil {
		t.Fatal(err)
	}
	median := func(f func() error) time.Duration {
		var took []time.Duration
		for range 5 {
			began := time.Now()
			if err := f(); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	for _, q := range []string{
		"SELECT count(*) FROM t",
		"SELECT sum(id), sum(amount) FROM t",
		"SELECT region, count(*), sum(amount) FROM t GROUP BY region",
		"SELECT count(DISTINCT region), min(placed), max(placed), sum(id), sum(amount) FROM t",
	} {
		ours := median(func() error {
			_, err := duckdb.Engine{}.Query(t.Context(), map[string]query.Table{"t": content}, q)
			return err
		})
		theirs := median(func() error {
			r, err := db.QueryContext(t.Context(), q)
			if err != nil {
				return err
			}
			for r.Next() {
				continue
			}
			return r.Close()
		})
		t.Logf("%-80s %8v, read_parquet %8v: %.1f times", q, ours.Round(time.Millisecond), theirs.Round(time.Millisecond), ours.Seconds()/theirs.Seconds())
	}
	read := median(func() error {
		r, err := content.Read(t.Context(), nil)
		if err != nil {
			return err
		}
		defer r.Release()
		for r.Next() {
			continue
		}
		return r.Err()
	})
	t.Logf("reading all columns as Arrow batches alone: %v", read.Round(time.Millisecond))
}
