package witness

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestTopicEndsAreBounded(t *testing.T) {
	at := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	look := func(minute int, end int64) TopicEnds {
		when := at.Add(time.Duration(minute) * time.Minute)
		return TopicEnds{First: when, Last: when, Run: strconv.Itoa(minute), Partitions: []PartitionEnds{{Data: end, Stable: end, End: end}}}
	}
	var all []TopicEnds
	for i := range 2 * Kept {
		all = addEnds(all, look(i, int64(i)))
	}
	if len(all) != Kept || all[len(all)-1].Run != strconv.Itoa(2*Kept-1) {
		t.Errorf("%d looks are kept, the newest by run %s", len(all), all[len(all)-1].Run)
	}
	all = nil
	for i := range 100 {
		all = addEnds(all, look(i, 7))
	}
	if len(all) != 1 || !all[0].First.Equal(at) || !all[0].Last.Equal(at.Add(99*time.Minute)) {
		t.Errorf("100 looks at a topic that rests are %+v", all)
	}
	all = addEnds(all, look(50, 6)) // a slower reader, who looked earlier
	if len(all) != 2 || all[0].Partitions[0].End != 6 {
		t.Errorf("a late look is not in its place: %+v", all)
	}
}

// TestTopics lets many runs note the ends of a topic at the same time.
func TestTopics(t *testing.T) {
	j := TopicJournal{journal(t)}
	if all, err := j.Read(t.Context(), "sales/orders"); len(all) != 0 || err != nil {
		t.Errorf("a topic that was never seen: %v, %v", all, err)
	}
	look := func(run string, second int, end int64) TopicEnds {
		return TopicEnds{First: at(second), Last: at(second), Run: run, Partitions: []PartitionEnds{{Data: end, Stable: end, End: end}}}
	}
	var g sync.WaitGroup
	for i := range 4 {
		g.Go(func() {
			if changed, err := j.See(t.Context(), "sales/orders", look(fmt.Sprint(i), i, int64(i))); !changed || err != nil {
				t.Errorf("run %d: changed %t, %v", i, changed, err)
			}
		})
	}
	g.Wait()
	if changed, err := j.See(t.Context(), "sales/orders", look("2", 9, 9)); changed || err != nil {
		t.Errorf("a run's second look: changed %t, %v", changed, err)
	}
	all, err := j.Read(t.Context(), "sales/orders")
	if len(all) != 4 || err != nil {
		t.Errorf("%d looks are kept, %v: %+v", len(all), err, all)
	}
	if mine, found, err := j.Noted(t.Context(), "sales/orders", "3"); !found || mine.Partitions[0].End != 3 || err != nil {
		t.Errorf("noted by run 3: %+v, %t, %v", mine, found, err)
	}
	if mine, found, err := j.Noted(t.Context(), "sales/orders", "5"); found || err != nil {
		t.Errorf("noted by a run that did not look: %+v, %t, %v", mine, found, err)
	}
	put(t, j.Journal, j.Key("bad"), "{")
	if all, err := j.Read(t.Context(), "bad"); !errors.Is(err, ErrMalformed) {
		t.Errorf("what no witness wrote: %v, %v; want ErrMalformed", all, err)
	}
	if changed, err := j.See(t.Context(), "bad", look("1", 1, 1)); changed || !errors.Is(err, ErrMalformed) {
		t.Errorf("added to what no witness wrote: %t, %v; want ErrMalformed", changed, err)
	}
}
