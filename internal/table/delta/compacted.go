package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	"breakwater/internal/table"
)

// Compaction is a log compaction file: what the commits of a range of versions
// come to, in one file.
//
// No version is read through one, since Spark and delta-rs do not either where a
// commit of the range is absent: a version that only we could read would be no
// recovery. But Spark reads a compaction in place of commits that are all there,
// so that one which tells of other commits decides what Spark's table holds. It
// is therefore moved aside with the versions that it reaches up to
// ([Log.LaterThan]), and can be held against the commits ([Log.Compare]).
type Compaction struct {
	table.Range
	Key string

	object table.Object
}

// Compactions are the listed log compaction files, in the order of the versions
// that they reach up to.
func (l *Log) Compactions() []Compaction {
	all := slices.Clone(l.compacted)
	slices.SortFunc(all, func(a, b Compaction) int {
		return cmp.Or(cmp.Compare(a.Last, b.Last), cmp.Compare(a.First, b.First), strings.Compare(a.Key, b.Key))
	})
	return all
}

// Beyond are the keys of checksums, compactions and parts of checkpoints that
// speak of versions above the head. There were commits of these versions, and
// they are not in the log: whoever uses their numbers again lets these files speak
// of other commits than their own.
func (l *Log) Beyond() []string { return l.above(l.Head()) }

// absent is the error for a commit that is not there. It names a compaction that
// would have its content, for whoever looks for that.
func (l *Log) absent(v int64) error {
	return fmt.Errorf("delta table %s has no commit %d%s: %w", l.root, v, l.Covered(table.Range{First: v, Last: v}), fs.ErrNotExist)
}

// Covered says in words that compactions tell of versions, empty where none does.
func (l *Log) Covered(r table.Range) string {
	for _, c := range l.Compactions() {
		if c.First <= r.Last && c.Last >= r.First {
			return fmt.Sprintf(" (%s tells of %s, and no engine reads it in place of a commit that is absent: bring the commit back, and use the file to see what it held)", InLog(c.Key), c.Words())
		}
	}
	return ""
}

// Compare holds a compaction against the commits that it replaces, and says in
// words how it differs; empty where it does not. [fs.ErrNotExist] says that a
// commit of its range is not there to compare with.
func (l *Log) Compare(ctx context.Context, c Compaction) (string, error) {
	if c.First < 0 || c.First > c.Last {
		return fmt.Sprintf("its name says %s", c.Words()), nil
	}
	body, err := l.get(ctx, c.object)
	if err != nil {
		return "", err
	}
	got := newOutcome()
	acts, err := parseActions(l.root, c.Key, body)
	if errors.Is(err, ErrCorrupt) {
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	got.apply(acts)
	want := newOutcome()
	versions := func(yield func(int64) bool) {
		for v := c.First; v <= c.Last && yield(v); v++ {
		}
	}
	for f := range l.commitsOf(ctx, versions) {
		if f.err != nil {
			return "", f.err
		}
		want.apply(f.actions)
	}
	return want.differs(got), ctx.Err()
}

// outcome is what a run of commits comes to.
type outcome struct {
	live     map[fileID]int64 // files that they leave, with their sizes
	gone     map[fileID]bool  // files that they take away; true where they brought them too
	txns     map[string]int64
	protocol *Protocol
	metadata *Metadata
}

func newOutcome() *outcome {
	return &outcome{live: map[fileID]int64{}, gone: map[fileID]bool{}, txns: map[string]int64{}}
}

func (o *outcome) apply(acts *actions) {
	for _, id := range acts.removes {
		_, own := o.live[id]
		o.gone[id] = own || o.gone[id]
		delete(o.live, id)
	}
	for a := range acts.each() {
		delete(o.gone, a.id())
		o.live[a.id()] = a.Size
	}
	for _, t := range acts.txns {
		o.txns[t.AppID] = t.Version
	}
	o.protocol = cmp.Or(acts.protocol, o.protocol)
	o.metadata = cmp.Or(acts.metadata, o.metadata)
}

// differs says how what a compaction tells differs from what its commits do. It
// need not tell of files that its range both brought and took away.
func (o *outcome) differs(got *outcome) string {
	for id := range got.live {
		if _, ok := o.live[id]; !ok {
			return fmt.Sprintf("it adds %s, and the commits do not leave it", id.key)
		}
	}
	for id, size := range o.live {
		if have, ok := got.live[id]; !ok || have != size {
			return fmt.Sprintf("it does not add %s as the commits do", id.key)
		}
	}
	for id, own := range o.gone {
		if _, ok := got.gone[id]; !ok && !own {
			return fmt.Sprintf("it does not remove %s, and the commits do", id.key)
		}
	}
	for id := range got.gone {
		if _, ok := o.gone[id]; !ok {
			return fmt.Sprintf("it removes %s, and the commits do not", id.key)
		}
	}
	switch {
	case !maps.Equal(o.txns, got.txns):
		return fmt.Sprintf("it has transactions %v, the commits %v", got.txns, o.txns)
	case !reflect.DeepEqual(o.protocol, got.protocol):
		return "it has another protocol than the commits"
	case !reflect.DeepEqual(o.metadata, got.metadata):
		return "it has other metadata than the commits"
	}
	return ""
}
