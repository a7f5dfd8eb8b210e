package lineage_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/estate"
	"breakwater/internal/lineage"
)

var begin = time.Date(2026, 11, 1, 1, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }

// all settles everything as it is reached.
func all(_ lineage.Node, since time.Time) (lineage.Held, bool) {
	return lineage.Held{Since: since}, true
}

func words(reached []lineage.Reached) []string {
	var all []string
	for _, r := range reached {
		var by []string
		for _, e := range r.By {
			by = append(by, e.Says)
		}
		all = append(all, fmt.Sprintf("%s since %d: %s", r.Node, int(r.Since.Sub(begin).Minutes()), strings.Join(slices.Compact(by), "; ")))
	}
	return all
}

func TestReachAsTheEstateSays(t *testing.T) {
	e := example(t)
	g := lineage.OfEstate(e)
	got := words(g.Reach(map[lineage.Node]lineage.Held{topic("payments.events"): {Since: at(3)}}, all))
	want := []string{
		"consumer group ledger-writer since 3: the estate says that it reads payments.events",
		"pipeline settle since 3: the estate says that it reads table payments",
		"table payments since 3: the estate says that consumer group ledger-writer writes it",
		"table refunds since 3: the estate says that pipeline settle writes it",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// What is known to hold nothing carries nothing on.
	got = words(g.Reach(map[lineage.Node]lineage.Held{topic("payments.events"): {Since: at(3)}}, func(n lineage.Node, since time.Time) (lineage.Held, bool) {
		return lineage.Held{Since: since}, n != table("payments")
	}))
	if diff := cmp.Diff(want[:1], got); diff != "" {
		t.Error(diff)
	}
}

func TestReachByRuns(t *testing.T) {
	e := example(t)
	events, err := lineage.ReadEvents(file(t, "spark.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	v := func(n int64) *int64 { return &n }
	reach := func(h lineage.Held, pipelines map[string]lineage.Node) []string {
		g := &lineage.Graph{}
		g.Runs(events, lineage.PlacesOf(e), pipelines)
		return words(g.Reach(map[lineage.Node]lineage.Held{table("payments"): h}, all))
	}
	want := []string{
		"dataset s3://elsewhere/scores since 5: an OpenLineage event says that job spark/fraud.score wrote it",
		"job dbt/marts.daily since 5: an OpenLineage event says that it read dataset s3://elsewhere/scores",
		"job spark/fraud.score since 5: an OpenLineage event says that it read table payments; an OpenLineage event says that it read topic payments.events", // a cycle
		"table refunds since 5: an OpenLineage event says that job spark/fraud.score wrote it",
		"topic payments.events since 5: an OpenLineage event says that job dbt/marts.daily wrote it",
	}
	if diff := cmp.Diff(want, reach(lineage.Held{Since: at(4), First: v(7)}, nil)); diff != "" {
		t.Errorf("a job that the estate does not know, which began before the fault was there and read it: %s", diff)
	}
	if diff := cmp.Diff(want, reach(lineage.Held{Since: at(4)}, nil)); diff != "" {
		t.Errorf("without versions: %s", diff)
	}
	for name, h := range map[string]lineage.Held{
		"the version that it read is older":                       {Since: at(4), First: v(8)},
		"the version that it read is newer than the last bad one": {Since: at(4), First: v(5), Last: v(6)},
	} {
		if got := reach(h, nil); got != nil {
			t.Errorf("%s, and it reaches %q", name, got)
		}
	}
	if got := reach(lineage.Held{Since: at(6)}, nil); got != nil {
		t.Errorf("it was over before the fault, and reaches %q", got)
	}
	pipelines := map[string]lineage.Node{"fraud.score": {Kind: estate.PipelineKind, Name: "score"}}
	if got := reach(lineage.Held{Since: at(4)}, pipelines); !strings.Contains(strings.Join(got, "\n"), "pipeline score since 5: an OpenLineage event says that it read table payments;") {
		t.Errorf("a pipeline of the estate goes by another name: %q", got)
	}
}

// Each round holds the walk against a fixpoint that knows nothing of order.
func TestReachIsTheFixpoint(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		const nodes = 12
		node := func(i int) lineage.Node { return table(string(rune('a' + i))) }
		g := &lineage.Graph{}
		var edges []lineage.Edge
		for range r.IntN(30) {
			e := lineage.Edge{From: node(r.IntN(nodes)), To: node(r.IntN(nodes)), Says: "x"}
			if r.IntN(2) == 0 {
				e.At = at(r.IntN(20))
			}
			edges = append(edges, e)
		}
		g.Add(edges...)
		clean := node(r.IntN(nodes))
		start := map[lineage.Node]lineage.Held{node(r.IntN(nodes)): {Since: at(r.IntN(20))}}
		want := map[lineage.Node]time.Time{}
		for n, h := range start {
			want[n] = h.Since
		}
		for range edges {
			for _, e := range edges {
				since, ok := want[e.From]
				if _, is := start[e.To]; !ok || is || e.To == clean || !e.At.IsZero() && e.At.Before(since) {
					continue
				}
				if e.At.After(since) {
					since = e.At
				}
				if have, ok := want[e.To]; !ok || since.Before(have) {
					want[e.To] = since
				}
			}
		}
		for n := range start {
			delete(want, n)
		}
		got := map[lineage.Node]time.Time{}
		for _, x := range g.Reach(start, func(n lineage.Node, since time.Time) (lineage.Held, bool) {
			return lineage.Held{Since: since}, n != clean
		}) {
			got[x.Node] = x.Since
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

func TestOrder(t *testing.T) {
	g := &lineage.Graph{}
	link := func(names ...string) {
		for i := range names[1:] {
			g.Add(lineage.Edge{From: table(names[i]), To: table(names[i+1])})
		}
	}
	link("raw", "x1", "clean", "x2", "mart")
	link("clean", "x3", "side")
	link("loop1", "x4", "loop2", "x5", "loop1")
	link("side", "loop1")
	var got []string
	for _, step := range g.Order([]lineage.Node{table("mart"), table("loop2"), table("side"), table("raw"), table("loop1"), table("clean"), table("alone")}) {
		var names []string
		for _, n := range step {
			names = append(names, n.Name)
		}
		got = append(got, strings.Join(names, "+"))
	}
	before := func(a, b string) {
		t.Helper()
		if i, j := slices.Index(got, a), slices.Index(got, b); i < 0 || j < 0 || i >= j {
			t.Errorf("%q; want %s before %s", got, a, b)
		}
	}
	before("raw", "clean")
	before("clean", "mart")
	before("clean", "side")
	before("side", "loop1+loop2")
	if len(got) != 6 || !slices.Contains(got, "alone") {
		t.Errorf("%q; want six steps, a cycle in one", got)
	}
}
