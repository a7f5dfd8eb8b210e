package compare_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/compare"
	"breakwater/internal/objectstore/memory"
)

// said is a store that says the same of the replication of every object.
type said struct {
	objectstore.Store
	status string
}

func (s said) HeadVersion(ctx context.Context, bucket, key, version string) (objectstore.Object, error) {
	o, err := s.Store.HeadVersion(ctx, bucket, key, version)
	o.ReplicationStatus = s.status
	return o, err
}

// pair is a bucket and its copy.
type pair struct {
	t              *testing.T
	source, target objectstore.Bucket
}

func (p *pair) put(b objectstore.Bucket, body string) {
	p.t.Helper()
	if _, err := b.Put(p.t.Context(), "k", []byte(body)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) remove(b objectstore.Bucket) {
	p.t.Helper()
	if _, err := b.Delete(p.t.Context(), "k"); err != nil {
		p.t.Fatal(err)
	}
}

// forget removes for good what is not current.
func (p *pair) forget(b objectstore.Bucket) {
	p.t.Helper()
	for v, err := range b.ListVersions(p.t.Context(), "k") {
		if err == nil && !v.Latest {
			err = b.DeleteVersion(p.t.Context(), "k", v.VersionID)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// both does the same at both sides, so that versions have the same names.
func (p *pair) both(do func(objectstore.Bucket)) { do(p.source); do(p.target) }

func newPair(t *testing.T, status string) *pair {
	t.Helper()
	bucket := func() objectstore.Bucket {
		m := memory.New()
		m.Create("lake", memory.Versioned)
		return objectstore.Bind(said{m.Owner(), status}, "lake")
	}
	return &pair{t, bucket(), bucket()}
}

func (p *pair) compare(keep bool) *compare.Drift {
	p.t.Helper()
	d, err := compare.Comparison{
		Source: p.source, Target: p.target, KeepsDeleted: keep, Retention: time.Hour, Now: time.Now(),
	}.Below(p.t.Context(), "")
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func TestFates(t *testing.T) {
	const none = compare.Fate("")
	for name, tc := range map[string]struct {
		status string // that both stores say
		keep   bool   // deletions are not replicated
		do     func(*pair)
		want   compare.Fate
	}{
		"equal":                 {"", false, func(p *pair) { p.both(func(b objectstore.Bucket) { p.put(b, "one") }) }, none},
		"pending":               {objectstore.ReplicationPending, false, func(p *pair) { p.put(p.source, "one") }, compare.Waits},
		"failed":                {objectstore.ReplicationFailed, false, func(p *pair) { p.put(p.source, "one") }, compare.Failed},
		"older than the rule":   {"", false, func(p *pair) { p.put(p.source, "one") }, compare.Passed},
		"removed at the target": {objectstore.ReplicationCompleted, false, func(p *pair) { p.put(p.source, "one") }, compare.Delivered},
		"a replica":             {objectstore.ReplicationReplica, false, func(p *pair) { p.put(p.source, "one") }, compare.Replica},
		"written at both":       {"", false, func(p *pair) { p.put(p.source, "one"); p.put(p.target, "other") }, compare.Forked},
		"hidden at the target":  {"", false, func(p *pair) { p.both(func(b objectstore.Bucket) { p.put(b, "one") }); p.remove(p.target) }, compare.Hidden},
		"deleted at the source": {"", false, func(p *pair) { p.both(func(b objectstore.Bucket) { p.put(b, "one") }); p.remove(p.source) }, compare.Unmarked},
		"deleted, and kept":     {"", true, func(p *pair) { p.both(func(b objectstore.Bucket) { p.put(b, "one") }); p.remove(p.source) }, none},
		"deleted at both":       {"", false, func(p *pair) { p.both(func(b objectstore.Bucket) { p.put(b, "one"); p.remove(b) }) }, none},
		"deleted at both, kept": {"", true, func(p *pair) { p.both(func(b objectstore.Bucket) { p.put(b, "one"); p.remove(b) }) }, compare.Marked},
		"an old version missing": {"", false, func(p *pair) {
			p.both(func(b objectstore.Bucket) { p.put(b, "one"); p.put(b, "two") })
			p.forget(p.target)
		}, compare.Forgotten},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, tc.status)
			tc.do(p)
			d := p.compare(tc.keep)
			if tc.want == none {
				if len(d.Fates) > 0 {
					t.Errorf("it differs: %v", d.Fates)
				}
				return
			}
			if got := d.Of(tc.want); got.Count != 1 || len(d.Fates) != 1 || len(got.Examples) != 1 || got.Examples[0] != "k" || got.Oldest.IsZero() {
				t.Errorf("%s: %+v; want one %s", d.Told(tc.want), d.Fates, tc.want)
			}
		})
	}
}

func TestExtra(t *testing.T) {
	p := newPair(t, "")
	p.put(p.target, "only here")
	if d := p.compare(false); d.Extra.Count != 1 || d.Extra.Bytes != 9 || d.Objects != 0 || len(d.Fates) > 0 {
		t.Errorf("%+v", d)
	}
}

// Of very many differences the first are looked at, and the rest is counted.
func TestManyDifferences(t *testing.T) {
	p := newPair(t, objectstore.ReplicationPending)
	const n = 2100
	for i := range n {
		if _, err := p.source.Put(t.Context(), fmt.Sprintf("k%04d", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	d := p.compare(false)
	if d.Objects != n || d.Of(compare.Waits).Count+d.Of(compare.Unlooked).Count != n || d.Of(compare.Unlooked).Count == 0 {
		t.Errorf("%d objects, %s", d.Objects, d.Told(compare.Waits, compare.Unlooked))
	}
}

func TestTheSideThatDoesNotAnswer(t *testing.T) {
	m := memory.New()
	m.Create("lake", memory.Versioned)
	for side, c := range map[compare.Side]compare.Comparison{
		compare.Source: {Source: objectstore.Bind(m.Stranger(), "lake"), Target: objectstore.Bind(m.Owner(), "lake")},
		compare.Target: {Source: objectstore.Bind(m.Owner(), "lake"), Target: objectstore.Bind(m.Stranger(), "lake")},
	} {
		_, err := c.Below(t.Context(), "")
		var at *compare.SideError
		if !errors.As(err, &at) || at.Side != side || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("side %d: %v", side, err)
		}
	}
}
