package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/reach"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"
)

// plan is the plan of an open gate as the ledger has it, recomputed: nothing in
// it is taken from Temporal or a worker's word.
type plan struct {
	body     wire.PlannedBody
	docs     []wire.PlanDoc
	compiled runbook.Compiled
	estate   estate.Estate // as the run was compiled for
}

// recompute reads the plan of an open gate from the estate's ledger.
func (a *app) recompute(ctx context.Context, s wire.Status) (*plan, error) {
	doing := fmt.Sprintf("recompute the plan of gate %s of run %s", s.Gate.ID, s.Run.Workflow)
	local, err := a.estate(ctx, doing, s.Estate)
	if err != nil {
		return nil, err
	}
	from, err := a.systems.Ledger(ctx, local)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	p, err := recompute(ctx, from, local, s)
	switch {
	case reach.Unreachable(err): // nothing was found to be wrong
		return nil, wrong(errUnknown, "", "%s: %w; nothing was signed", doing, err)
	case errors.Is(err, context.Canceled):
		return nil, err
	case err != nil:
		return nil, wrong(errRefused, cmd("verify-evidence", s.Run.Workflow),
			"%s: %w; nothing was signed. Do not approve: find out who changed it", doing, err)
	}
	if here, err := local.Digest(); err != nil || here != s.Gate.EstateDigest {
		fmt.Fprintf(a.err, "Note: estate %s here is not the one that this run was started with; the run keeps its own.\n", s.Estate)
	}
	return p, nil
}

// recompute reads the plan of an open gate and refuses unless every digest, the
// root, the head of the ledger and the estate are the ones that an approval
// would sign. The estate at hand says which workers are trusted.
func recompute(ctx context.Context, from store.Store, local *estate.Estate, s wire.Status) (*plan, error) {
	g := s.Gate
	entries, _, err := store.Load(ctx, from, ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun})
	if err != nil {
		return nil, err
	}
	trusted, err := local.Ledger.Trusted(time.Now())
	if err != nil {
		return nil, err
	}
	opened, err := atHead(ctx, from, trusted, entries, g)
	if err != nil {
		return nil, err
	}
	p := &plan{}
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
		docs, err := planDocs(ctx, from, trusted, ref)
		if err != nil {
			return nil, err
		}
		p.docs = append(p.docs, docs...)
	}
	if root := ledger.Root(leaves); root != g.Root || p.body.Attempt != g.Attempt {
		return nil, fmt.Errorf("the gate asks for plan %s, attempt %d, and the documents in the ledger make plan %s, attempt %d", g.Root, g.Attempt, root, p.body.Attempt)
	}
	if err := p.readCompiled(ctx, from, trusted, entries); err != nil {
		return nil, err
	}
	digest, err := p.estate.Digest()
	if err != nil {
		return nil, err
	}
	if digest != g.EstateDigest || p.compiled.EstateDigest != digest {
		return nil, fmt.Errorf("the gate names estate %s, and the ledger's is %s", g.EstateDigest, digest)
	}
	return p, nil
}

// atHead finds the entry at the head that the gate names: the opening of this
// very gate, signed by a worker that the estate here trusts. It returns the
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

// planDocs reads the plans that a reference stands for.
func planDocs(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, ref ledger.DocRef) ([]wire.PlanDoc, error) {
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return nil, err
	}
	raw, err := store.GetDoc(ctx, from, trusted, ref)
	if err != nil {
		return nil, err
	}
	if !ledger.IsIndex(id.Name) {
		var doc wire.PlanDoc
		err := json.Unmarshal(raw, &doc)
		return []wire.PlanDoc{doc}, err
	}
	var index ledger.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("read %s: %w", ref.Key, err)
	}
	var all []wire.PlanDoc
	for _, r := range index.Docs {
		docs, err := planDocs(ctx, from, trusted, r)
		if err != nil {
			return nil, err
		}
		all = append(all, docs...)
	}
	return all, nil
}

// title is a step as the runbook words it.
func (p *plan) title(step string) string {
	if _, s, ok := p.compiled.Step(step); ok {
		return s.Title
	}
	return step
}

// itemsShown is how many items of a step are shown unless all are asked for.
const itemsShown = 12

// show writes the plan for the person who decides about it.
func (p *plan) show(w io.Writer, s wire.Status, all bool) {
	g := s.Gate
	put := func(indent, rest, text string) {
		for _, l := range wrap(indent+text, 80, rest) {
			fmt.Fprintln(w, l)
		}
	}
	put("", "  ", fmt.Sprintf("%s: gate %s, attempt %d", g.Stage, g.ID, g.Attempt))
	about := fmt.Sprintf("%s of %s, mode %s", s.Run.Runbook, s.Estate, s.Run.Mode)
	if s.Run.Source != "" {
		about += fmt.Sprintf(", %s to %s", s.Run.Source, s.Run.Target)
	}
	if s.Run.Incident != "" {
		about += ", " + s.Run.Incident
	}
	put("", "  ", about)
	put("", "  ", fmt.Sprintf("Needs %s of %s (%s)", people(g.Quorum), g.Role, strings.Join(g.Members, ", ")))
	if len(g.Approved) > 0 {
		put("", "  ", "Approved so far by "+strings.Join(g.Approved, ", "))
	}
	put("", "  ", fmt.Sprintf("Plan %s… recomputed from %s in the ledger: a match", g.Root[:min(16, len(g.Root))], count(len(p.docs), "document")))
	if len(p.body.Changed) > 0 {
		fmt.Fprintln(w, "\nChanged since the last attempt:")
		for _, c := range p.body.Changed {
			put("  ", "    ", c)
		}
	}
	for i := 0; i < len(p.docs); {
		step := p.docs[i].Step
		n := i
		for n < len(p.docs) && p.docs[n].Step == step {
			n++
		}
		p.showStep(w, p.docs[i:n], all, put)
		i = n
	}
	idle := slices.DeleteFunc(slices.Clone(p.body.Steps), func(s wire.StepPlan) bool { return s.Items > 0 })
	if len(idle) > 0 {
		fmt.Fprintln(w, "\nNothing to do:")
		for _, s := range idle {
			put("  ", "    ", fmt.Sprintf("%s (%s): %s", s.Step, s.Action, strings.TrimPrefix(strings.Join(s.Summary, "; "), wire.NothingToDo+": ")))
		}
	}
	if len(p.body.Losses) > 0 {
		fmt.Fprintln(w, "\nGives up:")
		for _, l := range p.body.Losses {
			put("  ", "    ", fmt.Sprintf("%s: %s", l.Dataset, l.Words()))
		}
	}
	if len(p.body.Accepts) > 0 {
		fmt.Fprintln(w, "\nApproving accepts:")
		for _, a := range p.body.Accepts {
			put("  ", "    ", a.Sentence)
		}
	}
	fmt.Fprintln(w)
}

func (p *plan) showStep(w io.Writer, docs []wire.PlanDoc, all bool, put func(indent, rest, text string)) {
	effects, preconditions := 0, 0
	for _, d := range docs {
		effects += len(d.Change.Effects)
		preconditions += len(d.Change.Preconditions)
	}
	head := fmt.Sprintf("%s (%s): %s", p.title(docs[0].Step), docs[0].Action, count(len(docs), "item"))
	if len(docs[0].Found) == 0 {
		head += fmt.Sprintf(", %s, %s", count(effects, "change"), count(preconditions, "precondition"))
	}
	fmt.Fprintln(w)
	put("", "  ", head)
	for i, d := range docs {
		if i == itemsShown && !all {
			put("  ", "    ", fmt.Sprintf("… and %s more; see all with --all", count(len(docs)-i, "item")))
			return
		}
		text := d.Change.Summary
		if d.Item.Name != "" && !strings.Contains(text, d.Item.Name) {
			text = d.Item.Name + ": " + text
		}
		put("  ", "    ", text)
		for k, e := range d.Change.Effects {
			if k == itemsShown && !all {
				put("    ", "      ", fmt.Sprintf("… and %s more; see all with --all", count(len(d.Change.Effects)-k, "change")))
				break
			}
			line := e.On + ": " + e.Do
			if e.From != "" || e.To != "" {
				line += fmt.Sprintf(", %s -> %s", orDash(e.From), orDash(e.To))
			}
			put("    ", "      ", line)
		}
		for _, o := range d.Found {
			if o.Verdict.String() != "pass" || len(d.Found) <= 4 || all {
				got := ""
				if o.Got != "" {
					got = ": " + o.Got
				}
				put("    ", "      ", fmt.Sprintf("%s  %s%s", o.Verdict, o.What, got))
			}
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
