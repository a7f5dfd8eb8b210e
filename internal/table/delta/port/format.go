// Package port puts Delta Lake behind the port of package table: it adapts package
// delta and its neighbours, and decides nothing itself.
package port

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"breakwater/internal/query"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/delta/scan"
)

// Format is Delta Lake.
type Format struct{}

var (
	_ table.Format          = Format{}
	_ table.Promoter        = Format{}
	_ table.Restorer        = Format{}
	_ table.Rollbacker      = Format{}
	_ table.RollbackChecker = Format{}
	_ table.Attributer      = Format{}

	_ table.FileReader = snapshot{}
	_ table.Portable   = snapshot{}
	_ query.Source     = snapshot{}
)

// Name is the estate's word.
func (Format) Name() string { return "delta" }

// Log is the folder of the log.
func (Format) Log(root table.Root) string { return delta.LogDir(root) }

// Entry tells what an object is by its name in the log's folder.
func (Format) Entry(key string) table.Entry {
	name, ok := delta.NameInLog(key)
	if !ok {
		return table.Entry{Role: table.RoleData, Version: -1}
	}
	e := delta.EntryOf(name)
	switch e.Kind {
	case delta.EntryHint:
		return table.Entry{Role: table.RolePointer, Version: -1}
	case delta.EntryCommit:
		return table.Entry{Role: table.RoleCommit, Version: e.Version}
	case delta.EntryStaged, delta.EntryTemporary:
		return table.Entry{Role: table.RoleStaged, Version: e.Version}
	}
	return table.Entry{Role: table.RoleCheckpoint, Version: e.Version}
}

// Open lists the log.
func (Format) Open(ctx context.Context, store table.Store, root table.Root) (table.Table, error) {
	l, err := delta.Open(ctx, store, root)
	if err != nil {
		return nil, err
	}
	return opened{l, store}, nil
}

// opened is a table as one listing showed it.
type opened struct {
	log   *delta.Log
	store table.Store
}

// logOf is the log of a table that this format opened.
func logOf(t table.Table) (*delta.Log, error) {
	o, ok := t.(opened)
	if !ok {
		return nil, fmt.Errorf("%w: it is no delta table that was opened here; both must be of one format", table.ErrRefused)
	}
	return o.log, nil
}

func (o opened) Extent() table.Extent {
	e := table.Extent{Head: o.log.Head(), Readable: o.log.Versions(), Committed: table.Ranges(o.log.Commits()), Gaps: o.log.Gaps(), Memory: o.log.Memory()}
	if o.log.Staging() {
		e.LogStore = table.S3DynamoDB
	}
	for _, p := range o.log.Pending() {
		e.Pending = append(e.Pending, table.Version{Number: p.Version, Time: p.Written, From: table.ObjectTime})
	}
	return e
}

func (o opened) Newest(ctx context.Context, notAfter time.Time) (table.Newest, error) {
	n, err := o.log.NewestComplete(ctx, notAfter)
	out := table.Newest{Above: n.Above}
	if n.Snapshot != nil {
		out.Snapshot = snapshot{n.Snapshot, o}
	}
	return out, err
}

func (o opened) Screen(ctx context.Context) (string, error) { return o.log.Screen(ctx) }

func (o opened) Snapshot(ctx context.Context, number int64) (table.Snapshot, error) {
	s, err := o.log.Snapshot(ctx, number)
	if err != nil {
		return nil, err
	}
	return snapshot{s, o}, nil
}

func (o opened) Times(ctx context.Context) (table.Times, error) { return o.log.Times(ctx) }

func (o opened) History(ctx context.Context, from int64) iter.Seq2[table.Commit, error] {
	return o.log.History(ctx, from)
}

func (o opened) Commit(ctx context.Context, number int64) (table.Commit, error) {
	return o.log.Commit(ctx, number)
}

// snapshot is a version, and the table that it was read of.
type snapshot struct {
	*delta.Snapshot
	of opened
}

// deltaOf is a version that this format gave.
func deltaOf(s table.Snapshot) (*delta.Snapshot, error) {
	d, ok := s.(snapshot)
	if !ok {
		return nil, fmt.Errorf("%w: it is no version of a delta table", table.ErrRefused)
	}
	return d.Snapshot, nil
}

// bothOf is [deltaOf] of two.
func bothOf(was, is table.Snapshot) (w, i *delta.Snapshot, err error) {
	if w, err = deltaOf(was); err == nil {
		i, err = deltaOf(is)
	}
	return w, i, err
}

func (s snapshot) Version() table.Version { return s.Snapshot.Version }

func (s snapshot) Retention() table.Retention {
	return delta.RetentionOf(s.Metadata.Configuration)
}

// Sum reads all live rows.
func (s snapshot) Sum(ctx context.Context) (table.Digest, error) {
	return scan.Sum(ctx, s.of.store, s.Snapshot)
}

// Reading tells what digests of files go with.
func (s snapshot) Reading() ([32]byte, error) { return scan.Reading(s.Snapshot) }

// SumWith reads the files that are not known.
func (s snapshot) SumWith(ctx context.Context, files table.Digests) (table.Digest, int, error) {
	return scan.SumWith(ctx, s.of.store, s.Snapshot, files)
}

// Queryable reads the schema.
func (s snapshot) Queryable() (query.Table, error) {
	t, err := rows.Of(s.of.store, s.Snapshot)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Beside are the entry of the version that a checkpoint stands for, which tells its
// time, the checksum of the version, and the hint.
func (s snapshot) Beside(ctx context.Context) (table.Beside, error) {
	root, v := s.Root, s.Snapshot.Version.Number
	var b table.Beside
	seen := map[string]bool{}
	add := func(key string) {
		if !seen[key] {
			b.Files = append(b.Files, table.File{Key: key, Size: -1, Rows: -1, Why: table.LogEntry})
		}
		seen[key] = true
	}
	add(delta.CommitKey(root, max(s.Start, 0)))
	add(delta.CommitKey(root, v))
	add(delta.ChecksumKey(root, v))
	later, err := s.of.log.LaterThan(ctx, v)
	if err != nil {
		return b, err
	}
	switch {
	case later.KeepHint:
		add(later.Hint)
	case later.HintBody != nil:
		b.Pointer, b.Body = later.Hint, later.HintBody
	}
	return b, nil
}

// Hides reports whether an object lies in the log's folder itself: what lies below
// it, no reader finds without being told of it.
func (Format) Hides(root table.Root, key string) bool {
	name, ok := strings.CutPrefix(key, delta.LogDir(root))
	return ok && !strings.Contains(name, "/")
}
