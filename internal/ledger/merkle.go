package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
)

// Leaf is one plan document as the root of a stage's plan sees it: what it is
// about and what it says, but not where it lies or at which attempt it was
// made. So a stage that is planned again to the same effect has the same root.
// A batch of a Sweep is a leaf too, with the batch's own root as its digest.
type Leaf struct {
	Step   string `json:"step"`
	Item   string `json:"item"`
	SHA256 string `json:"sha256"`
}

// Leaf returns the leaf of a document, from its key and digest.
func (d DocRef) Leaf() (Leaf, error) {
	id, err := ParseDocKey(d.Key)
	if err != nil {
		return Leaf{}, err
	}
	return Leaf{Step: id.Step, Item: id.Item, SHA256: d.SHA256}, nil
}

// Root is the Merkle root of a plan, in lower-case hex: what a person approves.
// The leaves are put in order by step, item and digest, so that the caller's
// order does not matter. The tree is that of RFC 6962, with its prefixes that
// keep a leaf from passing for a node; a leaf's content is step, item and digest,
// each after its length in 8 bytes. The root of no leaves is the SHA-256 of
// nothing.
func Root(leaves []Leaf) string {
	sorted := slices.Clone(leaves)
	slices.SortFunc(sorted, func(a, b Leaf) int {
		if c := strings.Compare(a.Step, b.Step); c != 0 {
			return c
		}
		if c := strings.Compare(a.Item, b.Item); c != 0 {
			return c
		}
		return strings.Compare(a.SHA256, b.SHA256)
	})
	root := merkle(sorted)
	return hex.EncodeToString(root[:])
}

func merkle(leaves []Leaf) [sha256.Size]byte {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		buf := []byte{0}
		for _, text := range []string{leaves[0].Step, leaves[0].Item, leaves[0].SHA256} {
			buf = binary.BigEndian.AppendUint64(buf, uint64(len(text)))
			buf = append(buf, text...)
		}
		return sha256.Sum256(buf)
	}
	half := 1 // the largest power of two below len(leaves)
	for half*2 < len(leaves) {
		half *= 2
	}
	left, right := merkle(leaves[:half]), merkle(leaves[half:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}
