package torture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"breakwater/lab"
	"breakwater/lab/traffic"
)

// kinds are what can be odd about a topic, beside who stamps its records.
var kinds = []traffic.Odd{{}, {Anew: true}, {Wider: true}, {Aborted: true}, {Compacted: true}}

// stamping are the regions that stamp records as they arrive.
var stamping = [][]string{{lab.Standby}, {lab.Primary, lab.Standby}, {lab.Primary}}

// oddities are what is odd about the topics of a seed: brokers stamp the records of one of
// the two, and each is odd in another way. That a primary is parted goes with all of them.
func oddities(seed uint64) map[string]lab.Odd {
	topics, odd := lab.Topics(), map[string]lab.Odd{}
	n, turn := seed/2, uint64(len(kinds))
	for i, topic := range topics {
		o := lab.Odd{Odd: kinds[(n+uint64(i)*(1+seed%(turn-1)))%turn]}
		if uint64(i) == seed%uint64(len(topics)) {
			o.Appended = stamping[(seed/4)%uint64(len(stamping))]
		}
		odd[topic] = o
	}
	return odd
}

// timeless are topics of which no moment may be known up to which all is mirrored: the
// standby stamps what the mirror brings, and the witness has seen another log than the
// mirror reads now.
func timeless(o lab.Odd) bool { return o.Anew && slices.Contains(o.Appended, lab.Standby) }

// withoutMoment is the topic that a run says to leave out, since no moment is known of it;
// empty if a run asks for anything else, or of a topic of which one must be known.
func (d *disaster) withoutMoment(asked []string) string {
	for topic, o := range d.odd {
		if timeless(o) && slices.ContainsFunc(asked, func(f string) bool {
			return strings.Contains(f, ": choose the cut: "+topic+"/") && strings.Contains(f, "LogAppendTime") && strings.Contains(f, "(input leave_out)")
		}) {
			return topic
		}
	}
	return ""
}

// oddly says what is odd about the topics.
func (d *disaster) oddly() string {
	var all []string
	for _, topic := range lab.Topics() {
		o, what := d.odd[topic], []string{}
		for name, is := range map[string]bool{
			"created anew": o.Anew, "widened": o.Wider, "ended by aborted records": o.Aborted, "compacted": o.Compacted,
			"stamped in " + strings.Join(o.Appended, " and "): len(o.Appended) > 0,
		} {
			if is {
				what = append(what, name)
			}
		}
		if slices.Sort(what); len(what) == 0 {
			what = []string{"ordinary"}
		}
		all = append(all, fmt.Sprintf("topic %s %s", topic, strings.Join(what, ", ")))
	}
	return fmt.Sprintf("%.1f s before, %s", d.ahead.Seconds(), strings.Join(all, "; "))
}

// TestOdditiesAreSpread: thirty seeds have each kind in each topic, with each way of
// stamping, and with a primary that is parted.
func TestOdditiesAreSpread(t *testing.T) {
	const seeds, least = 30, 4
	count := map[string]int{}
	for seed := range uint64(seeds) {
		var kindsOfSeed []string
		for topic, o := range oddities(seed + 1) {
			kind := fmt.Sprintf("%+v", o.Odd)
			kindsOfSeed = append(kindsOfSeed, kind)
			count["kind "+kind]++
			count["stamped by "+strings.Join(o.Appended, " and ")]++
			if len(o.Appended) > 0 {
				count["topic "+topic+" is stamped"]++
				count["stamped kind "+kind]++
			}
			if (seed+1)%onePartedIn == 0 {
				count["parted kind "+kind]++
			}
		}
		if kindsOfSeed[0] == kindsOfSeed[1] {
			t.Errorf("seed %d has one kind twice: %s", seed+1, kindsOfSeed[0])
		}
	}
	want := len(kinds)*3 + len(stamping) + 1 + len(lab.Topics())
	if len(count) != want {
		t.Errorf("%d things happen, want %d", len(count), want)
	}
	for _, what := range slices.Sorted(maps.Keys(count)) {
		t.Logf("%2d %s", count[what], what)
		if few := least; count[what] < few && !strings.HasPrefix(what, "parted") {
			t.Errorf("%s: %d of %d seeds, want %d", what, count[what], seeds, few)
		}
	}
}
