package minio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

// own is a client for what MinIO adds to the S3 protocol, and the AWS client
// drops without a word.
func own(cfg s3.Config) (*miniogo.Client, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("minio endpoint %q: %w", cfg.Endpoint, err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // or the library would ask for it, each time
	}
	c, err := miniogo.New(u.Host, &miniogo.Options{
		Creds: credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken), Secure: u.Scheme == "https",
		Region: cfg.Region, BucketLookup: miniogo.BucketLookupPath, MaxRetries: 1,
		Transport: s3.Transport(cfg.ConnectTimeout, cfg.AnswerTimeout),
	})
	if err != nil {
		return nil, fmt.Errorf("minio at %s: %w", cfg.Endpoint, err)
	}
	return c, nil
}

// ask is [Admin.do] for those requests.
func (a *Admin) ask(ctx context.Context, doing, bucket string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err := call(ctx)
	// One that has just started answers before it can.
	for miniogo.ToErrorResponse(err).Code == "XMinioServerNotInitialized" && poll.Wait(ctx, 100*time.Millisecond) == nil {
		err = call(ctx)
	}
	if err == nil {
		return nil
	}
	var answer miniogo.ErrorResponse
	switch errors.As(err, &answer); answer.Code {
	case "":
		err = reach.Mark(err)
	case "NoSuchBucket":
		err = fmt.Errorf("%w: %w", objectstore.ErrNoBucket, err)
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch":
		err = fmt.Errorf("%w: access key %s: %w", fs.ErrPermission, a.store.AccessKey(), err)
	}
	return fmt.Errorf("%s s3://%s at %s: %w", doing, bucket, a.store.Endpoint(), err)
}

// Versioning is that of [objectstore.Overseer], with what is excepted.
func (a *Admin) Versioning(ctx context.Context, bucket string) (v objectstore.Versioning, err error) {
	err = a.ask(ctx, "read versioning of", bucket, func(ctx context.Context) error {
		cfg, err := a.own.GetBucketVersioning(ctx, bucket)
		v.On, v.Suspended = cfg.Enabled(), cfg.Suspended()
		for _, p := range cfg.ExcludedPrefixes {
			v.Except = append(v.Except, p.Prefix)
		}
		return err
	})
	return v, err
}

// Lifecycle is that of [objectstore.Overseer], with the rules that only MinIO has.
func (a *Admin) Lifecycle(ctx context.Context, bucket string) (objectstore.Lifecycle, error) {
	cfg := lifecycle.NewConfiguration()
	any := true
	err := a.ask(ctx, "read lifecycle of", bucket, func(ctx context.Context) error {
		got, err := a.own.GetBucketLifecycle(ctx, bucket)
		if miniogo.ToErrorResponse(err).Code == "NoSuchLifecycleConfiguration" {
			any = false
			return nil
		}
		if err == nil {
			cfg = got
		}
		return err
	})
	if err != nil {
		return objectstore.Lifecycle{}, err
	}
	all := objectstore.Lifecycle{Any: any}
	for _, r := range cfg.Rules {
		if r.Status == "Enabled" {
			all.Removals = append(all.Removals, removals(r)...)
		}
	}
	return all, nil
}

// removals is what one rule removes.
func removals(r lifecycle.Rule) []objectstore.Removal {
	f := r.RuleFilter
	rule := objectstore.Removal{Rule: r.ID, Prefix: r.Prefix}
	switch {
	case f.Prefix != "":
		rule.Prefix = f.Prefix
	case f.And.Prefix != "":
		rule.Prefix = f.And.Prefix
	}
	rule.Narrowed = !f.Tag.IsEmpty() || len(f.And.Tags) > 0 ||
		f.ObjectSizeGreaterThan+f.ObjectSizeLessThan+f.And.ObjectSizeGreaterThan+f.And.ObjectSizeLessThan > 0
	var all []objectstore.Removal
	add := func(what objectstore.Removed, days int, on time.Time, keep int) {
		one := rule
		one.What, one.After, one.On, one.Keep = what, objectstore.Days(days), on, keep
		all = append(all, one)
	}
	current := objectstore.RemovesObjects
	if r.Expiration.DeleteAll {
		current = objectstore.RemovesEverything
	}
	if !r.Expiration.IsDaysNull() || !r.Expiration.IsDateNull() {
		add(current, int(r.Expiration.Days), r.Expiration.Date.Time, 0)
	}
	if r.Expiration.DeleteMarker.IsEnabled() {
		add(objectstore.RemovesBareMarkers, 0, time.Time{}, 0)
	}
	if e := r.NoncurrentVersionExpiration; e.NoncurrentDays > 0 || e.NewerNoncurrentVersions > 0 {
		add(objectstore.RemovesOldVersions, int(e.NoncurrentDays), time.Time{}, e.NewerNoncurrentVersions)
	}
	if !r.DelMarkerExpiration.IsNull() {
		add(objectstore.RemovesDeleted, r.DelMarkerExpiration.Days, time.Time{}, 0)
	}
	if !r.AllVersionsExpiration.IsNull() {
		add(objectstore.RemovesEverything, r.AllVersionsExpiration.Days, time.Time{}, 0)
	}
	return all
}

// ReplicationCounts is that of [objectstore.Counter].
func (a *Admin) ReplicationCounts(ctx context.Context, bucket string) (objectstore.ReplicationCounts, error) {
	var m objectstore.ReplicationCounts
	err := a.ask(ctx, "read replication metrics of", bucket, func(ctx context.Context) error {
		got, err := a.own.GetBucketReplicationMetricsV2(ctx, bucket)
		if miniogo.ToErrorResponse(err).Code == "ReplicationConfigurationNotFoundError" {
			return nil // nothing to count
		}
		if err != nil {
			return err
		}
		now := got.CurrentStats
		m = objectstore.ReplicationCounts{
			Queued: int64(now.QStats.Curr.Count), QueuedBytes: int64(now.QStats.Curr.Bytes), Uptime: time.Duration(got.Uptime) * time.Second,
		}
		for _, t := range now.Stats {
			m.Failed += int64(t.Failed.LastMinute.Count)
			m.FailedBytes += t.Failed.LastMinute.Bytes
			m.Delivered += int64(t.ReplicatedCount)     //nolint:gosec // a count
			m.DeliveredBytes += int64(t.ReplicatedSize) //nolint:gosec // a count
			m.Any = m.Any || t.ReplicatedCount > 0 || t.Failed.Totals.Count > 0
		}
		m.Any = m.Any || m.Queued > 0
		return nil
	})
	return m, err
}
