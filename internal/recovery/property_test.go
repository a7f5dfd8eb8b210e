package recovery_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"

	"breakwater/internal/recovery"
)

// TestMain asks for more worlds than rapid's default: some mistakes show in one
// of a thousand. The command line (-rapid.checks) still outranks it.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "10000"); err != nil {
		fmt.Fprintln(os.Stderr, "set the number of checks:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// settled says by definition, one moment at a time and looking at everything
// known, whether a table's version at m is known and complete at the target. Apart is
// the skew, or zero for a table that is alone, whose own stamps are on the cut's clock.
func settled(t recovery.TableState, m time.Time, skew, apart time.Duration) bool {
	var at, newest, next *recovery.Version
	for i := range t.Versions {
		v := &t.Versions[i]
		if v.CommittedAt.IsZero() {
			continue
		}
		if v.Complete && (newest == nil || v.Version > newest.Version) {
			newest = v
		}
		if !v.CommittedAt.After(m) && (at == nil || v.Version > at.Version) {
			at = v
		}
		if v.CommittedAt.After(m) && (next == nil || v.Version < next.Version) {
			next = v
		}
	}
	if at == nil || newest == nil || !at.Complete {
		return false
	}
	sightings := append([]recovery.Head{}, t.Heads...)
	if t.Source != nil {
		sightings = append(sightings, *t.Source)
	}
	// Below the newest complete version the order of the log decides.
	seen := func(version int64) bool {
		for _, h := range sightings {
			if h.Version <= version && !h.At.Before(m.Add(skew)) {
				return true
			}
		}
		return false
	}
	if at.Version < newest.Version {
		return at.CommittedAt.Equal(m) || next.Version == at.Version+1 || seen(at.Version)
	}
	return !newest.CommittedAt.Before(m.Add(apart)) || seen(newest.Version) ||
		next != nil && next.Version == newest.Version+1 && next.CommittedAt.After(m.Add(apart))
}

// known says by definition whether a table is known through m plus the skew: the
// cut is the latest such moment of the whole group, less the skew.
func known(t recovery.TableState, m time.Time, skew, apart time.Duration) bool {
	newest := recovery.Version{Version: -1}
	for _, v := range t.Versions {
		if v.Complete && !v.CommittedAt.IsZero() && v.Version > newest.Version {
			newest = v
		}
	}
	if newest.Version < 0 {
		return false
	}
	end := m.Add(skew)
	if !newest.CommittedAt.Before(m.Add(apart)) {
		return true
	}
	for _, h := range t.Heads {
		if h.Version <= newest.Version && !h.At.Before(end) {
			return true
		}
	}
	if s := t.Source; s != nil && s.Version <= newest.Version && !s.At.Before(end) {
		return true
	}
	for _, v := range t.Versions {
		if v.Version == newest.Version+1 && v.CommittedAt.After(m.Add(apart)) {
			return true
		}
	}
	return false
}

func mirrored(p recovery.PartitionState, m time.Time, skew time.Duration) bool {
	end := m.Add(skew)
	if !p.NewestAt.IsZero() && !p.NewestAt.Before(end) {
		return true
	}
	ends := append([]recovery.End{}, p.Journal...)
	if p.Source != nil {
		ends = append(ends, *p.Source)
	}
	for _, e := range ends {
		if e.Offset <= p.MirroredThrough && !e.At.Before(end) {
			return true
		}
	}
	return false
}

// bruteForce tries every moment of the world, latest first.
func bruteForce(tables []recovery.TableState, topics []recovery.TopicState, skew time.Duration) (time.Time, bool) {
	apart := skew
	if len(tables) == 1 && len(topics) == 0 {
		apart = 0
	}
candidates:
	for n := 100; n >= -20; n-- {
		m := tick(n)
		for _, t := range tables {
			if !settled(t, m, skew, apart) || !known(t, m, skew, apart) {
				continue candidates
			}
		}
		for _, t := range topics {
			for _, p := range t.Partitions {
				if !mirrored(p, m, skew) {
					continue candidates
				}
			}
		}
		return m, true
	}
	return time.Time{}, false
}

var digits = regexp.MustCompile(`[0-9][0-9TZ:.-]*`)

// TestCutAgainstTheWorld compares the cut with a search over all moments, and
// with what really happened.
func TestCutAgainstTheWorld(t *testing.T) {
	cuts, stepped, lost := 0, 0, 0
	reasons := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		skew := time.Duration(w.skew)
		tables, topics, _ := w.evidence(w.death, len(w.witness))
		cut, err := recovery.ChooseCut(tables, topics, skew)
		want, ok := bruteForce(tables, topics, skew)
		if ok != (err == nil) || err != nil && !errors.Is(err, recovery.ErrNoCut) {
			t.Fatalf("ChooseCut: %v; brute force finds a cut: %v", err, ok)
		}
		if err != nil {
			return
		}
		cuts++
		if !cut.At.Equal(want) {
			t.Fatalf("cut at tick %d (%+v), brute force at %d", ticks(cut.At), cut.Binding, ticks(want))
		}
		reasons[digits.ReplaceAllString(cut.Binding.Reason, "#")]++
		if cut.Binding.Dataset == "" || cut.Binding.Reason == "" {
			t.Fatalf("no binding dataset: %+v", cut.Binding)
		}
		for i, p := range cut.Tables {
			truth := -1 // the version at the cut, on the table's own clock
			for v, c := range w.tables[i].commits {
				if c.stamp <= ticks(cut.At) {
					truth = v
				}
			}
			if int64(truth) != p.Version {
				t.Fatalf("%s at tick %d: version %d, in truth %d", p.Name, ticks(cut.At), p.Version, truth)
			}
			if !w.tables[i].complete(truth, w.death) {
				t.Fatalf("%s: version %d at the cut is not complete", p.Name, truth)
			}
			if p.GivesUp.Versions < 0 || p.GivesUp.Seconds < 0 || (p.GivesUp.Versions > 0) != (p.GivesUp.Seconds > 0) {
				t.Fatalf("%s gives up %+v", p.Name, p.GivesUp)
			}
			if p.GivesUp.Versions > 0 {
				stepped++
			}
			if truth < len(w.tables[i].commits)-1 {
				lost++
			}
		}
		for i, p := range cut.Topics {
			for j, part := range p.Partitions {
				for k, r := range w.topics[i][j].records {
					if int64(k) >= w.topics[i][j].mirrored(part.MirroredThrough) && r.stamp < ticks(cut.At) {
						t.Fatalf("%s/%d: record %d of tick %d is not mirrored, the cut is at %d", p.Name, j, k, r.stamp, ticks(cut.At))
					}
				}
			}
		}
	})
	t.Logf("%d cuts; %d tables gave something up, %d lost something; bound by %v", cuts, stepped, lost, reasons)
	if cuts == 0 || stepped == 0 || lost == 0 || len(reasons) < 5 {
		t.Errorf("the worlds are too mild: %d cuts, %d tables gave something up, %d lost something", cuts, stepped, lost)
	}
}

// TestMoreKnowledgeNeverMovesTheCutBack lets replication and the witness go on
// for longer.
func TestMoreKnowledgeNeverMovesTheCutBack(t *testing.T) {
	later := 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		read := w.read
		w.read = false
		now := rapid.IntRange(0, w.death).Draw(t, "seen until")
		kept := rapid.IntRange(0, len(w.witness)).Draw(t, "sightings kept")
		skew := time.Duration(w.skew)
		tables, topics, _ := w.evidence(now, kept)
		less, err := recovery.ChooseCut(tables, topics, skew)
		if err != nil {
			return
		}
		w.read = read
		tables, topics, _ = w.evidence(w.death, len(w.witness))
		more, err := recovery.ChooseCut(tables, topics, skew)
		if err != nil {
			t.Fatalf("a cut existed at tick %d, with more knowledge: %v", ticks(less.At), err)
		}
		if more.At.Before(less.At) {
			t.Fatalf("the cut went back from tick %d to %d (%+v)", ticks(less.At), ticks(more.At), more.Binding)
		}
		if more.At.After(less.At) {
			later++
		}
	})
	if later == 0 {
		t.Error("the worlds are too mild: knowing more never helped")
	}
}

func inCount(i recovery.CountInterval, truth int) bool {
	return i.AtLeast >= 0 && int64(truth) >= i.AtLeast && (i.AtMost == nil || int64(truth) <= *i.AtMost)
}

func inSeconds(i recovery.SecondsInterval, truth int) bool {
	ns := func(s float64) int { return int(math.Round(s * 1e9)) }
	return ns(i.AtLeast) >= 0 && truth >= ns(i.AtLeast) && (i.AtMost == nil || truth <= ns(*i.AtMost))
}

// TestTruthLiesInsideEveryInterval compares each claimed loss with the history
// that only the test knows.
func TestTruthLiesInsideEveryInterval(t *testing.T) {
	var exact, bounded, unbounded, proven int
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		skew := time.Duration(w.skew)
		tables, topics, death := w.evidence(w.death, len(w.witness))
		cut, err := recovery.ChooseCut(tables, topics, skew)
		if err != nil {
			return
		}
		losses, err := recovery.Losses(cut, tables, topics, death, skew)
		if err != nil {
			t.Fatal(err)
		}
		if len(losses) != len(w.tables)+len(w.topics) {
			t.Fatalf("%d losses for %d datasets", len(losses), len(w.tables)+len(w.topics))
		}
		for i, l := range losses {
			var count, age int
			whole := true
			if i < len(w.tables) {
				count, age = w.tables[i].truth(int(*l.Version), ticks(cut.At))
			} else {
				k := i - len(w.tables)
				for j, p := range cut.Topics[k].Partitions {
					lost := w.topics[k][j].records[w.topics[k][j].mirrored(p.MirroredThrough):]
					count += len(lost)
					whole = whole && (len(lost) < 2 || !w.topics[k][j].partly)
					for _, r := range lost {
						age = max(age, r.stamp-(ticks(p.KnownThrough)-w.skew))
					}
				}
			}
			if !inCount(l.Count, count) {
				t.Fatalf("%s: %d %s lost in truth, claimed %d to %v", l.Dataset, count, l.Unit, l.Count.AtLeast, deref(l.Count.AtMost))
			}
			if !inSeconds(l.Seconds, age) {
				t.Fatalf("%s: %d ticks lost in truth, claimed %v to %v", l.Dataset, age, l.Seconds.AtLeast, deref(l.Seconds.AtMost))
			}
			if l.Exact && (l.Count.AtMost == nil || *l.Count.AtMost != l.Count.AtLeast) {
				t.Fatalf("%s: exact, but %+v", l.Dataset, l.Count)
			}
			if w.answered && l.Exact != whole {
				t.Fatalf("%s: the source answered and the loss is exact: %t, want %t: %+v", l.Dataset, l.Exact, whole, l.Count)
			}
			zero := l.Count.AtMost != nil && *l.Count.AtMost == 0 || l.Seconds.AtMost != nil && *l.Seconds.AtMost == 0
			if zero && !w.answered {
				t.Fatalf("%s: claims that nothing was lost, and the source did not answer: %+v %+v", l.Dataset, l.Count, l.Seconds)
			}
			if !w.answered && w.peak != (l.Count.AtMost != nil) {
				t.Fatalf("%s: peak declared %v, bound %v", l.Dataset, w.peak, deref(l.Count.AtMost))
			}
			switch {
			case l.Exact:
				exact++
			case l.Count.AtMost != nil:
				bounded++
			default:
				unbounded++
			}
			if l.Count.AtLeast > 0 {
				proven++
			}
		}
	})
	t.Logf("%d exact, %d bounded, %d unbounded, %d with a proven loss", exact, bounded, unbounded, proven)
	if exact == 0 || bounded == 0 || unbounded == 0 || proven == 0 {
		t.Errorf("the worlds are too mild: %d exact, %d bounded, %d unbounded, %d with a proven loss", exact, bounded, unbounded, proven)
	}
}

// truth is the rows written after version v, and the ticks from the cut to the
// newest lost commit.
func (t *table) truth(v, cut int) (rows, age int) {
	for _, c := range t.commits[v+1:] {
		rows += c.appended
		age = c.stamp - cut
	}
	return rows, age
}

func deref[T any](p *T) any {
	if p == nil {
		return "unbounded"
	}
	return *p
}
