package recovery_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/recovery"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func whole(version int64, seconds float64, rows int64) recovery.Version {
	return recovery.Version{Version: version, CommittedAt: at(seconds), Rows: rows, Appended: recovery.Unknown, Complete: true}
}

func torn(version int64, seconds float64, appended int64) recovery.Version {
	return recovery.Version{Version: version, CommittedAt: at(seconds), Rows: recovery.Unknown, Appended: appended}
}

func saw(seconds float64, version, rows int64) recovery.Head {
	return recovery.Head{At: at(seconds), Version: version, Rows: rows}
}

// orders goes ahead of what the target holds: its log shows 3, its data 2.
func orders() recovery.TableState {
	return recovery.TableState{
		Name:     "orders",
		Versions: []recovery.Version{torn(3, 30, 7), whole(1, 10, 100), whole(2, 20, 110)},
		Heads:    []recovery.Head{saw(15, 1, 100), saw(25, 2, 110)},
	}
}

func payments() recovery.TableState {
	return recovery.TableState{
		Name:     "payments",
		Versions: []recovery.Version{whole(5, 8, 50), whole(6, 12, 60), whole(7, 22, 70)},
	}
}

func events() recovery.TopicState {
	return recovery.TopicState{Name: "events", Partitions: []recovery.PartitionState{
		{Partition: 1, MirroredThrough: 40, TargetEnd: 41, NewestAt: at(26)},
		{Partition: 0, MirroredThrough: 90, TargetEnd: 95, NewestAt: at(21), Journal: []recovery.End{{At: at(24), Offset: 90}, {At: at(29), Offset: 97}}},
	}}
}

func TestChooseCut(t *testing.T) {
	for name, tc := range map[string]struct {
		tables  []recovery.TableState
		topics  []recovery.TopicState
		skew    time.Duration
		want    time.Time
		binding string
		reason  string
	}{
		"one table, until its next log entry": {[]recovery.TableState{orders()}, nil, 0, at(30).Add(-1), "orders", "not complete"},
		"the skew is taken off": {[]recovery.TableState{orders(), {Name: "resting", Versions: []recovery.Version{whole(1, 5, 1)},
			Heads: []recovery.Head{saw(60, 1, 1)}}}, nil, 2 * time.Second, at(28).Add(-1), "orders", "not complete"},
		"not of a table that is alone": {[]recovery.TableState{orders()}, nil, 2 * time.Second, at(30).Add(-1), "orders", "not complete"},
		"alone, with one version":      {[]recovery.TableState{{Name: "a", Versions: []recovery.Version{whole(0, 10, 1)}}}, nil, 2 * time.Second, at(10), "a", "newest complete"},
		"alone, what a reader saw is on another clock": {[]recovery.TableState{{Name: "a", Versions: []recovery.Version{whole(0, 10, 1)},
			Heads: []recovery.Head{saw(40, 0, 1)}}}, nil, 2 * time.Second, at(38), "a", "last seen"},
		"two tables": {[]recovery.TableState{orders(), payments()}, nil, 0, at(22), "payments", "newest complete"},
		"a topic":    {nil, []recovery.TopicState{events()}, time.Second, at(23), "events/0", "last seen mirrored"},
		"all of it":  {[]recovery.TableState{orders(), payments()}, []recovery.TopicState{events()}, time.Second, at(21), "payments", "newest complete"},
		"a sighting beyond does not count": {[]recovery.TableState{{Name: "a", Versions: []recovery.Version{whole(1, 10, 1)},
			Heads: []recovery.Head{saw(14, 1, 1), saw(19, 2, 2)}}}, nil, 0, at(14), "a", "last seen at or below"},
		"a hole in the versions": {[]recovery.TableState{payments(), {Name: "a", Versions: []recovery.Version{whole(1, 10, 1), torn(2, 15, 1), whole(3, 40, 3)}}},
			nil, 0, at(15).Add(-1), "a", "Version 2"},
		"a missing version": {[]recovery.TableState{payments(), {Name: "a", Versions: []recovery.Version{whole(1, 10, 1), whole(3, 40, 3)},
			Heads: []recovery.Head{saw(18, 1, 1)}}}, nil, 0, at(18), "a", "What followed version 1"},
		"a version without a time": {[]recovery.TableState{{Name: "a", Versions: []recovery.Version{whole(1, 10, 1), {Version: 2, Rows: 2, Complete: true}}}},
			nil, 0, at(10), "a", "Version 1"},
		"clocks beyond the skew hold it back": {[]recovery.TableState{{Name: "a", Versions: []recovery.Version{whole(1, 5, 1), whole(2, 10, 1)},
			Heads: []recovery.Head{saw(7, 3, 1)}}}, nil, time.Second, at(8).Add(-1), "a", "differ by more than the declared skew"},
	} {
		t.Run(name, func(t *testing.T) {
			cut, err := recovery.ChooseCut(tc.tables, tc.topics, tc.skew)
			if err != nil {
				t.Fatal(err)
			}
			if !cut.At.Equal(tc.want) || cut.Binding.Dataset != tc.binding || !strings.Contains(cut.Binding.Reason, tc.reason) {
				t.Errorf("cut at %s by %+v; want %s by %s: …%s…", cut.At, cut.Binding, tc.want, tc.binding, tc.reason)
			}
		})
	}
}

func TestCutSaysWhatEachTableGivesUp(t *testing.T) {
	tables := []recovery.TableState{payments(), orders()}
	before, err := json.Marshal(tables)
	if err != nil {
		t.Fatal(err)
	}
	cut, err := recovery.ChooseCut(tables, []recovery.TopicState{events()}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := recovery.Cut{
		At: at(21), SkewSeconds: 1,
		Binding: recovery.Binding{Dataset: "payments", Reason: "Version 7, committed at 2026-11-21T12:00:22Z, is its newest complete one, and nothing shows how long it stayed the head."},
		Tables: []recovery.TablePoint{
			{Name: "orders", Version: 2, CommittedAt: at(20), Rows: 110, KnownThrough: at(30).Add(-1), NewestComplete: 2, GivesUp: recovery.GivesUp{RowsKnown: true}},
			{Name: "payments", Version: 6, CommittedAt: at(12), Rows: 60, KnownThrough: at(22), NewestComplete: 7,
				GivesUp: recovery.GivesUp{Versions: 1, Rows: 10, Seconds: 1, RowsKnown: true}},
		},
		Topics: []recovery.TopicPoint{{Name: "events", Partitions: []recovery.PartitionPoint{
			{Partition: 0, MirroredThrough: 90, KnownThrough: at(24)}, {Partition: 1, MirroredThrough: 40, KnownThrough: at(26)}}}},
	}
	if diff := cmp.Diff(want, cut); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	after, err := json.Marshal(tables)
	if err != nil || string(before) != string(after) {
		t.Errorf("the evidence changed: %v\n%s\n%s", err, before, after)
	}
	// What goes into the ledger comes back the same, and gives the same cut.
	var read []recovery.TableState
	if err := json.Unmarshal(before, &read); err != nil {
		t.Fatal(err)
	}
	again, err := recovery.ChooseCut(read, []recovery.TopicState{events()}, time.Second)
	if err != nil || !reflect.DeepEqual(cut, again) {
		t.Errorf("from JSON: %+v, %v; want %+v", again, err, cut)
	}
}

func TestNoCut(t *testing.T) {
	young := recovery.TableState{Name: "young", Versions: []recovery.Version{whole(0, 40, 1)}}
	for name, tc := range map[string]struct {
		tables []recovery.TableState
		topics []recovery.TopicState
		skew   time.Duration
		is     error
		says   []string
	}{
		"empty group":        {nil, nil, 0, recovery.ErrEmptyGroup, []string{"no table and no partition"}},
		"negative skew":      {[]recovery.TableState{orders()}, nil, -1, recovery.ErrEvidence, []string{"skew"}},
		"nothing complete":   {[]recovery.TableState{orders(), {Name: "empty", Versions: []recovery.Version{torn(1, 1, 1)}}}, nil, 0, recovery.ErrNoCut, []string{"empty", "complete", "wait for its replication"}},
		"topic unlooked at":  {nil, []recovery.TopicState{{Name: "events"}}, 0, recovery.ErrNoCut, []string{"events", "no partition"}},
		"partition unknown":  {nil, []recovery.TopicState{{Name: "events", Partitions: []recovery.PartitionState{{Partition: 3}}}}, 0, recovery.ErrNoCut, []string{"events/3", "witness"}},
		"end seen beyond":    {nil, []recovery.TopicState{{Name: "events", Partitions: []recovery.PartitionState{{Journal: []recovery.End{{At: at(1), Offset: 5}}}}}}, 0, recovery.ErrNoCut, []string{"events/0"}},
		"younger than it":    {[]recovery.TableState{young, payments()}, nil, 0, recovery.ErrNoCut, []string{"young", "version 0", "payments"}},
		"table twice":        {[]recovery.TableState{orders(), orders()}, nil, 0, recovery.ErrEvidence, []string{`"orders"`, "twice"}},
		"topic twice":        {nil, []recovery.TopicState{events(), events()}, 0, recovery.ErrEvidence, []string{`"events"`, "twice"}},
		"partition twice":    {nil, []recovery.TopicState{{Name: "e", Partitions: []recovery.PartitionState{{}, {}}}}, 0, recovery.ErrEvidence, []string{"e/0", "twice"}},
		"version twice":      {[]recovery.TableState{{Name: "a", Versions: []recovery.Version{whole(1, 1, 1), whole(1, 2, 1)}}}, nil, 0, recovery.ErrEvidence, []string{"version 1 of a", "twice"}},
		"times run backward": {[]recovery.TableState{{Name: "a", Versions: []recovery.Version{whole(2, 1, 1), whole(1, 2, 1)}}}, nil, 0, recovery.ErrEvidence, []string{"a: version 2", "before version 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			cut, err := recovery.ChooseCut(tc.tables, tc.topics, tc.skew)
			if !errors.Is(err, tc.is) {
				t.Fatalf("ChooseCut = %+v, %v; want %v", cut, err, tc.is)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if strings.Count(err.Error(), "choose the cut") != 1 {
				t.Errorf("%q names the operation not just once", err)
			}
		})
	}
}

// The same commit time twice is not a step back.
func TestEqualCommitTimes(t *testing.T) {
	a := recovery.TableState{Name: "a", Versions: []recovery.Version{whole(1, 5, 1), whole(2, 10, 2), torn(3, 10, 1)}}
	cut, err := recovery.ChooseCut([]recovery.TableState{a}, nil, 0)
	if err != nil || !cut.At.Equal(at(10).Add(-1)) || cut.Tables[0].Version != 1 {
		t.Errorf("cut %+v, %v; want version 1, just before the moment that version 3 shares", cut, err)
	}
}

func many(n int) []recovery.TableState {
	tables := make([]recovery.TableState, n)
	for i := range tables {
		t := recovery.TableState{Name: fmt.Sprintf("t%06d", i), Peak: &recovery.Peak{PerSecond: 10}}
		for v := range int64(20) {
			ver := whole(v, float64(v*10)+float64(i%10), v*10)
			if (int(v)+i)%7 == 3 || v == 19 { // holes everywhere: the worst for the cut
				ver = torn(v, float64(v*10)+float64(i%10), 10)
			}
			t.Versions = append(t.Versions, ver)
			t.Heads = append(t.Heads, saw(float64(v*10+9), v, v*10))
		}
		// Whole at the beginning, so that a cut exists.
		t.Versions[0] = whole(0, 0, 0)
		slices.Reverse(t.Versions)
		tables[i] = t
	}
	return tables
}

func BenchmarkChooseCut100000(b *testing.B) {
	tables := many(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := recovery.ChooseCut(tables, nil, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLosses100000(b *testing.B) {
	tables := many(100_000)
	cut, err := recovery.ChooseCut(tables, nil, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := recovery.Losses(cut, tables, nil, recovery.Death{By: at(300)}, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// TestWaysOutOfOneName: where a table and a topic have the same name, the way out says
// which of them to leave out.
func TestWaysOutOfOneName(t *testing.T) {
	table := recovery.TableState{Name: "orders", Versions: []recovery.Version{whole(1, 10, 10)}, Heads: []recovery.Head{saw(20, 1, 10)}}
	topic := recovery.TopicState{Name: "orders", Partitions: []recovery.PartitionState{{MirroredThrough: 5}}}
	_, err := recovery.ChooseCut([]recovery.TableState{table}, []recovery.TopicState{topic}, time.Second)
	if !errors.Is(err, recovery.ErrNoCut) || !strings.Contains(err.Error(), "without topic:orders (input leave_out)") || !strings.Contains(err.Error(), "take topic:orders to be unchanged") {
		t.Errorf("%v; want a way out by topic:orders", err)
	}
	topic.Name = "clicks"
	if _, err = recovery.ChooseCut([]recovery.TableState{table}, []recovery.TopicState{topic}, time.Second); !errors.Is(err, recovery.ErrNoCut) || !strings.Contains(err.Error(), "without clicks (input leave_out)") {
		t.Errorf("%v; want a way out by clicks", err)
	}
}

// TestUnchanged: what people take to be unchanged does not hold the cut back, and what
// contradicts them does.
func TestUnchanged(t *testing.T) {
	busy := recovery.TableState{Name: "busy", Versions: []recovery.Version{whole(1, 10, 10), whole(2, 3600, 20)}, Heads: []recovery.Head{saw(3700, 2, 20)}}
	peak := &recovery.Peak{PerSecond: 2, Burst: 10}
	for name, tc := range map[string]struct {
		resting recovery.TableState
		want    time.Time
		assumed time.Time // zero: not
	}{
		"not said":           {recovery.TableState{Versions: []recovery.Version{whole(0, 40, 1)}}, at(38), time.Time{}},
		"one version":        {recovery.TableState{Versions: []recovery.Version{whole(0, 40, 1)}, Unchanged: true}, at(3698), at(38)},
		"seen once":          {recovery.TableState{Versions: []recovery.Version{whole(0, 40, 1)}, Heads: []recovery.Head{saw(60, 0, 1)}, Unchanged: true}, at(3698), at(58)},
		"a later log entry":  {recovery.TableState{Versions: []recovery.Version{whole(0, 40, 1), torn(1, 50, 1)}, Unchanged: true}, at(48).Add(-1), time.Time{}},
		"a later checkpoint": {recovery.TableState{Versions: []recovery.Version{whole(0, 40, 1), {Version: 1, Rows: 2}}, Unchanged: true}, at(38), time.Time{}},
		"seen to change":     {recovery.TableState{Versions: []recovery.Version{whole(0, 40, 1)}, Heads: []recovery.Head{saw(90, 1, 2)}, Unchanged: true}, at(38), time.Time{}},
	} {
		tc.resting.Name, tc.resting.Peak = "resting", peak
		tables := []recovery.TableState{busy, tc.resting}
		cut, err := recovery.ChooseCut(tables, nil, 2*time.Second)
		if tc.want.Before(at(40)) { // before its first version: no cut, and a way out, which is never one that does not help
			if !errors.Is(err, recovery.ErrNoCut) || strings.Contains(err.Error(), "assume_unchanged") == tc.resting.Unchanged || !strings.Contains(err.Error(), "without resting (input leave_out)") {
				t.Errorf("%s: ChooseCut = %+v, %v; want a way out", name, cut, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p := cut.Tables[1]; !cut.At.Equal(tc.want) || !p.AssumedSince.Equal(tc.assumed) {
			t.Errorf("%s: cut at %s, assumed since %s; want %s, %s", name, cut.At, p.AssumedSince, tc.want, tc.assumed)
		}
		losses, err := recovery.Losses(cut, tables, nil, recovery.Death{By: at(3800)}, 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		// What is assumed bounds nothing: twice a second for as long as nobody looked.
		if l := losses[1]; !tc.assumed.IsZero() && (l.Count.AtMost == nil || *l.Count.AtMost < 2*3700 || *l.Seconds.AtMost < 3700 || !l.RecoveryPoint.Equal(tc.assumed)) {
			t.Errorf("%s: it risks only %+v", name, l)
		}
	}
	// All of them at rest: the one that is known longest says when.
	lone := recovery.TableState{Name: "a", Versions: []recovery.Version{whole(0, 10, 1)}, Unchanged: true}
	other := recovery.TableState{Name: "b", Versions: []recovery.Version{whole(0, 5, 1)}, Heads: []recovery.Head{saw(50, 0, 1)}, Unchanged: true}
	young := recovery.TableState{Name: "c", Versions: []recovery.Version{whole(0, 50, 1)}, Unchanged: true} // known to the skew before its own commit
	if cut, err := recovery.ChooseCut([]recovery.TableState{lone, young}, nil, time.Second); err != nil || !cut.At.Equal(at(50)) {
		t.Errorf("all unchanged, and the newest of them new: %+v, %v", cut, err)
	}
	if cut, err := recovery.ChooseCut([]recovery.TableState{lone, other}, nil, time.Second); err != nil || !cut.At.Equal(at(49)) || cut.Binding.Dataset != "b" {
		t.Errorf("all unchanged: %+v, %v", cut, err)
	}
}
