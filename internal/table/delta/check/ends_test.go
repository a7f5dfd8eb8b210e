package check_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/check"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/rollback"
)

// errSteps is what a store answers that was asked far more often than it has objects.
var errSteps = errors.New("asked without end")

// FuzzEnds damages one object of a log and looks at the table in every way. Each of
// them ends, with an answer or with an error, whatever is in the object.
func FuzzEnds(f *testing.F) {
	const prefix = "delta/basic_part"
	sound, err := deltatest.Load("basic_part")
	if err != nil {
		f.Fatal(err)
	}
	keys := sound.Keys(prefix + "/_delta_log/")
	for i := range keys {
		f.Add(uint8(i), []byte(nil), false)
		f.Add(uint8(i), []byte("{"), false)
		f.Add(uint8(i), []byte("\xef\xbb\xbf{}"), false)
		f.Add(uint8(i), []byte(nil), true)
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte, gone bool) {
		s := deltatest.Loaded(t, "basic_part")
		key := keys[int(which)%len(keys)]
		if gone {
			s.Delete(key)
		} else if err := s.Put(t.Context(), key, body); err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		limit := 50 * int64(len(s.Keys("")))
		s.Fail = func(string, string) error {
			if asked.Add(1) > limit {
				return errSteps
			}
			return nil
		}
		ends := func(doing string, err error) {
			if errors.Is(err, errSteps) {
				t.Errorf("%s of a log whose %s is damaged does not end: %d requests", doing, strings.TrimPrefix(key, prefix), asked.Load())
			}
			asked.Store(0)
		}
		l, err := delta.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: prefix})
		if ends("opening", err); err != nil {
			return
		}
		_, err = check.Table(t.Context(), s, l, check.Options{Sample: -1, Now: time.Unix(1_800_000_000, 0)})
		ends("a check", err)
		_, err = l.NewestComplete(t.Context(), time.Time{})
		ends("the search for the newest complete version", err)
		for _, err = range l.States(t.Context()) {
		}
		ends("the survey", err)
		for _, err = range l.History(t.Context(), 0) {
		}
		ends("the history", err)
		_, err = l.Point(t.Context(), table.Choice{At: time.Unix(1_800_000_000, 0)})
		ends("a version by time", err)
		_, err = l.LaterThan(t.Context(), l.Head())
		ends("what is later", err)
	})
}

// A commit that lies in _delta_log/.tmp above the head may have been acknowledged: it is
// named, and no restore takes its number. Below the head it is what the log store leaves.
func TestPending(t *testing.T) {
	const p = "delta/basic_part"
	for name, tc := range map[string]struct {
		key   string
		wants string
	}{
		"above the head": {p + "/_delta_log/.tmp/00000000000000000014.json.8f3a", "version 14 may have been committed and acknowledged"},
		"of the head":    {p + "/_delta_log/.tmp/00000000000000000013.json.8f3a", ""},
		"of none":        {p + "/_delta_log/.tmp/14.json", ""},
	} {
		s := deltatest.Loaded(t, "basic_part")
		if err := s.Put(t.Context(), tc.key, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		l := open(t, s, p)
		r, err := check.Table(t.Context(), s, l, check.Options{})
		if err != nil || r.Sound() != (tc.wants == "") || tc.wants != "" && (len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, tc.wants)) {
			t.Errorf("%s: %+v, %v; want %q", name, r.Problems, err, tc.wants)
		}
		point, err := l.Point(t.Context(), table.Choice{})
		if err != nil || point.Snapshot.Version.Number != 13 || (len(point.Warnings) > 0) != (tc.wants != "") {
			t.Errorf("%s: %q, %v", name, point.Warnings, err)
		}
		if _, err := rollback.New(t.Context(), s, l, 5); tc.wants != "" && !errors.Is(err, table.ErrRefused) || tc.wants == "" && err != nil {
			t.Errorf("%s: a restore's plan: %v", name, err)
		}
	}
}
