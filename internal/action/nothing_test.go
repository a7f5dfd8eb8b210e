package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"
)

// TestNobodyPassesWhoLookedAtNothing holds a check that saw nothing, or says that there
// is nothing to see, against the things that the estate has.
func TestNobodyPassesWhoLookedAtNothing(t *testing.T) {
	pass := action.Saw("it is there", "yes", "yes", true)
	none := action.Nothing("it is there", "a thing", "there is none")
	effects := &action.Change{Effects: []action.EffectLine{{On: "a", Do: "b"}}}
	for name, tc := range map[string]struct {
		things []string // nil: the action does not say
		says   bool
		saw    []action.Observation
		plan   *action.Change
		want   verdict.Verdict
		asked  bool
	}{
		"no observation":                             {saw: nil, want: verdict.Unknown, asked: true},
		"no observation under an empty plan":         {saw: nil, plan: &action.Change{}, want: verdict.Unknown, asked: true},
		"one that passes":                            {saw: []action.Observation{pass}, want: verdict.Pass, asked: true},
		"nothing, where the item is the thing":       {saw: []action.Observation{none}, want: verdict.Unknown, asked: true},
		"nothing, beside a pass":                     {saw: []action.Observation{none, pass}, want: verdict.Pass, asked: true},
		"nothing, and the plan had nothing to do":    {saw: []action.Observation{none}, plan: &action.Change{}, want: verdict.Nothing, asked: true},
		"nothing, and the plan changed something":    {saw: []action.Observation{none}, plan: effects, want: verdict.Unknown, asked: true},
		"the estate has none":                        {says: true, saw: []action.Observation{pass}, want: verdict.Nothing},
		"the estate has none, and the plan is older": {says: true, saw: []action.Observation{pass}, plan: effects, want: verdict.Pass, asked: true},
		"the estate has one, and nothing was seen":   {says: true, things: []string{"a vault"}, saw: []action.Observation{none}, want: verdict.Unknown, asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			asked := false
			verify := func(context.Context, action.Call[action.None]) ([]action.Observation, error) {
				asked = true
				return tc.saw, nil
			}
			a := action.Action[action.None]{
				Name: "room.look", Doc: "Looks.", Over: estate.Nothing, Effect: action.Mutates, Drill: action.DrillReadOnly,
				RedWhen: []action.Red{{Fault: "a.fault", Want: verdict.Fail}}, Verify: verify,
				Plan: func(context.Context, action.Call[action.None]) (action.Change, error) {
					return action.Change{}, errAsked
				},
				Apply: func(context.Context, action.Call[action.None]) (action.Outcome, error) {
					return action.Outcome{}, errAsked
				},
			}
			a.Undo = &action.Undo[action.None]{Plan: a.Plan, Apply: a.Apply, Verify: verify}
			if tc.says {
				a.Things = func(action.Request) ([]string, string) { return tc.things, "the estate has none" }
			}
			c := action.NewCatalogue()
			action.Add(c, a)
			d, _ := c.Get(a.Name)
			if err := c.Err(); err != nil {
				t.Fatal(err)
			}
			r := action.Request{Plan: tc.plan}
			for _, look := range []func(context.Context, action.Request, json.RawMessage) ([]action.Observation, error){d.Verify, d.UndoVerify} {
				obs, err := look(t.Context(), r, nil)
				if got := action.Worst(obs); err != nil || got != tc.want {
					t.Errorf("verdict %s, %v, want %s: %+v", got, err, tc.want, obs)
				}
				for _, o := range obs {
					if o.What == "" || o.Want == "" || o.Got == "" || (o.Verdict == verdict.Unknown) != (o.Cause != action.CauseNone) {
						t.Errorf("an observation does not say all that a reader needs: %+v", o)
					}
				}
			}
			if asked != tc.asked {
				t.Errorf("it was asked: %t", asked)
			}
			plan, perr := d.Plan(t.Context(), r, nil)
			out, aerr := d.Apply(t.Context(), r, nil)
			back, uerr := d.UndoPlan(t.Context(), r, nil)
			gone, gerr := d.UndoApply(t.Context(), r, nil)
			for _, err := range []error{perr, aerr, uerr, gerr} {
				if errors.Is(err, errAsked) != tc.asked {
					t.Errorf("a phase was called: %v", err)
				}
			}
			for _, s := range []string{plan.Summary, out.Summary, back.Summary, gone.Summary} {
				if !tc.asked && !strings.Contains(s, "the estate has none") {
					t.Errorf("it does not say why there is nothing to do: %q", s)
				}
			}
		})
	}
}

var errAsked = errors.New("asked")

// TestNothingFollowsFromNone: zero wrong of zero looked at is no proof.
func TestNothingFollowsFromNone(t *testing.T) {
	if o := action.Conclude("all are in place", "all", "0 of 0", nil, 0); o.Verdict != verdict.Unknown || o.Cause == action.CauseNone {
		t.Errorf("0 of 0 is %+v", o)
	}
	if o := action.Conclude("all are in place", "all", "", []string{"one is not"}, 0); o.Verdict != verdict.Fail {
		t.Errorf("one that is wrong is %+v", o)
	}
	none := action.Nothing("it is there", "a thing", "there is none")
	dead := action.Observation{Verdict: verdict.Unknown, Cause: action.CauseSourceUnreachable}
	if got := action.Owed([]action.Observation{none, dead}); len(got) != 1 {
		t.Errorf("beside nothing to do, a dead source owes %q", got)
	}
	if !action.OnlySourceUnreachable([]action.Observation{none, dead}) || action.OnlySourceUnreachable([]action.Observation{none}) {
		t.Error("nothing to do is taken for a cause, or for an unreachable source")
	}
}
