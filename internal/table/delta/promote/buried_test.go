package promote_test

import (
	"context"
	"slices"
	"testing"

	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/promote"
	"breakwater/internal/table/tabletest"
)

// meddled is a store that keeps no conditions on deletions, and to which somebody writes
// right before a key is hidden.
type meddled struct {
	*tabletest.Store
	key, body string
}

func (m *meddled) Hide(ctx context.Context, key, _ string) error {
	if key == m.key {
		if err := m.Put(ctx, key, []byte(m.body)); err != nil {
			return err
		}
		m.key = ""
	}
	return m.Store.Hide(ctx, key, "")
}

const theirs = `{"version":0,"size":1}`

// under is what lies under a delete marker.
func (g ground) under(key string) string {
	g.t.Helper()
	for o, err := range g.store.ListVersions(g.t.Context(), key) {
		g.must(err)
		if !o.Marker {
			body, err := g.store.GetVersion(g.t.Context(), key, o.VersionID)
			g.must(err)
			return string(body)
		}
	}
	return ""
}

// TestWhatIsBuriedIsFound: what somebody wrote right before an object was hidden is seen
// afterwards, and where the promotion is planned again it is named, kept, and comes back.
func TestWhatIsBuriedIsFound(t *testing.T) {
	for name, tc := range map[string]struct {
		to  int64
		key func(g ground) string
	}{
		"a log file": {6, func(g ground) string { return delta.CommitKey(g.site.Root, 8) }},
		"the hint":   {2, func(g ground) string { return delta.HintKey(g.site.Root) }},
	} {
		t.Run(name, func(t *testing.T) {
			g := tableOf(t, 8, 4)
			p := g.plan(tc.to)
			key := tc.key(g)
			s := g.site
			s.Store = &meddled{g.store, key, theirs}
			_, err := promote.Apply(t.Context(), s, p, work(always))
			g.must(err)
			if g.under(key) != theirs {
				t.Fatal("nothing was buried, so the test shows nothing")
			}
			if bad := g.promoted(p); !slices.Contains(bad, "nothing was written over what was moved aside") {
				t.Errorf("red: %q", bad)
			}
			again := g.plan(tc.to)
			if effects, _ := again.Effects(g.site); len(effects) != 1 || effects[0].On != g.site.Root.URL(key) {
				t.Errorf("planned again: %+v", effects)
			}
			_, err = promote.Apply(t.Context(), g.site, again, work(always))
			g.must(err)
			if bad := g.promoted(again); len(bad) > 0 {
				t.Errorf("applied again, red: %q", bad)
			}
			if effects, _ := g.plan(tc.to).Effects(g.site); len(effects) > 0 {
				t.Errorf("planned once more: %+v", effects)
			}
			_, err = g.back(again).Apply(t.Context(), g.site, work(always))
			g.must(err)
			if body, err := g.store.Get(t.Context(), key); err != nil || string(body) != theirs {
				t.Errorf("taken back, it is %q, %v", body, err)
			}
		})
	}
}

// TestWhatTakingBackBuries: a hint that the promotion wrote where there was none is hidden
// again, and not what somebody wrote in its place.
func TestWhatTakingBackBuries(t *testing.T) {
	g := tableOf(t, 8, 3)
	key := delta.HintKey(g.site.Root)
	g.must(g.store.Hide(t.Context(), key, ""))
	p := g.plan(5)
	_, err := promote.Apply(t.Context(), g.site, p, work(always))
	g.must(err)
	if body, err := g.store.Get(t.Context(), key); err != nil || len(body) == 0 {
		t.Fatalf("the promotion wrote no hint: %v", err)
	}
	s := g.site
	s.Store = &meddled{g.store, key, theirs}
	_, err = g.back(p).Apply(t.Context(), s, work(always))
	g.must(err)
	if g.under(key) != theirs {
		t.Fatal("nothing was buried, so the test shows nothing")
	}
	if look := promote.Returned(t.Context(), g.store, g.site.Root, p); look.OK || look.Err != nil {
		t.Errorf("it is not seen: %+v", look)
	}
}
