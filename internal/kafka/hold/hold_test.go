package hold_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/mirror"
)

var (
	p0 = kafka.Partition{Topic: "orders"}
	p1 = kafka.Partition{Topic: "orders", ID: 1}
)

// Where things are in every partition of the topic.
const (
	end    = 20 // of the log
	newest = 17 // the newest offset sync: no checkpoint lies past the next offset
	point  = 15 // the group's newest checkpoint
	cut    = 5  // where it is placed
)

func both(at int64) kafka.Offsets { return kafka.Offsets{p0: at, p1: at} }

// known is what the mirror noted.
func known() mirror.Translation {
	t := mirror.Translation{Numbers: map[kafka.Partition]mirror.Numbers{}}
	for _, p := range []kafka.Partition{p0, p1} {
		t.Numbers[p] = mirror.NewSyncs(mirror.Sync{Partition: p, Upstream: newest, Downstream: newest})
		t.Checkpoints = append(t.Checkpoints,
			mirror.Checkpoint{Group: "held", Partition: p, Upstream: point, Downstream: point},
			mirror.Checkpoint{Group: "other", Partition: p, Upstream: end, Downstream: end})
	}
	return t
}

// logs are the target's.
type logs struct{}

func (logs) Ends(_ context.Context, topics ...string) (map[kafka.Partition]kafka.Ends, error) {
	ends := map[kafka.Partition]kafka.Ends{}
	for _, t := range topics {
		if t != "orders" {
			return nil, fs.ErrNotExist
		}
		ends[p0], ends[p1] = kafka.Ends{Stable: end, End: end + 1}, kafka.Ends{Stable: end, End: end + 1}
	}
	return ends, nil
}

// notes is a mirror as far as a hold asks it.
type notes struct {
	mirror.Mirror // of which nothing is asked
	every         time.Duration
	silent        error
	known         mirror.Translation
}

func (n notes) GroupSync(context.Context) (time.Duration, error) { return n.every, n.silent }

func (n notes) Translation(context.Context) (mirror.Translation, error) { return n.known, nil }

// untranslated is a mirror that moves groups and says nothing about them.
type untranslated struct {
	mirror.Mirror
	mirror.GroupSyncer
}

// TestPlan asks which groups are watched, and for how long.
func TestPlan(t *testing.T) {
	silent := errors.New("no answer")
	for name, tc := range map[string]struct {
		mirror  mirror.Mirror
		every   time.Duration // 0 for no hold
		watch   time.Duration
		assumed bool
		says    string
	}{
		"every second":       {notes{every: time.Second, known: known()}, time.Second, 3 * time.Second, false, "(every 1s)"},
		"every minute":       {notes{every: time.Minute, known: known()}, time.Minute, 121 * time.Second, false, "(every 1m0s)"},
		"never":              {notes{every: -1, known: known()}, 0, 0, false, ""},
		"no answer":          {notes{every: time.Minute, silent: silent, known: known()}, time.Minute, 121 * time.Second, true, "it is assumed, since Connect does not say"},
		"too rarely to wait": {notes{every: time.Hour, known: known()}, time.Hour, 10 * time.Minute, false, "restart the Connect worker before"},
		"it cannot":          {struct{ mirror.Mirror }{}, 0, 0, false, ""},
	} {
		got, err := hold.Plan(t.Context(), tc.mirror, logs{}, "held", both(cut), hold.Real)
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.every == 0:
			if got != nil || got.Note(1, 1) != "" {
				t.Errorf("%s: %+v, want no hold", name, got)
			}
		case got == nil || got.Every.Std() != tc.every || got.Watch.Std() != tc.watch || got.Within.Std() != 10*time.Minute || got.Assumed != tc.assumed || !strings.Contains(got.Note(1, 1), tc.says):
			t.Errorf("%s: %+v, %s", name, got, got.Note(1, 1))
		}
	}
	for name, tc := range map[string]struct {
		to    kafka.Offsets
		known mirror.Translation
		reach kafka.Offsets
	}{
		"below its checkpoint": {both(cut), known(), both(newest + 1)},
		// There is a newer sync, and with it perhaps a checkpoint that was not written down.
		"at its checkpoint":                 {both(point), known(), both(newest + 1)},
		"after the newest sync":             {both(newest + 1), known(), nil},
		"in one partition":                  {kafka.Offsets{p0: cut, p1: end}, known(), kafka.Offsets{p0: newest + 1}},
		"nowhere":                           {both(hold.NoCommit), known(), both(newest + 1)},
		"nothing is placed":                 {nil, known(), nil},
		"nobody can say what the syncs are": {both(cut), mirror.Translation{}, both(end)},
		"a partition without any":           {both(cut), mirror.Translation{Numbers: map[kafka.Partition]mirror.Numbers{p1: mirror.Syncs{{Partition: p1, Upstream: 9, Downstream: 9}}}}, kafka.Offsets{p1: 10}},
		"no translation":                    {both(cut), mirror.Translation{Checkpoints: []mirror.Checkpoint{{Group: "held", Partition: p0, Downstream: -1}}, Numbers: map[kafka.Partition]mirror.Numbers{}}, nil},
		"numbers that are kept":             {both(cut), mirror.Translation{Numbers: map[kafka.Partition]mirror.Numbers{p0: kept{}}}, kafka.Offsets{p0: end}},
	} {
		got, err := hold.Plan(t.Context(), notes{every: time.Second, known: tc.known}, logs{}, "held", tc.to, hold.Real)
		if err != nil || (got == nil) != (tc.reach == nil) || got != nil && !maps.Equal(got.Reach, tc.reach) {
			t.Errorf("%s: %+v, %v; want to be watched up to %v", name, got, err, tc.reach)
		}
	}
	if got, err := hold.Plan(t.Context(), untranslated{GroupSyncer: notes{every: time.Second}}, logs{}, "held", both(cut), hold.Real); err != nil || got == nil || !maps.Equal(got.Reach, both(end)) {
		t.Errorf("with a mirror that translates nothing: %+v, %v", got, err)
	}
	if got, err := hold.Plan(t.Context(), notes{known: known()}, logs{}, "held", kafka.Offsets{{Topic: "gone"}: 1}, hold.Real); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its topic: %+v, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := hold.Plan(ended, notes{silent: silent, known: known()}, logs{}, "held", both(cut), hold.Real); !errors.Is(err, context.Canceled) {
		t.Errorf("broken off: %+v, %v; want the cause, and nothing assumed", got, err)
	}
}

// kept are numbers that are the same in both clusters.
type kept struct{}

func (kept) Translate(up int64) (int64, bool, bool) { return up, true, true }
func (kept) Reach() int64                           { return math.MaxInt64 }

// TestNote holds what a plan says of what a hold costs, of many groups, too.
func TestNote(t *testing.T) {
	h := &hold.Hold{Every: estate.Duration(time.Minute), Watch: estate.Duration(121 * time.Second), Why: "because"}
	for groups, want := range map[int]string{1: "nothing moved it for 2m1s, since", 10: "nothing moved it for 2m1s, since", 11: "2m1s, at most 4m2s for all 11 groups, since", 100: "at most 20m10s for all 100 groups"} {
		if got := h.Note(groups, 10); !strings.Contains(got, want) || !strings.Contains(got, "only watched, since because") {
			t.Errorf("of %d groups: %s", groups, got)
		}
	}
	h.Bar = &hold.Bar{Principal: "User:mirror", Put: true}
	if got := h.Note(11, 10); !strings.Contains(got, "User:mirror is denied") || !strings.Contains(got, "2m1s, at most 4m2s for all 11 groups") || !strings.Contains(got, "take it away before") {
		t.Errorf("with a denial: %s", got)
	}
	h.Bar.Put = false
	if got := h.Note(1, 10); !strings.Contains(got, "not watched while a try as User:mirror is refused") || strings.Contains(got, "take it away") {
		t.Errorf("with one that stands: %s", got)
	}
}

// TestJSON holds the form in which holds are kept in plans.
func TestJSON(t *testing.T) {
	h := hold.Hold{
		Reach: kafka.Offsets{p0: 18}, Points: kafka.Offsets{p1: 15},
		Every: estate.Duration(time.Minute), Assumed: true, Watch: estate.Duration(121 * time.Second), Within: estate.Duration(10 * time.Minute),
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"reach":{"orders-0":18},"points":{"orders-1":15},"every":"1m0s","assumed":true,"watch":"2m1s","within":"10m0s"}`; string(text) != want {
		t.Errorf("a hold is written as %s, want %s", text, want)
	}
	h.Assumed, h.Bar, h.Why = false, &hold.Bar{Principal: "User:mirror", Put: true}, "because"
	if text, err = json.Marshal(h); err != nil || string(text) != `{"reach":{"orders-0":18},"points":{"orders-1":15},"every":"1m0s","watch":"2m1s","within":"10m0s","bar":{"principal":"User:mirror","put":true},"why":"because"}` {
		t.Errorf("a hold with a bar is written as %s, %v", text, err)
	}
	if text, err = json.Marshal(hold.Hold{Reach: kafka.Offsets{}}); err != nil || string(text) != `{"reach":{},"every":"0s","watch":"0s","within":"0s"}` {
		t.Errorf("an empty hold is written as %s, %v", text, err)
	}
}
