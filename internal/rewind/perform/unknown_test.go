package perform_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/table/delta/port"
)

// listed is a store that has nothing but a listing.
type listed struct {
	objectstore.Store
	all []objectstore.Version
}

func (l listed) ListVersions(context.Context, string, string) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		for _, v := range l.all {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// modes of a bucket's versioning.
const (
	off = iota
	on
	suspended
)

// forgetful is a bucket as S3 keeps it, with what it was at a time.
type forgetful struct {
	history map[string][]objectstore.Version // oldest first
	was     map[string]objectstore.Version   // as at the time; dead keys are missing
}

// live draws a bucket's life: days in which keys are written and deleted, while
// versioning is off, on or suspended.
func live(r *rand.Rand, at time.Time, days int) forgetful {
	b := forgetful{history: map[string][]objectstore.Version{}, was: map[string]objectstore.Version{}}
	mode := []int{off, on, on, on}[r.IntN(4)]
	n := 0
	begun := at.Add(-time.Duration(days) * 24 * time.Hour)
	for day := range 2 * days {
		switch {
		case mode == off && r.IntN(4) == 0:
			mode = on
		case mode != off && r.IntN(12) == 0:
			mode = on + suspended - mode
		}
		for range 1 + r.IntN(3) {
			n++
			key := fmt.Sprintf("p/k%d", r.IntN(5))
			v := objectstore.Version{DeleteMarker: r.IntN(3) == 0, Object: objectstore.Object{
				Key: key, VersionID: fmt.Sprintf("v%d", n), LastModified: begun.Add(time.Duration(day)*24*time.Hour + time.Duration(n)*time.Millisecond),
			}}
			if !v.DeleteMarker {
				v.ETag, v.Size = fmt.Sprint(n), int64(n)
			}
			all := b.history[key]
			if mode != on {
				v.VersionID = "null"
				all = slices.DeleteFunc(all, func(v objectstore.Version) bool { return v.VersionID == "null" })
			}
			if mode != off || !v.DeleteMarker {
				all = append(all, v)
			}
			b.history[key] = all
			if !v.LastModified.After(at) {
				if delete(b.was, key); !v.DeleteMarker {
					b.was[key] = v
				}
			}
		}
	}
	return b
}

// expire does what a rule for old versions does.
func (b forgetful) expire(rule objectstore.Removal, now time.Time) {
	for key, all := range b.history {
		var left []objectstore.Version
		for i, v := range all {
			old := len(all) - 1 - i // 0 for what is current, 1 for the newest old one
			if old == 0 || old <= rule.Keep || all[i+1].LastModified.Add(rule.After).After(now) {
				left = append(left, v)
			}
		}
		b.history[key] = left
	}
}

func (b forgetful) listing() (all []objectstore.Version) {
	keys := make([]string, 0, len(b.history))
	for k := range b.history {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		for i, v := range slices.Backward(b.history[k]) {
			v.Latest = i == len(b.history[k])-1
			all = append(all, v)
		}
	}
	return all
}

// TestNothingIsTakenForNeverThere holds plans against the truth, in buckets that kept
// no versions at times, and that remove old ones by a rule: what a plan hides was not
// there, what it brings back is what was there, what it leaves is so or is said to be
// unknown.
func TestNothingIsTakenForNeverThere(t *testing.T) {
	known, unknowns := 0, 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		const days = 12
		at := time.Date(2026, 11, 21, 12, 0, 0, 500, time.UTC)
		now := at.Add(days * 24 * time.Hour)
		b := live(r, at, days)
		place := perform.Place{Prefix: "p/", ToPrefix: "p/", At: at, Entries: port.Format{}.Entry}
		if r.IntN(2) == 0 {
			rule := objectstore.Removal{What: objectstore.RemovesOldVersions, After: objectstore.Days(1 + r.IntN(2*days)), Keep: r.IntN(3)}
			b.expire(rule, now)
			if rule.Forgets(at, now) {
				place.Losses = append(place.Losses, rewind.Loss{Why: rule.String(), Keep: rule.Keep})
			}
		}
		place.From = objectstore.Bind(listed{all: b.listing()}, "lake")
		place.To = place.From
		d, drawn, err := draw(t, place, rewind.Choice{Unmark: r.IntN(2) == 0}, 5)
		if err != nil {
			t.Fatal(err)
		}
		lines := map[string]rewind.Line{}
		for _, l := range drawn {
			lines[l.Key] = l
		}
		doubt := len(place.Losses) > 0 || d.Gap.Why() != ""
		for key, all := range b.history {
			l, changes := lines[key]
			was := b.was[key]
			now := rewind.Version{}
			if len(all) > 0 && !all[len(all)-1].DeleteMarker {
				now.ID = all[len(all)-1].VersionID
			}
			bad := ""
			switch {
			case l.Do == rewind.Keep:
				unknowns++
				continue
			case l.Do == rewind.Mark && was.VersionID != "":
				bad = "is hidden"
			case l.Do == rewind.Copy && (l.Then.ID != was.VersionID || l.Then.Size != was.Size):
				bad = "comes back as " + l.Then.ID
			case !changes && now.ID != was.VersionID && !doubt && d.Unknowns == 0:
				bad = "is left as " + now.ID
			case !changes && now.ID != "" && now.ID != was.VersionID:
				bad = "is left as it is, without a word: " + now.ID
			}
			known++
			if bad != "" {
				t.Fatalf("seed %d: %s %s; it was version %q of %d bytes\nhistory %+v\nlosses %+v, gap %+v", seed, key, bad, was.VersionID, was.Size, all, place.Losses, d.Gap)
			}
		}
	}
	if unknowns < 1000 || known < 1000 {
		t.Errorf("%d keys are known, and %d are not", known, unknowns)
	}
	t.Logf("%d keys are known, and %d are not", known, unknowns)
}

// TestUnknownIsLeft: a key whose null version replaced another stays, whatever the
// other keys; with Hide it goes, unless the store might not keep it.
func TestUnknownIsLeft(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 500, time.UTC)
	v := func(key, id string, days int, latest bool) objectstore.Version {
		return objectstore.Version{Latest: latest, Object: objectstore.Object{Key: key, VersionID: id, ETag: id, Size: int64(20 + days), LastModified: at.Add(objectstore.Days(days))}}
	}
	rule := rewind.Loss{Why: "rule old", Prefix: "p/r/"}
	for name, tc := range map[string]struct {
		all    []objectstore.Version
		losses []rewind.Loss
		except []string
		hide   bool
		bare   bool // without a version that is old enough
		want   map[string]rewind.Do
	}{
		"nothing shows that versions were kept": {all: []objectstore.Version{v("p/b", "1", 2, true)}, bare: true, want: map[string]rewind.Do{"p/b": rewind.Keep}},
		"only one that was not kept does":       {all: []objectstore.Version{v("p/b", "1", 2, true), v("p/c", "null", -2, true)}, bare: true, want: map[string]rewind.Do{"p/b": rewind.Keep}},
		"a delete marker shows it": {
			all:  []objectstore.Version{v("p/b", "1", 2, true), {DeleteMarker: true, Object: v("p/c", "2", -2, true).Object, Latest: true}},
			bare: true, want: map[string]rewind.Do{"p/b": rewind.Mark},
		},
		"a null version was replaced":        {all: []objectstore.Version{v("p/a", "null", 1, true), v("p/a", "1", -1, false)}, want: map[string]rewind.Do{"p/a": rewind.Keep}},
		"it is not hidden either":            {all: []objectstore.Version{v("p/a", "null", 1, true)}, hide: true, want: map[string]rewind.Do{"p/a": rewind.Keep}},
		"a later version lies over it":       {all: []objectstore.Version{v("p/a", "2", 2, true), v("p/a", "null", 1, false)}, hide: true, want: map[string]rewind.Do{"p/a": rewind.Mark}},
		"without versions, others may be so": {all: []objectstore.Version{v("p/a", "null", 1, true), v("p/b", "1", 2, true)}, want: map[string]rewind.Do{"p/a": rewind.Keep, "p/b": rewind.Keep}},
		"a folder says nothing of others":    {all: []objectstore.Version{v("p/a/", "null", 1, true), v("p/b", "1", 2, true)}, want: map[string]rewind.Do{"p/a/": rewind.Keep, "p/b": rewind.Mark}},
		"nor does an exception": {
			all:    []objectstore.Version{v("p/_tmp/a", "null", 1, true), v("p/b", "1", 2, true)},
			except: []string{"p/_tmp/*"}, want: map[string]rewind.Do{"p/_tmp/a": rewind.Keep, "p/b": rewind.Mark},
		},
		"a rule takes its own keys": {
			all:    []objectstore.Version{v("p/b", "1", 2, true), v("p/r/a", "1", 2, true), v("p/r/b", "2", 2, true), v("p/r/b", "1", -2, false)},
			losses: []rewind.Loss{rule}, want: map[string]rewind.Do{"p/b": rewind.Mark, "p/r/a": rewind.Keep, "p/r/b": rewind.Copy},
		},
		"a rule by size takes any": {
			all:    []objectstore.Version{v("p/r/b", "2", 2, true), v("p/r/b", "1", -2, false), v("p/r/c", "1", -2, true)},
			losses: []rewind.Loss{{Why: "rule large", Narrowed: true}}, want: map[string]rewind.Do{"p/r/b": rewind.Keep},
		},
		"a rule that keeps more than there are": {
			all:    []objectstore.Version{v("p/r/a", "2", 2, true), v("p/r/a", "1", 1, false), v("p/r/b", "2", 2, true)},
			losses: []rewind.Loss{{Why: "rule old", Keep: 1}}, want: map[string]rewind.Do{"p/r/a": rewind.Keep, "p/r/b": rewind.Mark},
		},
	} {
		if !tc.bare {
			tc.all = append(tc.all, v("p/old", "0", -3, true))
			slices.SortStableFunc(tc.all, func(a, b objectstore.Version) int { return strings.Compare(a.Key, b.Key) })
		}
		from := objectstore.Bind(listed{all: tc.all}, "lake")
		place := perform.Place{From: from, Prefix: "p/", To: from, ToPrefix: "p/", At: at, Entries: port.Format{}.Entry, Losses: tc.losses, Except: tc.except}
		d, drawn, err := draw(t, place, rewind.Choice{Hide: tc.hide}, 5)
		if err != nil {
			t.Fatal(err)
		}
		got, keeps := map[string]rewind.Do{}, int64(0)
		for _, l := range drawn {
			if got[l.Key] = l.Do; l.Do == rewind.Keep {
				keeps++
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
		if !tc.hide && d.Unknowns != keeps || int64(len(d.Unknown)) != d.Unknowns || strings.Contains(fmt.Sprint(d.Unknown), "{p/ }") {
			t.Errorf("%s: %d of %d are named: %+v", name, len(d.Unknown), d.Unknowns, d.Unknown)
		}
	}
}

// TestArchivedThen: a version in an archive cannot come back before it is restored from
// there, and one that is restored can.
func TestArchivedThen(t *testing.T) {
	for _, tc := range []struct {
		class    string
		restored bool
	}{{"GLACIER", false}, {"GLACIER", true}, {"DEEP_ARCHIVE", false}, {"INTELLIGENT_TIERING", false}, {"INTELLIGENT_TIERING", true}} {
		m := memory.New()
		m.Create("lake", memory.Versioned)
		b := objectstore.Bind(m.Owner(), "lake")
		put := func(key, body string) {
			t.Helper()
			if _, err := b.Put(t.Context(), key, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		put("p/a", "one")
		put("p/b", "stays")
		if err := m.Archive("lake", "p/a", tc.class, tc.restored); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		put("p/a", "two!")
		d, lines, err := draw(t, perform.Place{From: b, Prefix: "p/", To: b, ToPrefix: "p/", At: at, Entries: port.Format{}.Entry}, rewind.Choice{}, 5)
		if err != nil || (len(d.Archived) == 0) != tc.restored || len(lines) != 1 || lines[0].Do != rewind.Copy {
			t.Errorf("%+v: archived %v, lines %+v, %v", tc, d.Archived, lines, err)
		}
	}
}

// restless is a bucket without versions in which somebody writes whenever it is listed.
type restless struct {
	listed
	n *int
}

func (r restless) ListVersions(_ context.Context, _, _ string) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		*r.n++
		v := r.all[0]
		v.LastModified = v.LastModified.Add(time.Duration(*r.n) * time.Hour)
		_ = yield(v, nil) && yield(r.all[1], nil)
	}
}

// TestDoubtThatDoesNotSettle: where each listing shows another moment without versions,
// drawing ends, and says so.
func TestDoubtThatDoesNotSettle(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 500, time.UTC)
	n := 0
	late := objectstore.Object{Key: "p/a", VersionID: "null", LastModified: at.Add(time.Hour), ETag: "a", Size: 1}
	fresh := objectstore.Object{Key: "p/b", VersionID: "1", LastModified: at.Add(time.Hour), ETag: "b", Size: 1}
	b := objectstore.Bind(restless{listed{all: []objectstore.Version{{Object: late, Latest: true}, {Object: fresh, Latest: true}}}, &n}, "lake")
	place := perform.Place{From: b, Prefix: "p/", To: b, ToPrefix: "p/", At: at, Entries: port.Format{}.Entry}
	_, _, err := draw(t, place, rewind.Choice{}, 5)
	if err == nil || !strings.Contains(err.Error(), "plan again when nobody writes there") || n > 20 {
		t.Errorf("after %d listings: %v", n, err)
	}
}
