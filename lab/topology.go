package lab

import (
	"time"

	"breakwater/lab/wan"
)

// group is a consistency group of the laboratory.
type group struct {
	name          string
	tier          int
	owner         string
	tables        []string // each lies at <group>/<table> in the bucket lake
	topic         string
	consumerGroup string
	peakRows      float64 // per second and table; the traffic obeys it
	peakMessages  float64 // per second
	pipelines     []pipeline
}

// pipeline is one schedule per region, named <name>-<region>.
type pipeline struct {
	name string
	// note is why a person paused it in both regions; empty for one that runs at
	// the primary and waits at the standby.
	note string
}

// burst is how many rows or messages may come at once beside the declared peak:
// two commits and a pipeline's rows, or a second's messages.
const burst = 100

func groups() []group {
	return []group{
		{
			name: "orders", tier: 1, owner: "data-platform",
			tables: []string{"orders", "payments"}, topic: "orders", consumerGroup: "orders-app",
			peakRows: 400, peakMessages: 200,
			pipelines: []pipeline{{name: "orders-rollup"}},
		},
		{
			name: "clicks", tier: 2, owner: "data-platform",
			tables: []string{"clicks"}, topic: "clicks", consumerGroup: "clicks-app",
			peakRows: 400, peakMessages: 200,
			pipelines: []pipeline{
				{name: "clicks-rollup"},
				{name: "clicks-backfill", note: "paused by erin: the backfill waits for the new schema, do not resume"},
			},
		},
	}
}

func (g group) path(table string) string { return g.name + "/" + table }
func (g group) writer() string           { return g.name + "-writer" }
func (g group) reader() string           { return g.name + "-reader" }
func (g group) secret() string           { return "lakehouse/" + g.name }

const (
	logicalBucket = "lake"
	ledgerBucket  = "breakwater-ledger"
	vaultMount    = "secret"
	sentinel      = "lakehouse/sentinel"
	partitions    = 4
	taskQueue     = "lab-pipelines"
	namespace     = "default"

	rootUser       = "minio-root"       // the laboratory's own, which the product never gets
	adminUser      = "breakwater-admin" // writes policies, and nothing else
	recoveryUser   = "breakwater"       // recovery's own
	replicatorUser = "replicator"       // delivers replicas into the standby
	ledgerUser     = "ledger"
	producerUser   = "producer"
	consumerUser   = "consumer"
)

// buckets are the real buckets behind the logical one.
func buckets() map[string]string {
	return map[string]string{Primary: "lake-east", Standby: "lake-west"}
}

// aliases name the clusters in MirrorMaker 2's topics and records.
func aliases() map[string]string { return map[string]string{Primary: "east", Standby: "west"} }

// people are the members of each role.
func people() []struct {
	role    string
	members []string
} {
	return []struct {
		role    string
		members []string
	}{
		{"incident-commander", []string{"alice", "bob"}},
		{"data-owner", []string{"carol", "dave"}},
		{"data-platform", []string{"erin"}},
		{"data-platform-lead", []string{"frank"}},
	}
}

// The lines between the regions.
const (
	LineObjects = "objects" // MinIO's replication
	LineKafka   = "kafka"   // MirrorMaker's connection to the primary's broker
)

// Conditions are how the lines are made. The objects' bandwidth is half as much
// again as the traffic needs on average, so that a large data file takes most of
// a second, the small log entry behind it overtakes it, and the standby catches up.
func Conditions() map[string]wan.Condition {
	return map[string]wan.Condition{
		LineObjects: {Latency: 120 * time.Millisecond, Out: 1 << 20},
		LineKafka:   {Latency: 30 * time.Millisecond, Out: 1 << 20, Back: 1 << 20},
	}
}
