package objectstore

import (
	"context"
	"iter"
	"strings"
)

// What a store says of an object's replication; see [Object.ReplicationStatus].
const (
	ReplicationCompleted = "COMPLETED" // delivered to every target of the rule
	ReplicationPending   = "PENDING"
	ReplicationFailed    = "FAILED"
	ReplicationReplica   = "REPLICA" // it came by replication, and no rule takes it further
)

// Covers reports whether the rule replicates every key below the prefix.
func (r ReplicationRule) Covers(prefix string) bool {
	return r.Enabled && !r.Narrowed && strings.HasPrefix(prefix, r.Prefix)
}

// Histories yields all versions and delete markers of one key after the other, in
// the order of the keys' bytes; of each key the newest first. An error ends it.
func (b Bucket) Histories(ctx context.Context, prefix string) iter.Seq2[[]Version, error] {
	return func(yield func([]Version, error) bool) {
		var history []Version
		for v, err := range b.ListVersions(ctx, prefix) {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(history) > 0 && history[0].Key != v.Key {
				if !yield(history, nil) {
					return
				}
				history = nil
			}
			history = append(history, v)
		}
		if len(history) > 0 {
			yield(history, nil)
		}
	}
}
