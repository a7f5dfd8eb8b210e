package workflows

import (
	"fmt"
	"slices"

	"breakwater/internal/wire"
)

// failed takes in what became of a phase on the batch: the error of the whole of it, or
// those of items, with what was tried on them.
func (b *batchPlan) failed(doing string, err error, f wire.Failures) {
	if err != nil {
		b.Errors, b.Refused, b.Failed, b.Moved = []string{b.Batch.Label + ": " + doing + short(err)}, conclusive(err), b.items(), b.Moved || hasMoved(err)
		if b.Which = nil; b.items() == 1 {
			b.Which = []string{b.Batch.Label}
		}
		return
	}
	if f.Superseded != "" {
		b.superseded = f.Superseded
	}
	b.Errors = append(b.Errors, f.Sentences(doing)...)
	b.Refused, b.Failed, b.Moved = b.Refused || f.Refused(), b.Failed+f.Count, b.Moved || f.Moved
	for _, e := range f.Failed {
		b.Which = append(b.Which, e.Item)
	}
}

// anew forgets what the last attempt came to.
func (b *batchPlan) anew() {
	b.Seen, b.Errors, b.Refused, b.Failed, b.Which, b.Begun = nil, nil, false, 0, nil, false
	b.superseded = ""
}

// superseded is why a run ends that two people took its estate from: nothing that it could
// be told would let it act again.
func superseded(batches []*batchPlan) error {
	for _, b := range batches {
		if b.superseded != "" {
			return &errStop{wire.ErrTypeFenced, b.superseded}
		}
	}
	return nil
}

func (b *batchPlan) items() int { return b.Batch.To - b.Batch.From }

// unseen is the look at the items on which the last attempt came to nothing.
func (b *batchPlan) unseen() wire.Look {
	l := wire.Look{Unknown: int64(max(1, b.Failed)), Findings: b.Errors, Red: b.Which}
	l.RedMore = l.Unknown - int64(len(b.Which))
	if len(l.Findings) == 0 {
		l.Findings = []string{b.Batch.Label + ": it was not looked at"}
	}
	return l
}

// failed takes in what could not be planned of a step.
func (p *stagePlan) failed(step string, batches []*batchPlan) {
	for _, b := range batches {
		for _, e := range b.Errors {
			p.errs = append(p.errs, step+": "+e)
		}
		p.refused = p.refused || b.Refused
	}
}

// first are the first of many sentences, and how many more there are.
func first(all []string) []string {
	const most = 4 * wire.Shown
	if len(all) <= most {
		return all
	}
	return append(slices.Clone(all[:most]), fmt.Sprintf("and %d more such sentences: the documents of the ledger name every item", len(all)-most))
}
