package table

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/system"
	"breakwater/internal/table/lastgood"
	"breakwater/lab/world"
)

// TestLastGoodOfTenThousandVersions: without any checkpoint each version is a replay of
// all commits before it, and yet each of them is fetched once.
func TestLastGoodOfTenThousandVersions(t *testing.T) {
	t.Parallel()
	const versions, bad = 10_000, 7321
	s, server := inMemory(t, false)
	s.write(2, 0)
	file := s.dataOf(2) // it comes and goes: what is bad of it is that it is there
	add := ""
	body, _, err := s.bucket.Get(t.Context(), s.entry(2))
	s.must(err)
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, `{"add":`) {
			add = strings.TrimSpace(line)
		}
	}
	for v := 3; v < versions; v++ {
		lines := []string{fmt.Sprintf(`{"commitInfo":{"timestamp":%d,"operation":"WRITE"}}`, 1795238390000+v)}
		switch v {
		case 3:
			lines = append(lines, fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true}}`, strings.TrimPrefix(file, s.path+"/")))
		case bad:
			lines = append(lines, add)
		}
		s.commit(v, lines...)
	}
	asked := &counted{Engine: duckdb.Engine{}}
	_, r := s.action("table.rollback")
	r.Records = &world.Kept{}
	r.Estate.Groups[0].Tables[0].Queries = []estate.Query{{Query: "few", Quality: "SELECT 1 FROM orders HAVING count(*) > 3"}}
	c := action.NewCatalogue()
	room{systems: &system.Systems{Engine: asked}, lake: lake.New(s)}.lastGoodActions(c)
	d, _ := c.Get("table.last-good")
	gets, stop := server.counting()
	began := time.Now()
	ch, err := d.Plan(t.Context(), r, json.RawMessage(`{"query":"few","scan":4}`))
	s.must(err)
	stop()
	f, err := action.Decode[lastgood.Found](ch.Data)
	s.must(err)
	t.Logf("%d questions, %v", asked.n, time.Since(began))
	if f.Good.Number != bad-1 || f.Bad.Number != bad || f.Of != versions || f.Times != asked.n {
		t.Errorf("%+v", f)
	}
	if most := 16 + 4; asked.n > most { // 14 halvings, both ends, and the scan
		t.Errorf("asked %d times, at most %d", asked.n, most)
	}
	for key, n := range gets {
		if strings.HasSuffix(key, ".json") && n > 1 {
			t.Fatalf("%s was fetched %d times", key, n)
		}
	}
}
