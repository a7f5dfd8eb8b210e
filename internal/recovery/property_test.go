package recovery_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
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
	tables = slices.DeleteFunc(slices.Clone(tables), func(t recovery.TableState) bool { return t.LeftOut != "" })
	topics = slices.DeleteFunc(slices.Clone(topics), func(t recovery.TopicState) bool { return t.LeftOut != "" })
	if len(tables)+len(topics) == 0 {
		return time.Time{}, false
	}
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

// wayOut takes the ways that errors offer until there is a cut, and tells which it took.
// What people take to be unchanged comes first, since it gives up least.
func wayOut(t *rapid.T, tables []recovery.TableState, topics []recovery.TopicState, skew time.Duration, err error) (unchanged, out int) {
	tables, topics = slices.Clone(tables), slices.Clone(topics)
	each := func(name string, table func(*recovery.TableState), topic func(*recovery.TopicState)) (found bool) {
		for i := range tables {
			if tables[i].Name == name && tables[i].LeftOut == "" {
				table(&tables[i])
				found = true
			}
		}
		for i := range topics {
			if topics[i].Name == name && topics[i].LeftOut == "" {
				topic(&topics[i])
				found = true
			}
		}
		return found
	}
	for range 2 * (len(tables) + len(topics)) {
		var none *recovery.NoCutError
		if !errors.As(err, &none) {
			t.Fatalf("%d times unchanged and %d left out, and then: %v", unchanged, out, err)
		}
		if len(none.LeaveOut) == 0 || !strings.Contains(err.Error(), none.LeaveOut[0]+" ") || !strings.Contains(err.Error(), "(input leave_out)") {
			t.Fatalf("a dead end: %v", err)
		}
		taken := false
		if none.Unchanged != "" {
			unchanged++
			taken = each(none.Unchanged, func(t *recovery.TableState) { taken, t.Unchanged = !t.Unchanged, true }, func(t *recovery.TopicState) { taken, t.Unchanged = !t.Unchanged, true })
		} else {
			out++
			taken = each(none.LeaveOut[0], func(t *recovery.TableState) { t.LeftOut = "people say so" }, func(t *recovery.TopicState) { t.LeftOut = "people say so" })
		}
		if !taken {
			t.Fatalf("it offers what was taken, or what is not there: %v", err)
		}
		if _, err = recovery.ChooseCut(tables, topics, skew); err == nil || errors.Is(err, recovery.ErrEmptyGroup) {
			return unchanged, out
		}
	}
	t.Fatalf("no way leads out: %v", err)
	return 0, 0
}

// TestCutAgainstTheWorld compares the cut with a search over all moments, and
// with what really happened. Where there is none, the error offers a way that leads to one.
func TestCutAgainstTheWorld(t *testing.T) {
	cuts, stepped, lost, unchanged, out := 0, 0, 0, 0, 0
	reasons, kinds := map[string]int{}, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		skew := time.Duration(w.skew)
		tables, topics, _ := w.evidence(w.death, len(w.witness))
		cut, err := recovery.ChooseCut(tables, topics, skew)
		want, ok := bruteForce(tables, topics, skew)
		whole := slices.ContainsFunc(w.tables, func(t table) bool { return !t.catalog }) || len(w.topics) > 0
		if ok != (err == nil) || whole && err != nil && !errors.Is(err, recovery.ErrNoCut) || !whole && !errors.Is(err, recovery.ErrEmptyGroup) {
			t.Fatalf("ChooseCut: %v; brute force finds a cut: %v", err, ok)
		}
		if !whole {
			return
		}
		if err != nil {
			u, o := wayOut(t, tables, topics, skew, err)
			unchanged, out = unchanged+u, out+o
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
		if len(w.tables) == 1 && len(w.topics) == 0 {
			kinds["lone"]++
		}
		for _, tab := range w.tables {
			if tab.catalog {
				kinds["a catalog's"]++
				if slices.ContainsFunc(cut.Tables, func(p recovery.TablePoint) bool { return p.Name == tab.name }) {
					t.Fatalf("%s is in the cut", tab.name)
				}
			}
		}
		for _, p := range cut.Tables {
			tab := w.table(p.Name)
			truth := -1 // the version at the cut, on the table's own clock
			for v, c := range tab.commits {
				if c.stamp <= ticks(cut.At) && !tab.jitter || c.real+w.skew <= ticks(cut.At) {
					truth = v
				}
			}
			switch v := int(p.Version); {
			case tab.jitter: // each of its clocks is ahead by the skew at most
				kinds["skewed"]++
				if v < truth || tab.commits[v].real > ticks(cut.At) {
					t.Fatalf("%s at tick %d: version %d of tick %d, in truth %d or later", p.Name, ticks(cut.At), v, tab.commits[v].real, truth)
				}
				truth = v
			case v != truth:
				t.Fatalf("%s at tick %d: version %d, in truth %d", p.Name, ticks(cut.At), p.Version, truth)
			}
			if len(tab.commits) == 1 {
				kinds["of one version"]++
			} else if tab.commits[len(tab.commits)-1].real+20 < w.death {
				kinds["idle"]++
			}
			if !tab.complete(truth, w.death) {
				t.Fatalf("%s: version %d at the cut is not complete", p.Name, truth)
			}
			if p.GivesUp.Versions < 0 || p.GivesUp.Seconds < 0 || (p.GivesUp.Versions > 0) != (p.GivesUp.Seconds > 0) {
				t.Fatalf("%s gives up %+v", p.Name, p.GivesUp)
			}
			if p.GivesUp.Versions > 0 {
				stepped++
			}
			if truth < len(tab.commits)-1 {
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
	t.Logf("%d cuts; %d tables gave something up, %d lost something; bound by %v; %v; without a cut %d were taken to be unchanged, and %d left out", cuts, stepped, lost, reasons, kinds, unchanged, out)
	if cuts == 0 || stepped == 0 || lost == 0 || len(reasons) < 5 || unchanged == 0 || out == 0 {
		t.Errorf("the worlds are too mild: %d cuts, %d tables gave something up, %d lost something, %d taken to be unchanged, %d left out", cuts, stepped, lost, unchanged, out)
	}
	for _, kind := range []string{"lone", "a catalog's", "skewed", "of one version", "idle"} {
		if kinds[kind] < 200 {
			t.Errorf("the worlds are too mild: %d cuts with a table that is %s", kinds[kind], kind)
		}
	}
}

// TestMoreKnowledgeNeverMovesTheCutBack lets replication and the witness go on
// for longer.
func TestMoreKnowledgeNeverMovesTheCutBack(t *testing.T) {
	later := 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		if slices.ContainsFunc(w.tables, func(t table) bool { return t.jitter }) {
			return // a commit by a clock that is behind takes the moment of the one before it
		}
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
	var exact, bounded, unbounded, proven, parted, met, missed int
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
			if i >= len(cut.Tables)+len(cut.Topics) { // of a table that a catalog decides about nothing is known
				if !w.table(l.Dataset).catalog || !l.LeftOut() || l.Count.AtLeast != 0 || l.Count.AtMost != nil || l.Seconds.AtMost != nil || l.Met != verdict.Unknown {
					t.Fatalf("%s, which does not come back: %+v", l.Dataset, l)
				}
				continue
			}
			if i < len(cut.Tables) {
				tab := w.table(l.Dataset)
				count, age = tab.truth(int(*l.Version), ticks(cut.At))
				if age = max(age, 0); tab.jitter && !inSeconds(l.Seconds, age) { // its newest write, by the clock that is furthest ahead
					for _, c := range tab.commits[*l.Version+1:] {
						age = max(age, c.stamp-ticks(cut.At))
					}
				}
			} else {
				k := i - len(cut.Tables)
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
			ends := !w.lives || w.fenced // it is known until when the source acknowledged
			if !w.answered && (w.peak && ends) != (l.Count.AtMost != nil) {
				t.Fatalf("%s: peak declared %v, its end known %v, bound %v", l.Dataset, w.peak, ends, deref(l.Count.AtMost))
			}
			if !ends {
				parted++
				if l.Seconds.AtMost != nil || l.Exact || l.Met == verdict.Pass {
					t.Fatalf("%s: the source may go on acknowledging, and %+v is claimed", l.Dataset, l)
				}
			}
			switch over := age > w.rpo; l.Met {
			case verdict.Pass:
				if met++; over {
					t.Fatalf("%s: %d ticks lost in truth count as within the objective of %d", l.Dataset, age, w.rpo)
				}
			case verdict.Fail:
				if missed++; !over {
					t.Fatalf("%s: %d ticks lost in truth count as beyond the objective of %d", l.Dataset, age, w.rpo)
				}
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
	t.Logf("%d exact, %d bounded, %d unbounded, %d with a proven loss, %d of a source that lives on, %d met, %d missed", exact, bounded, unbounded, proven, parted, met, missed)
	if exact == 0 || bounded == 0 || unbounded == 0 || proven == 0 || parted < 200 || met == 0 || missed == 0 {
		t.Errorf("the worlds are too mild: %d exact, %d bounded, %d unbounded, %d with a proven loss", exact, bounded, unbounded, proven)
	}
}

// table is the one of that name.
func (w *world) table(name string) *table {
	return &w.tables[slices.IndexFunc(w.tables, func(t table) bool { return t.name == name })]
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
