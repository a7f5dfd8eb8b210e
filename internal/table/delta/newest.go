package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"breakwater/internal/table"
)

// Newest is the newest complete version of a table and why no later one is.
type Newest struct {
	Snapshot *Snapshot // nil with table.ErrNoneComplete
	// Above tells of every version above it, in order, up to the head of the log;
	// of a gap in one piece.
	Above []table.Above
	// Outside is [Snapshot.Outside] of the version.
	Outside []string
}

// NewestComplete finds the largest version that the log can reconstruct and
// whose every live data file and deletion vector is present at its size, at or
// before notAfter unless that is zero.
//
// It lists the table's prefix once, while it reads commits back to the newest
// checkpoint from which some version is complete, each once, and asks for no
// object by itself. The log was listed before the data, so a writer still at work
// can make it miss the newest version and never make it report one too new. It
// holds one version's files in memory, and of the listing a hash and a size per
// object.
//
// Files in another bucket count as lacking; files of another table in the same
// bucket count where they are listed, and Outside names them.
//
// A version that asks for an unknown reader feature is a [FeatureError], since
// nobody can say here whether it is complete.
func (l *Log) NewestComplete(ctx context.Context, notAfter time.Time) (Newest, error) {
	n := &newest{l: l, have: l.listAhead(ctx), notAfter: notAfter, above: map[int64]*table.Above{}}
	defer n.have.stop()
	for hi := l.Head(); ; {
		s, err := n.search(ctx, hi)
		if err != nil {
			return Newest{}, fmt.Errorf("newest complete version of delta table %s: %w", l.root, err)
		}
		if s == nil {
			above, err := n.evidence(ctx, -1)
			if err != nil {
				return Newest{}, err
			}
			return Newest{Above: above}, fmt.Errorf("delta table %s, versions up to %d: %w; see what each lacks, and restore it from the other region or a backup", l.root, l.Head(), table.ErrNoneComplete)
		}
		switch err := l.audit(ctx, s); {
		case err == nil:
			above, err := n.evidence(ctx, s.Version.Number)
			return Newest{Snapshot: s, Above: above, Outside: s.Outside()}, err
		case !broken(err):
			return Newest{}, err
		default: // complete, but not what its checksum says: look below
			n.at(s.Version.Number).Fault = err.Error()
			hi = s.Version.Number - 1
		}
	}
}

// newest is one search.
type newest struct {
	l        *Log
	have     *holdings
	notAfter time.Time
	above    map[int64]*table.Above
}

func (n *newest) at(v int64) *table.Above {
	if n.above[v] == nil {
		n.above[v] = &table.Above{Version: table.Version{Number: v}, Through: v, Rows: -1}
	}
	return n.above[v]
}

// search looks in one segment after another, the newest first: from a start
// through its commits up to below the segment that was searched before.
func (n *newest) search(ctx context.Context, hi int64) (*Snapshot, error) {
	for _, c := range n.l.starts(hi) {
		if c.version > hi {
			continue // a second checkpoint of a version already searched
		}
		r, err := n.l.start(ctx, c)
		if err != nil {
			if !broken(err) {
				return nil, err
			}
			n.at(c.version).Fault = err.Error()
			continue
		}
		best, err := n.segment(ctx, r, hi)
		if err != nil {
			return nil, err
		}
		switch {
		case best >= 0 && best == r.s.Version.Number:
			return r.s, nil
		case best >= 0:
			return n.again(ctx, c, best)
		}
		hi = c.version - 1
	}
	return nil, nil
}

// segment replays up to hi and returns the last complete version on the way, or
// -1. Which objects lack is carried along: a commit changes what it names.
func (n *newest) segment(ctx context.Context, r *replayer, hi int64) (int64, error) {
	best := int64(-1)
	lacking, inherited := map[fileID]int{}, 0 // objects that live files lack
	drop := func(id fileID) {
		inherited -= lacking[id]
		delete(lacking, id)
	}
	var fail error
	judge := func(removes []fileID, adds iter.Seq[*Add], rows int64) {
		for _, id := range removes {
			drop(id)
		}
		if err := n.have.settle(ctx, adds); err != nil {
			fail = err
			return
		}
		var own []table.Lack
		brought := 0
		for a := range adds {
			lacks, err := n.have.lacks(ctx, a)
			if err != nil {
				fail = err
				return
			}
			if len(lacking) > 0 {
				drop(a.id())
			}
			if len(lacks) > 0 {
				lacking[a.id()] = len(lacks)
				brought += len(lacks)
				own = append(own, lacks...)
			}
		}
		before := inherited
		inherited += brought
		v := r.s.Version
		if len(lacking) == 0 && (n.notAfter.IsZero() || !v.Time.After(n.notAfter)) {
			best = v.Number
			return
		}
		e := n.at(v.Number)
		e.Version, e.Rows, e.Lacks, e.Inherited = v, rows, unique(own), before
		if _, e.Commit = n.l.commits[v.Number]; len(lacking) == 0 {
			e.Fault = "complete, but later than " + n.notAfter.Format(time.RFC3339)
		}
	}
	if start := r.s.Version.Number; start >= 0 { // the files of a checkpoint are judged as one commit
		judge(nil, r.s.files.all(), -1)
		if _, ok := n.l.commits[start]; ok && best < start {
			rows, err := n.l.CommitRows(ctx, start)
			if err != nil && !broken(err) {
				return -1, err
			}
			n.at(start).Rows = rows
		}
	}
	if fail != nil {
		return -1, fail
	}
	err := n.l.replay(ctx, r, hi, func(acts *actions) { judge(acts.removes, acts.each(), acts.appended()) })
	var feature *FeatureError
	switch {
	case fail != nil:
		return -1, fail
	case errors.As(err, &feature), err != nil && !broken(err):
		return -1, err
	case err != nil && r.s.Version.Number < hi:
		n.at(r.s.Version.Number + 1).Fault = err.Error()
	}
	return best, nil
}

// again reads the version found, since the search went past it. At most the
// commits of one segment are read twice.
func (n *newest) again(ctx context.Context, c checkpoint, v int64) (*Snapshot, error) {
	r, err := n.l.start(ctx, c)
	if err == nil {
		err = n.l.replay(ctx, r, v, nil)
	}
	if err != nil {
		return nil, err
	}
	return r.s, nil
}

// evidence completes what is known of the versions above v.
func (n *newest) evidence(ctx context.Context, v int64) ([]table.Above, error) {
	var out []table.Above
	var unread []int64
	last := v
	for _, u := range n.l.known() {
		if u <= v {
			continue
		}
		if u > last+1 {
			n.at(last + 1).Through = u - 1
			if n.at(last+1).Fault == "" {
				n.at(last + 1).Fault = "no log entry is there" + n.l.Covered(table.Range{First: last + 1, Last: u - 1})
			}
		}
		last = u
		e := n.at(u)
		_, e.Commit = n.l.commits[u]
		if e.Commit && e.Version.From == table.None {
			unread = append(unread, u)
		} else if e.Version.From == table.None && e.Fault == "" {
			e.Fault = "no log entry is there" + n.l.Covered(table.Range{First: u, Last: u})
		}
	}
	for f := range n.l.commitsOf(ctx, slices.Values(unread)) {
		e := n.at(f.version)
		if f.err != nil {
			if !broken(f.err) {
				return nil, f.err
			}
			e.Fault = f.err.Error()
			continue
		}
		e.Version = timeOf(f.version, f.info, f.metadata, n.l.commits[f.version])
		e.Rows = f.appended()
		if e.Fault == "" {
			e.Fault = "cannot be reconstructed: a part of the log before it is absent or corrupt"
		}
		if err := n.have.settle(ctx, f.each()); err != nil {
			return nil, err
		}
		for a := range f.each() {
			lacks, err := n.have.lacks(ctx, a)
			if err != nil {
				return nil, err
			}
			e.Lacks = append(e.Lacks, lacks...)
		}
		e.Lacks = unique(e.Lacks)
	}
	for _, u := range slices.Sorted(maps.Keys(n.above)) {
		if u > v {
			out = append(out, *n.above[u])
		}
	}
	return out, ctx.Err()
}

// unique drops repetitions: several files share one file of deletion vectors.
func unique(lacks []table.Lack) []table.Lack {
	seen := map[string]bool{}
	return slices.DeleteFunc(lacks, func(l table.Lack) bool {
		k := l.File.URI()
		was := seen[k]
		seen[k] = true
		return was
	})
}
