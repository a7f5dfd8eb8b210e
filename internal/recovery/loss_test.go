package recovery_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
)

func count(least int64, most ...int64) recovery.CountInterval {
	i := recovery.CountInterval{AtLeast: least}
	if len(most) > 0 {
		i.AtMost = &most[0]
	}
	return i
}

func secs(least float64, most ...float64) recovery.SecondsInterval {
	i := recovery.SecondsInterval{AtLeast: least}
	if len(most) > 0 {
		i.AtMost = &most[0]
	}
	return i
}

// The numbers of these rows were worked out by hand.
func TestTableLoss(t *testing.T) {
	// Version 2 with 110 rows is known to be the head until 30 s, when version 3
	// of 7 rows came; with a skew of 1 s the cut is at 29 s.
	with := func(change func(*recovery.TableState)) recovery.TableState {
		t := orders()
		change(&t)
		return t
	}
	for name, tc := range map[string]struct {
		table recovery.TableState
		death recovery.Death
		count recovery.CountInterval
		secs  recovery.SecondsInterval
		exact bool
		met   verdict.Verdict
	}{
		"a log entry without data": {orders(), recovery.Death{By: at(60)}, count(7), secs(1, 32), false, verdict.Unknown},
		"death unknown":            {orders(), recovery.Death{}, count(7), secs(1), false, verdict.Unknown},
		"a peak, from the log entry on": {with(func(t *recovery.TableState) { t.Peak = &recovery.Peak{PerSecond: 2, Burst: 3} }),
			recovery.Death{By: at(60)}, count(7, 7+2*31+3), secs(1, 32), false, verdict.Unknown},
		"a peak, from the newest sighting on": {with(func(t *recovery.TableState) {
			t.Heads, t.Peak = append(t.Heads, saw(50, 6, 150)), &recovery.Peak{PerSecond: 2}
		}), recovery.Death{By: at(60)}, count(40, 40+2*11), secs(1, 32), false, verdict.Unknown},
		"a peak that did not hold": {with(func(t *recovery.TableState) {
			t.Heads, t.Peak = append(t.Heads, saw(50, 6, 150)), &recovery.Peak{PerSecond: 0.25}
		}), recovery.Death{By: at(60)}, count(40), secs(1, 32), false, verdict.Unknown},
		"a later sighting dates the loss": {with(func(t *recovery.TableState) { t.Heads = append(t.Heads, saw(50, 6, 150), saw(55, 7, 150)) }),
			recovery.Death{By: at(60)}, count(40), secs(50-1-29+1e-9, 32), false, verdict.Unknown},
		"the source answered": {with(func(t *recovery.TableState) {
			t.Source = &recovery.Head{At: at(61), Version: 4, Rows: 120, CommittedAt: at(45)}
		}), recovery.Death{By: at(60), Answered: true}, count(10, 10), secs(16, 16), true, verdict.Unknown},
		"the source answered without a commit time": {with(func(t *recovery.TableState) { t.Source = &recovery.Head{At: at(59), Version: 4, Rows: 120} }),
			recovery.Death{By: at(60), Answered: true}, count(10, 10), secs(1, 31), true, verdict.Unknown},
		"nothing is lost, the source says": {recovery.TableState{Name: "a", RPOSeconds: 5, Versions: []recovery.Version{whole(1, 10, 9)},
			Source: &recovery.Head{At: at(40), Version: 1, Rows: 9}}, recovery.Death{By: at(40), Answered: true}, count(0, 0), secs(0, 0), true, verdict.Pass},
		"the same sight before the fence": {recovery.TableState{Name: "a", RPOSeconds: 5, Versions: []recovery.Version{whole(1, 10, 9)}, Peak: &recovery.Peak{PerSecond: 1},
			Source: &recovery.Head{At: at(40), Version: 1, Rows: 9}}, recovery.Death{By: at(40)}, count(0, 1), secs(0, 2), false, verdict.Pass},
		"seen at the last moment, yet not proven": {recovery.TableState{Name: "a", Versions: []recovery.Version{whole(1, 10, 9)}, Peak: &recovery.Peak{PerSecond: 1},
			Heads: []recovery.Head{saw(41, 1, 9)}}, recovery.Death{By: at(40)}, count(0, 1), secs(0, 1), false, verdict.Unknown},
		"a rate of zero is none": {with(func(t *recovery.TableState) { t.Peak = &recovery.Peak{} }), recovery.Death{By: at(60)}, count(7), secs(1, 32), false, verdict.Unknown},
		"too old for sure": {with(func(t *recovery.TableState) { t.RPOSeconds, t.Versions = 5, append(t.Versions, torn(4, 35, 1)) }),
			recovery.Death{By: at(60)}, count(8), secs(6, 32), false, verdict.Fail},
		"perhaps too old":        {with(func(t *recovery.TableState) { t.RPOSeconds = 5 }), recovery.Death{By: at(60)}, count(7), secs(1, 32), false, verdict.Unknown},
		"unbounded never passes": {with(func(t *recovery.TableState) { t.RPOSeconds = 1e6 }), recovery.Death{}, count(7), secs(1), false, verdict.Unknown},
		"young enough":           {with(func(t *recovery.TableState) { t.RPOSeconds = 33 }), recovery.Death{By: at(60)}, count(7), secs(1, 32), false, verdict.Pass},
		"a shrinking table bounds from below only": {with(func(t *recovery.TableState) {
			t.Source = &recovery.Head{At: at(61), Version: 5, Rows: 20, CommittedAt: at(45)}
		}), recovery.Death{By: at(60), Answered: true}, count(7), secs(16, 16), false, verdict.Unknown},
		"the journal saw more than the source now says": {with(func(t *recovery.TableState) {
			t.Heads = append(t.Heads, saw(50, 6, 150))
			t.Source = &recovery.Head{At: at(61), Version: 2, Rows: 110}
		}), recovery.Death{By: at(60), Answered: true}, count(40), secs(30, 31), false, verdict.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			tables := []recovery.TableState{tc.table, beside()}
			cut, err := recovery.ChooseCut(tables, nil, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			losses, err := recovery.Losses(cut, tables, nil, tc.death, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			l := losses[0]
			near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 })
			if diff := cmp.Diff(tc.count, l.Count); diff != "" {
				t.Errorf("rows -want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tc.secs, l.Seconds, near); diff != "" {
				t.Errorf("seconds -want +got:\n%s", diff)
			}
			if l.Exact != tc.exact || l.Met != tc.met {
				t.Errorf("exact %v, met %v; want %v, %v", l.Exact, l.Met, tc.exact, tc.met)
			}
		})
	}
}

func TestTopicLoss(t *testing.T) {
	answered := events()
	answered.Partitions[0].Source = &recovery.End{At: at(61), Offset: 42}
	answered.Partitions[1].Source = &recovery.End{At: at(61), Offset: 99}
	answered.Partitions[0].Left = &recovery.Counted{Records: 2, Whole: true}
	answered.Partitions[1].Left = &recovery.Counted{Records: 9, Whole: true}
	aborted := events()
	aborted.Partitions[0].Source, aborted.Partitions[0].Left = &recovery.End{At: at(61), Offset: 185}, &recovery.Counted{Whole: true}
	aborted.Partitions[1].Source, aborted.Partitions[1].Left = &recovery.End{At: at(61), Offset: 97}, &recovery.Counted{Records: 3, Whole: true}
	many := events()
	many.Partitions[0].Source, many.Partitions[0].Left = &recovery.End{At: at(61), Offset: 185}, &recovery.Counted{Records: 100}
	many.Partitions[1].Source, many.Partitions[1].Left = &recovery.End{At: at(61), Offset: 97}, &recovery.Counted{Records: 7, Whole: true}
	zero := int64(0)
	anew := events()
	anew.Partitions[0].From, anew.Partitions[0].Odd = &zero, "created anew"
	anew.Partitions[0].Source, anew.Partitions[0].Left = &recovery.End{At: at(61), Offset: 12}, &recovery.Counted{Records: 12, Whole: true}
	anew.Partitions[1].Source, anew.Partitions[1].Left = &recovery.End{At: at(61), Offset: 97}, &recovery.Counted{Records: 7, Whole: true}
	open := events()
	open.Partitions[0].Journal = []recovery.End{{At: at(50), Offset: 200, Open: true}}
	drained := events()
	drained.Partitions[0].Source = &recovery.End{At: at(61), Offset: 40}
	drained.Partitions[1].Source = &recovery.End{At: at(61), Offset: 90}
	drained.Partitions[1].Journal = nil
	peak := events()
	peak.Peak = &recovery.Peak{PerSecond: 2}
	half := events()
	half.Partitions[0].Source = &recovery.End{At: at(61), Offset: 42}
	for name, tc := range map[string]struct {
		topic recovery.TopicState
		death recovery.Death
		count recovery.CountInterval
		secs  recovery.SecondsInterval
		exact bool
	}{
		// Partition 0 is known through 24 s and was then seen at 97, partition 1
		// through 26 s: known on the topic's whole since 26 s.
		"silent":             {events(), recovery.Death{By: at(60)}, count(1), secs(0, 38), false},
		"a declared peak":    {peak, recovery.Death{By: at(60)}, count(1, 7+2*35), secs(0, 38), false},
		"none but aborted":   {aborted, recovery.Death{By: at(60), Answered: true}, count(3, 3), secs(0, 38), true},
		"too many to count":  {many, recovery.Death{By: at(60), Answered: true}, count(107, 145+7), secs(0, 38), false},
		"created anew":       {anew, recovery.Death{By: at(60), Answered: true}, count(19), recovery.SecondsInterval{}, false},
		"a transaction open": {open, recovery.Death{By: at(60)}, count(1), secs(0, 38), false},
		"answered":           {answered, recovery.Death{By: at(60), Answered: true}, count(11, 11), secs(29-1-23, 38), true},
		"drained":            {drained, recovery.Death{By: at(60), Answered: true}, count(0, 0), secs(0, 0), true},
		"one half answers":   {half, recovery.Death{By: at(60), Answered: true}, count(2), secs(0, 38), false},
	} {
		t.Run(name, func(t *testing.T) {
			topics := []recovery.TopicState{tc.topic}
			cut, err := recovery.ChooseCut(nil, topics, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			losses, err := recovery.Losses(cut, nil, topics, tc.death, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			l := losses[0]
			if diff := cmp.Diff(tc.count, l.Count); diff != "" {
				t.Errorf("messages -want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tc.secs, l.Seconds); diff != "" {
				t.Errorf("seconds -want +got:\n%s", diff)
			}
			if l.Exact != tc.exact || l.Met != verdict.Unknown {
				t.Errorf("exact %v, met %v; want %v, unknown", l.Exact, l.Met, tc.exact)
			}
		})
	}
}

func TestLossesNeedTheEvidenceOfTheCut(t *testing.T) {
	tables, topics := []recovery.TableState{orders()}, []recovery.TopicState{events()}
	cut, err := recovery.ChooseCut(tables, topics, 0)
	if err != nil {
		t.Fatal(err)
	}
	short := events()
	short.Partitions = short.Partitions[:1]
	for name, f := range map[string]func() ([]recovery.Loss, error){
		"no tables": func() ([]recovery.Loss, error) { return recovery.Losses(cut, nil, topics, recovery.Death{}, 0) },
		"no topics": func() ([]recovery.Loss, error) { return recovery.Losses(cut, tables, nil, recovery.Death{}, 0) },
		"a partition short": func() ([]recovery.Loss, error) {
			return recovery.Losses(cut, tables, []recovery.TopicState{short}, recovery.Death{}, 0)
		},
	} {
		if got, err := f(); !errors.Is(err, recovery.ErrEvidence) {
			t.Errorf("%s: Losses = %+v, %v; want ErrEvidence", name, got, err)
		}
	}
}

// beside is a table that holds no cut back: a table that is alone needs no skew.
func beside() recovery.TableState {
	return recovery.TableState{Name: "zz", Versions: []recovery.Version{whole(0, 1, 0)}, Heads: []recovery.Head{saw(3600, 0, 0)}}
}

func TestLossAsJSON(t *testing.T) {
	tables := []recovery.TableState{orders(), beside()}
	cut, err := recovery.ChooseCut(tables, nil, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	losses, err := recovery.Losses(cut, tables, nil, recovery.Death{By: at(60)}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(losses[0])
	want := `{"dataset":"orders","kind":"table","unit":"rows","recovery_point":"2026-11-21T12:00:28.999999999Z","version":2,` +
		`"lost":{"at_least":7,"at_most":null},"lost_seconds":{"at_least":1.000000001,"at_most":32.000000001},"exact":false,"met":"unknown"}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	var back recovery.Loss
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(losses[0], back); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"met":"met"}`), &back); err == nil {
		t.Error("a verdict that does not exist was read")
	}
}
