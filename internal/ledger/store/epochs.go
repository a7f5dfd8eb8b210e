package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
)

// Beside the lock lies a record of each epoch that a run was given, signed and never
// written over. The lock's object is written over and over, so that somebody could take it
// away or put an old one back: a lock that is behind the newest record is never taken for
// one that was not taken yet.

// record is what is kept of an epoch.
type record struct {
	Estate string `json:"estate"`
	Epoch  int64  `json:"epoch"`
	Holder Holder `json:"holder"`
}

// Recalled reads the lock as [Lock.Acquire] and a take-over find it. Where its object is gone
// or older than the newest record, whoever that record names holds it: whether that run
// gave it back nobody knows. Lost says so.
func (l Lock) Recalled(ctx context.Context) (LockState, error) {
	state, _, err := l.read(ctx)
	if err == nil {
		err = l.recall(ctx, &state)
	}
	return state, err
}

func (l Lock) recall(ctx context.Context, s *LockState) error {
	fail := func(err error) error { return fmt.Errorf("look for the epochs of estate %s: %w", l.estate, err) }
	newest, key := int64(0), ""
	for k, err := range l.store.List(ctx, ledger.EpochsPrefix(l.estate)) {
		if err != nil {
			return fail(err)
		}
		if epoch, ok := ledger.EpochOf(l.estate, k); ok && epoch > newest {
			newest, key = epoch, k
		}
	}
	if newest <= s.Epoch {
		return nil
	}
	data, err := l.store.Get(ctx, key)
	if err != nil {
		return fail(err)
	}
	var r record
	err = json.Unmarshal(ledger.DocBody(data), &r)
	if err == nil && (r.Estate != l.estate || r.Epoch != newest || r.Holder.Run.Workflow == "") {
		err = fmt.Errorf("it is about epoch %d of estate %q", r.Epoch, r.Estate)
	}
	if err != nil {
		return fail(fmt.Errorf("%s is no record of an epoch: %w; find out who can write to the ledger, and take it away from there", key, err))
	}
	is := fmt.Sprintf("at epoch %d", s.Epoch)
	if s.Epoch == 0 {
		is = "gone"
	}
	s.Lost = fmt.Sprintf("the lock is %s, and by the record %s run %s was given epoch %d: somebody took the lock away, or put an old one back", is, key, r.Holder.Run, r.Epoch)
	s.Epoch, s.Holder, s.Claim, s.Taken = r.Epoch, &r.Holder, nil, nil
	return nil
}

// Keep signs a record of the epoch that a run was given. One that is there and says the same
// is done.
func (l Lock) Keep(ctx context.Context, signer ssh.Signer, trusted []sshsig.Key, s LockState) error {
	fail := func(err error) error {
		return fmt.Errorf("keep the record of epoch %d of estate %s: %w", s.Epoch, l.estate, err)
	}
	if s.Holder == nil {
		return fail(errors.New("nobody holds it"))
	}
	key := ledger.EpochKey(l.estate, s.Epoch)
	body, err := ledger.Encode(record{l.estate, s.Epoch, *s.Holder})
	if err != nil {
		return fail(err)
	}
	data, err := ledger.SealDoc(signer, key, body)
	if err != nil {
		return fail(err)
	}
	err = l.store.PutIfAbsent(ctx, key, data)
	if !errors.Is(err, fs.ErrExist) {
		if err != nil {
			return fail(err)
		}
		return nil
	}
	there, err := l.store.Get(ctx, key)
	if err != nil {
		return fail(err)
	}
	is, err := open(key, there, trusted)
	if err != nil {
		return fail(err)
	}
	if !bytes.Equal(is, body) {
		return fail(fmt.Errorf("%w: that epoch was given to another run before, as %s says", ErrHeld, key))
	}
	return nil
}
