package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/table"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

// firstDepth is how many versions below a table's newest complete one are read
// at first: a cut seldom lies further back, and where it does, more are read.
const firstDepth = 32

// TableEvidence is what is known of one table of a group.
type TableEvidence struct {
	Table
	Log        table.Table // nil where the target has none
	Newest     *Newest     // nil where no version is complete
	above      []table.Above
	From       int64          // versions from here on were read
	looked     bool           // at least once
	bottom     bool           // nothing below from can be read
	Incomplete map[int64]bool // found out only when the cut fell there
	State      recovery.TableState
	forged     error // why what the witness saw of it is not used; nil where it is
	// Skew is what clocks may differ by before a version's time is odd: see
	// [recovery.InOrder]. Odd are the versions that lost their time by it.
	Skew        time.Duration
	Odd         []recovery.Version
	coordinator string // who decides which commits count, as the newest complete version says
}

// Newest is the newest complete version of a table. Its files are not kept: a group has
// many tables, and each may have a million.
type Newest struct {
	Version table.Version
	Rows    int64 // or [recovery.Unknown]
}

// GroupEvidence is what is known of a group: what a cut is chosen from.
type GroupEvidence struct {
	Tables []*TableEvidence
	Topics []recovery.TopicState
	Death  recovery.Death
	Skew   time.Duration
}

// Evidence reads what the target holds of a group and what is known of its
// source. All of it is a function of the world: it does not depend on when it is
// read.
func (s Lake) Evidence(ctx context.Context, c action.Call[action.None]) (*GroupEvidence, error) {
	g, ok := c.Estate.Group(c.Item.Name)
	if !ok {
		return nil, fmt.Errorf("%w: estate %s has no group %q", action.ErrRefused, c.Estate.Estate, c.Item.Name)
	}
	rpo := 0.0
	if tier, ok := c.Estate.Tier(g.Tier); ok {
		rpo = tier.RPO.Std().Seconds()
	}
	ev := &GroupEvidence{Tables: make([]*TableEvidence, len(g.Tables)), Skew: c.Estate.ClockSkew.Std()}
	var done atomic.Int64
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(action.AtOnce)
	for i, decl := range g.Tables {
		work.Go(func() error {
			site, err := s.Table(wctx, c.Estate, c.Run.Target, decl.Table)
			if err != nil {
				return err
			}
			t := &TableEvidence{Table: site, Incomplete: map[int64]bool{}, Skew: ev.Skew}
			if len(g.Tables) == 1 && len(g.Topics) == 0 { // a table that is alone has no other to be held against
				t.Skew = math.MaxInt64
			}
			t.State = recovery.TableState{Name: decl.Table, RPOSeconds: rpo}
			if decl.PeakRows > 0 {
				t.State.Peak = &recovery.Peak{PerSecond: decl.PeakRows, Burst: decl.PeakBurst}
			}
			ev.Tables[i] = t
			if err := t.LookOrLeaveOut(wctx); err != nil {
				return fmt.Errorf("table %s in %s: %w", decl.Table, c.Run.Target, err)
			}
			if err := s.sightings(wctx, c, t); err != nil {
				return err
			}
			c.Progress(done.Add(1), int64(len(g.Tables)), "looking at what of its tables is there")
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	for _, t := range g.Topics {
		state, _, err := record.TopicPoint.Read(ctx, c.Records, t.Topic)
		if err != nil {
			return nil, err
		}
		ev.Topics = append(ev.Topics, declared(state, t, rpo))
	}
	return ev, s.source(ctx, c, ev)
}

// declared fills in what the estate says of a topic, where the record does not.
func declared(state recovery.TopicState, t estate.Topic, rpo float64) recovery.TopicState {
	if state.Name == "" {
		state.Name = t.Topic
	}
	if state.RPOSeconds == 0 {
		state.RPOSeconds = rpo
	}
	if state.Peak == nil && t.PeakMessages > 0 {
		state.Peak = &recovery.Peak{PerSecond: t.PeakMessages, Burst: t.PeakBurst}
	}
	return state
}

// Look reads the newest complete version of a table, and its versions from some
// way below it.
func (t *TableEvidence) Look(ctx context.Context) error {
	l, err := t.Open(ctx)
	if errors.Is(err, fs.ErrNotExist) && Answered(err) {
		return nil // nothing of it arrived: no version, so no cut
	}
	if err != nil {
		return err
	}
	t.Log = l
	if err := t.newest(ctx); err != nil {
		return err
	}
	for i, a := range t.above { // of what lacks, only what lies elsewhere is asked for later
		t.above[i].Lacks = nil
		if n := slices.IndexFunc(a.Lacks, func(l table.Lack) bool { return l.Fault == table.Elsewhere }); n >= 0 {
			t.above[i].Lacks = []table.Lack{a.Lacks[n]}
		}
	}
	t.From = l.Extent().Head
	if t.Newest != nil {
		t.From = t.Newest.Version.Number
	}
	_, err = t.deepen(ctx, firstDepth)
	return err
}

// newest finds the newest complete version, of which its files are not kept.
func (t *TableEvidence) newest(ctx context.Context) error {
	done, err := reading(ctx, t.Log)
	if err != nil {
		return err
	}
	defer done()
	n, err := t.Log.Newest(ctx, time.Time{})
	if err != nil && !errors.Is(err, table.ErrNoneComplete) {
		return err
	}
	if t.above = n.Above; n.Snapshot != nil {
		t.Newest, t.coordinator = &Newest{n.Snapshot.Version(), n.Snapshot.Rows()}, coordinatorOf(n.Snapshot)
	}
	return nil
}

// deepen reads n versions more, further back, and reports whether there were any.
func (t *TableEvidence) deepen(ctx context.Context, n int64) (bool, error) {
	if t.Log == nil || t.bottom {
		return false, nil
	}
	// A reconstructible version is the start where there is one: it tells how
	// the commits after it are timed.
	from, want := t.From, t.From-n
	for _, r := range t.Log.Extent().Readable {
		if r.First < t.From {
			from = min(max(r.First, want), r.Last)
		}
		if r.Last >= want {
			break
		}
	}
	if from == t.From && t.looked {
		return false, nil
	}
	t.From, t.looked = from, true
	done, err := reading(ctx, t.Log)
	if err != nil {
		return false, err
	}
	defer done()
	return true, t.read(ctx)
}

// read makes the table's versions from t.from on.
func (t *TableEvidence) read(ctx context.Context) error {
	reconstructible := t.Log.Extent().Readable
	newest := int64(-1)
	if t.Newest != nil {
		newest = t.Newest.Version.Number
	}
	var vs []recovery.Version
	var pure []bool // the version only adds rows
	last := int64(-1)
	for h, err := range t.Log.History(ctx, t.From) {
		if err != nil {
			if !LogBroken(err) {
				return err
			}
			break
		}
		v := recovery.Version{Version: h.Version.Number, CommittedAt: h.Version.Time, Rows: recovery.Unknown, Appended: recovery.Unknown}
		if h.Removed == 0 || h.Rows == 0 {
			v.Appended = h.Rows
		}
		v.Complete = v.Version <= newest && !t.Incomplete[v.Version] && slices.ContainsFunc(reconstructible, func(r table.Range) bool { return r.Has(v.Version) })
		vs, pure = append(vs, v), append(pure, h.Removed == 0 && h.Rows >= 0)
		last = v.Version
	}
	if last < newest && t.From < newest {
		t.From, t.bottom = newest, true // an old log entry cannot be read: what lies below it is out of reach
		return t.read(ctx)
	}
	for _, a := range t.above {
		if n := a.Version.Number; n > last && a.Commit && !a.Version.Time.IsZero() {
			vs, pure = append(vs, recovery.Version{Version: n, CommittedAt: a.Version.Time, Rows: recovery.Unknown, Appended: recovery.Unknown}), append(pure, false)
			last = n
		}
	}
	if head := t.Log.Extent().Head; head > last { // a checkpoint without its log entry
		vs, pure = append(vs, recovery.Version{Version: head, Rows: recovery.Unknown, Appended: recovery.Unknown}), append(pure, false)
	}
	for _, p := range t.Log.Extent().Pending { // it counts perhaps, and what it holds is not known
		vs, pure = append(vs, recovery.Version{Version: p.Number, Rows: recovery.Unknown, Appended: recovery.Unknown}), append(pure, false)
	}
	if t.Newest != nil {
		count(vs, pure, newest, t.Newest.Rows)
	}
	t.Odd = recovery.InOrder(vs, t.Skew)
	t.State.Versions = vs
	return nil
}

// OddTimes asks people to accept that versions are left out whose times contradict those
// of the others by more than clocks differ.
func (ev *GroupEvidence) OddTimes() []action.Acceptance {
	var all []action.Acceptance
	for _, t := range ev.Tables {
		if len(t.Odd) == 0 {
			continue
		}
		var words []string
		for _, v := range t.Odd {
			words = append(words, fmt.Sprintf("%d of %s", v.Version, v.CommittedAt.UTC().Format(time.RFC3339)))
		}
		all = append(all, action.Acceptance{ID: "odd-times " + t.Name, Sentence: fmt.Sprintf(
			"Table %s cannot come back to these versions, whose times contradict those around them by more than the clock skew of %s: %s.", t.Name, t.Skew, plural.Few(words))})
	}
	return all
}

// count fills in the rows of the versions around one whose rows are known, as
// far as versions only add rows.
func count(vs []recovery.Version, pure []bool, known, rows int64) {
	i := slices.IndexFunc(vs, func(v recovery.Version) bool { return v.Version == known })
	if i < 0 || rows < 0 {
		return
	}
	vs[i].Rows = rows
	for n := i; n > 0 && pure[n] && vs[n-1].Version == vs[n].Version-1; n-- {
		vs[n-1].Rows = vs[n].Rows - vs[n].Appended
	}
	for n := i + 1; n < len(vs) && pure[n] && vs[n-1].Version == vs[n].Version-1; n++ {
		vs[n].Rows = vs[n-1].Rows + vs[n].Appended
	}
}

// prove looks whether a version that a cut fell on is complete, and forgets it
// where it is not.
func (t *TableEvidence) prove(ctx context.Context, version int64) (bool, error) {
	if t.Newest != nil && version == t.Newest.Version.Number {
		return true, nil // found by looking for exactly this
	}
	i := slices.IndexFunc(t.State.Versions, func(v recovery.Version) bool { return v.Version == version })
	done, err := reading(ctx, t.Log)
	if err != nil {
		return false, err
	}
	defer done()
	s, err := t.Log.Snapshot(ctx, version)
	if err == nil {
		lacks, n, err := t.Lacking(ctx, s)
		if err != nil {
			return false, err
		}
		if len(lacks) == 0 && n > 0 {
			if t.State.Versions[i].Rows < 0 {
				t.State.Versions[i].Rows = s.Rows()
			}
			return true, nil
		}
	} else if !LogBroken(err) {
		return false, err
	}
	t.Incomplete[version], t.State.Versions[i].Complete = true, false
	return false, nil
}

// States are the tables as a cut is chosen from them.
func (ev *GroupEvidence) States() []recovery.TableState {
	var out []recovery.TableState
	for _, t := range ev.Tables {
		out = append(out, t.State)
	}
	return out
}

// Choose finds the cut whose every version is proven complete. Versions below
// the newest complete one count as complete until the cut falls on them; each is
// then looked at, and the cut chosen again without those that are not.
func (ev *GroupEvidence) Choose(ctx context.Context) (recovery.Cut, error) {
	for depth := int64(firstDepth); ; {
		cut, err := recovery.ChooseCut(ev.States(), ev.Topics, ev.Skew)
		var none *recovery.NoCutError
		if errors.As(err, &none) { // perhaps because versions further back were not read
			deeper := false
			depth *= 8
			for _, t := range ev.Tables {
				more, err := t.deepen(ctx, depth)
				if err != nil {
					return cut, err
				}
				deeper = deeper || more
			}
			if deeper {
				continue
			}
		}
		if err != nil {
			return cut, err
		}
		proven := true
		for _, p := range cut.Tables {
			i := slices.IndexFunc(ev.Tables, func(t *TableEvidence) bool { return t.Name == p.Name })
			whole, err := ev.Tables[i].prove(ctx, p.Version)
			if err != nil {
				return cut, fmt.Errorf("table %s version %d: %w", p.Name, p.Version, err)
			}
			proven = proven && whole
		}
		if proven {
			return recovery.ChooseCut(ev.States(), ev.Topics, ev.Skew) // with the rows that proving found
		}
	}
}

// source adds what a fenced source that answers says of its tables. Until a
// moment is a source's last word, its writers must be denied: in a plan or a
// drill nobody is, and then it is only asked what the witness saw.
//
// A fenced table's head stays the head, so it was seen there at any later moment
// too. The moment taken is the newest commit of all the tables plus the skew, so
// that it depends on the world and not on when it is read.
func (s Lake) source(ctx context.Context, c action.Call[action.None], ev *GroupEvidence) error {
	// Out of reach is not dead: a source behind a broken line goes on acknowledging.
	if c.Run.SourceDead && c.Run.SourceDeadSince != nil {
		ev.Death.By = *c.Run.SourceDeadSince
	}
	if c.Run.SourceUnreachable || !fenced(ctx, c, ev) {
		return nil
	}
	heads := make([]*recovery.Head, len(ev.Tables))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(action.AtOnce)
	for i, t := range ev.Tables {
		if t.State.LeftOut != "" {
			continue
		}
		work.Go(func() error {
			h, err := s.SourceHead(wctx, c, t.Name)
			if reach.Unreachable(err) {
				return nil // it went away since: it does not answer
			}
			var not *NotHereError
			if errors.As(err, &not) { // which what has arrived here does not show
				t.leaveOut(not.Why)
				return nil
			}
			heads[i] = h
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	var newest time.Time
	for i, h := range heads {
		if ev.Tables[i].State.LeftOut != "" {
			continue
		}
		if h == nil {
			return nil
		}
		if h.CommittedAt.After(newest) {
			newest = h.CommittedAt
		}
	}
	for _, t := range ev.Topics {
		for _, p := range t.Partitions {
			if p.NewestAt.After(newest) {
				newest = p.NewestAt
			}
		}
	}
	ev.Death.Answered = true
	for i, t := range ev.Tables {
		if t.State.LeftOut == "" {
			heads[i].At = newest.Add(ev.Skew)
			t.State.Source = heads[i]
		}
	}
	return nil
}

// SourceHead reads the head of a table at the source. A [NotHereError] says that its log
// alone does not say which one that is.
func (s Lake) SourceHead(ctx context.Context, c action.Call[action.None], name string) (*recovery.Head, error) {
	site, err := s.Table(ctx, c.Estate, c.Run.Source, name)
	if err != nil {
		return nil, err
	}
	l, err := site.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("table %s in %s: %w", name, c.Run.Source, err)
	}
	done, err := reading(ctx, l)
	if err != nil {
		return nil, err
	}
	defer done()
	snap, err := l.Snapshot(ctx, l.Extent().Head)
	if why := notHere(coordinatorOf(snap), err); why != "" {
		return nil, site.NotHere(why)
	}
	if err != nil {
		return nil, fmt.Errorf("head of table %s in %s: %w", name, c.Run.Source, err)
	}
	return &recovery.Head{Version: snap.Version().Number, Rows: snap.Rows(), CommittedAt: snap.Version().Time}, nil
}

// fenced reports whether this live run has proven that writes to every bucket of
// the group's tables are denied at the source. In a group without tables it is
// kafka.recovery-point that saw every partition of the source stand still.
func fenced(ctx context.Context, c action.Call[action.None], ev *GroupEvidence) bool {
	if c.Run.Mode != action.ModeLive {
		return false
	}
	for _, t := range ev.Tables {
		obs, err := c.Records.Observations(ctx, "storage.fence", t.Decl.Bucket)
		if err != nil || action.Worst(obs) != verdict.Pass {
			return false
		}
	}
	if len(ev.Tables) > 0 {
		return true
	}
	for _, t := range ev.Topics {
		for _, p := range t.Partitions {
			if p.Source == nil {
				return false
			}
		}
	}
	return true
}
