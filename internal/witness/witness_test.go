package witness

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/reach"
	"breakwater/lab/server/miniotest"

	"github.com/google/go-cmp/cmp"
)

func journal(t *testing.T) Journal {
	t.Helper()
	s := miniotest.Shared(t)
	return in(s.Client(t).Bucket(s.Bucket(t, "lake", true)))
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func TestRecords(t *testing.T) {
	j := journal(t)
	first := Record{Table: "sales/orders", Version: 9, Rows: 3, Hash: "aa", CommittedAt: at(0), SeenAt: at(1), Run: "a"}
	again := first
	again.SeenAt, again.Run = at(5), "b"
	other := again
	other.Hash = "bb"
	tenth := first
	tenth.Version = 10
	for _, step := range []struct {
		name    string
		put     Record
		written bool
		err     error
	}{
		{"a new record", first, true, nil},
		{"the same bytes", first, false, nil},
		{"the same, seen by another run", again, false, nil},
		{"another content", other, false, ErrContradiction},
		{"the next version", tenth, true, nil},
	} {
		if written, err := j.Put(t.Context(), step.put); written != step.written || !errors.Is(err, step.err) {
			t.Errorf("%s: Put = %v, %v; want %v, %v", step.name, written, err, step.written, step.err)
		}
	}
	for notAbove, want := range map[int64]int64{9: 9, 10: 10, 1 << 40: 10} {
		if got, err := j.Newest(t.Context(), "sales/orders", notAbove); err != nil || got.Version != want {
			t.Errorf("Newest(%d) = %d, %v; want %d", notAbove, got.Version, err, want)
		}
	}
	if got, err := j.Newest(t.Context(), "sales/orders", 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Newest(8) = %+v, %v; want fs.ErrNotExist", got, err)
	}
	if got, err := j.Record(t.Context(), "sales/orders", 9); err != nil || !cmp.Equal(got, first) {
		t.Errorf("Record = %+v, %v; want what was put first, %+v", got, err, first)
	}
}

func TestMalformedRecordIsNoRecord(t *testing.T) {
	j := journal(t)
	for name, body := range map[string]string{"not JSON": `{"table"`, "about another table": `{"table":"x","version":1}`} {
		put(t, j, j.RecordKey("orders", 1), body)
		if r, err := j.Record(t.Context(), "orders", 1); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Record = %+v, %v; want ErrMalformed", name, r, err)
		}
	}
}

// put writes what a witness would sign.
func put(t *testing.T, j Journal, key, body string) {
	t.Helper()
	data, err := j.seal(key, []byte(body))
	if err == nil {
		_, err = j.Bucket.Put(t.Context(), key, data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What nobody signed who is trusted, for the place where it lies, says nothing to a reader,
// and nothing is added to it.
func TestForgedJournal(t *testing.T) {
	j := journal(t)
	stranger, elsewhere, another := by(j.Bucket, 2), j, j
	elsewhere.Place, another.Prefix = "lab/us-east-1", "another"
	record, heads, ends := j.RecordKey("orders", 1), j.HeadsKey("orders"), TopicJournal{j}.Key("orders")
	key := func(of Journal, key string) string { return of.Prefix + key[len(j.Prefix):] }
	for name, put := range map[string]func(at, body string) ([]byte, error){
		"unsigned":          func(_, body string) ([]byte, error) { return []byte(body + "\n"), nil },
		"a stranger's":      func(at, body string) ([]byte, error) { return stranger.seal(at, []byte(body)) },
		"another region's":  func(at, body string) ([]byte, error) { return elsewhere.seal(at, []byte(body)) },
		"another journal's": func(at, body string) ([]byte, error) { return another.seal(key(another, at), []byte(body)) },
		"another object's":  func(at, body string) ([]byte, error) { return j.seal(at+"x", []byte(body)) },
		"signed for other rows": func(at, body string) ([]byte, error) {
			data, err := j.seal(at, []byte(body))
			return bytes.Replace(data, []byte("1"), []byte("2"), 1), err
		},
	} {
		for at, body := range map[string]string{record: `{"table":"orders","version":1,"rows":1}`, heads: `[{"version":1,"run":"a"}]`, ends: `[{"run":"1"}]`} {
			data, err := put(at, body)
			if err == nil {
				_, err = j.Bucket.Put(t.Context(), at, data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_, ofRecord := j.Record(t.Context(), "orders", 1)
		_, newest := j.Newest(t.Context(), "orders", 7)
		_, ofPut := j.Put(t.Context(), Record{Table: "orders", Version: 1})
		_, ofHeads := j.Sightings(t.Context(), "orders")
		_, see := j.See(t.Context(), "orders", Sighting{Version: 2, Run: "b"})
		_, ofEnds := TopicJournal{j}.Read(t.Context(), "orders")
		_, look := TopicJournal{j}.See(t.Context(), "orders", TopicEnds{Run: "2"})
		for doing, err := range map[string]error{
			"read " + record: ofRecord, "find " + record: newest, "put " + record: ofPut, "read " + heads: ofHeads, "see " + heads: see, "read " + ends: ofEnds, "see " + ends: look,
		} {
			if _, at, _ := strings.Cut(doing, " "); !errors.Is(err, ErrForged) || !errors.Is(err, reach.ErrUnseen) || !strings.Contains(err.Error(), at) {
				t.Errorf("%s, %s: %v", name, doing, err)
			}
		}
	}
	reader := j
	reader.Signer = nil
	if _, err := reader.Put(t.Context(), Record{Table: "orders", Version: 2}); err == nil {
		t.Error("who only reads has written")
	}
}

func TestSightings(t *testing.T) {
	j := journal(t)
	see := func(version int64, second int, run string, want bool) {
		t.Helper()
		got, err := j.See(t.Context(), "orders", Sighting{Version: version, Rows: version * 10, Last: at(second), Run: run})
		if err != nil || got != want {
			t.Errorf("See(%d at %d by %s) = %v, %v; want %v", version, second, run, got, err, want)
		}
	}
	see(4, 10, "a", true)
	see(4, 11, "a", false) // a repeated attempt
	see(4, 20, "b", true)
	see(5, 30, "c", true)
	see(3, 5, "d", true) // a slow reader, late
	all, err := j.Sightings(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	want := []Sighting{
		{Version: 3, Rows: 30, First: at(5), Last: at(5), Run: "d"},
		{Version: 4, Rows: 40, First: at(10), Last: at(20), Run: "b"},
		{Version: 5, Rows: 50, First: at(30), Last: at(30), Run: "c"},
	}
	if d := cmp.Diff(want, all); d != "" {
		t.Error(d)
	}
	if got := len(Heads(all)); got != 4 {
		t.Errorf("%d heads, want one per moment at which a version was seen: 4", got)
	}
}

// Readers that meet both get in: the object is replaced by compare-and-set.
func TestConcurrentSightings(t *testing.T) {
	j := journal(t)
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			if _, err := j.See(t.Context(), "orders", Sighting{Version: int64(n), Last: at(n), Run: fmt.Sprint(n)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all, err := j.Sightings(t.Context(), "orders"); err != nil || len(all) != 6 {
		t.Errorf("%d sightings, %v; want all 6", len(all), err)
	}
}

func TestSightingsAreBounded(t *testing.T) {
	var all []Sighting
	for n := range int64(Kept + 9) {
		all, _ = add(all, Sighting{Version: n})
	}
	if len(all) != Kept || all[0].Version != 9 {
		t.Errorf("%d sightings from version %d on; want the newest %d", len(all), all[0].Version, Kept)
	}
}
