package kafka

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

func TestPlanGroup(t *testing.T) {
	p := Partition{"orders", 0}
	syncs := NewSyncs(OffsetSync{p, 100, 110}, OffsetSync{p, 200, 230})
	cp := func(up, down int64) *Checkpoint {
		return &Checkpoint{Group: "g", Partition: p, Upstream: up, Downstream: down}
	}
	for name, tc := range map[string]struct {
		in     Place
		want   int64
		reason Reason
	}{
		"nothing is known":                         {Place{Start: 5, End: 300}, 5, Earliest},
		"a checkpoint":                             {Place{End: 300, Checkpoint: cp(150, 111)}, 111, ByPoint},
		"a checkpoint that says no translation":    {Place{End: 300, Checkpoint: cp(50, -1)}, 0, Earliest},
		"a checkpoint older than retention":        {Place{Start: 120, End: 300, Checkpoint: cp(150, 111)}, 120, ByPoint},
		"a checkpoint past the end":                {Place{End: 100, Checkpoint: cp(150, 111)}, 100, ByPoint},
		"syncs nearer than the checkpoint":         {Place{End: 300, Syncs: syncs, Checkpoint: cp(150, 1)}, 111, Translated},
		"a commit at a sync":                       {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](200)}, 230, Exact},
		"a commit after a sync":                    {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](250)}, 231, Translated},
		"a commit before the oldest sync":          {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](50)}, 0, Earliest},
		"a better checkpoint":                      {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](190), Checkpoint: cp(180, 190)}, 190, ByPoint},
		"a worse checkpoint":                       {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](250), Checkpoint: cp(180, 111)}, 231, Translated},
		"the group was moved back":                 {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](150), Checkpoint: cp(250, 231)}, 111, Translated},
		"at the end of a drained source":           {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](260), SourceEnd: ptr[int64](260)}, 300, Exact},
		"behind in a drained source":               {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](259), SourceEnd: ptr[int64](260)}, 231, Translated},
		"at the end, but not drained":              {Place{End: 300, Syncs: syncs, SourceCommit: ptr[int64](260)}, 231, Translated},
		"only a time":                              {Place{End: 300, Processed: ptr[int64](40)}, 40, ByTime},
		"a time beside a checkpoint":               {Place{End: 300, Processed: ptr[int64](40), Checkpoint: cp(150, 111)}, 111, ByPoint},
		"a time beside a commit before every sync": {Place{End: 300, Syncs: syncs, Processed: ptr[int64](40), SourceCommit: ptr[int64](50)}, 0, Earliest},
		"the cut is lower":                         {Place{End: 300, Checkpoint: cp(150, 111), Cut: ptr[int64](90)}, 90, ByCut},
		"the cut is higher":                        {Place{End: 300, Checkpoint: cp(150, 111), Cut: ptr[int64](200)}, 111, ByPoint},
		"the cut is before the log":                {Place{Start: 95, End: 300, Checkpoint: cp(150, 111), Cut: ptr[int64](90)}, 95, ByCut},
		"the cut is below a drained group":         {Place{End: 300, SourceCommit: ptr[int64](260), SourceEnd: ptr[int64](260), Cut: ptr[int64](280)}, 280, ByCut},
		"an empty log":                             {Place{}, 0, Earliest},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := PlanGroup(map[Partition]Place{p: tc.in})
			if err != nil || len(plan) != 1 {
				t.Fatalf("plan is %+v, %v", plan, err)
			}
			got := plan[0]
			if got.Offset != tc.want || got.Reason != tc.reason || got.Partition != p || got.ToRead != tc.in.End-tc.want || got.Why == "" {
				t.Errorf("plan is %+v, want %d because %s", got, tc.want, tc.reason)
			}
		})
	}
	for name, in := range map[string]Place{
		"the log":    {Start: 10, End: 9},
		"checkpoint": {End: 9, Checkpoint: &Checkpoint{Partition: Partition{"other", 0}}},
	} {
		if plan, err := PlanGroup(map[Partition]Place{p: in}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s contradicts itself: plan is %+v, error %v", name, plan, err)
		}
	}
}

// TestPlanGroupNeverSkips plans groups of model mirrors from any mixture of
// true knowledge: nobody is placed after the first record it has not processed,
// after the cut, or outside the log, and no partition is left out.
func TestPlanGroupNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		places := make(map[Partition]Place)
		limit := make(map[Partition]int64)
		for id := range rapid.Int32Range(1, 3).Draw(t, "partitions") {
			p := Partition{"orders", id}
			m := drawModel(t)
			end := m.up[len(m.up)-1] + 1
			commit := rapid.Int64Range(0, end).Draw(t, "commit")
			in := Place{Start: rapid.Int64Range(0, m.end).Draw(t, "start"), End: m.end}
			if rapid.Bool().Draw(t, "syncs are known") {
				in.Syncs = m.syncs
			}
			if rapid.Bool().Draw(t, "commit is known") {
				in.SourceCommit = &commit
				if rapid.Bool().Draw(t, "drained") {
					in.SourceEnd = &end
				}
			}
			if rapid.Bool().Draw(t, "checkpoint is known") {
				at := rapid.Int64Range(0, commit).Draw(t, "checkpoint")
				if down, _, ok := m.syncs.Translate(at); ok {
					in.Checkpoint = &Checkpoint{Partition: p, Upstream: at, Downstream: down}
				}
			}
			if rapid.Bool().Draw(t, "a time is known") {
				in.Processed = ptr(rapid.Int64Range(0, m.truth(commit)).Draw(t, "processed"))
			}
			limit[p] = m.truth(commit)
			if rapid.Bool().Draw(t, "cut") {
				in.Cut = ptr(rapid.Int64Range(0, m.end).Draw(t, "cut at"))
				limit[p] = min(limit[p], *in.Cut)
			}
			places[p] = in
		}
		plan, err := PlanGroup(places)
		if err != nil || len(plan) != len(places) {
			t.Fatalf("%d places gave %+v, %v", len(places), plan, err)
		}
		for _, pl := range plan {
			in := places[pl.Partition]
			if pl.Offset < in.Start || pl.Offset > in.End {
				t.Fatalf("%+v is outside the log %+v", pl, in)
			}
			if pl.Offset > max(limit[pl.Partition], in.Start) {
				t.Fatalf("%+v skips records: the first to read is at %d", pl, limit[pl.Partition])
			}
		}
	})
}
