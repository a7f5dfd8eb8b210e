package review

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// tables makes the plan of a step on n tables, each edited.
func tables(n int, edit func(i int, d *wire.PlanDoc)) []wire.PlanDoc {
	var docs []wire.PlanDoc
	for i := range n {
		name := fmt.Sprintf("t%03d", i)
		most := int64(5)
		d := wire.PlanDoc{
			Step: "meaning@tier-1/1-table.promote", Action: "table.promote", Item: estate.Item{Kind: estate.TableKind, Name: name, Group: "orders"},
			Change: action.Change{
				Summary: "promote " + name,
				Effects: []action.EffectLine{
					{On: name, Do: "write _delta_log entry " + fmt.Sprint(40+i)},
					{On: name, Do: fmt.Sprintf("quarantine %d files", 3+i%15)},
				},
				Preconditions: []action.Precondition{{Resource: "recovery point of table " + name, Version: "7"}},
				Loss:          &recovery.Given{Dataset: name, Unit: "rows", AtMost: &most},
				Data:          json.RawMessage(`{"version":7}`), Undo: json.RawMessage(`{"kept":["a"]}`),
			},
		}
		if edit != nil {
			edit(i, &d)
		}
		docs = append(docs, d)
	}
	return docs
}

func TestManyAlikeAreOneGroup(t *testing.T) {
	all := Steps(tables(212, nil))
	if len(all) != 1 || len(all[0].Groups) != 1 {
		t.Fatalf("%d steps, %+v", len(all), all)
	}
	g := all[0].Groups[0]
	if want := []string{"write _delta_log entry 40..251", "quarantine 3..17 files"}; g.Of() != "212 tables" || !slices.Equal(g.Does, want) {
		t.Errorf("%s: %q, want %q", g.Of(), g.Does, want)
	}
	if len(g.Outliers) != 0 {
		t.Errorf("nothing stands out, and this does: %+v", g.Outliers)
	}
}

// Whatever makes one item of many unlike the others brings it up by name.
func TestWhatStandsOut(t *testing.T) {
	const odd = 117
	for name, tc := range map[string]struct {
		edit func(d *wire.PlanDoc)
		want string
	}{
		"a larger loss": {func(d *wire.PlanDoc) { most := int64(900); d.Change.Loss.AtMost = &most }, "largest loss: 0 to 900 rows"},
		"a loss without bound": {func(d *wire.PlanDoc) { d.Change.Loss.AtMost, d.Change.Loss.AtLeast = nil, 1 },
			"largest loss: at least 1 rows, no upper bound is known"},
		"more changes": {func(d *wire.PlanDoc) {
			d.Change.Effects = append(d.Change.Effects, action.EffectLine{Do: "quarantine 4 files"})
		}, "most changes: 3, where another has 2"},
		"a precondition": {func(d *wire.PlanDoc) {
			d.Change.Preconditions = append(d.Change.Preconditions, action.Precondition{Resource: "versioning of lake", Version: "Enabled"})
		}, "a precondition that 211 others lack: versioning of lake at Enabled"},
		"no precondition": {func(d *wire.PlanDoc) { d.Change.Preconditions = nil }, "without what 211 others have, a precondition: recovery point of table t000 at 7"},
		"an acceptance": {func(d *wire.PlanDoc) {
			d.Change.Accepts = []action.Acceptance{{ID: "x", Sentence: "rows are lost"}}
		}, "an acceptance that 211 others lack: rows are lost"},
		"another bucket": {func(d *wire.PlanDoc) { d.Change.Effects[0].On = "s3://payroll/2026" }, "a place that 211 others lack: s3://payroll"},
		"planted data":   {func(d *wire.PlanDoc) { d.Change.Data = json.RawMessage(`{"version":7,"also":"s3://x"}`) }, "data that 211 others lack: also"},
		"no undo":        {func(d *wire.PlanDoc) { d.Change.Undo = nil }, "without what 211 others have, undo: kept"},
	} {
		t.Run(name, func(t *testing.T) {
			all := Steps(tables(212, func(i int, d *wire.PlanDoc) {
				if i == odd {
					tc.edit(d)
				}
			}))
			if len(all[0].Groups) != 1 {
				t.Fatalf("%d groups", len(all[0].Groups))
			}
			i := slices.IndexFunc(all[0].Groups[0].Outliers, func(o Outlier) bool { return strings.Contains(o.Why, tc.want) })
			if i < 0 || !slices.Equal(all[0].Groups[0].Outliers[i].Items, []string{"t117"}) {
				t.Errorf("got %+v, want %q of t117", all[0].Groups[0].Outliers, tc.want)
			}
		})
	}
}

func TestOtherEffectsAreAnotherGroup(t *testing.T) {
	for name, edit := range map[string]func(d *wire.PlanDoc){
		"another verb":  func(d *wire.PlanDoc) { d.Change.Effects[1].Do = "delete 4 files" },
		"one less":      func(d *wire.PlanDoc) { d.Change.Effects = d.Change.Effects[:1] },
		"another state": func(d *wire.PlanDoc) { d.Change.Effects[0].From, d.Change.Effects[0].To = "open", "closed" },
		"nothing":       func(d *wire.PlanDoc) { d.Change.Effects = nil },
	} {
		t.Run(name, func(t *testing.T) {
			all := Steps(tables(50, func(i int, d *wire.PlanDoc) {
				if i == 17 {
					edit(d)
				}
			}))
			if g := all[0].Groups; len(g) != 2 || len(g[0].Items) != 49 || !slices.Equal(g[1].Items, []string{"t017"}) {
				t.Errorf("%+v", g)
			}
		})
	}
}

func TestChecksAreGroupedByWhatTheyFound(t *testing.T) {
	all := Steps(tables(9, func(i int, d *wire.PlanDoc) {
		d.Change = action.Change{Summary: "ok"}
		d.Found = []action.Observation{{What: "every live file is present", Verdict: verdict.Pass, Got: fmt.Sprint(i)}}
		if i == 4 {
			d.Found[0].Verdict, d.Found[0].Got = verdict.Fail, "2 are missing"
		}
	}))
	g := all[0].Groups
	if !all[0].Looks || len(g) != 2 || !slices.Equal(g[0].Does, []string{"pass: every live file is present"}) ||
		!slices.Equal(g[1].Does, []string{"fail: every live file is present: 2 are missing"}) {
		t.Errorf("%+v", all)
	}
}

func TestLosses(t *testing.T) {
	docs := tables(12, func(i int, d *wire.PlanDoc) {
		zero, many := int64(0), int64(40)
		switch {
		case i == 3:
			d.Change.Loss.AtMost, d.Change.Loss.AtLeast = &many, 30
		case i == 5:
			d.Item.Group = "clicks"
			d.Change.Loss.AtMost, d.Change.Loss.AtLeast = nil, 2
		case i > 5:
			d.Change.Loss.AtMost = &zero
		}
	})
	got := Losses(docs)
	if len(got) != 2 || got[0].Group != "orders" || got[0].Sum() != "30 to 60 rows" || got[0].Nothing != 6 || got[0].Datasets[0].Dataset != "t003" {
		t.Errorf("%+v", got)
	}
	if got[1].Sum() != "at least 2 rows, no upper bound is known" {
		t.Errorf("%s", got[1].Sum())
	}
}

func TestAccepts(t *testing.T) {
	docs := tables(20, func(i int, d *wire.PlanDoc) {
		d.Change.Accepts = []action.Acceptance{{ID: "left-out " + d.Item.Name, Sentence: fmt.Sprintf("Table %s does not come back, %d rows", d.Item.Name, i)}}
		if i == 2 {
			d.Change.Accepts = append(d.Change.Accepts, action.Acceptance{ID: "source-unreachable", Sentence: "the source does not answer"})
		}
	})
	got := Accepts(docs, []action.Acceptance{docs[2].Change.Accepts[1], {ID: "x", Sentence: "and one that no document has"}})
	var sentences []string
	for _, a := range got {
		sentences = append(sentences, a.Sentence)
	}
	want := []string{"Table … does not come back, 0..19 rows", "the source does not answer", "and one that no document has"}
	if !slices.Equal(sentences, want) || len(got[0].Items) != 20 {
		t.Errorf("got %+v, want %q", got, want)
	}
}
