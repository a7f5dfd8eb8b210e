package activities

import (
	"context"
	"fmt"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/system"
	"breakwater/internal/verdict"
)

// bare is an estate that has two regions and a group, and nothing that any action is about.
func bare() *estate.Estate {
	return &estate.Estate{
		Estate:  "bare",
		Regions: []estate.Region{{Region: "east", Role: estate.Primary}, {Region: "west", Role: estate.Standby}},
		Tiers:   []estate.Tier{{Tier: 1}},
		Groups:  []estate.Group{{Group: "empty", Tier: 1}},
	}
}

// full has one of everything.
func full() *estate.Estate {
	e := bare()
	in := map[string]string{"east": "e", "west": "w"}
	for i := range e.Regions {
		r := &e.Regions[i]
		r.Kafka, r.Vault, r.Connect = &estate.Kafka{}, &estate.Vault{}, &estate.Connect{}
	}
	e.Buckets, e.Backup = []estate.Bucket{{Bucket: "lake", In: in}}, &estate.Backup{}
	who := []estate.AccessPrincipal{{Region: "west", Name: "ana"}}
	e.Groups[0] = estate.Group{
		Group: "full", Tier: 1, Tables: []estate.Table{{Table: "t", Bucket: "lake", Path: "t", Format: "delta"}},
		Topics: []estate.Topic{{Topic: "topic"}}, ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "app", Topics: []string{"topic"}}},
		Pipelines: []estate.Pipeline{{Pipeline: "p", Connector: "temporal", In: in}},
		Routing:   &estate.Routing{}, Access: &estate.Access{Readers: who, Writers: who},
	}
	return e
}

// always are the actions whose things every run and every estate has: what of them a bare
// estate lacks, their observations say one by one.
var always = map[string]string{
	"estate.preflight":     "roles that open gates, and the ledger",
	"obligations.assigned": "the ledger of the run",
	"region.probe":         "the run's regions",
	"backup.expire":        "the group's folder in the backup place",
}

// TestEveryActionHoldsNothingAgainstTheEstate: in an estate without its things each action
// has nothing to do, in each phase and without a question to any server; in one that has
// them, the word that there is nothing is not believed. An action over items without any
// item is a step of none.
func TestEveryActionHoldsNothingAgainstTheEstate(t *testing.T) {
	for _, d := range Catalogue(&system.Systems{}).All() {
		t.Run(d.Name, func(t *testing.T) {
			run := action.Run{Mode: action.ModeLive, Source: "east", Target: "west"}
			e := full()
			items := e.Items(d.Over, estate.Filter{})
			if len(items) == 0 {
				t.Fatalf("the full estate has no %s", d.Over)
			}
			for _, i := range items {
				if names, _ := d.Things(action.Request{Estate: e, Run: run, Item: i}); len(names) == 0 {
					t.Errorf("in an estate with one of everything it is about nothing")
				}
			}
			e = bare()
			for _, i := range e.Items(d.Over, estate.Filter{}) {
				r := action.Request{Estate: e, Run: run, Item: i}
				if why := always[d.Name]; why != "" {
					if names, _ := d.Things(r); len(names) == 0 {
						t.Errorf("it is listed as being always about %s, and is about nothing here", why)
					}
					continue
				}
				obs, err := d.Verify(t.Context(), r, nil)
				if err != nil || action.Worst(obs) != verdict.Nothing {
					t.Errorf("Verify where the estate has nothing of it = %+v, %v", obs, err)
				}
				if d.IsCheck() {
					continue
				}
				ch, err := d.Plan(t.Context(), r, nil)
				if err != nil || len(ch.Effects) != 0 || ch.Summary == "" {
					t.Errorf("Plan = %+v, %v", ch, err)
				}
				r.Plan = &ch
				if out, err := d.Apply(t.Context(), r, nil); err != nil || out.Mutations != 0 {
					t.Errorf("Apply = %+v, %v", out, err)
				}
				if d.CanUndo() {
					if obs, err := d.UndoVerify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Nothing {
						t.Errorf("UndoVerify = %+v, %v", obs, err)
					}
				}
			}
		})
	}
}

// noObligations is a ledger in which nothing is owed.
type noObligations struct{ action.Records }

func (noObligations) Obligations(context.Context) ([]action.Obligation, error) { return nil, nil }

// TestObligationsAreReadFromTheLedger: none is a finding of the ledger, and passes; no
// ledger is unknown.
func TestObligationsAreReadFromTheLedger(t *testing.T) {
	d, _ := Catalogue(&system.Systems{}).Get("obligations.assigned")
	obs, err := d.Verify(t.Context(), action.Request{Estate: bare(), Records: noObligations{}}, nil)
	if err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("with none open: %s, %v", fmt.Sprint(obs), err)
	}
}

// TestPreflightOfAPartWithoutThings: a part of the preflight of which the estate has
// nothing says so and neither passes nor fails; one that saw nothing, although the estate
// needs it, is unknown.
func TestPreflightOfAPartWithoutThings(t *testing.T) {
	d, _ := Catalogue(&system.Systems{}).Get("estate.preflight")
	parts := func(e *estate.Estate) map[string]verdict.Verdict {
		r := action.Request{Estate: e, Run: action.Run{Source: "east", Target: "west"}, Progress: func(int64, int64, string) {}}
		obs, err := d.Verify(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]verdict.Verdict{}
		for _, o := range obs {
			all[o.What] = o.Verdict
		}
		return all
	}
	const looked = "the preflight has looked at "
	e := bare()
	saw := parts(e)
	for _, part := range []string{"buckets", "tables' logs", "who decides on commits", "the witness", "users", "kafka", "connectors", "routing secrets", "gates"} {
		if v, ok := saw[looked+part]; !ok || v != verdict.Nothing {
			t.Errorf("%s of a bare estate: %s, said %t: %v", part, v, ok, saw)
		}
	}
	e.Groups[0].Topics = []estate.Topic{{Topic: "topic"}}
	e.Groups[0].Routing = &estate.Routing{Secret: "s"}
	saw = parts(e)
	for _, part := range []string{"kafka", "connectors", "routing secrets"} {
		if v, ok := saw[looked+part]; !ok || v != verdict.Unknown {
			t.Errorf("%s that the estate needs and does not name: %s, said %t", part, v, ok)
		}
	}
}
