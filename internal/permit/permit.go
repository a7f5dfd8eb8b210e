// Package permit says what an action must be allowed at outside systems, in the words of
// those systems, and makes of that the policies of an estate: no more than its runbooks
// ask for, and no less.
//
// A [Permit] names things as an estate has them, such as its tables. [Policies] puts in
// their names and gives a policy for each credential of the estate.
package permit

import "slices"

// Side is at which end of a run something is asked.
type Side string

// The sides.
const (
	Source  Side = "source"
	Target  Side = "target"
	Outside Side = "outside" // the ledger's place, or that of backups
)

// ProbePart is the part of a key below which rights are tried. Table formats pass over what
// begins with a dot.
const ProbePart = ".breakwater-probe"

// Holder is whose credentials are asked with, by the estate's words.
type Holder string

// The holders.
const (
	Storage  Holder = "storage.credentials" // recovery itself
	Admin    Holder = "storage.admin"
	Kafka    Holder = "kafka.credentials"
	Connect  Holder = "connect.credentials"
	Vault    Holder = "vault.credentials"
	Ledger   Holder = "ledger.credentials"
	Adder    Holder = "backup.credentials"
	Restorer Holder = "backup.restore"
	Expirer  Holder = "backup.expiry"
	Temporal Holder = "temporal" // the worker's connection
)

// Thing is what something is asked about, as an estate has it.
type Thing string

// The things.
const (
	Objects Thing = "buckets" // every object of the estate's buckets
	Tables  Thing = "tables"  // what lies below the paths of its tables
	Journal Thing = "journal" // what the witness keeps
	Events  Thing = "lineage" // OpenLineage events
	Scratch Thing = "scratch" // where a restore is tried: below .breakwater/scratch
	Probes  Thing = "probes"  // what a trial of rights writes, below [ProbePart] wherever it tries
	Ledgers Thing = "ledger"  // below the ledger's prefix
	Backups Thing = "backups" // below the backup place's prefix

	Users Thing = "users" // users and policies of an object store

	Topics         Thing = "topics"          // of its groups
	Mirror         Thing = "mirror"          // the topics in which a mirror notes how far it has come
	CanaryTopics   Thing = "canary-topics"   // through which a marked record is sent
	ConsumerGroups Thing = "consumer-groups" // of its groups
	EveryGroup     Thing = "every-group"     // every group of the cluster, whoever it is
	Cluster        Thing = "cluster"

	Connectors Thing = "connectors" // of its mirror

	Routing  Thing = "routing"  // the secrets by which clients find their region
	Sentinel Thing = "sentinel" // the secret that shows that a vault serves
	Mount    Thing = "mount"    // what holds for all secrets of a vault's mount

	Schedules Thing = "schedules" // its pipelines
)

// Permit is what an action must be allowed of one thing at one side.
type Permit struct {
	At  Side
	As  Holder
	On  Thing
	May []string // actions of IAM, operations of Kafka, paths and capabilities of a vault, requests
	// Role is what an administrator of an object store is asked for, whose words follow
	// from the provider. May is empty then.
	Role Role
}

// Role is an ability of an object store's administration: see package objectstore.
type Role string

// The roles.
const (
	Fences     Role = "fences"     // keeps principals from writing
	Grants     Role = "grants"     // gives rights to users
	Knows      Role = "knows"      // says who is a user
	Oversees   Role = "oversees"   // sees what becomes of objects by themselves
	Replicates Role = "replicates" // knows where rules of replication lead to
	Counts     Role = "counts"     // counts replication
)

// Join is all of several lists.
func Join(lists ...[]Permit) []Permit { return slices.Concat(lists...) }

// Of is a permit of a holder. At an object store may are actions of IAM.
func Of(at Side, as Holder, on Thing, may ...string) []Permit {
	return []Permit{{At: at, As: as, On: on, May: may}}
}

// Administers is what an administrator is asked for at a side.
func Administers(at Side, roles ...Role) []Permit {
	var all []Permit
	for _, r := range roles {
		all = append(all, Permit{At: at, As: Admin, On: Objects, Role: r})
	}
	return all
}

// Actions of IAM that come together. Without the right to list a bucket, a key that is not
// there answers as refused.
var (
	// Reads is what reading current objects takes.
	reads = []string{"s3:ListBucket", "s3:GetObject"}
	// Remembers is what reading versions takes, beside that.
	remembers = []string{"s3:ListBucketVersions", "s3:GetObjectVersion", "s3:GetBucketVersioning"}
	// Keeps is what writing takes without taking any version away: a deletion hides.
	keeps = []string{"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}
	// Copies is what copying an object takes with all that belongs to it.
	copies = []string{"s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging"}
)

// Reads reads what is current of a thing.
func Reads(at Side, on ...Thing) []Permit { return each(at, on, reads) }

// Remembers reads a thing with its versions.
func Remembers(at Side, on ...Thing) []Permit { return each(at, on, slices.Concat(reads, remembers)) }

// Changes reads a thing with its versions, writes it, copies versions over others, and
// hides. It takes no version away but markers of deletions.
func Changes(at Side, on ...Thing) []Permit {
	return each(at, on, slices.Concat(reads, remembers, keeps, copies))
}

func each(at Side, on []Thing, may []string) []Permit {
	var all []Permit
	for _, t := range on {
		all = append(all, Permit{At: at, As: Storage, On: t, May: may})
	}
	return all
}

// CleansUp is what the administrator needs to take what was tried away for good: [Probes],
// or [Scratch]. It is no right to any version of what people wrote.
func CleansUp(at Side, on Thing) []Permit {
	return Of(at, Admin, on, "s3:ListBucketVersions", "s3:DeleteObject", "s3:DeleteObjectVersion")
}

// Always is what every run needs, whatever its runbook: its ledger.
func Always() []Permit {
	return Of(Outside, Ledger, Ledgers, "s3:ListBucket", "s3:GetObject", "s3:PutObject")
}

// Nothing is what an action needs that asks nobody.
func Nothing() []Permit { return []Permit{} }

// Adds reads what is current of a thing and writes to it, and takes nothing away.
func Adds(at Side, on ...Thing) []Permit {
	return each(at, on, slices.Concat(reads, []string{"s3:PutObject"}))
}

// Unhides takes markers of deletions away, which are versions of their own.
func Unhides(at Side, on ...Thing) []Permit { return each(at, on, []string{"s3:DeleteObjectVersion"}) }

// Backs adds to the backup place, and holds longer what is there.
func Backs() []Permit {
	return Of(Outside, Adder, Backups, "s3:PutObject", "s3:PutObjectRetention", "s3:AbortMultipartUpload")
}

// Restores reads the backup place and how it is locked.
func Restores() []Permit {
	return Of(Outside, Restorer, Backups, "s3:ListBucket", "s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention",
		"s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetLifecycleConfiguration", "s3:GetBucketPolicy")
}

// Expires deletes what no lock holds.
func Expires() []Permit {
	return Of(Outside, Expirer, Backups, "s3:DeleteObject", "s3:DeleteObjectVersion")
}

// ReadsRecords reads topics, and where they begin and end.
func ReadsRecords(at Side, on ...Thing) []Permit {
	var all []Permit
	for _, t := range on {
		all = append(all, Permit{At: at, As: Kafka, On: t, May: []string{"Describe", "Read"}})
	}
	return all
}

// SeesGroups sees every group of a cluster, and what it has committed. Brokers leave a
// group out of a listing for whoever may not see the cluster, and do not say so.
func SeesGroups(at Side) []Permit {
	return Join(Of(at, Kafka, EveryGroup, "Describe"), Of(at, Kafka, Cluster, "Describe"))
}

// PlacesGroups commits offsets of consumer groups and takes them away again, and denies
// the mirror to commit for them, which is an ACL of its own.
func PlacesGroups(at Side) []Permit {
	return Join(
		Of(at, Kafka, ConsumerGroups, "Describe", "Read", "Delete"),
		Of(at, Kafka, Cluster, "Describe", "Alter"),
	)
}

// AsksMirror asks the workers of a mirror about its connectors.
func AsksMirror() []Permit {
	return Of(Target, Connect, Connectors, "GET /", "GET /connectors", "GET /connectors/NAME/config", "GET /connectors/NAME/status",
		"GET /connectors/NAME/offsets", "GET /connectors/NAME/stop")
}

// StopsMirror stops and resumes the connectors of a mirror.
func StopsMirror() []Permit {
	return Of(Target, Connect, Connectors, "PUT /connectors/NAME/stop", "PUT /connectors/NAME/resume")
}

// ReadsSecrets reads what shows that a vault serves, and the groups' routing.
func ReadsSecrets(at Side) []Permit {
	return Join(Of(at, Vault, Sentinel, "data:read"), Of(at, Vault, Routing, "data:read"))
}

// WritesRouting writes the groups' routing, and takes its own version back.
func WritesRouting(at Side) []Permit {
	return Join(
		Of(at, Vault, Routing, "data:create", "data:read", "data:update", "metadata:read", "delete:update"),
		Of(at, Vault, Mount, "config:read"),
	)
}

// SeesSchedules asks about pipelines.
func SeesSchedules() []Permit { return Of(Outside, Temporal, Schedules, "DescribeSchedule") }

// ChangesSchedules pauses and resumes pipelines.
func ChangesSchedules() []Permit {
	return Of(Outside, Temporal, Schedules, "DescribeSchedule", "UpdateSchedule")
}

// RunsDatesAgain asks what ran of pipelines, and runs dates of them again.
func RunsDatesAgain() []Permit {
	return Of(Outside, Temporal, Schedules, "DescribeSchedule", "ListScheduleMatchingTimes", "PatchSchedule",
		"DescribeNamespace", "DescribeWorkflowExecution", "ListWorkflowExecutions")
}
