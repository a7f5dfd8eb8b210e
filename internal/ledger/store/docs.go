package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
)

// PutDoc signs a document and keeps it under a key made by ledger.DocKey. The first one to
// be written stays: a repeated attempt gets back the body that is there, which may be other
// than its own, and the reference to it. What is there without a trusted signature is
// ErrPlanted, and stays as well.
func PutDoc(ctx context.Context, s Store, signer ssh.Signer, trusted []sshsig.Key, key string, body []byte) (ledger.DocRef, []byte, error) {
	fail := func(err error) (ledger.DocRef, []byte, error) {
		return ledger.DocRef{}, nil, fmt.Errorf("keep ledger document %s: %w", key, err)
	}
	if _, err := ledger.ParseDocKey(key); err != nil {
		return ledger.DocRef{}, nil, err
	}
	data, err := ledger.SealDoc(signer, key, body)
	if err != nil {
		return fail(err)
	}
	err = s.PutIfAbsent(ctx, key, data)
	if errors.Is(err, fs.ErrExist) {
		return FindDoc(ctx, s, trusted, key)
	}
	if err != nil {
		return fail(err)
	}
	return ledger.Ref(key, body), body, nil
}

// FindDoc reads what an earlier attempt may have kept under a key, and the reference to it.
// It is fs.ErrNotExist where nothing is there, and ErrPlanted where it has no trusted
// signature: the key can be known to whoever can write to the ledger.
func FindDoc(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, key string) (ledger.DocRef, []byte, error) {
	data, err := from.Get(ctx, key)
	if err != nil {
		return ledger.DocRef{}, nil, fmt.Errorf("look for ledger document %s: %w", key, err)
	}
	body, err := open(key, data, trusted)
	if err != nil {
		return ledger.DocRef{}, nil, err
	}
	return ledger.Ref(key, body), body, nil
}

// GetDoc reads the body of the document that an entry names. Another body than it names is
// ErrDigest, one without a trusted signature ErrPlanted; a missing one is fs.ErrNotExist.
func GetDoc(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, ref ledger.DocRef) ([]byte, error) {
	data, err := from.Get(ctx, ref.Key)
	if err != nil {
		return nil, fmt.Errorf("read ledger document %s: %w", ref.Key, err)
	}
	if digest := ledger.Digest(ledger.DocBody(data)); digest != ref.SHA256 {
		return nil, fmt.Errorf("read ledger document %s: its digest is %s, the entry says %s: %w; verify the evidence of this run", ref.Key, digest, ref.SHA256, ErrDigest)
	}
	return open(ref.Key, data, trusted)
}

func open(key string, data []byte, trusted []sshsig.Key) ([]byte, error) {
	body, _, err := ledger.OpenDoc(key, data, trusted)
	if err != nil {
		return nil, fmt.Errorf("ledger document %s is %w: %w; there lies %s; it is left there: find out who can write to the ledger, then plan the step again, which is another attempt with a key of its own",
			key, ErrPlanted, err, brief(body))
	}
	return body, nil
}

// PutPart keeps a part of a plan under the digest of its bytes, which it returns. What
// is there already is done.
func PutPart(ctx context.Context, s Store, run ledger.Run, part []byte) (digest string, err error) {
	digest = ledger.Digest(part)
	key := ledger.PartKey(run, digest)
	err = s.PutIfAbsent(ctx, key, part)
	switch {
	case errors.Is(err, fs.ErrExist):
		return "", fmt.Errorf("keep part %s of a plan: %w: other bytes are there; verify the evidence of this run", key, ErrDigest)
	case err != nil:
		return "", fmt.Errorf("keep part %s of a plan: %w", key, err)
	}
	return digest, nil
}

// GetPart reads a part of a plan. Other bytes than its digest names are ErrDigest; a
// missing one is fs.ErrNotExist.
func GetPart(ctx context.Context, from ledger.Reader, run ledger.Run, digest string) ([]byte, error) {
	key := ledger.PartKey(run, digest)
	part, err := from.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read part %s of a plan: %w", key, err)
	}
	if is := ledger.Digest(part); is != digest {
		return nil, fmt.Errorf("read part %s of a plan: its digest is %s: %w; verify the evidence of this run", key, is, ErrDigest)
	}
	return part, nil
}
