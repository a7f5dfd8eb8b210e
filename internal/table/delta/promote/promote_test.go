package promote_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/promote"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"

	"github.com/google/go-cmp/cmp"
)

const folder = "lake/orders/.breakwater/quarantine/run.1/"

// ground is a table of versions 0 to last, and the store that it lies in.
type ground struct {
	t     *testing.T
	store *tabletest.Store
	site  table.Site
}

func tableOf(t *testing.T, last int, checkpointEvery int64) ground {
	t.Helper()
	s := &tabletest.Store{}
	g := ground{t, s, table.Site{Store: s, Root: table.Root{Bucket: "lake", Prefix: "lake/orders"}, Name: "orders"}}
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { at = at.Add(time.Second); return at }
	w, err := write.Create(t.Context(), s, g.site.Root, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{Now: now, CheckpointEvery: checkpointEvery})
	g.must(err)
	for v := range last {
		_, err := w.Append(t.Context(), []write.Row{{int64(v)}})
		g.must(err)
	}
	return g
}

func (g ground) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g ground) log() *delta.Log {
	g.t.Helper()
	l, err := delta.Open(g.t.Context(), g.store, g.site.Root)
	g.must(err)
	return l
}

func (g ground) plan(version int64) promote.Plan {
	g.t.Helper()
	p, err := promote.New(g.t.Context(), g.site, g.log(), version, folder)
	g.must(err)
	return p
}

// work lets n guards through and then says stop.
func work(n int) table.Work {
	return table.Work{
		Guard: func(context.Context) error {
			if n--; n < 0 {
				return errDied
			}
			return nil
		},
		Progress: func(int64, int64, string) {},
	}
}

var errDied = errors.New("died")

const always = 1 << 30

// seen is what a reader sees of the table, by ETag.
func (g ground) seen() map[string]string {
	seen := map[string]string{}
	for o, err := range g.store.List(g.t.Context(), "") {
		g.must(err)
		if !strings.HasPrefix(o.Key, folder) {
			seen[o.Key] = o.ETag
		}
	}
	return seen
}

// fails names the looks that are not as they should be, by what they looked at.
func fails(looks []table.Look) (bad []string) {
	for _, l := range looks {
		if !l.OK || l.Err != nil {
			bad = append(bad, l.What)
		}
	}
	return bad
}

func (g ground) promoted(p promote.Plan) []string {
	g.t.Helper()
	return fails(promote.Promoted(g.t.Context(), g.store, g.site.Root, g.log(), p))
}

func (g ground) back(p promote.Plan) promote.Back {
	g.t.Helper()
	b, err := promote.NewBack(g.t.Context(), g.site, p)
	g.must(err)
	return b
}

// Stored plans of older versions of this program have this JSON.
func TestPlanKeepsItsJSON(t *testing.T) {
	const stored = `{"version":6,"head":8,"folder":"q/","aside":[{"key":"a","to":"q/a","etag":"e1","version_id":"v1","size":7,"done":true},{"key":"b","to":"q/b","etag":"e2","size":0}],` +
		`"hint":{"key":"h","was":{"key":"h","to":"q/h","etag":"e3","size":3},"body":"e30=","done":true}}`
	p, err := promote.Decode(json.RawMessage(stored))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(p); err != nil || string(again) != stored {
		t.Errorf("%s, %v\nwant %s", again, err, stored)
	}
	if least, err := json.Marshal(promote.Plan{}); err != nil || string(least) != `{"version":0,"head":0,"folder":""}` {
		t.Errorf("the least plan is %s, %v", least, err)
	}
	if _, err := promote.Decode(json.RawMessage(`{"version":6,"later":1}`)); err == nil {
		t.Error("a plan with what is not known here was read")
	}
}

// Every version becomes the head, twice is as good as once, and back it is as it
// was: with and without checkpoints, whatever the hint says.
func TestThereAndBack(t *testing.T) {
	const last = 8
	for _, every := range []int64{0, 3, 7} {
		for version := range int64(last) {
			t.Run(fmt.Sprintf("checkpoint every %d, version %d", every, version), func(t *testing.T) {
				g := tableOf(t, last, every)
				before := g.seen()
				p := g.plan(version)
				effects, conditions := p.Effects(g.site)
				if len(effects) == 0 || len(conditions) < len(p.Aside) {
					t.Errorf("effects %v on conditions %v", effects, conditions)
				}
				n, err := promote.Apply(t.Context(), g.site, p, work(always))
				g.must(err)
				if g.log().Head() != version || n == 0 {
					t.Errorf("after %d changes the head is %d", n, g.log().Head())
				}
				if bad := g.promoted(p); bad != nil {
					t.Errorf("promoted, and red: %q", bad)
				}
				again, err := promote.Apply(t.Context(), g.site, p, work(0))
				if again != 0 || err != nil {
					t.Errorf("a second call made %d changes, %v", again, err)
				}
				b := g.back(p)
				if len(b.Effects(g.site)) == 0 {
					t.Error("taking it back changes nothing")
				}
				_, err = b.Apply(t.Context(), g.site, work(always))
				g.must(err)
				if diff := cmp.Diff(before, g.seen()); diff != "" {
					t.Errorf("taken back (-before +after):\n%s", diff)
				}
				if l := promote.Returned(t.Context(), g.store, g.site.Root, p); !l.OK {
					t.Errorf("taken back, and red: %+v", l)
				}
				if more := g.back(p).Effects(g.site); len(more) != 0 {
					t.Errorf("taken back, and %v is left to do", more)
				}
			})
		}
	}
}

// Broken off anywhere, planned anew or not, it is finished by the next call, and
// all of it can be taken back.
func TestResumes(t *testing.T) {
	for _, anew := range []bool{false, true} {
		for guards := 0; ; guards++ {
			g := tableOf(t, 6, 3)
			before := g.seen()
			p := g.plan(2)
			_, err := promote.Apply(t.Context(), g.site, p, work(guards))
			if err == nil {
				if guards < 4 {
					t.Errorf("it asked its guard %d times", guards)
				}
				break
			}
			if !errors.Is(err, errDied) {
				t.Fatal(err)
			}
			if bad := g.promoted(p); bad == nil {
				t.Errorf("died after %d guards, and nothing is red", guards)
			}
			if anew {
				p = g.plan(2)
			}
			_, err = promote.Apply(t.Context(), g.site, p, work(always))
			g.must(err)
			if bad := g.promoted(p); bad != nil {
				t.Errorf("died after %d guards, finished (anew %v), and red: %q", guards, anew, bad)
			}
			for left := 0; ; left++ { // taken back, broken off anywhere too
				_, err := g.back(p).Apply(t.Context(), g.site, work(left))
				if err == nil {
					break
				}
			}
			if diff := cmp.Diff(before, g.seen()); diff != "" {
				t.Errorf("died after %d guards, taken back (anew %v; -before +after):\n%s", guards, anew, diff)
			}
		}
	}
}

// What moved since the plan is not promoted over, and what was written after the
// promotion is not written over by taking it back.
func TestNoticesWhatMoved(t *testing.T) {
	at := func(g ground, v int64) string { return delta.CommitKey(g.site.Root, v) }
	put := func(g ground, key string) {
		g.must(g.store.Put(t.Context(), key, []byte(`{"commitInfo":{"timestamp":1}}`)))
	}
	for name, tc := range map[string]struct {
		between func(g ground)
		want    error
		says    string
	}{
		"a later commit came":      {func(g ground) { put(g, at(g, 9)) }, promote.ErrMoved, "came after the plan"},
		"a commit was replaced":    {func(g ground) { put(g, at(g, 5)) }, promote.ErrMoved, "planned with"},
		"the hint was written":     {func(g ground) { put(g, delta.HintKey(g.site.Root)) }, promote.ErrMoved, "is another one than planned"},
		"what moves went for good": {func(g ground) { g.store.Delete(at(g, 5)) }, promote.ErrMoved, "is not the version"},
	} {
		t.Run(name, func(t *testing.T) {
			g := tableOf(t, 6, 3)
			p := g.plan(2)
			tc.between(g)
			if _, err := promote.Apply(t.Context(), g.site, p, work(always)); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "table orders: s3://lake/lake/orders/_delta_log/") {
				t.Errorf("Apply = %v, want %v that says %q", err, tc.want, tc.says)
			}
		})
	}
	for name, write := range map[string]func(g ground){
		"under a number that moved": func(g ground) { put(g, at(g, 3)) },
		"above all numbers":         func(g ground) { put(g, at(g, 7)) },
	} {
		g := tableOf(t, 6, 3)
		p := g.plan(2)
		_, err := promote.Apply(t.Context(), g.site, p, work(always))
		g.must(err)
		write(g)
		if _, err := promote.NewBack(t.Context(), g.site, p); !errors.Is(err, promote.ErrRefused) || !strings.Contains(err.Error(), "failback") {
			t.Errorf("a commit %s: going back = %v, want it refused", name, err)
		}
	}
}

// Each look goes red for what it looks at, and for nothing else.
func TestLooksGoRed(t *testing.T) {
	const above, hint, kept, over = "no log file above version 2 is listed", "the hint to the last checkpoint", "what was moved aside is kept as it was", "nothing was written over what was moved aside"
	for name, tc := range map[string]struct {
		fault func(g ground, p promote.Plan)
		want  []string
	}{
		"nothing": {func(ground, promote.Plan) {}, nil},
		"a compaction that reaches above": {func(g ground, _ promote.Plan) {
			g.must(g.store.Put(t.Context(), delta.LogDir(g.site.Root)+"00000000000000000001.00000000000000000005.compacted.json", []byte("{}")))
		}, []string{above}},
		"a name that the protocol does not know": {func(g ground, _ promote.Plan) {
			g.must(g.store.Put(t.Context(), delta.LogDir(g.site.Root)+"00000000000000000005.backup", []byte("{}")))
		}, []string{above}},
		"a hint above": {func(g ground, _ promote.Plan) {
			g.must(g.store.Put(t.Context(), delta.HintKey(g.site.Root), []byte(`{"version":6,"size":9}`)))
		}, []string{hint}},
		"a hint that is none": {func(g ground, _ promote.Plan) {
			g.must(g.store.Put(t.Context(), delta.HintKey(g.site.Root), []byte(`{`)))
		}, []string{hint}},
		"what was kept is gone": {func(g ground, p promote.Plan) { g.store.Delete(p.Aside[0].To) }, []string{kept}},
		"what was kept is another thing": {func(g ground, p promote.Plan) {
			g.store.Damage(p.Aside[0].To, func(b []byte) { b[0]++ })
		}, []string{kept}},
		"a late write under the mark": {func(g ground, p promote.Plan) {
			g.must(g.store.Put(t.Context(), p.Aside[0].Key, []byte("late")))
			g.must(g.store.Hide(t.Context(), p.Aside[0].Key, ""))
		}, []string{over}},
		"a write that is seen": {func(g ground, p promote.Plan) {
			g.must(g.store.Put(t.Context(), p.Aside[0].Key, []byte("late")))
		}, []string{above, over}},
	} {
		t.Run(name, func(t *testing.T) {
			g := tableOf(t, 6, 3)
			p := g.plan(2)
			_, err := promote.Apply(t.Context(), g.site, p, work(always))
			g.must(err)
			tc.fault(g, p)
			if bad := g.promoted(p); !slices.Equal(bad, tc.want) {
				t.Errorf("red: %q, want %q", bad, tc.want)
			}
		})
	}
	g := tableOf(t, 6, 3)
	p := g.plan(2)
	_, err := promote.Apply(t.Context(), g.site, p, work(always))
	g.must(err)
	if l := promote.Returned(t.Context(), g.store, g.site.Root, p); l.OK || l.Err != nil {
		t.Errorf("not taken back, and returned: %+v", l)
	}
}

// An ETag need not be the content's: a copy of an object that was uploaded in
// parts has another one.
func TestAnotherETagOfTheSameBytes(t *testing.T) {
	g := tableOf(t, 6, 0)
	p := g.plan(4)
	_, err := promote.Apply(t.Context(), g.site, p, work(always))
	g.must(err)
	for i := range p.Aside {
		p.Aside[i].ETag = "of-parts-2"
	}
	looks := promote.Promoted(t.Context(), g.store, g.site.Root, g.log(), p)
	if l := looks[2]; !l.OK || l.Err != nil {
		t.Errorf("the same bytes: %+v", l)
	}
	_, err = g.back(p).Apply(t.Context(), g.site, work(always))
	g.must(err)
	if l := promote.Returned(t.Context(), g.store, g.site.Root, p); !l.OK {
		t.Errorf("the same bytes are back: %+v", l)
	}
	if more := g.back(p).Effects(g.site); len(more) != 0 {
		t.Errorf("the same bytes are back, and %v is left to do", more)
	}
}

// A store that does not answer says nothing about the table.
func TestAStoreThatDoesNotAnswer(t *testing.T) {
	silent := errors.New("no answer")
	for _, op := range []string{"list", "get"} {
		g := tableOf(t, 6, 3)
		p := g.plan(2)
		_, err := promote.Apply(t.Context(), g.site, p, work(always))
		g.must(err)
		l := g.log()
		g.store.Fail = func(what, _ string) error {
			if what == op {
				return silent
			}
			return nil
		}
		answered := 0
		for _, look := range promote.Promoted(t.Context(), g.store, g.site.Root, l, p) {
			if look.Err == nil {
				answered++
			} else if !errors.Is(look.Err, silent) {
				t.Errorf("%s: %v", look.What, look.Err)
			}
		}
		if answered == 4 {
			t.Errorf("nothing asked for %s", op)
		}
		if _, err := promote.NewBack(t.Context(), g.site, p); !errors.Is(err, silent) {
			t.Errorf("%s: NewBack = %v", op, err)
		}
	}
}

// A name under which something else is kept already is not written over.
func TestNothingKeptIsWrittenOver(t *testing.T) {
	g := tableOf(t, 4, 0)
	taken := folder + "_delta_log/" + fmt.Sprintf("%020d.json", 4)
	g.must(g.store.Put(t.Context(), taken, []byte("of another attempt")))
	p := g.plan(2)
	_, err := promote.Apply(t.Context(), g.site, p, work(always))
	g.must(err)
	if body, err := g.store.Get(t.Context(), taken); err != nil || string(body) != "of another attempt" {
		t.Errorf("%q, %v", body, err)
	}
	if bad := g.promoted(p); bad != nil {
		t.Errorf("red: %q", bad)
	}
	to := map[string]bool{}
	for _, a := range p.Aside {
		to[a.To] = true
	}
	if want := folder + "2/_delta_log/" + fmt.Sprintf("%020d.json", 4); !to[want] {
		t.Errorf("it moves to %q, want %s among them", slices.Sorted(maps.Keys(to)), want)
	}
}
