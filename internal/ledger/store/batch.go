package store

import (
	"context"
	"encoding/json"
	"fmt"

	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"
)

// Expand gives the documents that a reference stands for: itself, or those of
// the index that it names.
func Expand(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, ref ledger.DocRef) ([]ledger.DocRef, error) {
	index, err := GetIndex(ctx, from, trusted, ref)
	return index.Docs, err
}

// GetIndex reads the index that a reference names, with the items that failed. Another
// document is an index of itself.
func GetIndex(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, ref ledger.DocRef) (ledger.Index, error) {
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return ledger.Index{}, err
	}
	if !ledger.IsIndex(id.Name) {
		return ledger.Index{Docs: []ledger.DocRef{ref}}, nil
	}
	raw, err := GetDoc(ctx, from, trusted, ref)
	if err != nil {
		return ledger.Index{}, err
	}
	var index ledger.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return ledger.Index{}, fmt.Errorf("read index %s: %w", ref.Key, err)
	}
	return index, nil
}

// Leaf recomputes the leaf that a planned batch has in its stage's root, from the
// documents in the ledger: the plan's own where the batch is one item, else the
// root over its items. `breakwater approve` does so before it signs.
func Leaf(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, ref ledger.DocRef) (ledger.Leaf, error) {
	refs, err := Expand(ctx, from, trusted, ref)
	if err != nil {
		return ledger.Leaf{}, err
	}
	leaves := make([]ledger.Leaf, len(refs))
	for n, r := range refs {
		if _, err := GetDoc(ctx, from, trusted, r); err != nil {
			return ledger.Leaf{}, err
		}
		if leaves[n], err = r.Leaf(); err != nil {
			return ledger.Leaf{}, err
		}
	}
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return ledger.Leaf{}, err
	}
	if !ledger.IsIndex(id.Name) {
		return leaves[0], nil
	}
	return ledger.Leaf{Step: id.Step, Item: id.Item, SHA256: ledger.Root(leaves)}, nil
}
