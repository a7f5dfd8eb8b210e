package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/review"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"
)

// vouch holds what a signed answer would be about against the run's verified ledger and
// the estate at hand, as an approval is, and shows it. What a gate shows beside that is
// its plan, which is for approve.
func (a *app) vouch(ctx context.Context, s wire.Status, about approval.Statement, f reviewFlags, again []string) (*plan, error) {
	doing := fmt.Sprintf("look up question %s of run %s", about.Gate, s.Run.Workflow)
	local, err := a.estateAtHand(ctx, doing, s.Estate)
	if err != nil {
		return nil, err
	}
	from, trusted, done, err := a.evidenceOf(ctx, doing, s, about.Estate, local, f, again)
	if err != nil {
		return nil, err
	}
	defer done()
	p := &plan{}
	asked, err := p.asks(ctx, from, trusted, s, about)
	if err := a.untrue(doing, s, err); err != nil {
		return nil, err
	}
	r := &reviewed{plan: p, run: s.Run.Workflow}
	if err := a.sameEstate(r, local, s.Estate, f.accept, again); err != nil {
		return nil, err
	}
	if a.json {
		a.line("question", struct {
			Run      string         `json:"run"`
			Verified bool           `json:"verified"`
			Facts    review.Facts   `json:"facts"`
			Asked    wire.AskedBody `json:"asked"`
		}{r.run, true, p.facts, asked})
	}
	w := a.people()
	t := sheet{w, a.styles(w)}
	r.showRun(t, time.Now())
	if len(r.differs) > 0 || !r.atHand {
		r.showEstate(t, f.all)
	}
	if asked.Question != "" {
		t.title("The run asks")
		t.line(asked.Question)
		some(t, asked.Findings, linesShown, f.all, "finding", func(s string) { t.line("found: " + s) })
		some(t, asked.Items, linesShown, f.all, "item", func(s string) { t.line("open: " + s) })
	}
	fmt.Fprintln(w)
	return p, nil
}

// asks reads what a statement is about from the ledger: a question, whose digest is what
// is signed, the opening of a gate, or a pause.
func (p *plan) asks(ctx context.Context, from ledger.Reader, trusted []sshsig.Key, s wire.Status, about approval.Statement) (wire.AskedBody, error) {
	var asked wire.AskedBody
	_, entries, err := p.open(ctx, from, trusted, s)
	if err != nil {
		return asked, err
	}
	if p.digest != about.Estate {
		return asked, fmt.Errorf("the question names estate %s, and the ledger's is %s", about.Estate, p.digest)
	}
	if p.facts, err = review.Run(entries); err != nil {
		return asked, err
	}
	if all := p.facts.Against(s); len(all) > 0 {
		return asked, &contradicted{all}
	}
	if string(p.facts.Mode) != about.Mode {
		return asked, &contradicted{[]review.Contradiction{{What: "mode", Ledger: string(p.facts.Mode), Source: "the question", Other: about.Mode}}}
	}
	chain := ledger.NewChain(entries[0].Run)
	at := -1
	for i, e := range entries {
		_, head, err := chain.Append(e)
		if err != nil {
			return asked, err
		}
		if head.String() == about.Head {
			at = i
		}
	}
	if at < 0 {
		return asked, fmt.Errorf("the question was put at ledger head %s, and the ledger here has no such head", about.Head)
	}
	e := entries[at]
	switch e.Kind {
	case ledger.Asked:
		if err := json.Unmarshal(e.Body, &asked); err != nil {
			return asked, fmt.Errorf("entry %d holds no question: %w", e.Seq, err)
		}
		return asked, same(asked, about)
	case ledger.GateOpened:
		var gate wire.GateBody
		if err := json.Unmarshal(e.Body, &gate); err != nil || gate.Gate != about.Gate || gate.Attempt != about.Attempt || gate.Root != about.Plan || gate.Direction != about.Direction {
			return asked, fmt.Errorf("entry %d of the ledger is not the opening of gate %s, attempt %d, with plan %s", e.Seq, about.Gate, about.Attempt, about.Plan)
		}
		return asked, nil
	}
	paused := slices.ContainsFunc(entries[at:], func(e ledger.Entry) bool {
		var d wire.DecisionBody
		return e.Kind == ledger.Decided && json.Unmarshal(e.Body, &d) == nil && d.Decision == string(approval.Pause) && d.Gate == about.Gate
	})
	if !paused {
		return asked, fmt.Errorf("the ledger has no question %s at head %s", about.Gate, about.Head)
	}
	return asked, nil
}

// same holds a question of the ledger against what a signature would say of it: its
// digest covers all that is in it.
func same(asked wire.AskedBody, about approval.Statement) error {
	root := asked.Root
	asked.Root = ""
	raw, err := ledger.Encode(asked)
	if err != nil {
		return err
	}
	if digest := ledger.Digest(raw); digest != root || root != about.Plan || asked.Ask != about.Gate || asked.Direction != about.Direction {
		return fmt.Errorf("the run asks %s with digest %s about %s, and the ledger has %s with digest %s about %s",
			about.Gate, about.Plan, about.Direction, asked.Ask, digest, asked.Direction)
	}
	return nil
}

// again is the command that answers, as far as it was typed.
func (f answerFlags) again(n name, verb approval.Verb) []string {
	words := []string{"decide", n.workflow, string(verb)}
	for _, flag := range [][2]string{{"--key", f.key}, {"--by", f.by}, {"--reason", f.reason}, {"--owner", f.owner}, {"--due", f.due}} {
		if flag[1] != "" {
			words = append(words, flag[0], flag[1])
		}
	}
	for _, item := range f.items {
		words = append(words, "--item", item)
	}
	return words
}
