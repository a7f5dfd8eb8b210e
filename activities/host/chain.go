package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/authority"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"

	"golang.org/x/crypto/ssh"
)

// place is an estate as this worker has it now, with its ledger.
type place struct {
	estate  *estate.Estate
	ledger  store.Store
	signer  ssh.Signer   // of heads and documents
	trusted []sshsig.Key // whose heads and documents count
	books   []*runbook.Runbook
}

func (h *Host) place(ctx context.Context, name string) (place, error) {
	e, err := h.Estates.Load(ctx, name)
	if err != nil {
		return place{}, err
	}
	s, err := h.Estates.Ledger(ctx, e)
	if err != nil {
		return place{}, err
	}
	signer, trusted, err := h.keys(ctx, e)
	return place{e, s, signer, trusted, h.Runbooks}, err
}

// keys are the worker's key for the documents of an estate's ledger, and the keys whose
// documents count: those of the estate as this worker has it now.
func (h *Host) keys(ctx context.Context, now *estate.Estate) (ssh.Signer, []sshsig.Key, error) {
	signer, err := h.Estates.Signer(ctx, now)
	if err != nil {
		return nil, nil, err
	}
	trusted, err := now.Ledger.Trusted(time.Now())
	return signer, trusted, err
}

// chain is a run's ledger as this worker has read it. Entries never change, so that it is
// read once, and further on from there.
type chain struct {
	place
	caller

	mu   *sync.Mutex // over view
	view *authority.View
	kept *facts
}

// cached is what a worker keeps of a run.
type cached struct {
	mu   sync.Mutex
	view *authority.View
	kept facts
}

// chain finds the ledger of the run that asks, read at least up to entry seq, and to what
// it was compiled to if it has that.
func (h *Host) chain(ctx context.Context, name string, seq int64) (*chain, error) {
	p, err := h.place(ctx, name)
	if err != nil {
		return nil, err
	}
	c, err := h.caller(ctx)
	if err != nil {
		return nil, err
	}
	return h.chainOf(ctx, p, c, name, seq)
}

func (h *Host) chainOf(ctx context.Context, p place, c caller, name string, seq int64) (*chain, error) {
	keep := h.memory().run(ofEstate{c.run, name}, &cached{view: authority.New(c.run)})
	ch := &chain{place: p, caller: c, mu: &keep.mu, view: keep.view, kept: &keep.kept}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.view.Head.Seq < max(seq, 2) {
		if err := ch.readOn(ctx); err != nil {
			return nil, err
		}
	}
	if at := ch.view.Head.Seq; at < seq {
		return nil, fmt.Errorf("read the ledger of run %s: it is signed up to entry %d, and the run has written %d: another worker may be about to sign", c.run, at, seq)
	}
	return ch, nil
}

// ofEstate is under what a worker keeps what it read of a run.
type ofEstate struct {
	run    ledger.Run
	estate string
}

// readOn reads what was written since, as far as a signer of the estate vouches for it.
func (c *chain) readOn(ctx context.Context) error {
	fail := func(err error) error { return fmt.Errorf("read the ledger of run %s: %w", c.run, err) }
	type link struct {
		ledger.Entry
		head ledger.Head
	}
	var links []link
	for at := c.view.Head; ; at = links[len(links)-1].head {
		raw, err := c.ledger.Get(ctx, ledger.ChainKey(c.run, at.Seq+1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return fail(err)
		}
		e, err := ledger.ParseEntry(raw)
		if err != nil {
			return fail(err)
		}
		if e.Run != c.run || e.Seq != at.Seq+1 || e.Prev != at.Hash {
			return fail(fmt.Errorf("%w: entry %d does not continue the chain; verify the evidence of this run", action.ErrRefused, at.Seq+1))
		}
		links = append(links, link{e, ledger.Head{Run: c.run, Seq: e.Seq, Hash: ledger.Digest(raw)}})
	}
	for n := len(links); n > 0; n-- {
		signed, err := c.signed(ctx, links[n-1].head)
		if err != nil {
			return fail(err)
		}
		if !signed { // its worker died before it signed: the run writes it again
			continue
		}
		for _, l := range links[:n] {
			if err := c.view.Add(l.Entry, l.head); err != nil {
				return fail(err)
			}
		}
		return nil
	}
	return nil
}

// signed reports whether a signer of the estate vouches for the chain up to a head.
func (c *chain) signed(ctx context.Context, head ledger.Head) (bool, error) {
	raw, err := c.ledger.Get(ctx, ledger.HeadKey(head.Run, head.Seq))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	signed, err := ledger.ParseSignedHead(raw)
	if err == nil {
		_, err = signed.Verify(c.trusted)
	}
	if err == nil && signed.Head != head {
		err = fmt.Errorf("it is the head %s", signed.Head)
	}
	if err != nil {
		return false, fmt.Errorf("%w: the signed head of entry %d: %w; the signers of estate %s are in its file", action.ErrRefused, head.Seq, err, c.estate.Estate)
	}
	return true, nil
}

// read lets f look at what the chain says.
func (c *chain) read(f func(*authority.View)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.view)
}

// pinned reads what the run was compiled to.
func (h *Host) pinned(ctx context.Context, c *chain) (*runbook.Compiled, *estate.Estate, error) {
	var files wire.Files
	var digest string
	c.read(func(v *authority.View) { files, digest = v.Files, v.EstateDigest })
	return h.files(ctx, c, files, digest)
}

func (h *Host) files(ctx context.Context, c *chain, files wire.Files, digest string) (*runbook.Compiled, *estate.Estate, error) {
	if files.Compiled.Key == "" {
		return nil, nil, refuse("the ledger of run %s does not say to what it was compiled", c.run)
	}
	compiled, err := document[runbook.Compiled](ctx, h, c, files.Compiled)
	if err != nil {
		return nil, nil, err
	}
	e, err := document[estate.Estate](ctx, h, c, files.Estate)
	if err != nil {
		return nil, nil, err
	}
	if compiled.Engine != runbook.Engine {
		return nil, nil, fmt.Errorf("this worker is of engine %d and run %s was compiled by engine %d: a worker of that release must do it", runbook.Engine, c.run, compiled.Engine)
	}
	is, err := e.Digest()
	if err != nil {
		return nil, nil, err
	}
	if is != digest {
		return nil, nil, refuse("the estate of run %s has digest %s, and the ledger says %s", c.run, is, digest)
	}
	return compiled, e, nil
}

// append writes an entry that was found to be true, and the signed head after it.
func (c *chain) append(ctx context.Context, head ledger.Head, raw []byte) error {
	if err := store.Append(ctx, c.ledger, head, raw); err != nil {
		return err
	}
	signed, err := ledger.SignHead(c.signer, head)
	if err != nil {
		return err
	}
	return store.PutHead(ctx, c.ledger, signed)
}
