package rewind

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
)

// The encoding is small without a compressor, whose output may change from one
// release to the next while a plan's digest must not: keys are sorted and share
// their beginnings, and ids and ETags that are hexadecimal are stored as bytes.

// format is the first byte of an encoded plan.
const format = 1

// Encode writes lines of a plan, which are sorted by key. Ask is not kept:
// it was answered.
func Encode(lines []Line) []byte {
	b := []byte{format}
	b = binary.AppendUvarint(b, uint64(len(lines)))
	last := ""
	for _, l := range lines {
		n := 0
		for n < len(last) && n < len(l.Key) && last[n] == l.Key[n] {
			n++
		}
		b = binary.AppendUvarint(b, uint64(n)) //nolint:gosec // a length
		b = appendText(b, l.Key[n:])
		last = l.Key
		b = append(b, byte(l.Do))
		b = appendVersion(b, l.Now)
		b = appendVersion(b, l.Then)
		b = binary.AppendUvarint(b, uint64(len(l.Markers)))
		for _, m := range l.Markers {
			b = appendID(b, m)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

const isMarker, isThere = 1, 2

func appendVersion(b []byte, v Version) []byte {
	switch {
	case v.ID == "":
		return append(b, 0)
	case v.Marker:
		return appendID(append(b, isMarker), v.ID)
	}
	b = appendID(append(b, isThere), v.ID)
	b = appendID(b, v.ETag)
	b = binary.AppendUvarint(b, uint64(v.Size)) //nolint:gosec // not negative
	return appendText(b, v.Class)
}

// How an id is stored.
const (
	asText = iota
	asUUID // 8-4-4-4-12, lower case
	asHex  // 32 digits, lower case
)

func appendID(b []byte, id string) []byte {
	how, digits := byte(asText), id
	switch {
	case len(id) == 32:
		how = asHex
	case len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-':
		how, digits = asUUID, id[:8]+id[9:13]+id[14:18]+id[19:23]+id[24:]
	}
	if how != asText {
		if raw, err := hex.DecodeString(digits); err == nil && hex.EncodeToString(raw) == digits {
			return append(append(b, how), raw...)
		}
	}
	return appendText(append(b, asText), id)
}

var errEncoding = errors.New("a plan's lines are not encoded as this release writes them")

// reader takes an encoding apart; after the first mistake it gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *reader) text() string { return string(r.take(r.number())) }

func (r *reader) id() string {
	switch r.byte() {
	case asText:
		return r.text()
	case asHex:
		return hex.EncodeToString(r.take(16))
	case asUUID:
		if s := hex.EncodeToString(r.take(16)); len(s) == 32 {
			return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
		}
	}
	r.bad = true
	return ""
}

func (r *reader) version() Version {
	switch r.byte() {
	case 0:
		return Version{}
	case isMarker:
		return Version{ID: r.id(), Marker: true}
	case isThere:
		v := Version{ID: r.id(), ETag: r.id()}
		size := r.number()
		if size > math.MaxInt64 {
			r.bad = true
			return v
		}
		v.Size, v.Class = int64(size), r.text()
		return v
	}
	r.bad = true
	return Version{}
}

// leastLine is how many bytes a line has at least.
const leastLine = 6

// Decode reads what [Encode] wrote, and refuses anything else.
func Decode(b []byte) ([]Line, error) {
	r := &reader{b: b}
	if r.byte() != format {
		return nil, errEncoding
	}
	n := r.number()
	lines := make([]Line, 0, min(n, uint64(len(b)/leastLine)))
	last := ""
	for range n {
		shared := r.number()
		if shared > uint64(len(last)) {
			r.bad = true
		}
		if r.bad {
			return nil, errEncoding
		}
		l := Line{Key: last[:shared] + r.text(), Do: Do(r.byte()), Now: r.version(), Then: r.version()}
		if len(lines) > 0 && l.Key <= last || l.Do == None || l.Do > Keep {
			r.bad = true
		}
		for range min(r.number(), atMost+1) {
			l.Markers = append(l.Markers, r.id())
		}
		last, lines = l.Key, append(lines, l)
	}
	if r.bad || len(r.b) > 0 || !bytes.Equal(Encode(lines), b) {
		return nil, errEncoding
	}
	return lines, nil
}
