package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"breakwater/internal/ledger"
)

// reader reads as much of a ledger as can be read. What was tampered with is
// left out or shown with a note: whether all is as it was signed is for
// ledger.Verify to say, and the report repeats it.
type reader struct {
	ledger.Reader
	run   ledger.Run
	notes []string
}

// note keeps a sentence for the reader of the report, each once.
func (r *reader) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	for _, have := range r.notes {
		if have == s {
			return
		}
	}
	r.notes = append(r.notes, s)
}

// chain returns the entries that can be read, in order, and the head of the last.
func (r *reader) chain(ctx context.Context) ([]ledger.Entry, ledger.Head, error) {
	var entries []ledger.Entry
	head := ledger.Head{Run: r.run}
	for key, err := range r.List(ctx, ledger.ChainPrefix(r.run)) {
		if err != nil {
			return nil, head, fmt.Errorf("list the entries: %w", err)
		}
		data, err := r.Get(ctx, key)
		if err != nil {
			return nil, head, fmt.Errorf("read %s: %w", key, err)
		}
		e, err := ledger.ParseEntry(data)
		if err != nil || key != ledger.ChainKey(r.run, e.Seq) {
			r.note("%s is left out of this report: it is no entry of this place", key)
			continue
		}
		entries = append(entries, e)
		head.Seq, head.Hash = e.Seq, ledger.Digest(data)
	}
	return entries, head, nil
}

// signature returns the last signed head that is there, unverified.
func (r *reader) signature(ctx context.Context) (ledger.SignedHead, error) {
	last := ""
	for key, err := range r.List(ctx, ledger.HeadPrefix(r.run)) {
		if err != nil {
			return ledger.SignedHead{}, fmt.Errorf("list the signed heads: %w", err)
		}
		last = key
	}
	if last == "" {
		return ledger.SignedHead{}, nil
	}
	data, err := r.Get(ctx, last)
	if err != nil {
		return ledger.SignedHead{}, fmt.Errorf("read %s: %w", last, err)
	}
	signed, err := ledger.ParseSignedHead(data)
	if err != nil {
		r.note("%s is no signed head", last)
		return ledger.SignedHead{}, nil
	}
	return signed, nil
}

// doc decodes a document. ok is false, with a note, where it is gone or not the
// one that the entry names; an error means that the store gave no answer.
func (r *reader) doc(ctx context.Context, ref ledger.DocRef, v any) (ok bool, err error) {
	stored, err := r.Get(ctx, ref.Key)
	data := ledger.DocBody(stored)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.note("document %s is missing; what it said is not in this report", ref.Key)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read document %s: %w", ref.Key, err)
	case ledger.Digest(data) != ref.SHA256:
		r.note("document %s was changed; what it says is not in this report", ref.Key)
		return false, nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		r.note("document %s cannot be read: %v", ref.Key, err)
		return false, nil
	}
	return true, nil
}

// docs calls f for each document that refs name, following indexes. The name is
// that of the document without its "undo-".
func (r *reader) docs(ctx context.Context, refs []ledger.DocRef, f func(ref ledger.DocRef, name string) error) error {
	for _, ref := range refs {
		id, err := ledger.ParseDocKey(ref.Key)
		if err != nil {
			r.note("an entry names %q, which is no document", ref.Key)
			continue
		}
		if !ledger.IsIndex(id.Name) {
			if err := f(ref, strings.TrimPrefix(id.Name, "undo-")); err != nil {
				return err
			}
			continue
		}
		var index ledger.Index
		ok, err := r.doc(ctx, ref, &index)
		if err != nil {
			return err
		}
		if ok {
			if err := r.docs(ctx, index.Docs, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// body decodes an entry's body, with a note where it is not what its kind has.
func body[T any](r *reader, e ledger.Entry) (T, bool) {
	var v T
	if err := json.Unmarshal(e.Body, &v); err != nil {
		r.note("entry %d (%s) cannot be read: %v", e.Seq, e.Kind, err)
		return v, false
	}
	return v, true
}
