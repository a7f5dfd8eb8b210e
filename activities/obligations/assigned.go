package obligations

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/verdict"
)

func (s room) obligationActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "obligations.assigned", Over: estate.Nothing, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Doc:     "Every open obligation has an owner from the estate and a date that has not passed.",
		Verify:  verifyObligations,
		Permits: permit.Nothing(),
		RedWhen: []action.Red{
			{Fault: "ledger.obligation-unassigned", Want: verdict.Fail},
			{Fault: "ledger.unreachable", Want: verdict.Unknown},
		},
	})
}

func verifyObligations(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	const what = "open obligations have an owner and a date"
	all, err := c.Records.Obligations(ctx)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, "the ledger's list of obligations", err, "")}, nil
	}
	if len(all) == 0 {
		return []action.Observation{action.Saw(what, "no open obligation without an owner", "no open obligation", true)}, nil
	}
	members := map[string]bool{}
	for _, r := range c.Estate.Roles {
		for _, m := range r.Members {
			members[m.Name] = true
		}
	}
	var obs []action.Observation
	for _, o := range all {
		due, err := time.Parse(time.DateOnly, o.Due)
		got := fmt.Sprintf("%s: owner %q, due %q", o.ID, o.Owner, o.Due)
		ok := members[o.Owner] && err == nil && !due.Before(c.Run.Started.Truncate(24*time.Hour))
		see := action.Saw(what, "a person of the estate, and a date from today on", got, ok)
		see.Item = o.ID
		obs = append(obs, see)
	}
	return obs, nil
}
