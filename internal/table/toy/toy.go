// Package toy is the smallest table format that keeps the promises of the port in
// package table: an example of how a format is added, and a subject for package
// tabletest. No estate can name it.
//
// A version is one manifest, _toy/00000000000000000007.json, which names every data
// file that is live. A data file has a row in each line.
package toy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/table"
)

// Format is the toy format.
type Format struct{}

var (
	_ table.Format    = Format{}
	_ table.RowReader = snapshot{}
	_ table.Portable  = snapshot{}
)

const folder = "_toy/"

// Name is the format's word.
func (Format) Name() string { return "toy" }

// Log is the folder of the manifests.
func (Format) Log(root table.Root) string { return root.Key(folder) }

// Entry tells a manifest by its folder and its number.
func (Format) Entry(key string) table.Entry {
	i := strings.LastIndex("/"+key, "/"+folder)
	if i < 0 {
		return table.Entry{Role: table.RoleData, Version: -1}
	}
	number, ok := strings.CutSuffix(key[i+len(folder):], ".json")
	if n, err := strconv.ParseInt(number, 10, 64); ok && err == nil && len(number) == 20 {
		return table.Entry{Role: table.RoleCommit, Version: n}
	}
	return table.Entry{Role: table.RoleCheckpoint, Version: -1}
}

// Open lists the manifests.
func (f Format) Open(ctx context.Context, store table.Store, root table.Root) (table.Table, error) {
	o := opened{store, root, map[int64]table.Object{}}
	for obj, err := range store.List(ctx, f.Log(root)) {
		if err != nil {
			return nil, fmt.Errorf("list the manifests of toy table %s: %w", root, err)
		}
		if e := f.Entry(obj.Key); e.Role == table.RoleCommit {
			o.manifests[e.Version] = obj
		}
	}
	if len(o.manifests) == 0 {
		return nil, fmt.Errorf("open toy table %s: no manifest is there: %w", root, fs.ErrNotExist)
	}
	return o, nil
}

// opened is a table as one listing showed it.
type opened struct {
	store     table.Store
	root      table.Root
	manifests map[int64]table.Object
}

// manifest is the content of a version.
type manifest struct {
	Version int64     `json:"version"`
	Time    time.Time `json:"time"`
	Brought int64     `json:"brought"` // rows
	Files   []file    `json:"files"`
}

type file struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Rows int64  `json:"rows"`
}

func (o opened) numbers() []int64 { return slices.Sorted(maps.Keys(o.manifests)) }

func (o opened) Extent() table.Extent {
	all := o.numbers()
	e := table.Extent{Head: all[len(all)-1], Readable: table.Ranges(all), Committed: table.Ranges(all)}
	for i, r := range e.Readable[1:] {
		e.Gaps = append(e.Gaps, table.Range{First: e.Readable[i].Last + 1, Last: r.First - 1})
	}
	return e
}

// read reads one manifest.
func (o opened) read(ctx context.Context, number int64) (manifest, error) {
	var m manifest
	obj, ok := o.manifests[number]
	if !ok {
		return m, fmt.Errorf("toy table %s has no version %d: %w", o.root, number, fs.ErrNotExist)
	}
	body, err := o.store.Get(ctx, obj.Key)
	if err != nil {
		return m, fmt.Errorf("read version %d of toy table %s: %w", number, o.root, err)
	}
	if err := json.Unmarshal(body, &m); err != nil || m.Version != number {
		return m, fmt.Errorf("%w: %s of toy table %s is no manifest of version %d", table.ErrBroken, obj.Key, o.root, number)
	}
	return m, nil
}

func (o opened) version(m manifest) table.Version {
	return table.Version{Number: m.Version, Time: m.Time, From: table.InCommit, Ref: o.manifests[m.Version].Key}
}

func (o opened) Commit(ctx context.Context, number int64) (table.Commit, error) {
	m, err := o.read(ctx, number)
	return table.Commit{Version: o.version(m), Operation: "append", Rows: m.Brought, Committed: m.Time}, err
}

func (o opened) History(ctx context.Context, from int64) iter.Seq2[table.Commit, error] {
	return func(yield func(table.Commit, error) bool) {
		for _, n := range o.numbers() {
			if n < from {
				continue
			}
			if c, err := o.Commit(ctx, n); !yield(c, err) || err != nil {
				return
			}
		}
	}
}

func (o opened) Snapshot(ctx context.Context, number int64) (table.Snapshot, error) {
	m, err := o.read(ctx, number)
	if err != nil {
		return nil, err
	}
	return snapshot{m, o}, nil
}

func (o opened) Times(ctx context.Context) (t table.Times, err error) {
	for c, err := range o.History(ctx, 0) {
		if err != nil {
			return t, err
		}
		t.Versions = append(t.Versions, c.Version)
	}
	return t, nil
}

// Newest holds one version after the other against one listing.
func (o opened) Newest(ctx context.Context, notAfter time.Time) (table.Newest, error) {
	var n table.Newest
	have := map[string]table.Object{}
	for obj, err := range o.store.List(ctx, o.root.Key("")) {
		if err != nil {
			return n, fmt.Errorf("list toy table %s: %w", o.root, err)
		}
		have[obj.Key] = obj
	}
	for _, number := range slices.Backward(o.numbers()) {
		above := table.Above{Version: table.Version{Number: number}, Commit: true, Through: number, Rows: -1}
		s, err := o.Snapshot(ctx, number)
		switch {
		case errors.Is(err, table.ErrBroken):
			above.Fault = err.Error()
		case err != nil:
			return n, err
		case !notAfter.IsZero() && s.Version().Time.After(notAfter):
			above.Fault = "later than asked for"
		default:
			above.Version = s.Version()
			for f, err := range s.Closure() {
				if err != nil {
					return n, err
				}
				size := int64(-1)
				if o, ok := have[f.Key]; ok {
					if err := table.Ask(ctx, slices.Values([]table.Object{o}), func(_ string, found int64) { size = found }); err != nil {
						return n, err
					}
				}
				if lack, bad := table.Judge(f, size); bad {
					above.Lacks = append(above.Lacks, lack)
				}
			}
			if len(above.Lacks) == 0 {
				n.Snapshot = s
				slices.Reverse(n.Above)
				return n, nil
			}
		}
		n.Above = append(n.Above, above)
	}
	slices.Reverse(n.Above)
	return n, fmt.Errorf("toy table %s: %w", o.root, table.ErrNoneComplete)
}

// snapshot is one version.
type snapshot struct {
	manifest manifest
	of       opened
}

func (s snapshot) Version() table.Version { return s.of.version(s.manifest) }

func (s snapshot) Outside() []string { return nil }

// Retention: nothing cleans up after a toy.
func (s snapshot) Retention() table.Retention {
	return table.Retention{Files: table.Keep{Understood: true}, Log: table.Keep{Understood: true}}
}

func (s snapshot) Rows() (n int64) {
	for _, f := range s.manifest.Files {
		n += f.Rows
	}
	return n
}

func (s snapshot) Closure() table.Closure {
	return func(yield func(table.File, error) bool) {
		log := s.of.manifests[s.manifest.Version]
		if !yield(table.File{Key: log.Key, Size: log.Size, Rows: -1, Why: table.LogEntry}, nil) {
			return
		}
		for _, f := range s.manifest.Files {
			if !yield(table.File{Key: s.of.root.Key(f.Name), Size: f.Size, Rows: f.Rows, Why: table.Data}, nil) {
				return
			}
		}
	}
}

// Sum adds up the SHA-256 of the rows, byte by byte.
func (s snapshot) Sum(ctx context.Context) (table.Digest, error) {
	var d table.Digest
	for _, f := range s.manifest.Files {
		body, err := s.of.store.Get(ctx, s.of.root.Key(f.Name))
		if err != nil {
			return table.Digest{}, fmt.Errorf("read the rows of toy table %s: %w", s.of.root, err)
		}
		for line := range bytes.Lines(body) {
			d.Rows++
			for i, b := range sha256.Sum256(line) {
				d.Sum[i] += b
			}
		}
	}
	return d, nil
}

// Beside: a manifest stands for itself.
func (s snapshot) Beside(context.Context) (table.Beside, error) { return table.Beside{}, nil }
