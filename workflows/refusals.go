package workflows

import (
	"fmt"
	"slices"

	"breakwater/internal/clip"
	"breakwater/internal/ledger"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/workflow"
)

// refusals are the decisions that did not count since a question was opened, or since one
// was closed. The first ones are written down in full, the others are counted, so that
// whoever floods a run fills neither its history nor its ledger.
type refusals struct {
	told   int                 // written down since then
	unsaid []wire.DecisionBody // to be written down
	more   int                 // only counted
}

const (
	refusalsMost = 60  // written down for each question
	refusalsPage = 20  // of these in one entry
	refusalText  = 512 // bytes of each text of theirs
	refusalsSeen = 5   // shown in the status
)

func (f *refusals) begin() { f.told = 0 }

// refuse notes a decision that did not count.
func (r *run) refuse(ctx workflow.Context, j judged) {
	f := &r.refusals
	if f.told+len(f.unsaid) >= refusalsMost {
		f.more++
		r.Status.Refused++
		return
	}
	b := j.body
	b.Outcome = j.outcome
	b.Raw, b.Reason, b.Outcome = clip.Bytes(b.Raw, refusalText), clip.Bytes(b.Reason, refusalText), clip.Bytes(b.Outcome, 2*refusalText)
	f.unsaid = append(f.unsaid, b)
	who := b.Who
	if who == "" {
		who = "somebody unnamed"
	}
	r.Status.Refusals = append(r.Status.Refusals, wire.Refusal{Time: workflow.Now(ctx).UTC(), Who: who, Reason: b.Outcome})
	r.Status.Refusals = r.Status.Refusals[max(0, len(r.Status.Refusals)-refusalsSeen):]
}

// tellRefusals writes down what is to be written down, in one entry.
func (r *run) tellRefusals(ctx workflow.Context) error {
	f := &r.refusals
	if len(f.unsaid) == 0 {
		return nil
	}
	all := f.unsaid
	f.told, f.unsaid = f.told+len(all), nil
	for page := range slices.Chunk(all, refusalsPage) {
		body := page[0]
		body.Also = page[1:]
		if err := r.record(ctx, ledger.Refused, r.stageNow(), "", body); err != nil {
			return err
		}
	}
	return nil
}

// tell writes down, at the end of a question, how many more were refused.
func (r *run) tell(ctx workflow.Context) error {
	if err := r.tellRefusals(ctx); err != nil {
		return err
	}
	f := &r.refusals
	f.told = 0
	if f.more == 0 {
		return nil
	}
	more := f.more
	f.more = 0
	return r.record(ctx, ledger.Refused, r.stageNow(), "", wire.DecisionBody{
		Via: "signal", More: more, Outcome: fmt.Sprintf("refused: and %d more, which are counted alone", more),
	})
}
