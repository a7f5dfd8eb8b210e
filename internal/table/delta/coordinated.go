package delta

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A catalog or a commit coordinator can be the one who decides which commits of a
// table count. Its commits wait beside the log until they are published there
// under their numbers, so the log alone may end before the table does (trap 24):
//
//   - catalogManaged (once catalogOwned) is a feature of readers and writers, with
//     commits in _staged_commits: nobody may read past the catalog, and neither
//     do we;
//   - coordinatedCommits is a feature of writers, with commits in _commits: what
//     is published may be read by anyone, and is read here as long as nothing
//     unpublished lies above it. Only the coordinator may commit.

// ownedByCatalog tells the features of a table whose readers must ask its catalog.
func ownedByCatalog(feature string) bool {
	return strings.HasPrefix(feature, "catalogManaged") || strings.HasPrefix(feature, "catalogOwned")
}

// coordinatorProperty names a table's commit coordinator; a suffix says that it is
// a preview.
const coordinatorProperty = "delta.coordinatedCommits.commitCoordinator"

// Coordinator names the feature or property by which a catalog or a commit
// coordinator decides which commits count; empty where put-if-absent in the log
// does. Nobody else may commit to such a table, or move its commits.
func (s *Snapshot) Coordinator() string {
	for _, f := range slices.Concat(s.Protocol.WriterFeatures, s.Protocol.ReaderFeatures) {
		if ownedByCatalog(f) || strings.HasPrefix(f, "coordinatedCommits") {
			return "feature " + f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Metadata.Configuration)) {
		if value := s.Metadata.Configuration[name]; strings.HasPrefix(name, coordinatorProperty) && value != "" && value != "{}" {
			return fmt.Sprintf("property %s of %s", name, value)
		}
	}
	return ""
}

// Screen tells by whom the head's commits are decided, as [Snapshot.Coordinator] does,
// and what it asks of readers that is not known here, which is a [FeatureError]. It
// reads no file of the table: of the newest checkpoint that can be read the protocol and
// the metadata alone, and those commits above it that are there.
func (l *Log) Screen(ctx context.Context) (coordinator string, err error) {
	s := &Snapshot{}
	take := func(acts *actions) {
		if acts.protocol != nil {
			s.Protocol = *acts.protocol
		}
		if acts.metadata != nil {
			s.Metadata = *acts.metadata
		}
	}
	above := int64(-1)
	for _, c := range l.starts(l.Head()) {
		if c.version < 0 {
			break
		}
		acts := &actions{bare: true}
		for _, o := range c.parts {
			if err = l.readPart(ctx, o, acts); err != nil {
				break
			}
		}
		if err == nil {
			above = c.version
			take(acts)
			break
		}
		if !broken(err) {
			return "", err
		}
	}
	var there []int64
	for v := range l.commits {
		if v > above {
			there = append(there, v)
		}
	}
	slices.Sort(there)
	for f := range l.commitsOf(ctx, slices.Values(there)) {
		switch {
		case f.err == nil:
			take(f.actions)
		case !broken(f.err):
			return "", f.err
		}
	}
	if f := s.Protocol.check(l.root.Root, l.Head()); f != nil {
		if f.Managed() {
			f.Staged = len(l.staged)
		}
		return "", f
	}
	if f := l.coordinated(s, l.Head()); f != nil {
		return "", f
	}
	return s.Coordinator(), ctx.Err()
}

// unpublished counts commits above the head that lie beside the log.
func (l *Log) unpublished() int {
	n, head := 0, l.Head()
	for _, v := range l.staged {
		if v > head {
			n++
		}
	}
	return n
}

// Pending is a commit above the head of the log that may have been acknowledged.
type Pending struct {
	Version int64
	Key     string
	Written time.Time // by the store
}

// Pending are the commits above the head that lie in _delta_log/.tmp only, in order.
// Spark's log store for DynamoDB writes a commit there first, enters it in its table,
// which is when it counts, and copies it to its name in the log last, or has the next
// reader or writer do that. So a version may be acknowledged whose name is absent, and
// whoever writes that name buries it. Which entry the table in DynamoDB has is not asked
// here: see Delta's PROTOCOL.md, and its S3DynamoDBLogStore.
func (l *Log) Pending() []Pending {
	var all []Pending
	head := l.Head()
	for v, o := range l.temporary {
		if v > head {
			all = append(all, Pending{v, o.Key, o.Modified})
		}
	}
	slices.SortFunc(all, func(a, b Pending) int { return cmp.Compare(a.Version, b.Version) })
	return all
}

// Staging reports whether commits lie in _delta_log/.tmp, published since or not: that log
// store leaves them there.
func (l *Log) Staging() bool { return len(l.temporary) > 0 }

func (p Pending) String() string {
	return fmt.Sprintf("version %d may have been committed and acknowledged at %s: %s is there, and the log has no commit of that number; let a writer with the DynamoDB log store of this table finish it, or see in its DynamoDB table that it does not count",
		p.Version, p.Written.UTC().Format(time.RFC3339), InLog(p.Key))
}

// coordinated refuses a version of a table whose coordinator has commits that the
// log has not.
func (l *Log) coordinated(s *Snapshot, v int64) *FeatureError {
	n := l.unpublished()
	if n == 0 {
		return nil
	}
	if c := s.Coordinator(); c != "" {
		return &FeatureError{Table: l.root.String(), Version: v, Features: []string{c}, Staged: n}
	}
	return nil
}
