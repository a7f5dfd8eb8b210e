package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/lineage"
	"breakwater/internal/reach"
	"breakwater/internal/table"

	"golang.org/x/sync/errgroup"
)

// trace is one look at all traces of what read the bad versions of a group's tables.
type trace struct {
	room
	c      action.Call[blastWith]
	region string                         // whose copies of the tables hold the fault
	from   map[lineage.Node]lineage.Held  // what holds the fault, a clock's difference earlier than it is said
	since  time.Time                      // the earliest of these
	graph  *lineage.Graph                 // all traces together
	tables map[string]*logged             // what was committed to each table since
	groups map[string]map[string][]string // by consumer group and region, what its brokers show
	unread bool                           // whether what no trace shows holds the fault
	asked  bool                           // whether all brokers told of their groups
	radius lineage.Radius

	mu     sync.Mutex // of radius and missed, while traces are read side by side
	missed []missed
}

// missed is a source of traces that could not be read.
type missed struct {
	lineage.Source
	region string
	err    error
}

// logged is what a table's log shows since the fault.
type logged struct {
	site    lake.Table
	extent  table.Extent
	commits []brought // in order
	err     error     // why it shows nothing
}

// brought is what a commit to a table says of the fault.
type brought struct {
	number int64
	at     time.Time
	rows   bool // it adds or removes some
	apps   []string
	from   []lineage.Mention // what it names as its source
}

// atOnce is how many tables or objects are read side by side.
const atOnce = 4 * action.AtOnce

// What holds the fault where no trace can be read: a plan goes by what the estate says
// then, and a look finds missing only what a trace shows.
const (
	assumed = true
	shown   = false
)

// trace looks at all traces. What could not be read is in it, and no error. Whether it
// holds the fault, which nothing shows, is as assumed.
func (s room) trace(ctx context.Context, c action.Call[blastWith], unread bool) (*trace, error) {
	t := &trace{room: s, c: c, unread: unread, graph: lineage.OfEstate(c.Estate), tables: map[string]*logged{}, groups: map[string]map[string][]string{}, from: map[lineage.Node]lineage.Held{}}
	var err error
	if t.region, err = lake.RegionFor(c.Run, c.Estate, c.With.Region); err != nil {
		return t, err
	}
	t.radius = lineage.Radius{Group: c.Item.Name, Region: t.region, Items: []lineage.Item{}, Read: []lineage.Source{}, Unread: []lineage.Source{}}
	if err := t.origins(ctx); err != nil {
		return t, err
	}
	t.logs(ctx)
	t.events(ctx)
	t.brokers(ctx)
	t.items()
	t.copies(ctx)
	t.backups(ctx)
	t.radius.Items = lineage.Sorted(t.radius.Items)
	if err := lineage.Decide(t.radius.Items, c.With.Decide); err != nil {
		return t, fmt.Errorf("%w: read decide: %w", action.ErrRefused, err)
	}
	byName := func(a, b lineage.Source) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(t.radius.Read, byName)
	slices.SortFunc(t.missed, func(a, b missed) int { return byName(a.Source, b.Source) })
	for _, m := range t.missed {
		t.radius.Unread = append(t.radius.Unread, m.Source)
	}
	return t, ctx.Err()
}

// read notes that a source of traces was read.
func (t *trace) read(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.radius.Read = append(t.radius.Read, lineage.Source{Name: fmt.Sprintf(format, args...)})
}

// miss notes a source that could not be read. The plan is a function of the world, so it
// has no words of a server that did not answer.
func (t *trace) miss(region string, err error, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := missed{lineage.Source{Name: fmt.Sprintf(format, args...), Why: err.Error()}, region, err}
	if reach.Unreachable(err) {
		m.Why = "it does not answer"
	}
	t.missed = append(t.missed, m)
}

// logs reads what was committed to every table of the estate since the fault.
func (t *trace) logs(ctx context.Context) {
	items := t.c.Estate.Items(estate.TableKind, estate.Filter{})
	places := lineage.PlacesOf(t.c.Estate)
	all := make([]*logged, len(items))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, item := range items {
		g.Go(func() error {
			all[i] = t.log(ctx, item.Name, places)
			t.c.Progress(int64(i), int64(len(items)), "reading the log of table "+item.Name)
			return nil
		})
	}
	_ = g.Wait() // what could not be read is noted
	read := 0
	for i, item := range items {
		w := all[i]
		t.tables[item.Name] = w
		if w.err != nil {
			t.miss(t.region, w.err, "commits of table %s in %s", item.Name, t.region)
			continue
		}
		read++
		to := lineage.Node{Kind: estate.TableKind, Name: item.Name}
		for _, c := range w.commits {
			for _, m := range c.from {
				t.graph.Add(lineage.Edge{From: m.Node, To: to, Says: fmt.Sprintf("a commit of it names %s as its source", m.Node), At: c.at, Version: m.Version})
			}
		}
	}
	if read > 0 {
		t.read("commits of tables in %s", t.region)
	}
}

// named is the table of that name.
func (t *trace) named(name string) (lineage.Node, bool) {
	_, _, ok := t.c.Estate.Table(name)
	return lineage.Node{Kind: estate.TableKind, Name: name}, ok
}

// log reads a table's commits since the fault.
func (t *trace) log(ctx context.Context, name string, places lineage.Places) *logged {
	w := &logged{}
	if w.site, w.err = t.lake.Table(ctx, t.c.Estate, t.region, name); w.err != nil {
		return w
	}
	var l table.Table
	if l, w.err = w.site.Open(ctx); w.err != nil {
		return w
	}
	w.extent = l.Extent()
	var all []table.Commit
	if all, w.err = commitsSince(ctx, l, t.since); w.err != nil {
		return w
	}
	for _, c := range slices.Backward(all) { // of whose words there may be very many
		w.commits = append(w.commits, brought{c.Version.Number, c.Version.Time, c.Rows != 0 || c.Removed > 0, c.Apps, lineage.Mentions(c.Info, places, t.named)})
	}
	if len(all) > 0 && w.commits[0].number > 0 && len(all) == count(w.extent.Committed) {
		w.err = fmt.Errorf("its log begins with version %d, which is later than the fault: what was committed before is not known", w.commits[0].number)
	}
	return w
}

// commitsSince reads the commits of a table that are not older than a time, the newest
// first. It reads ever more at once, until there is an older one: a table that rests
// costs one.
func commitsSince(ctx context.Context, l table.Table, since time.Time) ([]table.Commit, error) {
	var left []int64
	for _, r := range l.Extent().Committed {
		for v := r.First; v <= r.Last; v++ {
			left = append(left, v)
		}
	}
	var all []table.Commit
	for n := 1; len(left) > 0; n *= 2 {
		from := max(0, len(left)-n)
		some := make([]table.Commit, len(left)-from)
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(action.AtOnce / 2)
		for i, v := range left[from:] {
			g.Go(func() (err error) {
				some[i], err = l.Commit(gctx, v)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		left = left[:from]
		for _, c := range slices.Backward(some) {
			if c.Version.From != table.None && c.Version.Time.Before(since) {
				left = nil
			} else {
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// count is how many versions there are in some runs.
func count(all []table.Range) (n int) {
	for _, r := range all {
		n += int(r.Last - r.First + 1)
	}
	return n
}

// firstSince is the first commit to a table that can have brought the fault which comes
// to it at a time: one that adds or removes rows.
func (w *logged) firstSince(since time.Time) (brought, bool) {
	i := slices.IndexFunc(w.commits, func(c brought) bool { return c.rows && (c.at.IsZero() || !c.at.Before(since)) })
	if i < 0 {
		return brought{}, false
	}
	return w.commits[i], true
}

// settle says since when and where something holds the fault that comes to it, by what is
// known of it: a table that nobody wrote to since holds none of it, and neither does a
// consumer group that has read nothing since.
func (t *trace) settle(n lineage.Node, since time.Time) (lineage.Held, bool) {
	h := lineage.Held{Since: since}
	switch n.Kind {
	case estate.TableKind:
		w := t.tables[n.Name]
		if w == nil || w.err != nil {
			return h, t.unread
		}
		c, ok := w.firstSince(since)
		if ok {
			h.First = &c.number
			if c.at.After(since) {
				h.Since = c.at
			}
		}
		return h, ok
	case estate.ConsumerGroupKind:
		return h, t.groups[n.Name] != nil || !t.asked && t.unread
	}
	return h, true
}

var errNoOrigin = errors.New("nothing says which of its tables hold the fault: find their last good version with table.last-good in an earlier stage, or give bad and bad_since")
