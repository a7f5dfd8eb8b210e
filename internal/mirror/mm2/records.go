package mm2

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/plural"
)

// The records of MirrorMaker 2 are written with Kafka's protocol types:
// big-endian integers, and STRING as an int16 length with that many bytes of
// UTF-8. Decoding is strict: an unknown version, a missing byte or one too many
// is an error, because a wrong offset is worse than none.

// Checkpoint is a checkpoint as MirrorMaker writes it down
// (org.apache.kafka.connect.mirror.Checkpoint).
type Checkpoint struct {
	Group      string
	Partition  kafka.Partition
	Upstream   int64
	Downstream int64
	Metadata   string // as the consumer committed it
}

// OffsetSync is a sync as MirrorMaker writes it down
// (org.apache.kafka.connect.mirror.OffsetSync).
type OffsetSync mirror.Sync

// connectOffset is how far a source connector has come in one partition of its
// source, as Connect stores it.
type connectOffset struct {
	Connector string
	Cluster   string // alias of the source
	Partition kafka.Partition
	Delivered int64     // offset of the last record delivered; -1 for an entry that was deleted
	Fell      time.Time // when it last was lower than before; zero if it never was
}

// next is the first source offset that is not known to be delivered.
func (o connectOffset) next() int64 { return o.Delivered + 1 }

const recordVersion = 0

// decodeCheckpoint reads a record of <source>.checkpoints.internal.
func decodeCheckpoint(key, value []byte) (Checkpoint, error) {
	var c Checkpoint
	k := decoder{rest: key}
	c.Group, c.Partition = k.text(), k.partition()
	v := decoder{rest: value}
	v.version()
	c.Upstream, c.Downstream, c.Metadata = v.int64(), v.int64(), v.text()
	return c, decoded("checkpoint", k, v)
}

// Encode writes the checkpoint as it is read again.
func (c Checkpoint) Encode() (key, value []byte, err error) {
	var k, v encoder
	k.text(c.Group)
	k.partition(c.Partition)
	v.uint16(recordVersion)
	v.int64(c.Upstream)
	v.int64(c.Downstream)
	v.text(c.Metadata)
	return k.out, v.out, errors.Join(k.err, v.err)
}

// decodeOffsetSync reads a record of mm2-offset-syncs.<source>.internal; its
// value has no version.
func decodeOffsetSync(key, value []byte) (OffsetSync, error) {
	k, v := decoder{rest: key}, decoder{rest: value}
	s := OffsetSync{Partition: k.partition(), Upstream: v.int64(), Downstream: v.int64()}
	return s, decoded("offset sync", k, v)
}

// Encode writes the sync as it is read again.
func (s OffsetSync) Encode() (key, value []byte, err error) {
	var k, v encoder
	k.partition(s.Partition)
	v.int64(s.Upstream)
	v.int64(s.Downstream)
	return k.out, v.out, errors.Join(k.err, v.err)
}

// sourcePartition is the second half of the key of a Connect offset.
type sourcePartition struct {
	Cluster   *string `json:"cluster"`
	Partition *int32  `json:"partition"`
	Topic     *string `json:"topic"`
}

type sourceOffset struct {
	Offset *int64 `json:"offset"`
}

// errOther means that a Connect offset is another connector's.
var errOther = errors.New("not the offset of a partition that this connector mirrors")

// decodeConnectOffset reads a record of a worker's offset topic, whose key is
// ["<connector>",{"cluster":…,"partition":…,"topic":…}]. An empty value means
// that the offset was deleted (Delivered is -1).
//
// Every connector of the worker keeps its offsets there, in a form of its own: whose
// record it is comes first, and what is another's ([errOther]) is not looked into.
func decodeConnectOffset(connector string, key, value []byte) (connectOffset, error) {
	o := connectOffset{Connector: connector}
	fail := func(err error) (connectOffset, error) {
		return connectOffset{}, fmt.Errorf("decode connect offset %.200q: %w", key, err)
	}
	var parts []json.RawMessage
	var name string
	if json.Unmarshal(key, &parts) != nil || len(parts) == 0 || json.Unmarshal(parts[0], &name) != nil || name != connector {
		return fail(errOther)
	}
	if len(parts) != 2 {
		return fail(fmt.Errorf("the key has %d elements, want the connector and its partition", len(parts)))
	}
	var at sourcePartition
	if err := json.Unmarshal(parts[1], &at); err != nil {
		return fail(err)
	}
	if at.Cluster == nil || at.Partition == nil || at.Topic == nil {
		return fail(errOther) // no partition of a topic: as a heartbeat connector keeps it
	}
	o.Cluster, o.Partition = *at.Cluster, kafka.Partition{Topic: *at.Topic, ID: *at.Partition}
	if o.Partition.ID < 0 {
		return fail(fmt.Errorf("partition %d is negative", o.Partition.ID))
	}
	if len(value) == 0 || bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
		o.Delivered = -1
		return o, nil
	}
	var off sourceOffset
	if err := json.Unmarshal(value, &off); err != nil {
		return fail(err)
	}
	if off.Offset == nil || *off.Offset < 0 || *off.Offset == math.MaxInt64 {
		return fail(fmt.Errorf("the value %.100q holds no usable offset", value))
	}
	o.Delivered = *off.Offset
	return o, nil
}

// encode writes the offset as [decodeConnectOffset] reads it.
func (o connectOffset) encode() (key, value []byte, err error) {
	key, err = json.Marshal([]any{o.Connector, sourcePartition{&o.Cluster, &o.Partition.ID, &o.Partition.Topic}})
	if err != nil {
		return nil, nil, fmt.Errorf("encode connect offset: %w", err)
	}
	if o.Delivered < 0 {
		return key, nil, nil
	}
	value, err = json.Marshal(sourceOffset{&o.Delivered})
	if err != nil {
		return nil, nil, fmt.Errorf("encode connect offset: %w", err)
	}
	return key, value, nil
}

// decoder takes values from the front of rest and keeps the first error.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) take(n int) []byte {
	if d.err == nil && n > len(d.rest) {
		d.err = fmt.Errorf("want %s, %d are left", plural.Of(n, "byte"), len(d.rest))
	}
	if d.err != nil {
		return make([]byte, min(n, 8))
	}
	var b []byte
	b, d.rest = d.rest[:n], d.rest[n:]
	return b
}

func (d *decoder) int64() int64 { return int64(binary.BigEndian.Uint64(d.take(8))) }

func (d *decoder) version() {
	if v := binary.BigEndian.Uint16(d.take(2)); d.err == nil && v != recordVersion {
		d.err = fmt.Errorf("version %d, this program reads version %d", v, recordVersion)
	}
}

func (d *decoder) text() string {
	n := int16(binary.BigEndian.Uint16(d.take(2)))
	if d.err == nil && n < 0 {
		d.err = fmt.Errorf("a text of %s", plural.Of(n, "byte"))
	}
	if d.err != nil {
		return ""
	}
	b := d.take(int(n))
	if d.err == nil && !utf8.Valid(b) {
		d.err = errors.New("a text that is not UTF-8")
	}
	if d.err != nil {
		return ""
	}
	return string(b)
}

func (d *decoder) partition() kafka.Partition {
	p := kafka.Partition{Topic: d.text()}
	p.ID = int32(binary.BigEndian.Uint32(d.take(4)))
	if d.err == nil && p.ID < 0 {
		d.err = fmt.Errorf("partition %d is negative", p.ID)
	}
	return p
}

// decoded is the error of a record's two halves.
func decoded(what string, key, value decoder) error {
	for half, d := range map[string]decoder{"key": key, "value": value} {
		if d.err == nil && len(d.rest) > 0 {
			d.err = fmt.Errorf("%s too many", plural.Of(len(d.rest), "byte"))
		}
		if d.err != nil {
			return fmt.Errorf("decode %s: %s: %w", what, half, d.err)
		}
	}
	return nil
}

// encoder appends values to out and keeps the first error.
type encoder struct {
	out []byte
	err error
}

func (e *encoder) uint16(v uint16) { e.out = binary.BigEndian.AppendUint16(e.out, v) }
func (e *encoder) int64(v int64)   { e.out = binary.BigEndian.AppendUint64(e.out, uint64(v)) }

func (e *encoder) text(s string) {
	if len(s) > math.MaxInt16 || !utf8.ValidString(s) {
		e.err = fmt.Errorf("encode %.40q: want UTF-8 of at most %s", s, plural.Of(math.MaxInt16, "byte"))
		return
	}
	e.uint16(uint16(len(s)))
	e.out = append(e.out, s...)
}

func (e *encoder) partition(p kafka.Partition) {
	e.text(p.Topic)
	e.out = binary.BigEndian.AppendUint32(e.out, uint32(p.ID))
}
