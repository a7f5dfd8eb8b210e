package oracle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// ErrAmbiguous says that several writers tried the same version and none was
// answered, so that the journal alone cannot tell whose commit it is.
var ErrAmbiguous = errors.New("several unanswered writers tried this version")

// Sum identifies a payload: 16 hexadecimal digits of its SHA-256.
func Sum(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:8])
}

// Oracle is what the journal says about one region.
type Oracle struct {
	Region string

	acked    map[string]map[int64]Commit   // table → version
	tried    map[string]map[int64][]Commit // table → version
	messages map[partition][]Message       // by offset
	sent     map[string]map[string]Message // topic → key; acknowledged or not
	consumed map[consumer][]Consumed       // in the order of the commits
	logs     map[string]int                // topic → how often it was created anew
}

type partition struct {
	topic string
	id    int32
}

type consumer struct {
	group string
	partition
}

// Read reads what all processes journalled about a region, up to now: it may be
// called while they write. A folder without a journal is fs.ErrNotExist.
func Read(dir, region string) (*Oracle, error) {
	paths, err := files(dir)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("read the oracle's journal: no files in %s: %w", dir, fs.ErrNotExist)
	}
	o := &Oracle{
		Region: region,
		acked:  map[string]map[int64]Commit{}, tried: map[string]map[int64][]Commit{},
		messages: map[partition][]Message{}, sent: map[string]map[string]Message{}, consumed: map[consumer][]Consumed{}, logs: map[string]int{},
	}
	for _, path := range paths {
		if err := readFile(path, o.take); err != nil {
			return nil, err
		}
	}
	for _, ms := range o.messages {
		slices.SortFunc(ms, func(a, b Message) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	for _, cs := range o.consumed {
		slices.SortStableFunc(cs, func(a, b Consumed) int { return a.Time.Compare(b.Time) })
	}
	return o, nil
}

func (o *Oracle) take(l line) {
	switch {
	case l.Commit != nil && l.Commit.Region == o.Region && l.Acked:
		put(o.acked, l.Commit.Table, l.Commit.Version, *l.Commit)
	case l.Commit != nil && l.Commit.Region == o.Region && l.Lost:
		have := o.tried[l.Commit.Table][l.Commit.Version]
		put(o.tried, l.Commit.Table, l.Commit.Version, slices.DeleteFunc(have, func(c Commit) bool { return c.ID == l.Commit.ID }))
	case l.Commit != nil && l.Commit.Region == o.Region:
		have := o.tried[l.Commit.Table][l.Commit.Version]
		put(o.tried, l.Commit.Table, l.Commit.Version, append(have, *l.Commit))
	case l.Message != nil && l.Message.Region == o.Region:
		put(o.sent, l.Message.Topic, l.Message.Key, *l.Message)
		if l.Acked {
			p := partition{l.Message.Topic, l.Message.Partition}
			o.messages[p] = append(o.messages[p], *l.Message)
		}
	case l.Anew != nil && l.Anew.Region == o.Region:
		o.logs[l.Anew.Topic] = max(o.logs[l.Anew.Topic], l.Anew.Log)
	case l.Consumed != nil && l.Consumed.Region == o.Region:
		c := consumer{l.Consumed.Group, partition{l.Consumed.Topic, l.Consumed.Partition}}
		o.consumed[c] = append(o.consumed[c], *l.Consumed)
	}
}

func put[K comparable, V any](m map[string]map[K]V, name string, key K, v V) {
	if m[name] == nil {
		m[name] = map[K]V{}
	}
	m[name][key] = v
}

// Head is the newest acknowledged commit of a table; fs.ErrNotExist if there is none.
func (o *Oracle) Head(table string) (Commit, error) {
	var head Commit
	found := false
	for _, c := range o.acked[table] {
		if !found || c.Version > head.Version {
			head, found = c, true
		}
	}
	if !found {
		return head, fmt.Errorf("oracle: %s has no acknowledged commit in %s: %w", table, o.Region, fs.ErrNotExist)
	}
	return head, nil
}

// At is what version of a table is: the acknowledged commit, else the one that
// was tried and never answered. It is fs.ErrNotExist when nobody tried that
// version here, and ErrAmbiguous when several did and none was answered.
func (o *Oracle) At(table string, version int64) (c Commit, acked bool, err error) {
	if c, ok := o.acked[table][version]; ok {
		return c, true, nil
	}
	switch tried := o.tried[table][version]; len(tried) {
	case 0:
		return c, false, fmt.Errorf("oracle: %s@%d was never tried in %s: %w", table, version, o.Region, fs.ErrNotExist)
	case 1:
		return tried[0], false, nil
	default:
		return c, false, fmt.Errorf("oracle: %s@%d in %s: %w", table, version, o.Region, ErrAmbiguous)
	}
}

// RowsAt is the content of a table at a version, by id: the rows of every commit
// up to it. Only appends are journalled, and version 0 holds no rows. The last
// version may be an unacknowledged one, as [Oracle.At] says; others must be known.
func (o *Oracle) RowsAt(table string, version int64) ([]Row, error) {
	var rows []Row
	for v := int64(1); v <= version; v++ {
		c, _, err := o.At(table, v)
		if err != nil {
			return nil, err
		}
		rows = append(rows, c.Rows...)
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.ID, b.ID) })
	return rows, nil
}

// After is every acknowledged commit of a table above a version, oldest first:
// what is lost when the table comes back at that version.
func (o *Oracle) After(table string, version int64) []Commit {
	var lost []Commit
	for v, c := range o.acked[table] {
		if v > version {
			lost = append(lost, c)
		}
	}
	slices.SortFunc(lost, func(a, b Commit) int { return cmp.Compare(a.Version, b.Version) })
	return lost
}

// Messages is every acknowledged message of a partition, by offset; of a topic that was
// created anew, those since.
func (o *Oracle) Messages(topic string, id int32) []Message {
	return slices.DeleteFunc(slices.Clone(o.messages[partition{topic, id}]), func(m Message) bool { return m.Log != o.logs[topic] })
}

// Log is how often a topic was created anew.
func (o *Oracle) Log(topic string) int { return o.logs[topic] }

// Partitions are those of a topic in which a message was acknowledged, in order.
func (o *Oracle) Partitions(topic string) []int32 {
	var all []int32
	for p := range o.messages {
		if p.topic == topic {
			all = append(all, p.id)
		}
	}
	slices.Sort(all)
	return all
}

// Sent is the message with that key, acknowledged (Offset ≥ 0) or only tried.
func (o *Oracle) Sent(topic, key string) (Message, bool) {
	m, ok := o.sent[topic][key]
	return m, ok
}

// Consumed is the last offset that a group committed in a partition. Commits
// before a moment alone are counted if before is not zero.
func (o *Oracle) Consumed(group, topic string, id int32, before time.Time) (Consumed, bool) {
	cs := o.consumed[consumer{group, partition{topic, id}}]
	for _, c := range slices.Backward(cs) {
		if before.IsZero() || c.Time.Before(before) {
			return c, true
		}
	}
	return Consumed{}, false
}
