package rollback

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// explains are the operations that remove data by their nature. Others, an append
// above all, do not.
var explains = map[string]bool{
	"DELETE": true, "UPDATE": true, "MERGE": true, "OPTIMIZE": true, "RESTORE": true, "REORG": true, "TRUNCATE": true, "CLONE": true, "WRITE": true,
	"STREAMING UPDATE": true, "REPLACE TABLE": true, "REPLACE TABLE AS SELECT": true, "CREATE OR REPLACE TABLE": true,
	"CREATE OR REPLACE TABLE AS SELECT": true, "UPGRADE SCHEMA": true, "REMOVE COLUMN MAPPING": true, "COMPUTE STATS": true, "Convert to Delta": true,
	"ADD DELETION VECTORS TOMBSTONES": true, "CLUSTER BY": true, "AUTO_COMPACTION": true,
}

// history is what one pass over the log gives.
type history struct {
	between  table.Between
	back     map[fileID]json.RawMessage // adds as the target has them
	away     map[fileID]json.RawMessage // adds as the head has them
	metadata json.RawMessage            // the target's
	schemas  []string                   // of every metaData after it
	then     map[string]domain          // at the target
	now      map[string]domain          // at the head
	rowIDs   map[place]rowID            // given to data files after the target
}

type place struct{ bucket, key string }

type domain struct {
	Domain        string `json:"domain"`
	Configuration string `json:"configuration"`
	Removed       bool   `json:"removed"`
}

type rowID struct {
	Base    *int64 `json:"baseRowId"`
	Default *int64 `json:"defaultRowCommitVersion"`
}

// replay reads the log up to the target and from there to the head, and keeps
// what the restore needs of it. Then is the target with what is kept of later commits,
// whose files it gives, too: what else they say is not the target's.
func replay(ctx context.Context, l *delta.Log, now, then *delta.Snapshot, d diff) (*history, error) {
	h := &history{
		back: make(map[fileID]json.RawMessage, len(d.back)), away: make(map[fileID]json.RawMessage, len(d.away)),
		then: map[string]domain{}, rowIDs: map[place]rowID{},
	}
	for a, err := range l.ActionsOf(ctx, then) {
		if err != nil {
			return nil, err
		}
		switch later := a.Version > then.Version.Number; {
		case a.Kind == "add":
			err = keep(l, a, d.paths, d.back, h.back)
		case later:
		case a.Kind == "metaData":
			h.metadata = bytes.Clone(a.Body)
		case a.Kind == "domainMetadata":
			err = set(h.then, a)
		}
		if err != nil {
			return nil, err
		}
	}
	h.now = maps.Clone(h.then)
	if err := h.after(ctx, l, now, then, d); err != nil {
		return nil, err
	}
	h.between.Commits = now.Version.Number - then.Version.Number
	for _, app := range slices.Sorted(maps.Keys(now.Txns)) {
		was, ok := then.Txns[app]
		if !ok {
			was = -1
		}
		if now.Txns[app] > was {
			h.between.Skipped = append(h.between.Skipped, table.Skipped{App: app, Then: was, Now: now.Txns[app]})
		}
	}
	if h.between.Unread == 0 {
		return h, h.whole(d)
	}
	// Commits are gone, so that the head is read from a checkpoint above the target.
	clear(h.now)
	for a, err := range l.ActionsOf(ctx, now) {
		if err == nil && a.Kind == "add" {
			err = keep(l, a, d.gone, d.away, h.away)
		}
		if err == nil && a.Kind == "domainMetadata" {
			err = set(h.now, a)
		}
		if err != nil {
			return nil, err
		}
	}
	return h, h.whole(d)
}

// whole checks that every file's action was found.
func (h *history) whole(d diff) error {
	if len(h.back) != len(d.back) || len(h.away) != len(d.away) || h.metadata == nil {
		return fmt.Errorf("%w: the log gives %d of %s of the target and %d of %d of the head",
			delta.ErrCorrupt, len(h.back), plural.Of(len(d.back), "add"), len(h.away), len(d.away))
	}
	return nil
}

// after reads the commits above the target.
func (h *history) after(ctx context.Context, l *delta.Log, now, then *delta.Snapshot, d diff) error {
	var e table.Event
	var mode string
	seen := int64(0)
	flush := func() {
		if e.Removes > 0 && (!explains[e.Operation] || e.Operation == "WRITE" && mode == "Append") {
			h.between.Unexplained = append(h.between.Unexplained, e)
		}
		switch e.Operation {
		case "VACUUM START":
			h.between.Vacuum = &table.Event{Version: e.Version, Time: e.Time, Operation: e.Operation}
		case "VACUUM END":
			h.between.Vacuum = nil
		}
	}
	e.Version = then.Version.Number
	for a, err := range l.Actions(ctx, then.Version.Number+1, now.Version.Number) {
		if err != nil {
			return err
		}
		if a.Version != e.Version {
			flush()
			e, mode = table.Event{Version: a.Version}, ""
			seen++
		}
		switch a.Kind {
		case "add":
			err = keep(l, a, d.gone, d.away, h.away)
			if err == nil {
				err = h.numbered(l, a)
			}
		case "remove":
			err = h.removed(l, a, d, &e)
		case "metaData":
			var m delta.Metadata
			err = json.Unmarshal(a.Body, &m)
			h.schemas = append(h.schemas, m.SchemaString)
		case "domainMetadata":
			err = set(h.now, a)
		case "commitInfo":
			var info struct {
				Timestamp  int64  `json:"timestamp"`
				Operation  string `json:"operation"`
				Parameters struct {
					Mode string `json:"mode"`
				} `json:"operationParameters"`
			}
			if json.Unmarshal(a.Body, &info) == nil { // free-form by the protocol
				e.Operation, mode = info.Operation, info.Parameters.Mode
				if info.Timestamp > 0 {
					e.Time = time.UnixMilli(info.Timestamp).UTC()
				}
			}
		}
		if err != nil {
			return err
		}
	}
	flush()
	h.between.Unread = now.Version.Number - then.Version.Number - seen
	return nil
}

// removed notes a remove that changes data, and from when on a file that comes
// back may be vacuumed.
func (h *history) removed(l *delta.Log, a delta.Action, d diff, e *table.Event) error {
	var r struct {
		Path   string          `json:"path"`
		Change bool            `json:"dataChange"`
		Time   *int64          `json:"deletionTimestamp"`
		Vector json.RawMessage `json:"deletionVector"`
	}
	if err := json.Unmarshal(a.Body, &r); err != nil {
		return fmt.Errorf("%w: remove of version %d: %w", delta.ErrCorrupt, a.Version, err)
	}
	if r.Change {
		e.Removes++
	}
	if id, ok := d.paths[r.Path]; ok && r.Time != nil {
		at := time.UnixMilli(*r.Time).UTC()
		if sooner := h.between.Oldest.IsZero() || at.Before(h.between.Oldest); sooner {
			back := id.key != "" && r.Vector == nil // else the vector tells whether it is this one
			if !back {
				f, err := l.File(a)
				if err != nil {
					return err
				}
				_, back = d.back[idOf(f)]
			}
			if back {
				h.between.Oldest = at
			}
		}
	}
	return h.numbered(l, a)
}

// numbered notes the row ids that a data file was given after the target: they
// stay with its path for ever.
func (h *history) numbered(l *delta.Log, a delta.Action) error {
	if !bytes.Contains(a.Body, []byte(`"baseRowId"`)) {
		return nil
	}
	f, err := l.File(a)
	if err != nil {
		return err
	}
	var id rowID
	if err := json.Unmarshal(a.Body, &id); err != nil {
		return err
	}
	if id.Base != nil {
		bucket, key := f.File()
		h.rowIDs[place{bucket, key}] = id
	}
	return nil
}

// keep keeps an add if it is one of those wanted; the last one counts. Of most
// adds it reads the path alone.
func keep(l *delta.Log, a delta.Action, paths map[string]fileID, wanted map[fileID]delta.Add, into map[fileID]json.RawMessage) error {
	if len(wanted) == 0 {
		return nil
	}
	if path, ok := plainPath(a.Body); ok {
		id, ok := paths[path]
		if !ok {
			return nil
		}
		if id.key != "" && !bytes.Contains(a.Body, []byte(`"deletionVector"`)) {
			into[id] = bytes.Clone(a.Body)
			return nil
		}
	}
	f, err := l.File(a)
	if err != nil {
		return err
	}
	if _, ok := wanted[idOf(f)]; ok {
		into[idOf(f)] = bytes.Clone(a.Body)
	}
	return nil
}

// plainPath is the path of an action that begins with it, as writers put it, and
// needs no decoding.
func plainPath(body []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(body, []byte(`{"path":"`))
	if !ok {
		return "", false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return "", false
	}
	return string(rest[:end]), true
}

func set(domains map[string]domain, a delta.Action) error {
	var d domain
	if err := json.Unmarshal(a.Body, &d); err != nil {
		return fmt.Errorf("%w: domainMetadata of version %d: %w", delta.ErrCorrupt, a.Version, err)
	}
	if domains[d.Domain] = d; d.Removed {
		delete(domains, d.Domain)
	}
	return nil
}
