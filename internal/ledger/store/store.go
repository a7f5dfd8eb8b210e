// Package store keeps ledgers where they outlive the run, the worker and both
// regions: in an object store ([S3]), or in a folder that evidence was exported
// to ([Folder]). It also keeps the estate's lock there ([Lock]), since what
// decides who may act has to survive the same losses as the record of it.
//
// Nothing written for a run is ever overwritten: every write is put-if-absent,
// and whoever comes second finds out whether the first one wrote the same.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"breakwater/internal/ledger"
)

// Store is a ledger's location. Errors that mean that no answer came are marked
// with reach.ErrUnreachable, refusals are fs.ErrPermission.
type Store interface {
	ledger.Reader
	// PutIfAbsent writes a key that is not there. It is done, too, if the key
	// already holds these very bytes: a first attempt whose answer was lost. Other
	// bytes are fs.ErrExist.
	PutIfAbsent(ctx context.Context, key string, data []byte) error
	// Swap replaces an object that holds old; nil stands for no object. Any other
	// content is ErrMoved. Called again with the same arguments, it is done.
	Swap(ctx context.Context, key string, old, fresh []byte) error
}

var (
	// ErrMoved means that an object is not what the caller read: somebody was
	// faster. Read it again and decide anew.
	ErrMoved = errors.New("changed by somebody else meanwhile")
	// ErrForked means that two different things were written in one place of a
	// run's ledger: two workflows believe to be this run. Nothing may go on.
	ErrForked = errors.New("the ledger is forked")
	// ErrDigest means that a document is not the one that the ledger names.
	ErrDigest = errors.New("not the document that the ledger names")
	// ErrPlanted means that a document is signed by none of the keys that are trusted. It
	// may be anybody's who can write to the ledger.
	ErrPlanted = errors.New("signed by no signer of the estate")
)

// Append stores the entry that ledger.Chain.Append made, with the head that it
// returned. Called again with the same bytes it is done; with others it is
// ErrForked, which names both, and no retry can cure it.
func Append(ctx context.Context, s Store, head ledger.Head, data []byte) error {
	key := ledger.ChainKey(head.Run, head.Seq)
	if ledger.Digest(data) != head.Hash {
		return fmt.Errorf("append entry %d to the ledger of %s: the bytes are not those of head %s", head.Seq, head.Run, head)
	}
	err := s.PutIfAbsent(ctx, key, data)
	switch {
	case errors.Is(err, fs.ErrExist):
		return forked(ctx, s, key, "the entry to append", data)
	case err != nil:
		return fmt.Errorf("append entry %d to the ledger of %s: %w", head.Seq, head.Run, err)
	}
	return nil
}

// PutHead stores a signed head. A head that is there and says the same is done,
// whichever key signed it; another is ErrForked.
func PutHead(ctx context.Context, s Store, head ledger.SignedHead) error {
	key := ledger.HeadKey(head.Head.Run, head.Head.Seq)
	err := s.PutIfAbsent(ctx, key, head.Bytes())
	if !errors.Is(err, fs.ErrExist) {
		if err != nil {
			return fmt.Errorf("store the signed head of entry %d of %s: %w", head.Head.Seq, head.Head.Run, err)
		}
		return nil
	}
	there, err := s.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read the signed head that is already there: %w", err)
	}
	if signed, err := ledger.ParseSignedHead(there); err == nil && signed.Head == head.Head {
		return nil
	}
	return forked(ctx, s, key, "the head to store", head.Bytes())
}

// Load reads the entries of a run in order, and the chain that continues them.
// It checks that they form a chain, but no signature and no document: that is
// ledger.Verify. A run without entries has an empty chain.
func Load(ctx context.Context, from ledger.Reader, run ledger.Run) ([]ledger.Entry, ledger.Chain, error) {
	chain := ledger.NewChain(run)
	var entries []ledger.Entry
	for key, err := range from.List(ctx, ledger.ChainPrefix(run)) {
		if err != nil {
			return nil, chain, fmt.Errorf("list the ledger of %s: %w", run, err)
		}
		data, err := from.Get(ctx, key)
		if err != nil {
			return nil, chain, fmt.Errorf("read %s: %w", key, err)
		}
		e, err := ledger.ParseEntry(data)
		if err != nil {
			return nil, chain, fmt.Errorf("read %s: %w", key, err)
		}
		again, head, err := chain.Append(e)
		if err != nil || !bytes.Equal(again, data) || key != ledger.ChainKey(run, head.Seq) {
			return nil, chain, fmt.Errorf("read %s: it does not continue the chain at entry %d; verify the evidence of this run", key, len(entries))
		}
		entries = append(entries, e)
	}
	return entries, chain, nil
}

// Runs names the runs that a location holds, in the order of their keys.
func Runs(ctx context.Context, from ledger.Reader) ([]ledger.Run, error) {
	var runs []ledger.Run
	for key, err := range from.List(ctx, ledger.RunsPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list the runs of a ledger: %w", err)
		}
		run, _, err := ledger.ParseKey(key)
		if err != nil {
			return nil, fmt.Errorf("list the runs of a ledger: %w", err)
		}
		if len(runs) == 0 || runs[len(runs)-1] != run {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// Export copies everything that a run wrote, so that it can be verified where
// the store is out of reach. Called again, it copies what was added since. It
// returns how many objects the run has.
func Export(ctx context.Context, from ledger.Reader, to Store, run ledger.Run) (int, error) {
	n := 0
	for key, err := range from.List(ctx, run.Prefix()) {
		if err != nil {
			return n, fmt.Errorf("export the ledger of %s: %w", run, err)
		}
		if strings.HasPrefix(key, ledger.TurnsPrefix(run)) {
			continue // no evidence, and not the same tomorrow
		}
		data, err := from.Get(ctx, key)
		if err == nil {
			err = to.PutIfAbsent(ctx, key, data)
		}
		if err != nil {
			return n, fmt.Errorf("export the ledger of %s: %s: %w", run, key, err)
		}
		n++
	}
	return n, nil
}

func forked(ctx context.Context, s Store, key, what string, data []byte) error {
	there, err := s.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("%w at %s: what is there is not %s, and could not be read: %w", ErrForked, key, what, err)
	}
	return fmt.Errorf("%w at %s: there is %s, while %s is %s; two workflows write as this run: stop both, and find out which one is the run",
		ErrForked, key, brief(there), what, brief(data))
}

// brief is enough of an entry or head to recognise it.
func brief(data []byte) string {
	const most = 200
	if len(data) > most {
		return fmt.Sprintf("%s (%.*q…)", ledger.Digest(data), most, data)
	}
	return fmt.Sprintf("%s (%q)", ledger.Digest(data), data)
}
