package rewind

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/table/delta/port"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func listing(all []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func histories(t *testing.T, all []Entry, at time.Time) []History {
	t.Helper()
	var out []History
	for h, err := range Histories(listing(all), at, nil) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

// world is a bucket as a store keeps it: per key its versions, oldest first.
type world map[string][]Entry

func (w world) listing() []Entry {
	var all []Entry
	keys := []string{}
	for k := range w {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		for i, e := range slices.Backward(w[k]) {
			e.Latest = i == len(w[k])-1
			all = append(all, e)
		}
	}
	return all
}

func random(r *rand.Rand) world {
	w := world{}
	for k := range 1 + r.IntN(6) {
		key := fmt.Sprintf("k%d", k)
		at := noon.Add(time.Duration(r.IntN(4000)-3000) * time.Millisecond)
		for v := range 1 + r.IntN(6) {
			e := Entry{Key: key, Modified: at, Version: Version{ID: fmt.Sprintf("%s.%d", key, v)}}
			if e.Marker = r.IntN(3) == 0; !e.Marker {
				e.ETag, e.Size = fmt.Sprintf("%032x", r.IntN(4)), int64(r.IntN(3))
			}
			w[key] = append(w[key], e)
			at = at.Add(time.Duration(r.IntN(1500)) * time.Millisecond)
		}
	}
	return w
}

// TestRewindReachesTheStateAtT applies plans to worlds in memory: the state after
// it is what the world was at T, found by brute force; Back then leads back.
func TestRewindReachesTheStateAtT(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := random(r)
		at := noon.Add(time.Duration(r.IntN(3)) * 500 * time.Millisecond)
		was, want := map[string]Version{}, map[string]Version{}
		for key, all := range w {
			was[key] = all[len(all)-1].Version
			for _, e := range all {
				if e.Modified.Before(noon.Add(time.Second)) && at.Equal(noon) || at.Equal(noon.Add(time.Second)) && e.Modified.Before(noon.Add(2*time.Second)) || !e.Modified.After(at) {
					want[key] = e.Version
				}
			}
		}
		var lines []Line
		for _, h := range histories(t, w.listing(), at) {
			if l, ok := Diff(h, Choice{Unmark: r.IntN(2) == 0}); ok {
				lines = append(lines, l)
			}
		}
		do := func(lines []Line, by string) {
			for _, l := range lines {
				all := w[l.Key]
				if got := all[len(all)-1].Version; by == "plan" && got != l.Now {
					t.Fatalf("seed %d: line %+v, and %s is %+v", seed, l, l.Key, got)
				}
				switch l.Do {
				case Copy:
					c := l.Then
					c.ID += " " + by
					w[l.Key] = append(all, Entry{Key: l.Key, Version: c})
				case Mark:
					w[l.Key] = append(all, Entry{Key: l.Key, Version: Version{ID: "m " + by, Marker: true}})
				case Unmark:
					w[l.Key] = slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return e.Marker && slices.Contains(l.Markers, e.ID) })
				}
			}
		}
		holds := func(want map[string]Version, when string) {
			for key, all := range w {
				if got := all[len(all)-1].Version; !got.Same(want[key]) {
					t.Fatalf("seed %d: %s %s is %+v, want %+v\nlines %+v", seed, when, key, got, want[key], lines)
				}
			}
		}
		do(lines, "plan")
		holds(want, "after the plan")
		var back []Line
		for _, l := range lines {
			back = append(back, l.Back())
		}
		do(back, "back")
		holds(was, "after going back")
	}
}

func TestWholeSeconds(t *testing.T) {
	all := []Entry{
		{Key: "k", Modified: noon.Add(time.Second), Version: Version{ID: "3", ETag: "c"}},
		{Key: "k", Modified: noon.Add(999 * time.Millisecond), Version: Version{ID: "2", ETag: "b"}},
		{Key: "k", Modified: noon, Version: Version{ID: "1", ETag: "a"}},
	}
	for at, want := range map[time.Time]string{
		noon: "2", noon.Add(time.Millisecond): "1", noon.Add(time.Second): "3", noon.Add(-time.Second): "", noon.Add(998 * time.Millisecond): "1",
	} {
		if got := histories(t, all, at)[0].Then.ID; got != want {
			t.Errorf("at %v it was version %q, want %q", at, got, want)
		}
	}
}

func TestAmbiguous(t *testing.T) {
	v := func(id string, at time.Duration, etag string) Entry {
		return Entry{Key: "k", Modified: noon.Add(at), Version: Version{ID: id, ETag: etag}}
	}
	for name, tc := range map[string]struct {
		entries []Entry
		want    []string
	}{
		"far":                            {[]Entry{v("2", 3*time.Second, "b"), v("1", -time.Hour, "a")}, nil},
		"within a second":                {[]Entry{v("3", 1900*time.Millisecond, "c"), v("2", 0, "b"), v("1", -time.Second, "a")}, []string{"3", "2", "1"}},
		"in parts in the hour before":    {[]Entry{v("1", -59*time.Minute, "a-2")}, []string{"1"}},
		"in parts before that":           {[]Entry{v("1", -61*time.Minute, "a-2")}, nil},
		"in parts, and covered at T":     {[]Entry{v("2", -time.Minute, "b"), v("1", -2*time.Minute, "a-2")}, nil},
		"in parts, and long after the T": {[]Entry{v("1", time.Minute, "a-2")}, nil},
	} {
		var got []string
		for _, e := range histories(t, tc.entries, noon)[0].Ambiguous {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// TestUnmarkOnly removes markers only where nothing else is newer.
func TestUnmarkOnly(t *testing.T) {
	m := func(id string, after int) Entry {
		return Entry{Key: "k", Modified: noon.Add(time.Duration(after) * time.Hour), Version: Version{ID: id, Marker: true}}
	}
	v := func(id string, after int) Entry {
		return Entry{Key: "k", Modified: noon.Add(time.Duration(after) * time.Hour), Version: Version{ID: id, ETag: id}}
	}
	for name, tc := range map[string]struct {
		entries []Entry
		do      Do
		markers []string
	}{
		"one marker":           {[]Entry{m("2", 1), v("1", -1)}, Unmark, []string{"2"}},
		"two markers":          {[]Entry{m("3", 2), m("2", 1), v("1", -1)}, Unmark, []string{"3", "2"}},
		"a version in between": {[]Entry{m("3", 2), v("2", 1), v("1", -1)}, Copy, nil},
		"below a version":      {[]Entry{v("3", 2), m("2", 1), v("1", -1)}, Copy, nil},
		"deleted at T":         {[]Entry{v("3", 2), m("2", -1), v("1", -2)}, Mark, nil},
		"deleted then and now": {[]Entry{m("3", 1), m("2", -1), v("1", -2)}, None, nil},
	} {
		l, _ := Diff(histories(t, tc.entries, noon)[0], Choice{Unmark: true})
		if l.Do != tc.do || !slices.Equal(l.Markers, tc.markers) {
			t.Errorf("%s: %d %v, want %d %v", name, l.Do, l.Markers, tc.do, tc.markers)
		}
	}
}

// TestLongHistory holds one key's state, however long its history.
func TestLongHistory(t *testing.T) {
	const n = 200_000
	long := func(yield func(Entry, error) bool) {
		for i := range n {
			if !yield(Entry{Key: "k", Modified: noon.Add(time.Duration(n-i) * time.Millisecond), Version: Version{ID: "x", Marker: i%2 == 0, ETag: "a-2"}}, nil) {
				return
			}
		}
	}
	for h, err := range Histories(long, noon.Add(-time.Second), nil) {
		if err != nil || h.Entries != n || len(h.Ambiguous) > atMost || len(h.Markers) > atMost {
			t.Errorf("%d entries, %d ambiguous, %d markers, %v", h.Entries, len(h.Ambiguous), len(h.Markers), err)
		}
	}
}

func TestListingOutOfOrder(t *testing.T) {
	for _, err := range Histories(listing([]Entry{{Key: "b"}, {Key: "a"}}), noon, nil) {
		if err != nil {
			if !errors.Is(err, ErrOrder) {
				t.Error(err)
			}
			return
		}
	}
	t.Error("a listing out of order was believed")
}

// TestOrder puts data before the log that names it, and takes it away after.
func TestOrder(t *testing.T) {
	var got []string
	var by [Phases][]Line
	for _, l := range []Line{
		{Key: "t/_delta_log/00000000000000000001.json", Do: Copy},
		{Key: "t/_delta_log/00000000000000000002.json", Do: Unmark},
		{Key: "t/_delta_log/00000000000000000003.json", Do: Mark},
		{Key: "t/_delta_log/00000000000000000004.json", Do: Mark},
		{Key: "t/_delta_log/00000000000000000001.checkpoint.parquet", Do: Copy},
		{Key: "t/_delta_log/_last_checkpoint", Do: Copy},
		{Key: "t/_delta_log/_sidecars/x.parquet", Do: Copy},
		{Key: "t/p=1/new.parquet", Do: Mark},
		{Key: "t/p=1/old.parquet", Do: Copy},
		{Key: "i/metadata/00001-x.metadata.json", Do: Copy},
		{Key: "i/metadata/snap.avro", Do: Copy},
		{Key: "i/metadata/version-hint.text", Do: Mark},
	} {
		p := PhaseOf(l, port.Format{}.Entry)
		by[p] = append(by[p], l)
	}
	for p, lines := range by {
		if Phase(p).HighestFirst() {
			slices.Reverse(lines)
		}
		for _, l := range lines {
			got = append(got, strings.TrimPrefix(strings.TrimPrefix(l.Key, "t/"), "_delta_log/"))
		}
		got = append(got, "|")
	}
	want := []string{
		"p=1/old.parquet", "|", "00000000000000000001.checkpoint.parquet", "_sidecars/x.parquet", "i/metadata/snap.avro", "|",
		"00000000000000000001.json", "00000000000000000002.json", "i/metadata/00001-x.metadata.json", "|",
		"_last_checkpoint", "i/metadata/version-hint.text", "|", "00000000000000000004.json", "00000000000000000003.json", "|", "p=1/new.parquet", "|",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestEncode(t *testing.T) {
	lines := []Line{
		{Key: "a", Do: Copy, Now: Version{ID: "0f0b1c2d-0000-4000-8000-00000000abcd", ETag: "0123456789abcdef0123456789abcdef", Size: 5},
			Then: Version{ID: "null", ETag: "0123456789abcdef0123456789abcdef-12", Size: 1 << 40, Class: "STANDARD_IA"}},
		{Key: "a\nb", Do: Mark, Now: Version{ID: "3HL4kqtJvjVBH40Nrjfkd_aws-looks.like", ETag: "0123456789ABCDEF0123456789ABCDEF"}},
		{Key: "a\x00", Do: Copy, Then: Version{ID: "x", ETag: "e"}},
		{Key: "日本", Do: Unmark, Now: Version{ID: "m2", Marker: true}, Then: Version{ID: "1", ETag: "e"}, Markers: []string{"m2", "m1"}},
	}
	slices.SortFunc(lines, func(a, b Line) int { return strings.Compare(a.Key, b.Key) })
	got, err := Decode(Encode(lines))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(lines, got); d != "" {
		t.Error(d)
	}
	if none, err := Decode(Encode(nil)); err != nil || len(none) > 0 {
		t.Errorf("Decode of no lines = %v, %v", none, err)
	}
	for name, b := range map[string][]byte{"empty": nil, "cut": Encode(lines)[:20], "longer": append(Encode(lines), 0), "another format": {9, 0}} {
		if l, err := Decode(b); err == nil {
			t.Errorf("%s: decoded %v", name, l)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode([]Line{{Key: "a", Do: Copy, Then: Version{ID: "null", ETag: "e", Size: 3}}, {Key: "ab", Do: Mark, Now: Version{ID: "1", ETag: "x"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := Decode(b)
		if err == nil && string(Encode(lines)) != string(b) {
			t.Errorf("%x is %+v, which is %x", b, lines, Encode(lines))
		}
	})
}
