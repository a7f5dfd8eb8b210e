package host

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"golang.org/x/sync/errgroup"
)

// fact is what a document of a step, or an index of documents, comes to: what an entry
// that names it may say.
type fact struct {
	step, kind string // kind is the name of its documents, such as "plan" or "undo-outcome"
	leaf       ledger.Leaf
	accepts    []action.Acceptance
	mutations  int64
	looks      map[string]wire.Look // by item
}

// facts are those of the documents of a run that this worker has read or written. What a
// reference names by its digest never changes.
type facts struct {
	mu sync.Mutex
	of map[ledger.DocRef]fact
}

func (f *facts) get(ref ledger.DocRef) (fact, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	have, ok := f.of[ref]
	return have, ok
}

func (f *facts) put(ref ledger.DocRef, is fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[ledger.DocRef]fact{}
	}
	f.of[ref] = is
}

// contents is what of a document of any kind makes a fact.
type contents struct {
	Step         string               `json:"step"`
	Item         estate.Item          `json:"item"`
	Change       action.Change        `json:"change"`
	Found        []action.Observation `json:"found"`
	Outcome      action.Outcome       `json:"outcome"`
	Observations []action.Observation `json:"observations"`
}

// fact reads what a reference of an entry comes to.
func (c *chain) fact(ctx context.Context, ref ledger.DocRef) (fact, error) {
	if have, ok := c.kept.get(ref); ok {
		return have, nil
	}
	refs, err := store.Expand(ctx, c.ledger, c.trusted, ref)
	if err != nil {
		return fact{}, err
	}
	docs := make([]contents, len(refs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(action.AtOnce)
	for n, r := range refs {
		g.Go(func() error {
			raw, err := store.GetDoc(gctx, c.ledger, c.trusted, r)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(raw, &docs[n]); err != nil {
				return fmt.Errorf("read %s: %w", r.Key, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fact{}, err
	}
	return c.remember(ref, refs, docs)
}

// leafOf is the leaf that a reference has in a root, with the kind of its documents. They
// must be of one step of the run.
func leafOf(run ledger.Run, ref ledger.DocRef, refs []ledger.DocRef) (leaf ledger.Leaf, kind string, err error) {
	top, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return leaf, "", err
	}
	if top.Run != run {
		return leaf, "", refuse("document %s is none of run %s", ref.Key, run)
	}
	leaves := make([]ledger.Leaf, len(refs))
	for n, r := range refs {
		id, err := ledger.ParseDocKey(r.Key)
		if err != nil {
			return leaf, "", err
		}
		if kind == "" {
			kind = id.Name
		}
		if id.Run != run || id.Step != top.Step || id.Name != kind {
			return leaf, "", refuse("document %s is none of those that %s is about", r.Key, ref.Key)
		}
		leaves[n] = ledger.Leaf{Step: id.Step, Item: id.Item, SHA256: r.SHA256}
	}
	if !ledger.IsIndex(top.Name) {
		return leaves[0], kind, nil
	}
	return ledger.Leaf{Step: top.Step, Item: top.Item, SHA256: ledger.Root(leaves)}, kind, nil
}

// remember keeps what a reference comes to, from its documents as they are in hand.
func (c *chain) remember(ref ledger.DocRef, refs []ledger.DocRef, docs []contents) (fact, error) {
	leaf, kind, err := leafOf(c.run, ref, refs)
	if err != nil {
		return fact{}, err
	}
	is := fact{step: leaf.Step, kind: kind, leaf: leaf, looks: map[string]wire.Look{}}
	for n, r := range refs {
		id, err := ledger.ParseDocKey(r.Key)
		if err != nil {
			return fact{}, err
		}
		if docs[n].Step != id.Step || docs[n].Item.Name != id.Item {
			return fact{}, refuse("document %s is about %s of %s, and not what its key says", r.Key, docs[n].Item.Name, docs[n].Step)
		}
		is.accepts = append(is.accepts, docs[n].Change.Accepts...)
		is.mutations += docs[n].Outcome.Mutations
		if seen := slices.Concat(docs[n].Observations, docs[n].Found); len(seen) > 0 || strings.HasSuffix(kind, ledger.DocObserved) {
			is.looks[id.Item] = summarize(seen)
		}
	}
	c.kept.put(ref, is)
	return is, nil
}

// unclear names an item of all that was not seen to be as it should, by the last look at
// each; owed are the ids of what such items may be carried by, and open those that may
// not. An item without a look is open.
func unclear(all []string, looks map[string]wire.Look) (owed, open []string) {
	for _, item := range all {
		l, ok := looks[item]
		switch {
		case ok && l.Verdict.Clear():
		case ok && l.Verdict == verdict.Unknown && len(l.Owed) > 0:
			owed = append(owed, l.Owed...)
		default:
			open = append(open, item)
		}
	}
	return owed, open
}
