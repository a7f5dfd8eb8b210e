package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"breakwater/internal/backup"
)

// amount is a set of versions: how many, and a digest that does not go by their order.
type amount struct {
	Count  int64  `json:"count"`
	Bytes  int64  `json:"bytes"`
	Digest digest `json:"digest"`
}

// digest is the sum of the SHA-256 of all names.
type digest [4]uint64

func (d *digest) add(o digest) {
	carry := uint64(0)
	for i := range d {
		d[i], carry = bits.Add64(d[i], o[i], carry)
	}
}

// MarshalText writes it in hex.
func (d digest) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%016x%016x%016x%016x", d[3], d[2], d[1], d[0]), nil
}

// UnmarshalText is the inverse of MarshalText.
func (d *digest) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "%16x%16x%16x%16x", &d[3], &d[2], &d[1], &d[0]); err != nil {
		return fmt.Errorf("read the digest of versions %q: %w", text, err)
	}
	return nil
}

func (a *amount) add(o amount) {
	a.Count, a.Bytes = a.Count+o.Count, a.Bytes+o.Bytes
	a.Digest.add(o.Digest)
}

func (a *amount) take(v backup.Stored) {
	sum := sha256.Sum256([]byte(v.ID()))
	var d digest
	for i := range d {
		d[i] = binary.LittleEndian.Uint64(sum[8*i:])
	}
	a.add(amount{1, v.Size, d})
}
