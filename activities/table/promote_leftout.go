package table

import (
	"context"
	"encoding/json"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
)

// leftOut is the plan of a table that does not come back here: nothing is done to it,
// and approving that accepts it, so that its group does not wait for it.
type leftOut struct {
	LeftOut *recovery.LeftOut `json:"left_out,omitempty"`
}

// orLeftOut shows a plan, or that it leaves its table out.
func orLeftOut(show action.Show) action.Show {
	return func(ch action.Change) ([]string, error) {
		if _, out := leftOutBy(&ch); out {
			return action.Shows[leftOut, leftOut]()(ch)
		}
		return show(ch)
	}
}

func planLeftOut(not *lake.NotHereError) (action.Change, error) {
	data, err := action.Encode(leftOut{&not.LeftOut})
	return action.Change{
		Summary: fmt.Sprintf("%s is left as it is: %s", not.Dataset, not.Why),
		Accepts: []action.Acceptance{action.LeftOut(not.Dataset, not.Why)}, Loss: not.Loss.Given(), Data: data,
		Preconditions: []action.Precondition{{Resource: "recovery point of table " + not.Dataset, Version: "none: it does not come back here"}},
	}, err
}

// leftOutBy reads whether a plan leaves its table out.
func leftOutBy(plan *action.Change) (recovery.LeftOut, bool) {
	var p leftOut
	if plan == nil || json.Unmarshal(plan.Data, &p) != nil || p.LeftOut == nil {
		return recovery.LeftOut{}, false
	}
	return *p.LeftOut, true
}

// verifyLeftOut sees that the run did nothing to the table, and leaves to prove what
// nobody can prove here.
func (s room) verifyLeftOut(ctx context.Context, c action.Call[action.None], left recovery.LeftOut) ([]action.Observation, error) {
	return append(s.untouched(ctx, c), action.NotHere(left.Dataset, "it is back, at the cut of its group", "promoted", left.Why,
		fmt.Sprintf("Recover table %s, which did not come back with its group, and state what it lost: %s", left.Dataset, left.Why))), nil
}

// untouched observes that this run moved nothing of a table aside.
func (s room) untouched(ctx context.Context, c action.Call[action.None]) []action.Observation {
	const what, want = "the run moved nothing of it aside", "no object in its quarantine"
	t, err := s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name)
	n := 0
	if err == nil {
		for _, e := range t.Bucket.List(ctx, quarantine(t, c.Run)) {
			if err = e; err != nil {
				break
			}
			n++
		}
	}
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, want, err)}
	}
	return []action.Observation{t.About(action.Saw(what, want, plural.Of(n, "object"), n == 0))}
}
