package tabletest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"testing"
	"time"

	"breakwater/internal/promise"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"
)

// deltas is Delta Lake, to break what a toy cannot do.
type deltas struct{ port.Format }

// destroyer promotes by writing over what is later.
type destroyer struct{ deltas }

func (d destroyer) Promote(ctx context.Context, s table.Site, plan json.RawMessage, w table.Work) (int64, error) {
	n, err := d.Format.Promote(ctx, s, plan, w)
	store, ok := s.Store.(*tabletest.Store)
	for o, lost := range store.ListVersions(ctx, d.Log(s.Root)) {
		if ok && lost == nil && o.Marker {
			store.Delete(o.Key)
		}
	}
	return n, err
}

// optimist finds that every promotion went well.
type optimist struct{ deltas }

func (o optimist) Promote(ctx context.Context, s table.Site, plan json.RawMessage, w table.Work) (int64, error) {
	return 0, w.Guard(ctx)
}

// forgetter does not know its own rollback again.
type forgetter struct{ deltas }

func (f forgetter) FindRollback(context.Context, table.Site, int64, string) (table.Mark, error) {
	return table.Mark{}, fs.ErrNotExist
}

func (f forgetter) PlanRollback(ctx context.Context, s table.Site, t table.Table, to table.Destination) (table.Rollback, error) {
	p, err := f.Format.PlanRollback(ctx, s, t, to)
	if err != nil {
		return nil, err
	}
	return twice{p, f, s, to}, nil
}

type twice struct {
	table.Rollback
	f    forgetter
	site table.Site
	to   table.Destination
}

func (w twice) Commit(ctx context.Context, st table.Stamp) (int64, bool, error) {
	t, err := w.f.Open(ctx, w.site.Store, w.site.Root)
	if err != nil {
		return 0, false, err
	}
	p, err := w.f.Format.PlanRollback(ctx, w.site, t, w.to)
	if err != nil {
		return 0, false, err
	}
	return p.Commit(ctx, st)
}

func createDelta(t testing.TB, store *tabletest.Store, root table.Root, now func() time.Time) tabletest.Writer {
	t.Helper()
	w, err := write.Create(t.Context(), store, root, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return &deltaWriter{w, store, root, 0}
}

type deltaWriter struct {
	table *write.Table
	store *tabletest.Store
	root  table.Root
	rows  int64
}

func (w *deltaWriter) Begun() tabletest.Written { return w.written(0, nil) }

func (w *deltaWriter) Append(t testing.TB, n int) tabletest.Written {
	t.Helper()
	before := w.store.Keys("")
	var all []write.Row
	for range n {
		w.rows++
		all = append(all, write.Row{w.rows})
	}
	v, err := w.table.Append(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	return w.written(v, before)
}

func (w *deltaWriter) written(v int64, before []string) tabletest.Written {
	commit := fmt.Sprintf("%s%020d.json", port.Format{}.Log(w.root), v)
	out := tabletest.Written{Number: v, Log: []string{commit}}
	for _, key := range w.store.Keys("") {
		if v > 0 && key != commit && !slices.Contains(before, key) {
			out.Data = append(out.Data, key)
		}
	}
	return out
}

// stubborn does not take a promotion back.
type stubborn struct{ deltas }

func (stubborn) Return(context.Context, table.Site, json.RawMessage, table.Work) (int64, error) {
	return 0, nil
}

// startled stops where an earlier attempt left something.
type startled struct{ deltas }

func (s startled) Promote(ctx context.Context, site table.Site, plan json.RawMessage, w table.Work) (int64, error) {
	for range site.Store.List(ctx, site.Root.Key(".breakwater/")) {
		return 0, table.ErrMoved
	}
	return s.Format.Promote(ctx, site, plan, w)
}

// headlong plans anew what it was told to do as planned.
type headlong struct{ deltas }

func (h headlong) Promote(ctx context.Context, s table.Site, plan json.RawMessage, w table.Work) (int64, error) {
	head, err := table.HeadOf(plan)
	if err != nil {
		return 0, err
	}
	t, err := h.Open(ctx, s.Store, s.Root)
	if err != nil {
		return 0, err
	}
	to, err := t.Snapshot(ctx, head.Version)
	if err != nil {
		return 0, err
	}
	m, err := h.PlanPromotion(ctx, s, t, to, "tables/orders/.breakwater/quarantine/run.1/")
	if err != nil {
		return 0, err
	}
	return h.Format.Promote(ctx, s, m.Plan, w)
}

// beside rolls back to another version than it was told.
type beside struct{ deltas }

func (b beside) PlanRollback(ctx context.Context, s table.Site, t table.Table, to table.Destination) (table.Rollback, error) {
	to.Version++
	return b.Format.PlanRollback(ctx, s, t, to)
}

// ruthless keeps nothing.
type ruthless struct{ deltas }

func (r ruthless) PlanRollback(ctx context.Context, s table.Site, t table.Table, to table.Destination) (table.Rollback, error) {
	return r.Format.PlanRollback(ctx, s, t, table.Destination{Version: to.Version})
}

// lenient goes to where it can where it cannot go.
type lenient struct{ deltas }

func (l lenient) PlanRollback(ctx context.Context, s table.Site, t table.Table, to table.Destination) (table.Rollback, error) {
	p, err := l.Format.PlanRollback(ctx, s, t, to)
	if errors.Is(err, table.ErrRefused) && to.Version > 0 {
		to.Version--
		return l.PlanRollback(ctx, s, t, to)
	}
	return p, err
}

// misleading tells people something else than is so.
type misleading struct {
	deltas
	point    func(table.Choice) table.Choice
	state    func(table.State) table.State
	findings func(table.Findings) table.Findings
	describe func(table.Description) table.Description
}

func (m misleading) Open(ctx context.Context, store table.Store, root table.Root) (table.Table, error) {
	t, err := m.Format.Open(ctx, store, root)
	i, ok := t.(table.Inspector)
	if err != nil || !ok {
		return nil, errors.Join(err, table.ErrUnable)
	}
	return misled{t, i, m}, nil
}

type misled struct {
	table.Table
	inspector table.Inspector
	by        misleading
}

func (m misled) Point(ctx context.Context, c table.Choice) (table.Point, error) {
	if m.by.point != nil {
		c = m.by.point(c)
	}
	return m.inspector.Point(ctx, c)
}

func (m misled) States(ctx context.Context) iter.Seq2[table.State, error] {
	return func(yield func(table.State, error) bool) {
		for s, err := range m.inspector.States(ctx) {
			if m.by.state != nil {
				s = m.by.state(s)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

func (m misled) Check(ctx context.Context, o table.CheckOptions) (table.Findings, error) {
	f, err := m.inspector.Check(ctx, o)
	if m.by.findings != nil {
		f = m.by.findings(f)
	}
	return f, err
}

func (m misled) Snapshot(ctx context.Context, number int64) (table.Snapshot, error) {
	s, err := m.Table.Snapshot(ctx, number)
	d, ok := s.(table.Described)
	if err != nil || !ok || m.by.describe == nil {
		return s, err
	}
	return mistold{s, d, m.by.describe}, nil
}

type mistold struct {
	table.Snapshot
	table.Described
	say func(table.Description) table.Description
}

func (m mistold) Describe() table.Description { return m.say(m.Described.Describe()) }

func brokenDeltas() []promise.Broken[tabletest.World] {
	breaks := func(name, promised string, f table.Format) promise.Broken[tabletest.World] {
		return promise.Broken[tabletest.World]{Name: name, Breaks: promised, Target: func(testing.TB) tabletest.World {
			return tabletest.World{Format: f, Create: createDelta}
		}}
	}
	return []promise.Broken[tabletest.World]{
		breaks("whatever is chosen, it is the newest", "a chosen version is the one that was meant", misleading{point: func(table.Choice) table.Choice { return table.Choice{} }}),
		breaks("every version can be read", "states tell which versions can be read in full", misleading{state: func(s table.State) table.State { s.Lacks = 0; return s }}),
		breaks("every table is sound", "a check finds what is wrong, and nothing else", misleading{findings: func(f table.Findings) table.Findings {
			f.Complete, f.Missing, f.Problems = true, nil, nil
			return f
		}}),
		breaks("a file is not told of", "a version says what it holds", misleading{describe: func(d table.Description) table.Description { d.Files--; return d }}),
		breaks("a promotion destroys", "a promotion makes its version the head, and loses nothing", destroyer{}),
		breaks("a promotion does nothing", "a promotion makes its version the head, and loses nothing", optimist{}),
		breaks("a promotion is not taken back", "a promotion that was taken back never was", stubborn{}),
		breaks("a promotion fears its own traces", "a promotion that was broken off is finished by the next call", startled{}),
		breaks("a promotion plans anew", "a promotion stops where the table moved since its plan", headlong{}),
		breaks("a rollback goes elsewhere", "a rollback brings the rows back by a new version", beside{}),
		breaks("a rollback forgets its own", "a rollback that is called again commits once", forgetter{}),
		breaks("a rollback works out its commit anew", "a rollback stops where the head moved since its plan", forgetter{}),
		breaks("a rollback keeps nothing", "a rollback keeps the versions that it is told to", ruthless{}),
		breaks("a rollback goes to where it can", "a rollback to a version that lacks an object is refused", lenient{}),
	}
}
