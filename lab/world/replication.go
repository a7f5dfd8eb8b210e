package world

import (
	_ "embed"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/lab/faults"
	"breakwater/lab/server"
	"breakwater/lab/wan"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/madmin-go/v3"
)

// MirroredLake is a world whose lake is replicated from east to west by the servers
// themselves, with the rule back ready and disabled.
func MirroredLake(t *testing.T) *World {
	t.Helper()
	w := New(t)
	for i := range w.Estate.Tiers {
		w.Estate.Tiers[i].RPO = estate.Duration(time.Minute)
	}
	lake, _ := w.Estate.Bucket("lake")
	lake.DeleteMarkers, lake.ReverseRule, lake.Retention = estate.Replicate, estate.Disabled, estate.Duration(72*time.Hour)
	w.Replicate(East, West, w.Address(West), types.ReplicationRuleStatusEnabled)
	w.Replicate(West, East, w.Address(East), types.ReplicationRuleStatusDisabled)
	return w
}

// Address is host:port of a region's store.
func (w *World) Address(region string) string {
	return strings.TrimPrefix(w.Minio[region].Endpoint, "http://")
}

// Replicate has one region's lake replicated into the other's, by way of an address.
func (w *World) Replicate(from, to, by string, status types.ReplicationRuleStatus) (arn string) {
	w.T.Helper()
	source, target := w.Bucket(from), w.Bucket(to)
	arn, err := w.Admin[from].SetRemoteTarget(w.T.Context(), source, &madmin.BucketTarget{
		SourceBucket: source, TargetBucket: target, Endpoint: by,
		Credentials: &madmin.Credentials{AccessKey: "replicator", SecretKey: SecretOf("replicator")},
		Path:        "on", API: "s3v4", Type: madmin.ReplicationService, HealthCheckDuration: time.Second,
	})
	w.Must(err)
	_, err = w.S3[from].PutBucketReplication(w.T.Context(), &s3.PutBucketReplicationInput{Bucket: &source, ReplicationConfiguration: &types.ReplicationConfiguration{
		Role: aws.String(""),
		Rules: []types.ReplicationRule{{
			ID: aws.String("to-" + to), Priority: aws.Int32(1), Status: status,
			Filter: &types.ReplicationRuleFilter{Prefix: aws.String("")}, Destination: &types.Destination{Bucket: &arn},
			DeleteMarkerReplication:   &types.DeleteMarkerReplication{Status: types.DeleteMarkerReplicationStatusEnabled},
			ExistingObjectReplication: &types.ExistingObjectReplication{Status: types.ExistingObjectReplicationStatusEnabled},
		}},
	}})
	w.Must(err)
	return arn
}

// Status is what the source says of an object's replication.
func (w *World) Status(region, key string) string {
	w.T.Helper()
	out, err := w.S3[region].HeadObject(w.T.Context(), &s3.HeadObjectInput{Bucket: aws.String(w.Bucket(region)), Key: &key})
	w.Must(err)
	return string(out.ReplicationStatus)
}

// ReplicationFaults is what can be done to replication, storage and regions.
func (w *World) ReplicationFaults() fault.Set {
	return slices.Concat(faults.Replications(w.Faults), faults.Storages(w.Faults), faults.Regions(w.Faults))
}

// Line is a way between the regions that can be cut.
func (w *World) Line(to string) (address string, cut func(bool)) {
	w.T.Helper()
	ctx := w.T.Context()
	port, err := server.Ports(2, nil)
	w.Must(err)
	address, control := server.Address(port), server.Address(port+1)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- wan.Serve(ctx, control, []wan.Route{{Name: "objects", Listen: address, Target: w.Address(to)}}, ready)
	}()
	select {
	case <-ready:
	case err := <-ended:
		w.Must(err)
	}
	return address, func(yes bool) { w.Must(wan.Set(ctx, control, "objects", wan.Condition{Cut: yes})) }
}

// Lifecycle gives a bucket one rule.
func (w *World) Lifecycle(region string, rule types.LifecycleRule) {
	w.T.Helper()
	rule.ID, rule.Status = aws.String("rule"), types.ExpirationStatusEnabled
	if rule.Filter == nil {
		rule.Filter = &types.LifecycleRuleFilter{Prefix: aws.String("")}
	}
	_, err := w.S3[region].PutBucketLifecycleConfiguration(w.T.Context(), &s3.PutBucketLifecycleConfigurationInput{
		Bucket: aws.String(w.Bucket(region)), LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{rule}},
	})
	w.Must(err)
}

// Unmark removes the delete markers of a key.
func (w *World) Unmark(region, key string) {
	w.T.Helper()
	out, err := w.S3[region].ListObjectVersions(w.T.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(w.Bucket(region)), Prefix: &key})
	w.Must(err)
	for _, m := range out.DeleteMarkers {
		_, err := w.S3[region].DeleteObject(w.T.Context(), &s3.DeleteObjectInput{Bucket: aws.String(w.Bucket(region)), Key: m.Key, VersionId: m.VersionId})
		w.Must(err)
	}
}

// Remove takes one version away for good, as lifecycle does.
func (w *World) Remove(region, key, version string) {
	w.T.Helper()
	_, err := w.S3[region].DeleteObject(w.T.Context(), &s3.DeleteObjectInput{Bucket: aws.String(w.Bucket(region)), Key: &key, VersionId: &version})
	w.Must(err)
}

// Versions counts the versions and delete markers of a key.
func (w *World) Versions(region, key string) int {
	w.T.Helper()
	out, err := w.S3[region].ListObjectVersions(w.T.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(w.Bucket(region)), Prefix: &key})
	w.Must(err)
	return len(out.Versions)
}

// Existing sets whether the rules take objects that are older than they.
func (w *World) Existing(region string, status types.ExistingObjectReplicationStatus) {
	w.T.Helper()
	bucket := w.Bucket(region)
	out, err := w.S3[region].GetBucketReplication(w.T.Context(), &s3.GetBucketReplicationInput{Bucket: &bucket})
	w.Must(err)
	for i := range out.ReplicationConfiguration.Rules {
		out.ReplicationConfiguration.Rules[i].ExistingObjectReplication.Status = status
	}
	_, err = w.S3[region].PutBucketReplication(w.T.Context(), &s3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: out.ReplicationConfiguration})
	w.Must(err)
}

// ReplicationOff disables a region's rules.
func (w *World) ReplicationOff(region string) {
	w.T.Helper()
	bucket := w.Bucket(region)
	out, err := w.S3[region].GetBucketReplication(w.T.Context(), &s3.GetBucketReplicationInput{Bucket: &bucket})
	w.Must(err)
	for i := range out.ReplicationConfiguration.Rules {
		out.ReplicationConfiguration.Rules[i].Status = types.ReplicationRuleStatusDisabled
	}
	_, err = w.S3[region].PutBucketReplication(w.T.Context(), &s3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: out.ReplicationConfiguration})
	w.Must(err)
}
