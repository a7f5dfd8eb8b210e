package storage

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/compare"
	"breakwater/internal/objectstore/madeup"
)

// A comparison that dies is gone on with by the next attempt: what was compared is not
// listed again, and the sum is the same.
func TestComparisonGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := madeup.Shapes(1_000_000)["tables of all sizes"]
		scopes := []scope{{name: "one", prefixes: []string{"lake/table-01/"}}, {name: "two", prefixes: []string{"lake/table-00/", "lake/table-02/"}}}
		load := &madeup.Load{}
		var saved []byte
		attempt := func(dies int) (all []*compare.Drift, pages int64) {
			ctx, die := context.WithCancel(t.Context())
			defer die()
			p := &bucketPair{decl: &estate.Bucket{}, c: action.Call[action.None]{Request: action.Request{
				Resume: saved, Progress: func(int64, int64, string) {},
				Save: func(halfway any) {
					var err error
					if saved, err = json.Marshal(halfway); err != nil {
						t.Error(err)
					}
					if dies--; dies == 0 {
						die()
					}
				},
			}}}
			p.source.Bucket = objectstore.Bind(&madeup.Store{Keys: keys, Latency: time.Second, Load: load}, "lake")
			p.target.Bucket = objectstore.Bind(&madeup.Store{Keys: madeup.Keys{N: keys.N - 1, Key: func(i int64) string { return keys.Key(i + 1) }}, Latency: time.Second, Load: load}, "copy")
			before := load.Pages.Load()
			far := p.halfway()
			for _, sc := range scopes {
				d, err := p.compare(ctx, sc, far)
				if err != nil {
					return nil, load.Pages.Load() - before
				}
				all = append(all, d)
			}
			return all, load.Pages.Load() - before
		}
		want, whole := attempt(-1)
		saved = nil
		none, first := attempt(5)
		if none != nil || len(saved) == 0 {
			t.Fatal("it did not die, or saved nothing")
		}
		got, rest := attempt(-1)
		is, err1 := json.Marshal(got)
		as, err2 := json.Marshal(want)
		if err := errors.Join(err1, err2); err != nil || string(is) != string(as) || want[1].Of(compare.Passed).Count != 1 {
			t.Errorf("%s, and without dying %s; %v", is, as, err)
		}
		if rest > whole-first/2 {
			t.Errorf("%d pages to go on with after %d, of %d", rest, first, whole)
		}
	})
}
