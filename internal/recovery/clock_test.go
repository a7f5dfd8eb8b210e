package recovery_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
)

var precedence = []recovery.Kind{recovery.Detect, recovery.Decide, recovery.Wait, recovery.Execute, recovery.Verify}

// TestTakeApart asks of every second of a run, one by one, what it was spent on.
func TestTakeApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const length = 30
		intervals := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) recovery.Interval {
			from := rapid.IntRange(-5, length+5).Draw(t, "from")
			i := recovery.Interval{Kind: rapid.SampledFrom(precedence).Draw(t, "kind"), Start: at(float64(from))}
			if rapid.IntRange(0, 5).Draw(t, "still open") > 0 {
				i.End = at(float64(from + rapid.IntRange(0, 12).Draw(t, "length")))
			}
			return i
		}), 0, 8).Draw(t, "intervals")
		got, err := recovery.TakeApart(at(0), at(length), intervals)
		if err != nil {
			t.Fatal(err)
		}
		spent := map[recovery.Kind]float64{}
		var overhead float64
	second:
		for s := range length {
			for _, kind := range precedence {
				for _, i := range intervals {
					if i.Kind == kind && !i.Start.After(at(float64(s))) && (i.End.IsZero() || i.End.After(at(float64(s)))) {
						spent[kind]++
						continue second
					}
				}
			}
			overhead++
		}
		want := recovery.Breakdown{
			Detect: spent[recovery.Detect], Decide: spent[recovery.Decide], Wait: spent[recovery.Wait],
			Execute: spent[recovery.Execute], Verify: spent[recovery.Verify], Overhead: overhead, Total: length,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

func TestTakeApartRefuses(t *testing.T) {
	for name, f := range map[string]func() (recovery.Breakdown, error){
		"an end before the start": func() (recovery.Breakdown, error) { return recovery.TakeApart(at(1), at(0), nil) },
		"an unknown kind": func() (recovery.Breakdown, error) {
			return recovery.TakeApart(at(0), at(1), []recovery.Interval{{Kind: "rest", Start: at(0)}})
		},
		"an interval backwards": func() (recovery.Breakdown, error) {
			return recovery.TakeApart(at(0), at(1), []recovery.Interval{{Kind: recovery.Wait, Start: at(1), End: at(0)}})
		},
	} {
		if got, err := f(); !errors.Is(err, recovery.ErrEvidence) {
			t.Errorf("%s: TakeApart = %+v, %v; want ErrEvidence", name, got, err)
		}
	}
}

func TestMilestones(t *testing.T) {
	got := recovery.Milestones(at(0), at(100), []recovery.Milestone{
		{Name: "readable", Tier: 2, At: at(90), RTOSeconds: 80},
		{Name: "late and open", Tier: 1, RTOSeconds: 99},
		{Name: "open", Tier: 1, RTOSeconds: 101},
		{Name: "writable", Tier: 1, At: at(60), RTOSeconds: 60},
		{Name: "readable", Tier: 1, At: at(50), RTOSeconds: 40},
		{Name: "declared", At: at(10)},
	})
	want := []recovery.Reached{
		{Name: "declared", Reached: true, Seconds: 10},
		{Name: "readable", Tier: 1, Reached: true, Seconds: 50, RTOSeconds: 40, Met: verdict.Fail},
		{Name: "writable", Tier: 1, Reached: true, Seconds: 60, RTOSeconds: 60, Met: verdict.Pass},
		{Name: "late and open", Tier: 1, Seconds: 100, RTOSeconds: 99, Met: verdict.Fail},
		{Name: "open", Tier: 1, Seconds: 100, RTOSeconds: 101},
		{Name: "readable", Tier: 2, Reached: true, Seconds: 90, RTOSeconds: 80, Met: verdict.Fail},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, r := range recovery.Milestones(time.Time{}, at(100), []recovery.Milestone{{Name: "readable", At: at(50), RTOSeconds: 40}}) {
		if r.Met != verdict.Unknown {
			t.Errorf("the outage's start is not known: %+v", r)
		}
	}
	if b, err := json.Marshal(want[1]); err != nil || string(b) != `{"name":"readable","tier":1,"reached":true,"seconds":50,"rto_seconds":40,"met":"fail"}` {
		t.Errorf("JSON: %s, %v", b, err)
	}
}

func TestForecastFinish(t *testing.T) {
	step := recovery.Estimate{Step: "promote", Known: true, Fixed: 5 * time.Second, PerItem: 2 * time.Second, Items: 7, Parallel: 3}
	check := recovery.Estimate{Step: "check", Known: true, PerItem: time.Second, Items: 4}
	ask := recovery.Estimate{Step: "call the vendor", Fixed: time.Hour}
	for name, tc := range map[string]struct {
		outage    time.Time
		rto       float64
		remaining []recovery.Estimate
		want      recovery.Forecast
	}{
		"in time":        {at(0), 120, []recovery.Estimate{step, check}, recovery.Forecast{Finish: at(115), RemainingSeconds: 15, RTOSeconds: 120, MarginSeconds: 5, Met: verdict.Pass}},
		"to the second":  {at(0), 115, []recovery.Estimate{step, check}, recovery.Forecast{Finish: at(115), RemainingSeconds: 15, RTOSeconds: 115, Met: verdict.Pass}},
		"too late":       {at(0), 110, []recovery.Estimate{step, check}, recovery.Forecast{Finish: at(115), RemainingSeconds: 15, RTOSeconds: 110, MarginSeconds: -5, Met: verdict.Fail}},
		"who can tell":   {at(0), 120, []recovery.Estimate{step, ask}, recovery.Forecast{Finish: at(111), RemainingSeconds: 11, RTOSeconds: 120, MarginSeconds: 9, Unknown: []string{"call the vendor"}}},
		"late whatever":  {at(0), 105, []recovery.Estimate{step, ask}, recovery.Forecast{Finish: at(111), RemainingSeconds: 11, RTOSeconds: 105, MarginSeconds: -6, Unknown: []string{"call the vendor"}, Met: verdict.Fail}},
		"no objective":   {at(0), 0, nil, recovery.Forecast{Finish: at(100)}},
		"no known start": {time.Time{}, 60, nil, recovery.Forecast{Finish: at(100), RTOSeconds: 60}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, recovery.ForecastFinish(tc.outage, at(100), tc.rto, tc.remaining)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
