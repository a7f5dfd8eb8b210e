package delta

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"time"

	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/table"
)

// Log is a table's log as one listing showed it. It does not see what is written
// afterwards: open it again to look again. It is safe for concurrent use.
type Log struct {
	store table.Store
	root  folder
	entries
}

// Open lists the table's _delta_log once. A prefix without any commit or
// checkpoint is [fs.ErrNotExist]: nothing there is not an empty table.
func Open(ctx context.Context, store table.Store, root table.Root) (*Log, error) {
	root.Prefix = strings.TrimSuffix(root.Prefix, "/")
	mapper, _ := store.(table.Mapper)
	l := &Log{store: store, root: folder{root, mapper}, entries: *newEntries()}
	dir := LogDir(root)
	objects := map[string]table.Object{}
	for o, err := range store.List(ctx, dir) {
		if err != nil {
			return nil, fmt.Errorf("list the log of delta table %s: %w", root, reach.Mark(err))
		}
		objects[strings.TrimPrefix(o.Key, dir)] = o
	}
	l.sort(objects)
	if l.Head() < 0 {
		return nil, fmt.Errorf("open delta table %s: %s under %s, none of them a commit or a checkpoint; check bucket and prefix: %w",
			root, plural.Of(len(objects), "object"), root.URL(dir), fs.ErrNotExist)
	}
	return l, nil
}

// Root is the table that was opened.
func (l *Log) Root() table.Root { return l.root.Root }

// Head is the largest version of which a commit or a checkpoint is listed.
func (l *Log) Head() int64 {
	if known := l.known(); len(known) > 0 {
		return known[len(known)-1]
	}
	return -1
}

// perByte is how many bytes of memory a byte of a checkpoint comes to, with what was
// read and not yet collected, and with a listing that has not much more than its files:
// as measured for a million of them (see docs/performance.md).
const perByte = 10

// Memory is about what it takes to read the head and hold it against a listing. Commits
// are text, a fraction of which remains.
func (l *Log) Memory() int64 {
	var start checkpoint
	var whole, bytes int64
	v2 := int64(0)
	for _, c := range l.starts(l.Head()) { // the newest comes first
		if c.version >= 0 && c.whole() && start.parts == nil {
			start = c
		}
		if c.v2 {
			v2++
		}
	}
	for _, o := range start.parts {
		whole += o.Size
	}
	if start.v2 { // which of them are the checkpoint's, only reading tells
		var sidecars int64
		for _, o := range l.sidecars {
			sidecars += o.Size
		}
		whole += sidecars / v2
	}
	for v, o := range l.commits {
		if start.parts == nil || v > start.version {
			bytes += o.Size
		}
	}
	return perByte*whole + bytes
}

// Versions returns, in order, the runs of versions that the listing lets
// reconstruct: from 0 or from a checkpoint with all its parts, through commits
// without a gap. Only reading can show that a part of it is corrupt.
func (l *Log) Versions() []table.Range {
	starts := map[int64]bool{}
	if _, ok := l.commits[0]; ok {
		starts[0] = true
	}
	for _, c := range l.checkpoints {
		if c.whole() && c.version >= 0 {
			starts[c.version] = true
		}
	}
	return table.Runs(func(v, last int64) bool {
		_, commit := l.commits[v]
		return starts[v] || commit && v == last+1
	}, l.known())
}

// Gaps returns the versions between the first listed and the head of which
// neither commit nor checkpoint is listed. A gap below a checkpoint costs the
// versions in between, but not the ones above the checkpoint.
func (l *Log) Gaps() []table.Range {
	var gaps []table.Range
	last := int64(-1)
	for _, v := range l.known() {
		if last >= 0 && v > last+1 {
			gaps = append(gaps, table.Range{First: last + 1, Last: v - 1})
		}
		last = v
	}
	return gaps
}

// commit fetches and parses one commit. [fs.ErrNotExist] is for a version
// without one.
func (l *Log) commit(ctx context.Context, v int64) (*actions, error) {
	o, ok := l.commits[v]
	if !ok {
		return nil, l.absent(v)
	}
	body, err := l.get(ctx, o)
	if err != nil {
		return nil, err
	}
	return parseActions(l.root, o.Key, body)
}

// get reads an object of the log whole and holds it against its listing.
func (l *Log) get(ctx context.Context, o table.Object) ([]byte, error) {
	body, err := l.store.Get(ctx, o.Key)
	if err != nil {
		return nil, fmt.Errorf("read %s of delta table %s: %w", InLog(o.Key), l.root, reach.Mark(err))
	}
	if int64(len(body)) != o.Size {
		return nil, badLog(o.Key, "has %s, listed with %d; it changed in between: open the log again", plural.Of(len(body), "byte"), o.Size)
	}
	return body, nil
}

// fetchAhead is how many commits are fetched at once: enough to hide the latency
// of an object store, few enough to hold in memory.
const fetchAhead = 32

// fetched is one commit, or why there is none.
type fetched struct {
	version int64
	*actions
	err error
}

// commitsOf yields the given versions' commits in order, fetching some ahead.
func (l *Log) commitsOf(ctx context.Context, versions iter.Seq[int64]) iter.Seq[fetched] {
	return func(yield func(fetched) bool) {
		batch := make([]fetched, 0, fetchAhead)
		flush := func() bool {
			var wg sync.WaitGroup
			for i := range batch {
				wg.Go(func() { batch[i].actions, batch[i].err = l.commit(ctx, batch[i].version) })
			}
			wg.Wait()
			for _, f := range batch {
				if !yield(f) {
					return false
				}
			}
			batch = batch[:0]
			return true
		}
		for v := range versions {
			if batch = append(batch, fetched{version: v}); len(batch) == fetchAhead && !flush() {
				return
			}
		}
		flush()
	}
}

// Commit reads one log entry. Its time is in-commit only if it sets the table's metadata
// itself; [Log.History] knows better.
func (l *Log) Commit(ctx context.Context, v int64) (table.Commit, error) {
	acts, err := l.commit(ctx, v)
	if err != nil {
		return table.Commit{}, err
	}
	return newCommit(acts, timeOf(v, acts.info, acts.metadata, l.commits[v])), nil
}

// CommitRows is how many rows the commit brought: see [Commit].
func (l *Log) CommitRows(ctx context.Context, v int64) (int64, error) {
	c, err := l.Commit(ctx, v)
	if err != nil {
		return -1, err
	}
	return c.Rows, nil
}

func newCommit(acts *actions, v table.Version) table.Commit {
	c := table.Commit{Version: v, Operation: acts.info.Operation, Rows: acts.appended(), Removed: len(acts.removes), Info: acts.rawInfo}
	for _, t := range acts.txns {
		c.Apps = append(c.Apps, t.AppID)
	}
	if ms := acts.info.Timestamp; ms != nil {
		c.Committed = time.UnixMilli(*ms).UTC()
	}
	switch c.Operation {
	case "VACUUM START":
		c.Cleanup = table.CleanupBegan
	case "VACUUM END":
		c.Cleanup = table.CleanupEnded
	}
	return c
}

// History yields the listed commits from version from on, in order, and ends
// after the first that cannot be read. It reads commits only: a gap is passed
// over, and [Log.Gaps] tells of it.
func (l *Log) History(ctx context.Context, from int64) iter.Seq2[table.Commit, error] {
	return func(yield func(table.Commit, error) bool) {
		var meta *Metadata
		if s, err := l.Snapshot(ctx, from); err == nil { // for whether in-commit timestamps hold
			meta = &s.Metadata
		} else if !broken(err) {
			yield(table.Commit{}, err)
			return
		}
		listed := func(yield func(int64) bool) {
			for _, v := range l.known() {
				if _, ok := l.commits[v]; ok && v >= from && !yield(v) {
					return
				}
			}
		}
		for f := range l.commitsOf(ctx, listed) {
			if f.err != nil {
				yield(table.Commit{}, f.err)
				return
			}
			if f.metadata != nil {
				meta = f.metadata
			}
			c := newCommit(f.actions, timeOf(f.version, f.info, meta, l.commits[f.version]))
			if !yield(c, nil) {
				return
			}
		}
	}
}
