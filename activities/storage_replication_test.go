package activities

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/madmin-go/v3"
)

// mirroredLake is a world whose lake is replicated from east to west by the servers
// themselves, with the rule back ready and disabled.
func mirroredLake(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for i := range w.estate.Tiers {
		w.estate.Tiers[i].RPO = estate.Duration(time.Minute)
	}
	lake, _ := w.estate.Bucket("lake")
	lake.DeleteMarkers, lake.ReverseRule, lake.Retention = estate.Replicate, estate.Disabled, estate.Duration(72*time.Hour)
	w.replicate(east, west, w.address(west), types.ReplicationRuleStatusEnabled)
	w.replicate(west, east, w.address(east), types.ReplicationRuleStatusDisabled)
	return w
}

// address is host:port of a region's store.
func (w *world) address(region string) string {
	return strings.TrimPrefix(w.minio[region].Endpoint, "http://")
}

// replicate has one region's lake replicated into the other's, by way of an address.
func (w *world) replicate(from, to, by string, status types.ReplicationRuleStatus) (arn string) {
	w.t.Helper()
	source, target := w.bucket(from), w.bucket(to)
	arn, err := w.admin[from].SetRemoteTarget(w.t.Context(), source, &madmin.BucketTarget{
		SourceBucket: source, TargetBucket: target, Endpoint: by,
		Credentials: &madmin.Credentials{AccessKey: "replicator", SecretKey: secretOf("replicator")},
		Path:        "on", API: "s3v4", Type: madmin.ReplicationService, HealthCheckDuration: time.Second,
	})
	w.must(err)
	_, err = w.s3[from].PutBucketReplication(w.t.Context(), &s3.PutBucketReplicationInput{Bucket: &source, ReplicationConfiguration: &types.ReplicationConfiguration{
		Role: aws.String(""),
		Rules: []types.ReplicationRule{{
			ID: aws.String("to-" + to), Priority: aws.Int32(1), Status: status,
			Filter: &types.ReplicationRuleFilter{Prefix: aws.String("")}, Destination: &types.Destination{Bucket: &arn},
			DeleteMarkerReplication:   &types.DeleteMarkerReplication{Status: types.DeleteMarkerReplicationStatusEnabled},
			ExistingObjectReplication: &types.ExistingObjectReplication{Status: types.ExistingObjectReplicationStatusEnabled},
		}},
	}})
	w.must(err)
	return arn
}

// bucket is the lake's name in a region.
func (w *world) bucket(region string) string {
	w.t.Helper()
	real, err := w.estate.RealBucket("lake", region)
	w.must(err)
	return real
}

// put writes as root.
func (w *world) put(region, key, body string) string {
	w.t.Helper()
	out, err := w.s3[region].PutObject(w.t.Context(), &s3.PutObjectInput{Bucket: aws.String(w.bucket(region)), Key: &key, Body: bytes.NewReader([]byte(body))})
	w.must(err)
	return aws.ToString(out.VersionId)
}

// body is what a reader gets; empty if nothing.
func (w *world) body(region, key string) string {
	w.t.Helper()
	b, _, err := w.minio[region].Client(w.t).Get(w.t.Context(), w.bucket(region), key)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	w.must(err)
	return string(b)
}

// status is what the source says of an object's replication.
func (w *world) status(region, key string) string {
	w.t.Helper()
	out, err := w.s3[region].HeadObject(w.t.Context(), &s3.HeadObjectInput{Bucket: aws.String(w.bucket(region)), Key: &key})
	w.must(err)
	return string(out.ReplicationStatus)
}

// eventually asks until the answer is yes.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: never happened", what)
		case <-tick.C:
		}
	}
}

func (w *world) replicationFaults() fault.Set {
	return slices.Concat(faults.Replications(w.faults), faults.Storages(w.faults), faults.Regions(w.faults))
}

// sees verifies an action on a bucket.
func (w *world) sees(name, item string, want verdict.Verdict) []action.Observation {
	w.t.Helper()
	def := w.action(name)
	obs, err := def.Verify(w.t.Context(), w.request(def, item), nil)
	w.must(err)
	if got := action.Worst(obs); got != want {
		w.t.Errorf("%s on %s: %s, want %s\n%s", name, item, got, want, told(obs))
	}
	wellFormed(w.t, def, obs)
	return obs
}

func TestReplication(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t)
	def := w.action("storage.replication")
	proveAction(t, def, w.request(def, "lake"), w.replicationFaults())
}

func TestStandbyReady(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t)
	def := w.action("storage.standby-ready")
	proveAction(t, def, w.request(def, "lake"), w.replicationFaults())
}

func TestLateReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	def := w.action("storage.late-replicas")
	proveAction(t, def, w.request(def, "lake"), w.replicationFaults())
}
