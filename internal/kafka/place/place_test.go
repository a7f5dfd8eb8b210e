package place_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/place"
	"breakwater/internal/mirror"
	"breakwater/internal/mirror/mirrortest"
)

func ptr[T any](v T) *T { return &v }

func TestGroup(t *testing.T) {
	p := kafka.Partition{Topic: "orders"}
	syncs := mirror.NewSyncs(mirror.Sync{Partition: p, Upstream: 100, Downstream: 110}, mirror.Sync{Partition: p, Upstream: 200, Downstream: 230})
	cp := func(up, down int64) *mirror.Checkpoint {
		return &mirror.Checkpoint{Group: "g", Partition: p, Upstream: up, Downstream: down}
	}
	for name, tc := range map[string]struct {
		in     place.Facts
		want   int64
		reason place.Reason
	}{
		"nothing is known":                         {place.Facts{Start: 5, End: 300}, 5, place.Earliest},
		"a checkpoint":                             {place.Facts{End: 300, Checkpoint: cp(150, 111)}, 111, place.ByPoint},
		"a checkpoint that says no translation":    {place.Facts{End: 300, Checkpoint: cp(50, -1)}, 0, place.Earliest},
		"a checkpoint older than retention":        {place.Facts{Start: 120, End: 300, Checkpoint: cp(150, 111)}, 120, place.ByPoint},
		"a checkpoint past the end":                {place.Facts{End: 100, Checkpoint: cp(150, 111)}, 100, place.ByPoint},
		"syncs nearer than the checkpoint":         {place.Facts{End: 300, Numbers: syncs, Checkpoint: cp(150, 1)}, 111, place.Translated},
		"a checkpoint of the log before":           {place.Facts{End: 300, Numbers: syncs, Checkpoint: &mirror.Checkpoint{Partition: p, Upstream: 150, Downstream: 105, Before: true}}, 105, place.ByPoint},
		"a commit at a sync":                       {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](200)}, 230, place.Exact},
		"a commit after a sync":                    {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](250)}, 231, place.Translated},
		"a commit before the oldest sync":          {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](50)}, 0, place.Earliest},
		"a better checkpoint":                      {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](190), Checkpoint: cp(180, 190)}, 190, place.ByPoint},
		"a worse checkpoint":                       {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](250), Checkpoint: cp(180, 111)}, 231, place.Translated},
		"the group was moved back":                 {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](150), Checkpoint: cp(250, 231)}, 111, place.Translated},
		"at the end of a drained source":           {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](260), SourceEnd: ptr[int64](260)}, 300, place.Exact},
		"behind in a drained source":               {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](259), SourceEnd: ptr[int64](260)}, 231, place.Translated},
		"at the end, but not drained":              {place.Facts{End: 300, Numbers: syncs, SourceCommit: ptr[int64](260)}, 231, place.Translated},
		"only a time":                              {place.Facts{End: 300, Processed: ptr[int64](40)}, 40, place.ByTime},
		"a time beside a checkpoint":               {place.Facts{End: 300, Processed: ptr[int64](40), Checkpoint: cp(150, 111)}, 111, place.ByPoint},
		"a time beside a commit before every sync": {place.Facts{End: 300, Numbers: syncs, Processed: ptr[int64](40), SourceCommit: ptr[int64](50)}, 0, place.Earliest},
		"the cut is lower":                         {place.Facts{End: 300, Checkpoint: cp(150, 111), Cut: ptr[int64](90)}, 90, place.ByCut},
		"the cut is higher":                        {place.Facts{End: 300, Checkpoint: cp(150, 111), Cut: ptr[int64](200)}, 111, place.ByPoint},
		"the cut is before the log":                {place.Facts{Start: 95, End: 300, Checkpoint: cp(150, 111), Cut: ptr[int64](90)}, 95, place.ByCut},
		"the cut is below a drained group":         {place.Facts{End: 300, SourceCommit: ptr[int64](260), SourceEnd: ptr[int64](260), Cut: ptr[int64](280)}, 280, place.ByCut},
		"an empty log":                             {place.Facts{}, 0, place.Earliest},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := place.Group(map[kafka.Partition]place.Facts{p: tc.in})
			if err != nil || len(plan) != 1 {
				t.Fatalf("plan is %+v, %v", plan, err)
			}
			got := plan[0]
			if got.Offset != tc.want || got.Reason != tc.reason || got.Partition != p || got.ToRead != tc.in.End-tc.want || got.Why == "" {
				t.Errorf("plan is %+v, want %d because %s", got, tc.want, tc.reason)
			}
		})
	}
	for name, in := range map[string]place.Facts{
		"the log":    {Start: 10, End: 9},
		"checkpoint": {End: 9, Checkpoint: &mirror.Checkpoint{Partition: kafka.Partition{Topic: "other"}}},
	} {
		if plan, err := place.Group(map[kafka.Partition]place.Facts{p: in}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s contradicts itself: plan is %+v, error %v", name, plan, err)
		}
	}
}

// TestGroupNeverSkips plans groups of model mirrors from any mixture of
// true knowledge: nobody is placed after the first record it has not processed,
// after the cut, or outside the log, and no partition is left out.
func TestGroupNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		places := make(map[kafka.Partition]place.Facts)
		limit := make(map[kafka.Partition]int64)
		for id := range rapid.Int32Range(1, 3).Draw(t, "partitions") {
			p := kafka.Partition{Topic: "orders", ID: id}
			m := mirrortest.DrawModel(t)
			end := m.Up[len(m.Up)-1] + 1
			commit := rapid.Int64Range(0, end).Draw(t, "commit")
			in := place.Facts{Start: rapid.Int64Range(0, m.End).Draw(t, "start"), End: m.End}
			if rapid.Bool().Draw(t, "syncs are known") {
				in.Numbers = m.Syncs
			}
			if rapid.Bool().Draw(t, "commit is known") {
				in.SourceCommit = &commit
				if rapid.Bool().Draw(t, "drained") {
					in.SourceEnd = &end
				}
			}
			if rapid.Bool().Draw(t, "checkpoint is known") {
				at := rapid.Int64Range(0, commit).Draw(t, "checkpoint")
				if down, _, ok := m.Syncs.Translate(at); ok {
					in.Checkpoint = &mirror.Checkpoint{Partition: p, Upstream: at, Downstream: down}
				}
			}
			if rapid.Bool().Draw(t, "a time is known") {
				in.Processed = ptr(rapid.Int64Range(0, m.Truth(commit)).Draw(t, "processed"))
			}
			limit[p] = m.Truth(commit)
			if rapid.Bool().Draw(t, "cut") {
				in.Cut = ptr(rapid.Int64Range(0, m.End).Draw(t, "cut at"))
				limit[p] = min(limit[p], *in.Cut)
			}
			places[p] = in
		}
		plan, err := place.Group(places)
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

// TestJSON holds the form in which placements are kept in plans: a partition that
// is text must not make text of what contains it.
func TestJSON(t *testing.T) {
	in := []place.Placement{{Partition: kafka.Partition{Topic: "orders", ID: 2}, Offset: 5, Reason: place.Exact, Why: "why", ToRead: 4}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"partition":"orders-2","offset":5,"reason":"exact","why":"why","to_read":4}]`; string(text) != want {
		t.Errorf("placements are written as %s, want %s", text, want)
	}
	var out []place.Placement
	if err := json.Unmarshal(text, &out); err != nil || !cmp.Equal(in, out) {
		t.Errorf("%s became other (-in +out), %v:\n%s", text, err, cmp.Diff(in, out))
	}
}
