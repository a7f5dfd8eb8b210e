// Package estate describes what is to be recovered: regions, tiers, people,
// consistency groups and what belongs to them.
//
// An estate is one strict YAML file or folder, version-controlled by its owners
// and read by estate/load. It names credentials by reference and holds no
// secret, so it may enter a workflow's history. Its digest pins it: a run is
// planned, approved and executed against one estate and refuses another.
//
// This package is pure: it holds the types, their validation and the
// enumeration of items. Words are those of the design: a consistency group is
// what comes back together, and it has exactly one tier.
package estate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/sshsig"
)

// Estate is everything that a runbook may act on.
type Estate struct {
	Estate    string   `json:"estate" yaml:"estate"`                             // its name, as inputs give it
	ClockSkew Duration `json:"clock_skew,omitempty" yaml:"clock_skew,omitempty"` // the largest difference between any two clocks that write times; the cut keeps this distance
	Ledger    Ledger   `json:"ledger" yaml:"ledger"`                             // where evidence is kept
	Witness   Witness  `json:"witness,omitempty" yaml:"witness,omitempty"`       // where the witness keeps its journal; empty: golden queries have nothing to be held against
	Regions   []Region `json:"regions" yaml:"regions"`                           // exactly one primary, and one standby or more
	Tiers     []Tier   `json:"tiers" yaml:"tiers"`                               // order of recovery, and objectives
	Roles     []Role   `json:"roles" yaml:"roles"`                               // who decides and who is asked
	Buckets   []Bucket `json:"buckets" yaml:"buckets"`                           // logical buckets and the real one in each region
	Groups    []Group  `json:"groups" yaml:"groups"`                             // what comes back together
	Lineage   *Lineage `json:"lineage,omitempty" yaml:"lineage,omitempty"`       // where OpenLineage events are kept; without it only the estate, the tables' logs and the brokers tell who read what
	Backup    *Backup  `json:"backup,omitempty" yaml:"backup,omitempty"`         // where backups go, who may add to them and how long they stay; without it none are taken
}

// Ledger says where evidence is kept, for all directions of failover: a third
// place where possible, since neither region may be needed to read it.
type Ledger struct {
	Endpoint    string `json:"endpoint" yaml:"endpoint"`                 // URL of its S3; a third place where possible
	Region      string `json:"region,omitempty" yaml:"region,omitempty"` // region in request signatures; default: us-east-1
	Bucket      string `json:"bucket" yaml:"bucket"`                     // real name
	Prefix      string `json:"prefix,omitempty" yaml:"prefix,omitempty"` // put before every key
	Credentials Ref    `json:"credentials" yaml:"credentials"`           // access_key, secret_key, which may read and add
	SigningKey  Ref    `json:"signing_key" yaml:"signing_key"`           // OpenSSH private key of the worker, which signs heads and documents
	// Signers are the public keys, as in an authorized_keys line, whose signatures on heads, documents, journals and backups count; with valid-after="20260101Z" or valid-before="20261201Z" before a key, as in OpenSSH's allowed_signers, in that time alone.
	Signers []string `json:"signers" yaml:"signers"`
}

// Trusted are the keys of the signers whose signatures count at a time. That time is now,
// or one that people's signatures vouch for; it is never what a signed thing says of
// itself, since whoever has a key can date what he signs.
func (l Ledger) Trusted(at time.Time) ([]sshsig.Key, error) {
	keys := make([]sshsig.Key, 0, len(l.Signers))
	for _, line := range l.Signers {
		s, err := sshsig.ParseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("the signers of the ledger: %w", err)
		}
		if s.Valid(at) {
			keys = append(keys, s.Key)
		}
	}
	return keys, nil
}

// Witness says where the witness's journal is kept: at the standby, so that it
// is there when the primary is not.
type Witness struct {
	Bucket string `json:"bucket,omitempty" yaml:"bucket,omitempty"` // a logical bucket, in whose copy at the standby the journal is
	Prefix string `json:"prefix,omitempty" yaml:"prefix,omitempty"` // put before every key of the journal; outside of every table
}

// RoleOfRegion is what a region is in the estate, before any run.
type RoleOfRegion string

// The roles that a region can have.
const (
	Primary RoleOfRegion = "primary"
	Standby RoleOfRegion = "standby"
)

// Region is one place, with the systems that stand there.
type Region struct {
	Region  string       `json:"region" yaml:"region"`                       // its name
	Role    RoleOfRegion `json:"role" yaml:"role"`                           // what it is before any run: a failover goes from the primary to a standby
	Storage Storage      `json:"storage" yaml:"storage"`                     // its object store
	Kafka   *Kafka       `json:"kafka,omitempty" yaml:"kafka,omitempty"`     // its cluster; needed where a group has topics
	Connect *Connect     `json:"connect,omitempty" yaml:"connect,omitempty"` // the Kafka Connect cluster that runs MirrorMaker 2 into this region
	Vault   *Vault       `json:"vault,omitempty" yaml:"vault,omitempty"`     // its secret store; needed where a group has routing
}

// Storage is a region's object store.
type Storage struct {
	Provider    string `json:"provider" yaml:"provider"`                                 // aws or minio: decides how writers are fenced
	Endpoint    string `json:"endpoint,omitempty" yaml:"endpoint,omitempty"`             // URL; default: AWS's own
	SigningName string `json:"signing_region,omitempty" yaml:"signing_region,omitempty"` // region in request signatures; default: the region's name
	Credentials Ref    `json:"credentials" yaml:"credentials"`                           // recovery's own: read everything, write what is promoted
	Admin       Ref    `json:"admin,omitempty" yaml:"admin,omitempty"`                   // may change policies; for fences, access, and what MinIO tells administrators alone
	// Writers are the principals that a fence must stop, each with the
	// credentials by which the fence is proven.
	Writers []Principal `json:"writers,omitempty" yaml:"writers,omitempty"`
	// Replication is the principal that delivers replicas into this region; the
	// standby's intake is closed by denying it.
	Replication *Principal `json:"replication,omitempty" yaml:"replication,omitempty"`
}

// Principal is a user of an outside system, with credentials to act as it.
type Principal struct {
	Name        string `json:"name" yaml:"name"`               // a user in MinIO, an ARN on AWS
	Credentials Ref    `json:"credentials" yaml:"credentials"` // access_key, secret_key of this principal
}

// Kafka is a region's cluster.
type Kafka struct {
	Brokers     []string `json:"brokers" yaml:"brokers"`                             // bootstrap addresses, host:port
	ClusterID   string   `json:"cluster_id" yaml:"cluster_id"`                       // must match before any mutation
	Credentials Ref      `json:"credentials,omitempty" yaml:"credentials,omitempty"` // username, password; none for a trusted listener
	Alias       string   `json:"alias" yaml:"alias"`                                 // the cluster's alias in MirrorMaker 2
}

// Connect is the Kafka Connect cluster that runs MirrorMaker 2 into a region.
type Connect struct {
	URL            string   `json:"url" yaml:"url"`                                     // of the REST API
	Credentials    Ref      `json:"credentials,omitempty" yaml:"credentials,omitempty"` // username, password; none where nobody asks for them
	Source         string   `json:"source" yaml:"source"`                               // MirrorSourceConnector's name
	Checkpoint     string   `json:"checkpoint" yaml:"checkpoint"`                       // MirrorCheckpointConnector's name
	Heartbeat      string   `json:"heartbeat" yaml:"heartbeat"`                         // MirrorHeartbeatConnector's name
	Others         []string `json:"others,omitempty" yaml:"others,omitempty"`           // further connectors that write into this region
	OffsetsTopic   string   `json:"offsets_topic" yaml:"offsets_topic"`                 // offset.storage.topic of the worker
	PolicyIdentity bool     `json:"identity_policy" yaml:"identity_policy"`             // topics keep their names at the target; else they have the source's alias before them
	Separator      string   `json:"separator,omitempty" yaml:"separator,omitempty"`     // between alias and name: replication.policy.separator; a period if empty
	// Principal is the user by which the mirror writes into this region's cluster, named
	// without its type. It is denied to commit for promoted groups, and the denial is tried
	// with its credentials (username, password): then no group must be watched.
	Principal *Principal `json:"principal,omitempty" yaml:"principal,omitempty"`
}

// Connectors lists all connector names, the source connector first.
func (c *Connect) Connectors() []string {
	names := []string{c.Source, c.Checkpoint, c.Heartbeat}
	names = append(names, c.Others...)
	return slices.DeleteFunc(names, func(s string) bool { return s == "" })
}

// Vault is a region's secret store.
type Vault struct {
	Address     string `json:"address" yaml:"address"`         // URL of HashiCorp Vault or OpenBao
	Credentials Ref    `json:"credentials" yaml:"credentials"` // token
	Mount       string `json:"mount" yaml:"mount"`             // a KV version 2 mount
	// Sentinel is a secret that must be readable for the store to count as
	// usable: health alone says little.
	Sentinel string `json:"sentinel" yaml:"sentinel"`
}

// Tier orders recovery and carries its objectives.
type Tier struct {
	Tier int      `json:"tier" yaml:"tier"` // number from 1; lower ones recover first
	RTO  Duration `json:"rto" yaml:"rto"`   // from the outage to the tier's last milestone
	RPO  Duration `json:"rpo" yaml:"rpo"`   // the largest loss per dataset; 0s is none
}

// Method says how an approver of a role is identified.
type Method string

// The methods. Principal is stamped by a Temporal server with an authorizer.
const (
	Signed          Method = "signed"
	Claimed         Method = "claimed" // drills and plans only
	PrincipalMethod Method = "principal"
)

// Role is a set of people who may decide, and how each proves who they are.
type Role struct {
	Role    string   `json:"role" yaml:"role"`       // the name that runbooks use
	Method  Method   `json:"method" yaml:"method"`   // how its members prove who they are
	Members []Member `json:"members" yaml:"members"` // the people
}

// Member is one person of a role.
type Member struct {
	Name    string `json:"name" yaml:"name"`                           // as decisions give it
	Key     string `json:"key,omitempty" yaml:"key,omitempty"`         // an authorized_keys line; needed where the method is signed
	Contact string `json:"contact,omitempty" yaml:"contact,omitempty"` // how to reach the person
}

// Bucket is one logical bucket and the real one in each region.
type Bucket struct {
	Bucket string            `json:"bucket" yaml:"bucket"` // the logical name
	In     map[string]string `json:"in" yaml:"in"`         // the real bucket of each region
	// DeleteMarkers is what becomes of a key at the standby that the primary deletes,
	// [Replicate] or [Keep]; empty is undecided.
	DeleteMarkers string `json:"delete_markers,omitempty" yaml:"delete_markers,omitempty"`
	// ReverseRule is how the rule from the standby back to the primary stands ready,
	// [Enabled] or [Disabled]; empty is undecided.
	ReverseRule string `json:"reverse_rule,omitempty" yaml:"reverse_rule,omitempty"`
	// Retention is for how long, in every region, what was overwritten or deleted
	// can be brought back: no less than it may take to notice.
	Retention Duration `json:"retention,omitempty" yaml:"retention,omitempty"`
}

// What can be decided about a bucket's replication.
const (
	Replicate = "replicate" // a key deleted at the primary is deleted at the standby
	Keep      = "keep"      // the standby keeps what the primary deletes
	Enabled   = "enabled"   // the rule back stands ready and on, for replication both ways
	Disabled  = "disabled"  // the rule back stands ready, to be turned on at failback
)

// Group is a consistency group: tables, topics and consumer groups that come
// back together, at one cut.
type Group struct {
	Group          string          `json:"group" yaml:"group"`                                         // its name
	Tier           int             `json:"tier" yaml:"tier"`                                           // the one that it recovers with
	Owner          string          `json:"owner" yaml:"owner"`                                         // a role, which is asked about the group
	Tables         []Table         `json:"tables,omitempty" yaml:"tables,omitempty"`                   // what comes back at one cut
	Topics         []Topic         `json:"topics,omitempty" yaml:"topics,omitempty"`                   // what comes back with them
	ConsumerGroups []ConsumerGroup `json:"consumer_groups,omitempty" yaml:"consumer_groups,omitempty"` // what is placed at the target, at or before what the tables hold
	Access         *Access         `json:"access,omitempty" yaml:"access,omitempty"`                   // who reads and who writes
	Routing        *Routing        `json:"routing,omitempty" yaml:"routing,omitempty"`                 // the secret by which clients find their region
	Pipelines      []Pipeline      `json:"pipelines,omitempty" yaml:"pipelines,omitempty"`             // what runs on a schedule and writes the group's data
	Canary         *Canary         `json:"canary,omitempty" yaml:"canary,omitempty"`                   // a topic through which a marked record is sent
}

// Table is a lakehouse table.
type Table struct {
	Table  string `json:"table" yaml:"table"`   // its name, unique in the estate
	Format string `json:"format" yaml:"format"` // of its log; delta is the only one so far
	Bucket string `json:"bucket" yaml:"bucket"` // a logical bucket
	Path   string `json:"path" yaml:"path"`     // prefix inside it, without slashes at the ends
	// LogStore is who else than the log itself knows which commits count, [S3DynamoDB] or
	// [Catalog]; empty for nobody.
	LogStore string `json:"log_store,omitempty" yaml:"log_store,omitempty"`
	// PeakRows is the owner's promise of the most rows per second that the table
	// can take. It bounds a loss from a source that does not answer; without it
	// such a loss has no upper bound.
	PeakRows float64 `json:"peak_rows_per_second,omitempty" yaml:"peak_rows_per_second,omitempty"`
	// PeakBurst is the most rows that may come at once on top of that: those of
	// the largest single commit.
	PeakBurst int64 `json:"peak_burst_rows,omitempty" yaml:"peak_burst_rows,omitempty"`
	// Queries must answer as declared before anybody reads the recovered table.
	Queries []Query `json:"queries,omitempty" yaml:"queries,omitempty"`
}

// Who can know which commits of a table count, beside its log.
const (
	S3DynamoDB = "s3-dynamodb" // Spark's log store that enters a commit in DynamoDB before it publishes it in the log
	Catalog    = "catalog"     // a catalog or commit coordinator decides: the table does not come back by its log
)

// Query is SQL over the tables of a group, each under its name and at the version
// of the cut: a golden one, whose answer is known, or one of quality, which
// selects the rows that must not be.
type Query struct {
	Query   string `json:"query" yaml:"query"`                         // its name, unique in the table
	Golden  string `json:"golden,omitempty" yaml:"golden,omitempty"`   // SQL whose answer is known
	Quality string `json:"quality,omitempty" yaml:"quality,omitempty"` // SQL that selects the rows that must not be
	// Answer is that of a golden query: each row as a JSON list, in any order.
	Answer []string `json:"answer,omitempty" yaml:"answer,omitempty"`
}

// Topic is a mirrored Kafka topic.
type Topic struct {
	Topic string `json:"topic" yaml:"topic"` // its name in Kafka, unique in the estate
	// PeakMessages is the owner's promise of the most messages per second, as
	// [Table.PeakRows] is of rows.
	PeakMessages float64 `json:"peak_messages_per_second,omitempty" yaml:"peak_messages_per_second,omitempty"`
	// PeakBurst is how many messages a burst may add to that, as [Table.PeakBurst]
	// is for rows.
	PeakBurst int64 `json:"peak_burst_messages,omitempty" yaml:"peak_burst_messages,omitempty"`
}

// ConsumerGroup is a Kafka consumer group and the topics whose offsets it keeps.
// It crosses no tier.
type ConsumerGroup struct {
	ConsumerGroup string   `json:"consumer_group" yaml:"consumer_group"` // its name in Kafka
	Topics        []string `json:"topics" yaml:"topics"`                 // those whose offsets it keeps, all of the group's tier
	// Writes are the tables and topics into which its consumers bring what they read; a name that is both as table:NAME or topic:NAME.
	Writes []string `json:"writes,omitempty" yaml:"writes,omitempty"`
}

// Access says who reads and who writes a group's data in each region.
type Access struct {
	Readers []AccessPrincipal `json:"readers" yaml:"readers"` // who may read once the region is active
	Writers []AccessPrincipal `json:"writers" yaml:"writers"` // who may write as well
}

// AccessPrincipal is a principal in one region.
type AccessPrincipal struct {
	Region      string `json:"region" yaml:"region"`           // where the principal is
	Name        string `json:"name" yaml:"name"`               // a user in MinIO, an ARN on AWS
	Credentials Ref    `json:"credentials" yaml:"credentials"` // access_key, secret_key by which its rights are proven
}

// Routing is the secret by which a group's clients find their region: a KV
// version 2 secret, with the whole value that each region's clients must read.
type Routing struct {
	Secret string                       `json:"secret" yaml:"secret"` // path in the mount of each region's vault
	Values map[string]map[string]string `json:"values" yaml:"values"` // for each active region the whole value that clients must then read
}

// Pipeline is something that runs on a schedule and writes the group's data.
type Pipeline struct {
	Pipeline  string `json:"pipeline" yaml:"pipeline"`   // its name, unique in the estate
	Connector string `json:"connector" yaml:"connector"` // what it runs in; temporal-schedule is the only one so far
	// In is the pipeline's name in the orchestrator of each region.
	In map[string]string `json:"in" yaml:"in"`
	// Reads are the tables and topics that it reads; a name that is both as table:NAME or topic:NAME.
	Reads []string `json:"reads,omitempty" yaml:"reads,omitempty"`
	// Writes are the tables and topics that it writes; a name that is both as table:NAME or topic:NAME.
	Writes []string `json:"writes,omitempty" yaml:"writes,omitempty"`
}

// Canary is a topic of the group through which a marked record is sent.
type Canary struct {
	Topic string `json:"topic" yaml:"topic"` // one of the group's own topics
}

// Ref names a credential: vault:mount/path#field, env:NAME or file:path. It is
// resolved inside activities and never holds a secret itself.
type Ref string

// Duration is a time.Duration that reads and writes as "90s" or "4h".
type Duration time.Duration

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads, and refuses a negative one.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90s or 4h", text)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", text)
	}
	*d = Duration(v)
	return nil
}

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes the duration as Go does.
func (d Duration) String() string { return time.Duration(d).String() }

// Digest identifies the estate's content: SHA-256 over its JSON form, in which
// maps are sorted. Comments and layout of the file do not count.
func (e *Estate) Digest() (string, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("digest of estate %s: %w", e.Estate, err)
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Region returns the region of that name.
func (e *Estate) Region(name string) (*Region, bool) {
	for i := range e.Regions {
		if e.Regions[i].Region == name {
			return &e.Regions[i], true
		}
	}
	return nil, false
}

// Primary names the region that is the primary before any run; empty if there is none.
func (e *Estate) Primary() string {
	for _, r := range e.Regions {
		if r.Role == Primary {
			return r.Region
		}
	}
	return ""
}

// Role returns the role of that name.
func (e *Estate) Role(name string) (*Role, bool) {
	for i := range e.Roles {
		if SameName(e.Roles[i].Role, name) {
			return &e.Roles[i], true
		}
	}
	return nil, false
}

// Tier returns the tier of that number.
func (e *Estate) Tier(n int) (*Tier, bool) {
	for i := range e.Tiers {
		if e.Tiers[i].Tier == n {
			return &e.Tiers[i], true
		}
	}
	return nil, false
}

// Bucket returns the logical bucket of that name.
func (e *Estate) Bucket(name string) (*Bucket, bool) {
	for i := range e.Buckets {
		if e.Buckets[i].Bucket == name {
			return &e.Buckets[i], true
		}
	}
	return nil, false
}

// Group returns the consistency group of that name.
func (e *Estate) Group(name string) (*Group, bool) {
	for i := range e.Groups {
		if e.Groups[i].Group == name {
			return &e.Groups[i], true
		}
	}
	return nil, false
}

// TierNumbers lists the tiers in the order in which they recover.
func (e *Estate) TierNumbers() []int {
	var ns []int
	for _, t := range e.Tiers {
		ns = append(ns, t.Tier)
	}
	slices.SortFunc(ns, cmp.Compare[int])
	return ns
}
