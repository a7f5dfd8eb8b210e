package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"sync"

	"breakwater/internal/reach"
	"breakwater/internal/strictjson"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/columns"
)

// Action is one action of the log as it stands there: as JSON and whole, with
// the fields that this package does not know. Who writes to a log has to hand
// on what it does not understand.
type Action struct {
	Version int64           // of the commit or checkpoint that holds it
	Kind    string          // "add", "metaData"
	Body    json.RawMessage // the object under Kind
}

// File reads an add or remove action.
func (l *Log) File(a Action) (Add, error) {
	var f fileAction
	if err := strictjson.Unmarshal(a.Body, &f); err != nil {
		return Add{}, fmt.Errorf("%w: %s of version %d: %w", ErrCorrupt, a.Kind, a.Version, err)
	}
	add, _, err := newAdd(l.root, f)
	return add, err
}

// Needs are the objects that this logical file stands for: its data file, and the
// file of its deletion vector.
func (a Add) Needs() []table.File { return a.needs() }

// ActionsOf yields every action that led to a snapshot, in the order in which
// they count: those of the checkpoint that it was read from, then each commit's.
// Of a checkpoint it leaves out tombstones and the parsed copies of statistics
// and partition values.
func (l *Log) ActionsOf(ctx context.Context, s *Snapshot) iter.Seq2[Action, error] {
	return l.actionsIn(ctx, s.log, func(o table.Object) int64 {
		if e := EntryOf(o.Key[strings.LastIndexByte(o.Key, '/')+1:]); e.Kind == EntryCommit {
			return e.Version
		}
		return s.Start
	})
}

// Actions yields every action of the listed commits from first to last, in order.
func (l *Log) Actions(ctx context.Context, first, last int64) iter.Seq2[Action, error] {
	var objects []table.Object
	versions := map[string]int64{}
	for _, v := range l.known() {
		if o, ok := l.commits[v]; ok && v >= first && v <= last {
			objects = append(objects, o)
			versions[o.Key] = v
		}
	}
	return l.actionsIn(ctx, objects, func(o table.Object) int64 { return versions[o.Key] })
}

// actionsIn yields the actions of objects of the log, fetching some ahead.
func (l *Log) actionsIn(ctx context.Context, objects []table.Object, version func(table.Object) int64) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		for at := 0; at < len(objects); at += fetchAhead {
			batch := objects[at:min(at+fetchAhead, len(objects))]
			bodies, errs := make([][]byte, len(batch)), make([]error, len(batch))
			var wg sync.WaitGroup
			for i, o := range batch {
				if strings.HasSuffix(o.Key, ".json") {
					wg.Go(func() { bodies[i], errs[i] = l.get(ctx, o) })
				}
			}
			wg.Wait()
			for i, o := range batch {
				if errs[i] != nil {
					yield(Action{}, errs[i])
					return
				}
				all := lineActions(version(o), o.Key, bodies[i])
				if strings.HasSuffix(o.Key, ".parquet") {
					all = l.rowActions(ctx, version(o), o)
				}
				for a, err := range all {
					if !yield(a, err) || err != nil {
						return
					}
				}
				bodies[i] = nil
			}
		}
	}
}

// lineActions yields the actions of newline-separated JSON.
func lineActions(version int64, key string, body []byte) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			all, err := members(line)
			if err != nil {
				yield(Action{}, badLog(key, "%w", err))
				return
			}
			for _, m := range all {
				if !yield(Action{version, m.kind, m.body}, nil) {
					return
				}
			}
		}
	}
}

// rowActions yields the actions of a Parquet checkpoint or sidecar.
func (l *Log) rowActions(ctx context.Context, version int64, o table.Object) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		f, err := columns.Open(ReaderAt(ctx, l.store, o.Key, o.Size), o.Size)
		if err != nil {
			yield(Action{}, fmt.Errorf("read checkpoint %s of %s: %w", InLog(o.Key), l.root, reach.Mark(err)))
			return
		}
		for record, err := range f.Records(wanted) {
			if err != nil {
				yield(Action{}, fmt.Errorf("read checkpoint %s of %s: %w", InLog(o.Key), l.root, reach.Mark(err)))
				return
			}
			for kind, v := range record {
				fields, ok := v.(map[string]any)
				if !ok {
					continue
				}
				unparse(fields)
				raw, err := json.Marshal(fields)
				if err != nil {
					yield(Action{}, badLog(o.Key, "%w", err))
					return
				}
				if !yield(Action{version, kind, raw}, nil) {
					return
				}
			}
		}
	}
}

// wanted tells the columns of a checkpoint that hold actions from those that only
// repeat them in another form.
func wanted(path []string) bool {
	switch {
	case path[0] == "remove" || path[0] == "sidecar" || path[0] == "checkpointMetadata":
		return false
	case len(path) > 1 && path[1] == "partitionValues_parsed":
		return false
	case len(path) > 1 && path[1] == "stats_parsed":
		return len(path) == 3 && (path[2] == "numRecords" || path[2] == "tightBounds")
	}
	return true
}

// unparse gives an add its statistics as JSON where the checkpoint has them in
// columns only (delta.checkpoint.writeStatsAsJson=false). Bounds of columns are
// optional and do not come back.
func unparse(fields map[string]any) {
	parsed := fields["stats_parsed"]
	delete(fields, "stats_parsed")
	if _, ok := fields["stats"]; ok || parsed == nil {
		return
	}
	if raw, err := json.Marshal(parsed); err == nil {
		fields["stats"] = string(raw)
	}
}
