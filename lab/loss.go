package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"

	"breakwater/lab/oracle"
)

// TableLoss is what the standby lacks of a table, held against the oracle.
type TableLoss struct {
	Table string `json:"table"`
	// Head is the newest version that the primary acknowledged.
	Head int64 `json:"head"`
	// Arrived is the newest version at the standby up to which every log entry and
	// every data file is there; -1 if version 0 is missing.
	Arrived int64 `json:"arrived"`
	// Commits and Rows were acknowledged and lie above Arrived.
	Commits int   `json:"lost_commits"`
	Rows    int64 `json:"lost_rows"`
	// Dangling are versions whose log entry is at the standby and whose data is not.
	Dangling []int64 `json:"dangling,omitempty"`
	// Gaps are versions below the standby's newest log entry that it has no entry of.
	Gaps []int64 `json:"gaps,omitempty"`
}

// Loss looks at what is at the standby now, by listing its bucket and reading
// the log's JSON, and compares it with what the primary acknowledged. It shares
// no code with what recovers.
func (l *Lab) Loss(ctx context.Context) ([]TableLoss, error) {
	truth, err := oracle.Read(l.OracleDir(), Primary)
	if err != nil {
		return nil, err
	}
	var all []TableLoss
	for _, g := range groups() {
		for _, t := range g.tables {
			one, err := l.tableLoss(ctx, truth, t, g.path(t))
			if err != nil {
				return nil, fmt.Errorf("compare table %s at the standby with the oracle: %w", t, err)
			}
			all = append(all, one)
		}
	}
	return all, nil
}

func (l *Lab) tableLoss(ctx context.Context, truth *oracle.Oracle, table, path string) (TableLoss, error) {
	loss := TableLoss{Table: table, Head: -1, Arrived: -1}
	switch head, err := truth.Head(table); {
	case err == nil:
		loss.Head = head.Version
	case !errors.Is(err, fs.ErrNotExist):
		return loss, err
	}
	entries, err := l.Entries(ctx, Standby, path)
	if err != nil {
		return loss, err
	}
	newest := int64(-1)
	for v := range entries {
		newest = max(newest, v)
	}
	for v := int64(0); v <= newest; v++ {
		e, ok := entries[v]
		switch {
		case !ok:
			loss.Gaps = append(loss.Gaps, v)
		case !e.Complete:
			loss.Dangling = append(loss.Dangling, v)
		case loss.Arrived == v-1:
			loss.Arrived = v
		}
	}
	for _, c := range truth.After(table, loss.Arrived) {
		loss.Commits++
		loss.Rows += int64(len(c.Rows))
	}
	return loss, nil
}

// Entry is one log entry of a table in a region.
type Entry struct {
	ID       string   // of the commit
	Files    []string // keys that it adds, in the bucket
	Complete bool     // every one of them is there at the size that the entry gives
}

// Entries reads a table's log in a region, path being its prefix in the bucket.
func (l *Lab) Entries(ctx context.Context, region, path string) (map[int64]Entry, error) {
	c, err := l.store(region, l.secret(region, rootUser))
	if err != nil {
		return nil, err
	}
	// The log is listed and read before the data is listed: what arrives meanwhile
	// makes no entry look incomplete that is complete by the end.
	logs := path + "/_delta_log/"
	texts := map[int64][]byte{}
	for o, err := range c.List(ctx, buckets()[region], logs) {
		if err != nil {
			return nil, err
		}
		digits, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, logs), ".json")
		v, err := strconv.ParseInt(digits, 10, 64)
		if !ok || err != nil || len(digits) != 20 {
			continue
		}
		if texts[v], _, err = c.Get(ctx, buckets()[region], o.Key); err != nil {
			return nil, err
		}
	}
	sizes := map[string]int64{}
	for o, err := range c.List(ctx, buckets()[region], path+"/") {
		if err != nil {
			return nil, err
		}
		sizes[o.Key] = o.Size
	}
	entries := map[int64]Entry{}
	for v, text := range texts {
		e, err := parseEntry(text, path, sizes)
		if err != nil {
			return nil, fmt.Errorf("read version %d of %s in %s: %w", v, path, region, err)
		}
		entries[v] = e
	}
	return entries, nil
}

func parseEntry(text []byte, path string, sizes map[string]int64) (Entry, error) {
	e := Entry{Complete: true}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var action struct {
			CommitInfo *struct {
				TxnID string `json:"txnId"`
			} `json:"commitInfo"`
			Add *struct {
				Path string `json:"path"`
				Size int64  `json:"size"`
			} `json:"add"`
		}
		if err := json.Unmarshal(lines.Bytes(), &action); err != nil {
			return e, err
		}
		if action.CommitInfo != nil {
			e.ID = action.CommitInfo.TxnID
		}
		if action.Add == nil {
			continue
		}
		rel, err := url.PathUnescape(action.Add.Path)
		if err != nil {
			return e, err
		}
		key := path + "/" + rel
		e.Files = append(e.Files, key)
		if size, ok := sizes[key]; !ok || size != action.Add.Size {
			e.Complete = false
		}
	}
	return e, lines.Err()
}
