package delta

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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
