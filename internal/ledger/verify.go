package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"breakwater/internal/plural"
	"breakwater/internal/sshsig"
)

// Reader is what [Verify] reads evidence through: an object store, or a folder
// that it was exported to.
type Reader interface {
	// Get returns an object whole. A missing one is fs.ErrNotExist.
	Get(ctx context.Context, key string) ([]byte, error)
	// List yields the keys under a prefix in ascending order.
	List(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Wrong says in one word what is wrong with a ledger.
type Wrong string

// What can be wrong, in the terms of someone who asks what was done to it.
const (
	Changed       Wrong = "changed"           // an entry's bytes are not those that the chain or a signature names
	Dropped       Wrong = "dropped"           // an entry is missing
	Rehashed      Wrong = "re-hashed"         // the chain is consistent in itself, but is not what was signed
	Forked        Wrong = "forked"            // two histories were signed
	Unsigned      Wrong = "unsigned"          // an entry after the last signed head
	UnknownSigner Wrong = "unknown signer"    // a head signed by nobody who is trusted
	BadSignature  Wrong = "bad signature"     // a head whose signature is not one of its text
	DocMissing    Wrong = "document missing"  // named by an entry, not there
	DocChanged    Wrong = "document changed"  // there, with another body
	DocForged     Wrong = "document forged"   // there, with a signature that no trusted key made for it
	Stray         Wrong = "not of this chain" // an object among the entries or heads that cannot be one
)

// Fault is the first thing wrong with a ledger.
type Fault struct {
	Seq    int64  `json:"seq"` // of the entry at fault, or that names the document at fault
	Key    string `json:"key"` // of the object at fault
	Wrong  Wrong  `json:"wrong"`
	Detail string `json:"detail"` // a sentence for people
}

// String is the fault as one line.
func (f Fault) String() string {
	return fmt.Sprintf("entry %d (%s): %s: %s", f.Seq, f.Key, f.Wrong, f.Detail)
}

// Result is what [Verify] found. The ledger is as it was signed if Fault is nil.
type Result struct {
	Run     Run       `json:"run"`
	Entries int64     `json:"entries"` // verified, up to the fault
	Docs    int64     `json:"docs"`    // verified, up to the fault
	Head    Head      `json:"head"`    // of the last entry that was verified
	Signers []string  `json:"signers"` // fingerprints, in the order of their first signature
	Ended   bool      `json:"ended"`   // the last entry is the run's end
	First   time.Time `json:"first"`   // time of the first entry
	Last    time.Time `json:"last"`    // time of the last one verified
	Fault   *Fault    `json:"fault,omitempty"`
}

// link is an entry as the walk sees it.
type link struct {
	entry Entry
	hash  string
	err   error // of parsing
}

type verifier struct {
	Reader
	run   Run
	links map[int64]link
	heads map[int64]Head // signed by a trusted key
	bad   map[int64]Fault
	last  int64 // the highest sequence number seen
	seals int64 // the highest one that a trusted key signed
	keys  []sshsig.Key
	res   Result
}

// Verify walks the ledger of a run from its first entry and holds every hash,
// every document that an entry names, and every signed head against what is
// there. It names the first thing wrong, and stops. A ledger is verified only as
// far as a trusted key signed it, so one without a signed head is at fault in
// its first entry.
//
// The error says that something could not be read, and then nothing is
// concluded; a run without any entry is fs.ErrNotExist. What is missing or
// wrong is no error but a Fault.
//
// A tail that was cut off together with its signed heads leaves a shorter ledger
// that is right in itself: compare Head with the one in the run's report or
// history, and look at Ended.
//
// How exactly a re-hashed entry is named depends on how often heads were
// signed: between two signed heads nothing tells the entries apart, and the
// detail gives the range.
func Verify(ctx context.Context, from Reader, run Run, trusted []sshsig.Key) (Result, error) {
	v := &verifier{
		Reader: from, run: run, keys: trusted, res: Result{Run: run, Head: Head{Run: run}},
		links: map[int64]link{}, heads: map[int64]Head{}, bad: map[int64]Fault{},
	}
	if err := errors.Join(v.readChain(ctx), v.readHeads(ctx, trusted)); err != nil {
		return v.res, fmt.Errorf("verify the ledger of %s: %w", run, err)
	}
	if v.last == 0 {
		return v.res, fmt.Errorf("verify the ledger of %s: nothing under %s: %w", run, run.Prefix(), fs.ErrNotExist)
	}
	agreed := int64(0)
	for seq := int64(1); seq <= v.last; seq++ {
		fault := v.entry(seq, agreed)
		if fault == nil {
			var err error
			if fault, err = v.docs(ctx, seq, v.links[seq].entry.Docs); err != nil {
				return v.res, fmt.Errorf("verify the ledger of %s: %w", run, err)
			}
		}
		if fault != nil {
			v.res.Fault = fault
			return v.res, nil
		}
		if _, ok := v.heads[seq]; ok {
			agreed = seq
		}
		at := v.links[seq]
		v.res.Entries, v.res.Head = seq, Head{Run: run, Seq: seq, Hash: at.hash}
		v.res.Last, v.res.Ended = at.entry.Time, at.entry.Kind == RunEnded
		if seq == 1 {
			v.res.First = at.entry.Time
		}
	}
	return v.res, nil
}

func (v *verifier) readChain(ctx context.Context) error {
	prefix := ChainPrefix(v.run)
	for key, err := range v.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		seq, ok := seqOf(key, prefix, ".json")
		if !ok {
			v.stray(key)
			continue
		}
		data, err := v.Get(ctx, key)
		if errors.Is(err, fs.ErrNotExist) { // listed a moment ago
			continue
		}
		if err != nil {
			return fmt.Errorf("read entry %d (%s): %w", seq, key, err)
		}
		l := link{hash: Digest(data)}
		l.entry, l.err = ParseEntry(data)
		v.links[seq], v.last = l, max(v.last, seq)
	}
	return nil
}

func (v *verifier) readHeads(ctx context.Context, trusted []sshsig.Key) error {
	prefix := HeadPrefix(v.run)
	for key, err := range v.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		seq, ok := seqOf(key, prefix, ".sig")
		if !ok {
			v.stray(key)
			continue
		}
		data, err := v.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("read signed head %d (%s): %w", seq, key, err)
		}
		v.last = max(v.last, seq)
		signed, err := ParseSignedHead(data)
		if err != nil {
			v.bad[seq] = Fault{seq, key, BadSignature, err.Error()}
			continue
		}
		signer, err := signed.Verify(trusted)
		switch {
		case errors.Is(err, sshsig.ErrUnknownSigner):
			v.bad[seq] = Fault{seq, key, UnknownSigner, err.Error()}
		case err != nil:
			v.bad[seq] = Fault{seq, key, BadSignature, err.Error()}
		case signed.Head.Run != v.run || signed.Head.Seq != seq:
			v.bad[seq] = Fault{seq, key, BadSignature, fmt.Sprintf("it is the signed head of entry %d of %s", signed.Head.Seq, signed.Head.Run)}
		default:
			v.heads[seq], v.seals = signed.Head, max(v.seals, seq)
			if fp := signer.Fingerprint(); !slices.Contains(v.res.Signers, fp) {
				v.res.Signers = append(v.res.Signers, fp)
			}
		}
	}
	return nil
}

// stray keeps an object that cannot belong to the chain as a fault of the very
// first entry: it has no place in the order.
func (v *verifier) stray(key string) {
	if _, ok := v.bad[1]; !ok {
		v.bad[1] = Fault{1, key, Stray, "no entry and no signed head has such a key"}
	}
	v.last = max(v.last, 1)
}

// entry says what is wrong with one entry, given that everything before it is
// right and that agreed is the last one that a signature vouches for.
func (v *verifier) entry(seq, agreed int64) *Fault {
	key := ChainKey(v.run, seq)
	fault := func(w Wrong, format string, args ...any) *Fault {
		return &Fault{seq, key, w, fmt.Sprintf(format, args...)}
	}
	at, ok := v.links[seq]
	prev := v.links[seq-1].hash
	signed, sealed := v.heads[seq]
	bad, distrusted := v.bad[seq]
	switch {
	case !ok && distrusted && seq > v.seals:
		return &bad // a head of an entry that never was
	case !ok && seq <= v.seals:
		return fault(Dropped, "it is not there, though heads up to entry %d are signed", v.seals)
	case !ok:
		return fault(Dropped, "it is not there, though entry %d is", v.last)
	case at.err != nil:
		return fault(Changed, "%v", at.err)
	case at.entry.Seq != seq || at.entry.Run != v.run:
		return fault(Changed, "its bytes are those of entry %d of %s", at.entry.Seq, at.entry.Run)
	case at.entry.Prev != prev:
		return fault(Changed, "it names %q as the hash of the entry before, which is %q; that one may have been changed as well", at.entry.Prev, prev)
	case sealed && signed.Hash != at.hash:
		return v.contradicted(seq, agreed, at, signed)
	case !sealed && v.broken(seq):
		return fault(Changed, "its hash is %s, but entry %d names %s", at.hash, seq+1, v.links[seq+1].entry.Prev)
	}
	if distrusted {
		return &bad
	}
	if seq > v.seals {
		return fault(Unsigned, "the last signed head is that of entry %d; nothing vouches for what follows", v.seals)
	}
	return nil
}

// broken reports whether the entry after seq shows that seq was changed. Where
// the two disagree, either may be the changed one: it is the later one if what
// follows does not fit that either.
func (v *verifier) broken(seq int64) bool {
	next, ok := v.links[seq+1]
	if !ok || next.err != nil || next.entry.Seq != seq+1 || next.entry.Run != v.run || next.entry.Prev == v.links[seq].hash {
		return false
	}
	if signed, ok := v.heads[seq+1]; ok {
		return signed.Hash == next.hash
	}
	after, ok := v.links[seq+2]
	return ok && after.err == nil && after.entry.Prev == next.hash
}

// contradicted says what became of an entry that is not the signed one.
func (v *verifier) contradicted(seq, agreed int64, at link, signed Head) *Fault {
	f := &Fault{Seq: seq, Key: ChainKey(v.run, seq), Wrong: Changed}
	f.Detail = fmt.Sprintf("its hash is %s, signed was %s", at.hash, signed.Hash)
	next, ok := v.links[seq+1]
	if ok && next.entry.Prev != at.hash {
		return f
	}
	if ok || agreed+1 < seq {
		f.Wrong = Rehashed
	}
	if agreed+1 < seq {
		f.Detail += fmt.Sprintf("; which of the entries %d to %d was the first, no signature tells", agreed+1, seq)
	}
	for later := seq + 1; later <= v.seals; later++ {
		if head, ok := v.heads[later]; ok && v.links[later].hash == head.Hash {
			f.Wrong = Forked
			f.Detail += fmt.Sprintf("; yet the head of entry %d of the chain that is here was signed too", later)
			break
		}
	}
	return f
}

// docs verifies the documents that an entry, or an index that it names, names.
func (v *verifier) docs(ctx context.Context, seq int64, refs []DocRef) (*Fault, error) {
	for _, ref := range refs {
		fault := func(w Wrong, detail string) *Fault {
			return &Fault{seq, ref.Key, w, detail}
		}
		id, err := ParseDocKey(ref.Key)
		if err != nil {
			return &Fault{seq, ChainKey(v.run, seq), Changed, err.Error()}, nil
		}
		stored, err := v.Get(ctx, ref.Key)
		data, _, unsigned := OpenDoc(ref.Key, stored, v.keys)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fault(DocMissing, "the entry names it with digest "+ref.SHA256), nil
		case err != nil:
			return nil, fmt.Errorf("read document %s of entry %d: %w", ref.Key, seq, err)
		case Digest(data) != ref.SHA256 || int64(len(data)) != ref.Size:
			return fault(DocChanged, fmt.Sprintf("it has %s with digest %s, the entry names %d with %s",
				plural.Of(len(data), "byte"), Digest(data), ref.Size, ref.SHA256)), nil
		case unsigned != nil && !errors.Is(unsigned, ErrUnsigned): // in ledgers of before, none is signed
			return fault(DocForged, unsigned.Error()), nil
		}
		v.res.Docs++
		if isPlan(id.Name) {
			if f, err := v.parts(ctx, seq, ref, data); f != nil || err != nil {
				return f, err
			}
		}
		if !IsIndex(id.Name) {
			continue
		}
		var index Index
		if err := json.Unmarshal(data, &index); err != nil {
			return fault(DocChanged, "it is no index of documents: "+err.Error()), nil
		}
		if f, err := v.docs(ctx, seq, index.Docs); f != nil || err != nil {
			return f, err
		}
	}
	return nil, nil
}

// parts verifies the parts that a plan's document names.
func (v *verifier) parts(ctx context.Context, seq int64, plan DocRef, doc []byte) (*Fault, error) {
	digests, err := PartsOf(doc)
	if err != nil {
		return &Fault{seq, plan.Key, DocChanged, err.Error()}, nil
	}
	for n, digest := range digests {
		key := PartKey(v.run, digest)
		data, err := v.Get(ctx, key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return &Fault{seq, key, DocMissing, fmt.Sprintf("it is part %d of %d of %s", n+1, len(digests), plan.Key)}, nil
		case err != nil:
			return nil, fmt.Errorf("read part %s of %s of entry %d: %w", key, plan.Key, seq, err)
		case Digest(data) != digest:
			return &Fault{seq, key, DocChanged, fmt.Sprintf("it has %s with digest %s, and is to be part %d of %d of %s",
				plural.Of(len(data), "byte"), Digest(data), n+1, len(digests), plan.Key)}, nil
		}
		v.res.Docs++
	}
	return nil, nil
}
