package objectstore

import (
	"strings"
	"time"
)

// What a store says of an object's replication; see [Object.ReplicationStatus].
const (
	ReplicationCompleted = "COMPLETED" // delivered to every target of the rule
	ReplicationPending   = "PENDING"
	ReplicationFailed    = "FAILED"
	ReplicationReplica   = "REPLICA" // it came by replication, and no rule takes it further
)

// ReplicationRule is one rule of a bucket's replication.
type ReplicationRule struct {
	ID      string
	Enabled bool
	Prefix  string // the keys it covers; empty for all
	// Narrowed says that the rule has a filter beyond the prefix, such as a tag:
	// what it covers cannot be told from keys.
	Narrowed bool
	// Destination is the rule's own name of its target: at AWS the ARN of a bucket, at
	// MinIO that of a remote target.
	Destination string
	// DeleteMarkers says that delete markers are replicated.
	DeleteMarkers bool
	// ExistingObjects says that objects older than the rule are covered.
	ExistingObjects bool
}

// Covers reports whether the rule replicates every key below the prefix.
func (r ReplicationRule) Covers(prefix string) bool {
	return r.Enabled && !r.Narrowed && strings.HasPrefix(prefix, r.Prefix)
}

// Route is a rule with where it leads to.
type Route struct {
	ReplicationRule
	// To is the target's bucket; empty where the store does not know the rule's
	// target, so that the rule replicates nothing, or where it does not tell.
	To string
	// Endpoint and Principal are the target's address, and who writes the replicas
	// there; empty where the store does not tell.
	Endpoint, Principal string
	// Resyncs says that what the rule leaves out is brought by a resync of it, if
	// ExistingObjects is set. Else that field decides nothing, and there is another way.
	Resyncs bool
}

// ReplicationCounts is what a server counts about the replication out of one of its
// buckets since it started. Its counts die with the process, so that they can confirm
// a backlog and never its absence.
type ReplicationCounts struct {
	Any                       bool          // it has counted something; else the zeroes say nothing
	Uptime                    time.Duration // for how long it has counted
	Queued, QueuedBytes       int64         // now
	Failed, FailedBytes       int64         // attempts within the last minute
	Delivered, DeliveredBytes int64
}
