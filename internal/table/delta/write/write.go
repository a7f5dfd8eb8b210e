// Package write is a minimal append-only writer of Delta tables, for
// laboratories, drills and tests. It is no way to restore a table.
//
// It writes protocol 1/2 tables that every engine reads: one Parquet file per
// append, commits by put-if-absent, and now and then a classic checkpoint.
// Appending is two acts, [Table.Stage] and [Table.Commit], in this order and
// with nothing kept in between, so that a laboratory can be killed there and
// leave what a killed writer leaves: a data file that no log entry names.
package write

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// Store is what a writer needs beyond reading. PutIfAbsent answers
// [fs.ErrExist] where the key is taken; after an error that leaves its outcome
// open it may be called again with the same bytes.
type Store interface {
	table.Store
	PutIfAbsent(ctx context.Context, key string, body []byte) error
	Put(ctx context.Context, key string, body []byte) error
}

// Type is the type of a column.
type Type string

// The types that a column can have.
const (
	Int64     Type = "long"
	Float64   Type = "double"
	String    Type = "string"
	Timestamp Type = "timestamp"
)

// Column is one nullable column.
type Column struct {
	Name      string
	Type      Type
	Partition bool // strings only
}

// Options say how a table is written. The zero value is ready.
type Options struct {
	// App is put into every commitInfo as "app": who wrote, in which run.
	App map[string]string
	// CheckpointEvery writes a checkpoint at each version that it divides; 0
	// means never.
	CheckpointEvery int64
	// Now is the clock of commits; nil means [time.Now].
	Now func() time.Time
}

// Table is a table open for appending. It is safe for concurrent use, also by
// several processes: versions are taken by put-if-absent.
type Table struct {
	store   Store
	root    table.Root
	columns []Column
	opts    Options
}

// Row is one row: a value per column, in the order of the columns: int64,
// float64, string, [time.Time] or nil.
type Row []any

// Create writes version 0 of a new table. Where the table is there already,
// with whatever columns, it answers [fs.ErrExist].
func Create(ctx context.Context, store Store, root table.Root, columns []Column, opts Options) (*Table, error) {
	t, err := newTable(store, root, columns, opts)
	if err != nil {
		return nil, err
	}
	meta, err := t.metadata()
	if err != nil {
		return nil, err
	}
	body, err := t.entry("CREATE TABLE", newID(), map[string]any{"protocol": delta.Protocol{MinReaderVersion: 1, MinWriterVersion: 2}}, meta)
	if err != nil {
		return nil, err
	}
	if err := store.PutIfAbsent(ctx, t.logKey("%020d.json", 0), body); err != nil {
		return nil, fmt.Errorf("create delta table %s: %w", root, err)
	}
	return t, nil
}

// Open opens a table that [Create] made with these columns.
func Open(ctx context.Context, store Store, root table.Root, columns []Column, opts Options) (*Table, error) {
	t, err := newTable(store, root, columns, opts)
	if err != nil {
		return nil, err
	}
	s, err := t.head(ctx)
	if err != nil {
		return nil, fmt.Errorf("open delta table %s for appending: %w", root, err)
	}
	if want, err := t.schema(); err != nil || s.Metadata.SchemaString != want {
		return nil, errors.Join(err, fmt.Errorf("open delta table %s for appending: it has other columns: %s", root, s.Metadata.SchemaString))
	}
	return t, nil
}

func newTable(store Store, root table.Root, columns []Column, opts Options) (*Table, error) {
	data := 0
	for _, c := range columns {
		switch {
		case c.Name == "" || strings.ContainsAny(c.Name, " ,;{}()\n\t=/"):
			return nil, fmt.Errorf("column name %q: not allowed without column mapping", c.Name)
		case c.Partition && c.Type != String:
			return nil, fmt.Errorf("partition column %s has type %s; only strings can partition here", c.Name, c.Type)
		case c.Type != Int64 && c.Type != Float64 && c.Type != String && c.Type != Timestamp:
			return nil, fmt.Errorf("column %s has unknown type %q", c.Name, c.Type)
		case !c.Partition:
			data++
		}
	}
	if data == 0 {
		return nil, fmt.Errorf("delta table %s: no column besides the partition's", root)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Table{store, root, columns, opts}, nil
}

// Append stages rows and commits them. See [Table.Stage] and [Table.Commit].
func (t *Table) Append(ctx context.Context, rows []Row) (version int64, err error) {
	staged, err := t.Stage(ctx, rows)
	if err != nil {
		return -1, err
	}
	return t.Commit(ctx, staged)
}

// Staged is data that lies in the store and that no version has yet.
type Staged struct {
	ID   string // of the commit that it will be
	Keys []string
	adds []any
}

// Stage writes rows as data files, one per partition value that occurs.
func (t *Table) Stage(ctx context.Context, rows []Row) (Staged, error) {
	s := Staged{ID: newID()}
	parts, order, err := t.split(rows)
	if err != nil {
		return s, err
	}
	for _, dir := range order {
		body, err := t.encode(parts[dir].rows)
		if err != nil {
			return s, fmt.Errorf("append to delta table %s: %w", t.root, err)
		}
		rel := dir + "part-" + newID() + ".snappy.parquet"
		key := t.root.Prefix + "/" + rel
		if err := t.store.PutIfAbsent(ctx, key, body); err != nil {
			return s, fmt.Errorf("append to delta table %s: write data file: %w", t.root, err)
		}
		stats, err := json.Marshal(map[string]any{"numRecords": len(parts[dir].rows)})
		if err != nil {
			return s, err
		}
		s.Keys = append(s.Keys, key)
		s.adds = append(s.adds, map[string]any{"add": map[string]any{
			"path": encodePath(rel), "partitionValues": parts[dir].values, "size": len(body),
			"modificationTime": t.opts.Now().UnixMilli(), "dataChange": true, "stats": string(stats),
		}})
	}
	return s, nil
}

// conflicts is how often Commit moves on to the next version, where others
// commit at the same time, before it gives up.
const conflicts = 100

// Commit makes staged data a version. A version taken by another writer is
// passed over, since an append conflicts with nothing that this writer does.
// Called again with the same Staged, it finds its earlier commit and returns
// that.
func (t *Table) Commit(ctx context.Context, s Staged) (version int64, err error) {
	fail := func(doing string, err error) (int64, error) {
		return -1, fmt.Errorf("commit %s to delta table %s: %s: %w", s.ID, t.root, doing, err)
	}
	body, err := t.entry("WRITE", s.ID, s.adds...)
	if err != nil {
		return fail("encode", err)
	}
	l, err := delta.Open(ctx, t.store, t.root)
	if err != nil {
		return fail("read the log", err)
	}
	if v, ok, err := t.find(ctx, l, s.ID); ok || err != nil {
		return v, err
	}
	for v := l.Head() + 1; v <= l.Head()+conflicts; v++ {
		key := t.logKey("%020d.json", v)
		err := t.store.PutIfAbsent(ctx, key, body)
		if errors.Is(err, fs.ErrExist) {
			theirs, gerr := t.store.Get(ctx, key)
			if gerr != nil {
				return fail("read the version that was taken", gerr)
			}
			if txnID(theirs) != s.ID { // ours, if the store retried an answer it lost
				continue
			}
			err = nil
		}
		if err != nil {
			return fail("write the log entry", err)
		}
		if t.opts.CheckpointEvery > 0 && v%t.opts.CheckpointEvery == 0 {
			if err := t.Checkpoint(ctx); err != nil {
				return v, fmt.Errorf("delta table %s has version %d, but no checkpoint: %w", t.root, v, err)
			}
		}
		return v, nil
	}
	return fail("take a version", fmt.Errorf("%d were taken by others: %w", conflicts, fs.ErrExist))
}

// lookBack is how many commits are searched for an earlier attempt.
const lookBack = 16

// find looks for an earlier attempt of the same commit.
func (t *Table) find(ctx context.Context, l *delta.Log, id string) (int64, bool, error) {
	for v := l.Head(); v > 0 && v > l.Head()-lookBack; v-- {
		c, err := l.Commit(ctx, v)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return -1, false, err
		}
		var info struct {
			TxnID string `json:"txnId"`
		}
		if err := json.Unmarshal(c.Info, &info); err == nil && info.TxnID == id {
			return v, true, nil
		}
	}
	return -1, false, nil
}

// txnID is the id in an entry's first line, where this writer puts it.
func txnID(entry []byte) string {
	line, _, _ := strings.Cut(string(entry), "\n")
	var a struct {
		CommitInfo struct {
			TxnID string `json:"txnId"`
		} `json:"commitInfo"`
	}
	if json.Unmarshal([]byte(line), &a) != nil {
		return "" // another writer's, and no id of ours
	}
	return a.CommitInfo.TxnID
}

// entry is the content of a log entry: commitInfo, then the actions.
func (t *Table) entry(operation, id string, actions ...any) ([]byte, error) {
	info := map[string]any{
		"timestamp": t.opts.Now().UnixMilli(), "operation": operation, "operationParameters": map[string]string{},
		"isBlindAppend": true, "engineInfo": "breakwater", "txnId": id,
	}
	if t.opts.App != nil {
		info["app"] = t.opts.App
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	for _, a := range append([]any{map[string]any{"commitInfo": info}}, actions...) {
		if err := enc.Encode(a); err != nil {
			return nil, err
		}
	}
	return []byte(b.String()), nil
}

func (t *Table) metadata() (any, error) {
	schema, err := t.schema()
	if err != nil {
		return nil, err
	}
	partitions := []string{}
	for _, c := range t.columns {
		if c.Partition {
			partitions = append(partitions, c.Name)
		}
	}
	return map[string]any{"metaData": map[string]any{
		"id": newID(), "format": map[string]any{"provider": "parquet", "options": map[string]string{}},
		"schemaString": schema, "partitionColumns": partitions, "configuration": map[string]string{},
		"createdTime": t.opts.Now().UnixMilli(),
	}}, nil
}

func (t *Table) schema() (string, error) {
	type column struct {
		Name     string            `json:"name"`
		Type     Type              `json:"type"`
		Nullable bool              `json:"nullable"`
		Metadata map[string]string `json:"metadata"`
	}
	fields := []column{}
	for _, c := range t.columns {
		fields = append(fields, column{c.Name, c.Type, true, map[string]string{}})
	}
	b, err := json.Marshal(map[string]any{"type": "struct", "fields": fields})
	return string(b), err
}

func (t *Table) head(ctx context.Context) (*delta.Snapshot, error) {
	l, err := delta.Open(ctx, t.store, t.root)
	if err != nil {
		return nil, err
	}
	return l.Snapshot(ctx, l.Head())
}

func (t *Table) logKey(format string, args ...any) string {
	return delta.LogDir(t.root) + fmt.Sprintf(format, args...)
}

// encodePath makes the URI that the log holds for a key relative to the table.
func encodePath(rel string) string { return (&url.URL{Path: rel}).EscapedPath() }

// newID is a random UUID, as the protocol's ids are.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, by its documentation
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
