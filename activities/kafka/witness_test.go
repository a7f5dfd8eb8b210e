package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/mirror"
	"breakwater/internal/recovery"
	"breakwater/internal/witness"
)

// sighting is one of the witness, at so many seconds, with the end of each partition.
func sighting(second int, id string, ends ...int64) witness.TopicEnds {
	e := witness.TopicEnds{ID: id, First: begun.Add(time.Duration(second) * time.Second)}
	e.Last = e.First
	for i, end := range ends {
		e.Partitions = append(e.Partitions, witness.PartitionEnds{Partition: int32(i), Data: end, Stable: end, End: end})
	}
	return e
}

// TestWhatALookDoesNotShowWasNotThere: neither a partition that was added since, nor what
// is in a topic that was created anew since.
func TestWhatALookDoesNotShowWasNotThere(t *testing.T) {
	at := func(second int, offset int64) recovery.End {
		return recovery.End{At: begun.Add(time.Duration(second) * time.Second), Offset: offset}
	}
	for name, tc := range map[string]struct {
		seen looks
		id   int32
		want []recovery.End
	}{
		"nothing was seen":       {nil, 0, nil},
		"the same":               {looks{sighting(0, "a", 5), sighting(5, "a", 9)}, 0, []recovery.End{at(0, 5), at(5, 9)}},
		"a partition added":      {looks{sighting(0, "a", 5), sighting(5, "a", 9, 2)}, 1, []recovery.End{at(0, 0), at(5, 2)}},
		"one that nobody saw":    {looks{sighting(0, "a", 5), sighting(5, "a", 9)}, 1, []recovery.End{at(0, 0), at(5, 0)}},
		"created anew":           {looks{sighting(0, "a", 500), sighting(5, "b", 9)}, 0, []recovery.End{at(0, 0), at(5, 9)}},
		"and anew":               {looks{sighting(0, "a", 500), sighting(5, "b", 9), sighting(9, "c", 1)}, 0, []recovery.End{at(0, 0), at(5, 0), at(9, 1)}},
		"before ids were noted":  {looks{sighting(0, "", 5), sighting(5, "b", 9)}, 0, []recovery.End{at(0, 5), at(5, 9)}},
		"a broker without an id": {looks{sighting(0, "a", 5), sighting(5, "", 9)}, 0, []recovery.End{at(0, 5), at(5, 9)}},
	} {
		if diff := cmp.Diff(tc.want, tc.seen.ends(tc.id)); diff != "" {
			t.Errorf("%s: other ends (-want +got):\n%s", name, diff)
		}
	}
}

// TestOfWhichTopicTheMirrorHasRecords: a source that was created anew and died cannot say
// that it is another; the witness and the mirror's own notes can.
func TestOfWhichTopicTheMirrorHasRecords(t *testing.T) {
	skew := time.Second
	at := func(second int) time.Time { return begun.Add(time.Duration(second) * time.Second) }
	anew := looks{sighting(0, "a", 500), sighting(10, "b", 9), sighting(20, "b", 12)}
	for name, tc := range map[string]struct {
		seen   looks
		fell   time.Time
		newest time.Time
		says   string
		still  bool
	}{
		"nobody looked":                             {nil, at(5), time.Time{}, "", false},
		"one topic":                                 {looks{sighting(0, "a", 500)}, time.Time{}, at(-9), "", false},
		"another, and newer records":                {anew, time.Time{}, at(12), "", false},
		"another, and records within the skew":      {anew, time.Time{}, at(11), "another topic", true},
		"another, and older records":                {anew, time.Time{}, at(9), "another topic", true},
		"another, and no time is known":             {anew, at(8), time.Time{}, "another topic", true},
		"the mirror began again before a look":      {anew, at(8), at(12), "", false},
		"the mirror began again after all looks":    {anew, at(25), at(24), "began again", true},
		"the same, and the witness saw one topic":   {looks{sighting(0, "a", 500)}, at(3), at(4), "began again", false},
		"it began again long before, and one topic": {looks{sighting(0, "a", 500)}, at(-9), at(-20), "", false},
	} {
		why, still := tc.seen.other(mirror.Position{Next: 9, Fell: tc.fell}, tc.newest, skew)
		if (why == "") != (tc.says == "") || !strings.Contains(why, tc.says) || still != tc.still {
			t.Errorf("%s: %q, still %t; want %q, %t", name, why, still, tc.says, tc.still)
		}
	}
}

// TestRecordsThatCarriedNoTime: the mirror gives them one of its own. Only the witness has
// seen them as they were.
func TestRecordsThatCarriedNoTime(t *testing.T) {
	was, is := sighting(0, "a", 5, 5), sighting(5, "a", 9, 9)
	was.Partitions[0].Undated, is.Partitions[1].Undated = true, true
	for id, want := range []bool{false, true, false} {
		if got := (looks{was, is}).undated(int32(id)); got != want {
			t.Errorf("partition %d is undated: %t, want %t", id, got, want)
		}
	}
	if (looks{}).undated(0) {
		t.Error("what nobody saw is undated")
	}
}
