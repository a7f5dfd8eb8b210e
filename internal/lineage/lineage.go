// Package lineage says what follows from a fault in some tables or topics: what was made
// of them, by whom, and since when. It is pure: the traces are read elsewhere, by package
// system's clients, and come in as [Edge]s.
//
// A trace says that one thing went into another: the estate's own word, a run that an
// engine reported ([ReadEvents]), what a commit says of where its rows come from
// ([Mentions]), or a consumer group's commits. Some say when, or which version was read;
// those carry a fault only from then on.
package lineage

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/estate"
)

// The kinds of node beside those of an estate.
const (
	JobKind     estate.Kind = "job"     // what OpenLineage knows, and the estate does not
	DatasetKind estate.Kind = "dataset" // the same, of what is read and written
	runKind     estate.Kind = "run"     // one run of a job: it carries a fault on, and its job is what people know
)

// Node is what can hold a fault, or carry it on.
type Node struct {
	Kind estate.Kind
	Name string
}

// String names the node for people.
func (n Node) String() string {
	return strings.ReplaceAll(string(n.Kind), "-", " ") + " " + n.Name
}

// Compare orders nodes by kind, then name.
func (n Node) Compare(o Node) int {
	return cmp.Or(cmp.Compare(n.Kind, o.Kind), cmp.Compare(n.Name, o.Name))
}

// Edge is a trace: what is in From went into To.
type Edge struct {
	From, To Node
	Says     string    // who says so, for people: one clause without a time
	At       time.Time // when it was read or written at the latest; zero where it is always so
	Version  *int64    // which version of From was read, where that is known
}

// Held is since when something holds a fault, and in which versions.
type Held struct {
	Since       time.Time
	First, Last *int64 // of a table; nil where not known. Without Last up to its newest
}

// carries reports whether the fault goes over an edge, and since when.
func (h Held) carries(e Edge) (since time.Time, ok bool) {
	switch {
	case e.Version != nil && h.First != nil:
		ok = *e.Version >= *h.First && (h.Last == nil || *e.Version <= *h.Last)
	case e.At.IsZero():
		ok = true
	default:
		ok = !e.At.Before(h.Since)
	}
	if e.At.After(h.Since) {
		return e.At, ok
	}
	return h.Since, ok
}

// Graph is all traces together. The zero Graph is empty.
type Graph struct {
	out  map[Node][]Edge
	seen map[edgeKey]bool
}

// edgeKey is an edge as it can be compared.
type edgeKey struct {
	from, to      Node
	says, version string
	at            int64
}

func (e Edge) key() edgeKey {
	k := edgeKey{from: e.From, to: e.To, says: e.Says, at: e.At.UnixNano()}
	if e.Version != nil {
		k.version = strconv.FormatInt(*e.Version, 10)
	}
	return k
}

// Add adds traces. The same one again is nothing new.
func (g *Graph) Add(all ...Edge) {
	if g.out == nil {
		g.out, g.seen = map[Node][]Edge{}, map[edgeKey]bool{}
	}
	for _, e := range all {
		if k := e.key(); e.From != e.To && !g.seen[k] {
			g.out[e.From], g.seen[k] = append(g.out[e.From], e), true
		}
	}
}

// Reached is something that the fault reached.
type Reached struct {
	Node
	Held
	By []Edge // the traces by which; of a job those by which its runs were reached
}

// Settle says what of a node holds the fault that reaches it at a time, and false where
// it is known to hold none of it. It is asked once for each node, the earliest first.
type Settle func(n Node, since time.Time) (Held, bool)

// Reach follows a fault from where it is to everything that it reaches, ordered by kind
// and name. What it starts from is not among it, also where a cycle leads back there.
func (g *Graph) Reach(from map[Node]Held, settle Settle) []Reached {
	type state struct {
		Reached
		settled, clean bool
	}
	found := map[Node]*state{}
	var next queue
	visit := func(n Node, h Held) {
		for _, e := range g.out[n] {
			since, ok := h.carries(e)
			if _, start := from[e.To]; start || !ok {
				continue
			}
			if found[e.To] == nil {
				found[e.To] = &state{Reached: Reached{Node: e.To}}
			}
			found[e.To].By = append(found[e.To].By, e)
			heap.Push(&next, due{e.To, since})
		}
	}
	for _, n := range slices.SortedFunc(maps.Keys(from), Node.Compare) {
		visit(n, from[n])
	}
	for next.Len() > 0 {
		d, _ := heap.Pop(&next).(due)
		s := found[d.Node]
		if s.settled {
			continue
		}
		h, holds := settle(d.Node, d.since)
		s.settled, s.clean, s.Held = true, !holds, h
		if holds {
			visit(d.Node, h)
		}
	}
	var all []Reached
	for _, n := range slices.SortedFunc(maps.Keys(found), Node.Compare) {
		s := found[n]
		if s.clean || n.Kind == runKind {
			continue
		}
		var by []Edge
		for _, e := range s.By {
			if e.From.Kind == runKind && e.Says == "" {
				by = append(by, found[e.From].By...)
			} else {
				by = append(by, e)
			}
		}
		slices.SortFunc(by, Edge.compare)
		s.By = by
		all = append(all, s.Reached)
	}
	return all
}

func (e Edge) compare(o Edge) int {
	return cmp.Or(e.From.Compare(o.From), cmp.Compare(e.Says, o.Says), e.At.Compare(o.At))
}

// Order sorts nodes so that each comes after all that goes into it, through whatever is
// in between. Nodes that go into each other come in one step, by kind and name.
func (g *Graph) Order(nodes []Node) [][]Node {
	t := tarjan{g: g, index: map[Node]int{}, low: map[Node]int{}, on: map[Node]bool{}}
	for _, n := range slices.SortedFunc(slices.Values(nodes), Node.Compare) {
		if t.index[n] == 0 {
			t.visit(n)
		}
	}
	slices.Reverse(t.steps)
	var all [][]Node
	for _, step := range t.steps {
		step = slices.DeleteFunc(step, func(n Node) bool { return !slices.Contains(nodes, n) })
		if len(step) > 0 {
			slices.SortFunc(step, Node.Compare)
			all = append(all, step)
		}
	}
	return all
}

// tarjan finds what goes into each other, what comes last first.
type tarjan struct {
	g          *Graph
	index, low map[Node]int
	on         map[Node]bool
	stack      []Node
	steps      [][]Node
}

func (t *tarjan) visit(n Node) {
	t.index[n] = len(t.index) + 1
	t.low[n] = t.index[n]
	t.stack, t.on[n] = append(t.stack, n), true
	for _, e := range t.g.out[n] {
		if t.index[e.To] == 0 {
			t.visit(e.To)
			t.low[n] = min(t.low[n], t.low[e.To])
		} else if t.on[e.To] {
			t.low[n] = min(t.low[n], t.index[e.To])
		}
	}
	if t.low[n] < t.index[n] {
		return
	}
	at := slices.Index(t.stack, n)
	step := slices.Clone(t.stack[at:])
	t.stack = t.stack[:at]
	for _, m := range step {
		t.on[m] = false
	}
	t.steps = append(t.steps, step)
}

// due is a node that a fault reaches at a time.
type due struct {
	Node
	since time.Time
}

type queue []due

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(q[i].since.Compare(q[j].since), q[i].Compare(q[j].Node)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is heap.Interface's.
func (q *queue) Push(x any) {
	if d, ok := x.(due); ok {
		*q = append(*q, d)
	}
}

// Pop is heap.Interface's.
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
