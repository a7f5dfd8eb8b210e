package rollback

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// The properties that a restore takes from the head and not from the target:
// names and marks that hold for the rest of the table's life.
var lasting = []string{
	"delta.rowTracking.materializedRowIdColumnName", "delta.rowTracking.materializedRowCommitVersionColumnName",
}

// The properties of in-commit timestamps.
const (
	ictOn      = "delta.enableInCommitTimestamps"
	ictVersion = "delta.inCommitTimestampEnablementVersion"
	ictTime    = "delta.inCommitTimestampEnablementTimestamp"
)

// merge works out metadata, protocol and domains.
func (p *Plan) merge(now, then *delta.Snapshot, h *history) error {
	var err error
	if p.Marks, err = marks(now, h.now); err != nil {
		return err
	}
	p.Marks.Protocol = upward(now.Protocol, then.Protocol)
	if p.protocol, err = encode(p.Marks.Protocol); err != nil {
		return err
	}
	p.metadata = map[string]json.RawMessage{}
	if err := json.Unmarshal(h.metadata, &p.metadata); err != nil {
		return fmt.Errorf("%w: metaData of version %d: %w", delta.ErrCorrupt, then.Version.Number, err)
	}
	schema, err := raised(then.Metadata.SchemaString, append(slices.Clone(h.schemas), now.Metadata.SchemaString))
	if err != nil {
		return err
	}
	if schema != then.Metadata.SchemaString {
		if p.metadata["schemaString"], err = encode(schema); err != nil {
			return err
		}
	}
	conf, err := p.properties(now.Metadata.Configuration, then.Metadata.Configuration)
	if err != nil {
		return err
	}
	if !maps.Equal(conf, then.Metadata.Configuration) {
		if p.metadata["configuration"], err = encode(conf); err != nil {
			return err
		}
	}
	p.Differs = p.enablesICT || schema != now.Metadata.SchemaString || !maps.Equal(conf, now.Metadata.Configuration) ||
		!slices.Equal(then.Metadata.PartitionColumns, now.Metadata.PartitionColumns) || then.Metadata.Name != now.Metadata.Name ||
		!covers(now.Protocol, p.Marks.Protocol)
	p.restoreDomains(h)
	// A column that the target does not have has no mark to keep.
	cols, err := identities(schema)
	maps.DeleteFunc(p.Marks.Identity, func(name string, _ int64) bool { _, ok := cols[name]; return !ok })
	return err
}

// properties are the target's, with those of the head that must last.
func (p *Plan) properties(now, then map[string]string) (map[string]string, error) {
	conf := maps.Clone(then)
	if conf == nil {
		conf = map[string]string{}
	}
	for _, name := range lasting {
		if v, ok := now[name]; ok {
			conf[name] = v
		}
	}
	given, err := columnID(now)
	if err != nil {
		return nil, err
	}
	had, err := columnID(then)
	if err != nil {
		return nil, err
	}
	if given > had {
		conf[maxColumn] = strconv.FormatInt(given, 10)
	}
	switch {
	case now[ictOn] == "true":
		// Turned off, times of versions could go back, and readers that travel by
		// time would have to guess where they do.
		for _, name := range []string{ictOn, ictVersion, ictTime} {
			delete(conf, name)
			if v, ok := now[name]; ok {
				conf[name] = v
			}
		}
	case then[ictOn] == "true":
		p.enablesICT = true
	}
	return conf, nil
}

// restoreDomains brings clustering back to the target's. Row ids keep their mark,
// unless fresh ones are given out, and domains that are not understood, or that
// users own, stay as they are.
func (p *Plan) restoreDomains(h *history) {
	was, clustered := h.then[clustering]
	is, now := h.now[clustering]
	if !clustered && now {
		was = domain{Domain: clustering, Configuration: `{"clusteringColumns":[],"domainName":"delta.clustering"}`}
	}
	if (clustered || now) && was.Configuration != is.Configuration {
		p.domains = append(p.domains, was)
		p.Differs = true
	}
	for _, name := range slices.Sorted(maps.Keys(h.now)) {
		if name != clustering && name != rowTracking && h.now[name] != h.then[name] {
			p.Kept = append(p.Kept, name)
		}
	}
}

// collect makes the adds and removes, in the order of their paths.
func (p *Plan) collect(d diff, h *history) error {
	order := func(all map[fileID]delta.Add) []fileID {
		return slices.SortedFunc(maps.Keys(all), func(a, b fileID) int {
			return cmp.Or(strings.Compare(a.bucket, b.bucket), strings.Compare(a.key, b.key), strings.Compare(a.vector, b.vector))
		})
	}
	for _, id := range order(d.away) {
		p.Metrics.RemovedBytes += d.away[id].Size
		r, err := remove(h.away[id])
		if err != nil {
			return fmt.Errorf("remove %s: %w", id.key, err)
		}
		p.removes = append(p.removes, r)
	}
	rows := numbering{tracked: p.tracked(), next: p.Marks.RowID + 1, version: p.Head.Number + 1, given: h.rowIDs}
	for _, id := range order(d.back) {
		f := d.back[id]
		p.Metrics.RestoredBytes += f.Size
		if f.Vector != nil && f.Records < 0 {
			return fmt.Errorf("%w: %s has a deletion vector and no numRecords in its statistics, without which it may not be added: compute its statistics at that version first", ErrRefused, f.Path)
		}
		body, err := again(h.back[id], f, place{id.bucket, id.key}, &rows)
		if err != nil {
			return fmt.Errorf("add %s: %w", f.Path, err)
		}
		p.adds = append(p.adds, added{f.Path, body})
	}
	if rows.fresh > 0 {
		p.Marks.RowID = rows.next - 1
		conf, err := encode(map[string]any{"rowIdHighWaterMark": p.Marks.RowID, "domainName": rowTracking})
		if err != nil {
			return err
		}
		p.domains = append(p.domains, domain{Domain: rowTracking, Configuration: string(conf)})
	}
	p.preserved = rows.tracked && rows.fresh == 0
	return nil
}

// again is an add that comes back: as it was, as a change of data.
func again(was json.RawMessage, f delta.Add, at place, rows *numbering) (json.RawMessage, error) {
	if f.DataChange && !rows.tracked && bytes.Contains(was, []byte(`"dataChange":true`)) { // already what it has to be
		return was, nil
	}
	add := map[string]json.RawMessage{}
	if err := json.Unmarshal(was, &add); err != nil {
		return nil, err
	}
	add["dataChange"] = json.RawMessage("true")
	if err := rows.number(add, f, at); err != nil {
		return nil, err
	}
	return encode(add)
}

// tracked reports whether every add needs row ids.
func (p *Plan) tracked() bool {
	return p.Configuration()["delta.rowTrackingSuspended"] != "true" && slices.Contains(p.Marks.Protocol.WriterFeatures, "rowTracking")
}

// numbering gives row ids to files that come from before row tracking.
type numbering struct {
	tracked bool
	next    int64 // row id
	version int64 // of the commit
	given   map[place]rowID
	fresh   int
}

func (n *numbering) number(add map[string]json.RawMessage, f delta.Add, at place) error {
	if _, ok := add["baseRowId"]; ok || !n.tracked {
		return nil
	}
	id, ok := n.given[at]
	if !ok {
		if f.Records < 0 {
			return fmt.Errorf("%w: %s comes from before row tracking and has no numRecords in its statistics, so that it cannot be given row ids: compute its statistics first", ErrRefused, f.Path)
		}
		base, version := n.next, n.version
		id = rowID{&base, &version}
		n.next += f.Records
		n.fresh++
		n.given[at] = id
	}
	add["baseRowId"] = json.RawMessage(strconv.FormatInt(*id.Base, 10))
	if id.Default != nil {
		add["defaultRowCommitVersion"] = json.RawMessage(strconv.FormatInt(*id.Default, 10))
	}
	return nil
}

// remove makes a remove of the add that is live: what the protocol's schema of a
// remove has of it.
func remove(add json.RawMessage) (removal, error) {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(add, &all); err != nil {
		return nil, err
	}
	r := removal{"dataChange": json.RawMessage("true"), "extendedFileMetadata": json.RawMessage("true")}
	for _, name := range []string{"path", "partitionValues", "size", "stats", "tags", "deletionVector", "baseRowId", "defaultRowCommitVersion"} {
		if v, ok := all[name]; ok && string(v) != "null" {
			r[name] = v
		}
	}
	return r, nil
}

// inCommit reports whether the commit must carry an in-commit timestamp, and the
// one before it, in milliseconds since 1970.
func (p *Plan) inCommit() (bool, int64) {
	if p.Configuration()[ictOn] != "true" {
		return false, 0
	}
	if p.Head.From == table.None {
		return true, 0
	}
	return true, p.Head.Time.UnixMilli()
}
