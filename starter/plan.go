package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/poll"
	"breakwater/internal/review"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"
)

// plan is the plan of an open gate as the ledger has it, recomputed: nothing in
// it is taken from Temporal or a worker's word.
type plan struct {
	facts    review.Facts
	body     wire.PlannedBody
	docs     []wire.PlanDoc
	lacking  []string // which items have no plan, and why
	compiled runbook.Compiled
	estate   estate.Estate // as the run was compiled for
	digest   string        // of that estate
	checked  ledger.Result // of the whole chain
}

// recompute reads the plan of an open gate and refuses unless the whole chain is as
// trusted workers signed it, and every digest, the root, the head of the ledger, the
// estate and what the run says of itself are the ones that an approval would sign.
func recompute(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, s wire.Status) (*plan, error) {
	g := s.Gate
	p := &plan{}
	from, entries, err := p.open(ctx, from, trusted, s)
	if err != nil {
		return nil, err
	}
	opened, err := atHead(ctx, from, trusted, entries, g)
	if err != nil {
		return nil, err
	}
	var entry ledger.Entry
	for _, e := range slices.Backward(entries[:opened]) {
		if e.Kind == ledger.Planned {
			entry = e
			break
		}
	}
	if entry.Seq == 0 {
		return nil, fmt.Errorf("the ledger has no plan before the gate's opening")
	}
	if err := json.Unmarshal(entry.Body, &p.body); err != nil {
		return nil, fmt.Errorf("entry %d holds no plan: %w", entry.Seq, err)
	}
	var leaves []ledger.Leaf
	for _, ref := range entry.Docs {
		leaf, err := store.Leaf(ctx, from, trusted, ref)
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, leaf)
		if err := p.read(ctx, from, trusted, ref); err != nil {
			return nil, err
		}
	}
	if root := ledger.Root(leaves); root != g.Root || p.body.Attempt != g.Attempt {
		return nil, fmt.Errorf("the gate asks for plan %s, attempt %d, and the documents in the ledger make plan %s, attempt %d", g.Root, g.Attempt, root, p.body.Attempt)
	}
	if p.digest != g.EstateDigest {
		return nil, fmt.Errorf("the gate names estate %s, and the ledger's is %s", g.EstateDigest, p.digest)
	}
	if p.facts, err = review.Read(entries, opened); err != nil {
		return nil, err
	}
	if all := p.facts.Against(s); len(all) > 0 {
		return nil, &contradicted{all}
	}
	return p, nil
}

// open verifies a run's ledger and reads what it was compiled to, and for which estate.
func (p *plan) open(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, s wire.Status) (ledger.Reader, []ledger.Entry, error) {
	run := ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun}
	var err error
	if from, p.checked, err = verified(ctx, from, run, trusted); err != nil {
		return nil, nil, err
	}
	entries, _, err := store.Load(ctx, from, run)
	if err != nil {
		return nil, nil, err
	}
	if err := p.readCompiled(ctx, from, trusted, entries); err != nil {
		return nil, nil, err
	}
	if p.digest, err = p.estate.Digest(); err != nil {
		return nil, nil, err
	}
	if p.compiled.EstateDigest != p.digest {
		return nil, nil, fmt.Errorf("the run was compiled for estate %s, and the ledger's is %s", p.compiled.EstateDigest, p.digest)
	}
	return from, entries, nil
}

// contradicted says what a run's workflow says of itself that its ledger does not.
type contradicted struct{ all []review.Contradiction }

func (c *contradicted) Error() string {
	var words []string
	for _, x := range c.all {
		words = append(words, x.String())
	}
	return "the run and its signed ledger say different things: " + strings.Join(words, "; ")
}

// verified holds a run's chain against its signed heads, and returns a reader of the
// very bytes that were looked at. A worker writes an entry a moment before its head: one
// that was caught between the two is looked at again.
func verified(ctx context.Context, from ledger.Reader, run ledger.Run, trusted []sshsig.Key) (ledger.Reader, ledger.Result, error) {
	for tries := 2; ; tries-- {
		here, err := remember(ctx, from, run)
		if err != nil {
			return nil, ledger.Result{}, err
		}
		res, err := ledger.Verify(ctx, here, run, trusted)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, res, fmt.Errorf("the ledger has no entry of this run")
		case err != nil || res.Fault == nil:
			return here, res, err
		case res.Fault.Wrong != ledger.Unsigned || res.Entries == 0 || tries == 0:
			return nil, res, fmt.Errorf("the ledger of this run is not as it was signed: %s", res.Fault)
		}
		if err := poll.Wait(ctx, unsignedFor); err != nil {
			return nil, res, err
		}
	}
}

// unsignedFor is how long an entry may wait for its signed head.
const unsignedFor = 500 * time.Millisecond

// atHead finds the entry at the head that the gate names: the opening of this
// very gate, signed by a trusted worker. It returns the
// entry's index.
func atHead(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, entries []ledger.Entry, g *wire.GateStatus) (int, error) {
	if len(entries) == 0 {
		return 0, fmt.Errorf("the ledger has no entry of this run")
	}
	chain := ledger.NewChain(entries[0].Run)
	for i, e := range entries {
		_, head, err := chain.Append(e)
		if err != nil {
			return 0, err
		}
		if head.String() != g.Head {
			continue
		}
		var body wire.GateBody
		if err := json.Unmarshal(e.Body, &body); err != nil || e.Kind != ledger.GateOpened || body.Gate != g.ID || body.Attempt != g.Attempt || body.Root != g.Root {
			return 0, fmt.Errorf("entry %d of the ledger is not the opening of gate %s, attempt %d, with plan %s", e.Seq, g.ID, g.Attempt, g.Root)
		}
		return i, signedBy(ctx, from, trusted, head)
	}
	return 0, fmt.Errorf("the gate was opened at ledger head %s, and the ledger here has no such head", g.Head)
}

// signedBy demands that one of the signers signed a head.
func signedBy(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, head ledger.Head) error {
	fail := func(err error) error { return fmt.Errorf("the signed head of entry %d: %w", head.Seq, err) }
	raw, err := from.Get(ctx, ledger.HeadKey(head.Run, head.Seq))
	if err != nil {
		return fail(err)
	}
	signed, err := ledger.ParseSignedHead(raw)
	if err != nil {
		return fail(err)
	}
	if _, err := signed.Verify(trusted); err != nil {
		return fail(err)
	}
	if signed.Head != head {
		return fail(fmt.Errorf("what is signed is %s", signed.Head))
	}
	return nil
}

// readCompiled reads the compiled run and its estate.
func (p *plan) readCompiled(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, entries []ledger.Entry) error {
	for _, e := range entries {
		if e.Kind != ledger.Compiled {
			continue
		}
		for _, ref := range e.Docs {
			id, err := ledger.ParseDocKey(ref.Key)
			if err != nil {
				return err
			}
			into := map[string]any{"compiled": &p.compiled, "estate": &p.estate}[id.Name]
			if into == nil {
				continue
			}
			raw, err := store.GetDoc(ctx, from, trusted, ref)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(raw, into); err != nil {
				return fmt.Errorf("read %s: %w", ref.Key, err)
			}
		}
		return nil
	}
	return fmt.Errorf("the ledger has no compiled run")
}

// read takes the plans that a reference stands for, and which items have none.
func (p *plan) read(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, ref ledger.DocRef) error {
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return err
	}
	raw, err := store.GetDoc(ctx, from, trusted, ref)
	if err != nil {
		return err
	}
	if !ledger.IsIndex(id.Name) {
		var doc wire.PlanDoc
		if err := json.Unmarshal(raw, &doc); err != nil {
			return fmt.Errorf("read %s: %w", ref.Key, err)
		}
		if doc.Step != id.Step || doc.Item.Name != id.Item {
			return fmt.Errorf("%s is the plan of step %s for %s: it lies under the name of another", ref.Key, doc.Step, doc.Item)
		}
		p.docs = append(p.docs, doc)
		return nil
	}
	var index ledger.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return fmt.Errorf("read %s: %w", ref.Key, err)
	}
	for _, e := range index.Failed {
		p.lacking = append(p.lacking, p.title(id.Step)+", "+e.Item+": "+e.Error)
	}
	for _, r := range index.Docs {
		if err := p.read(ctx, from, trusted, r); err != nil {
			return err
		}
	}
	return nil
}

// title is a step as the runbook words it.
func (p *plan) title(step string) string {
	if _, s, ok := p.compiled.Step(step); ok {
		return s.Title
	}
	return step
}
