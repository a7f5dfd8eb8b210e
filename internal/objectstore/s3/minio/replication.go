package minio

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/minio/madmin-go/v3"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
)

// A server that has just started answers before it has read its targets: it is asked
// this often about a rule that leads nowhere, with this much between.
const (
	targetsAsked = 20
	targetsWait  = 200 * time.Millisecond
)

// Replication is that of [objectstore.Replicator].
func (a *Admin) Replication(ctx context.Context, bucket string) ([]objectstore.Route, error) {
	for asked := 1; ; asked++ {
		routes, err := a.routes(ctx, bucket)
		if err != nil || asked == targetsAsked || !slices.ContainsFunc(routes, func(r objectstore.Route) bool { return r.To == "" }) {
			return routes, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(targetsWait):
		}
	}
}

func (a *Admin) routes(ctx context.Context, bucket string) ([]objectstore.Route, error) {
	rules, err := a.store.Rules(ctx, bucket)
	if err != nil || len(rules) == 0 {
		return nil, err
	}
	var targets []madmin.BucketTarget
	err = a.do(ctx, "list replication targets of "+bucket, func(ctx context.Context) error {
		var err error
		targets, err = a.mc.ListRemoteTargets(ctx, bucket, string(madmin.ReplicationService))
		return err
	})
	if err != nil {
		return nil, err
	}
	routes := make([]objectstore.Route, len(rules))
	for i, r := range rules {
		routes[i] = objectstore.Route{ReplicationRule: r, Resyncs: true}
		for _, t := range targets {
			if t.Arn != r.Destination {
				continue
			}
			routes[i].To, routes[i].Endpoint = t.TargetBucket, "http://"+t.Endpoint
			if t.Secure {
				routes[i].Endpoint = "https://" + t.Endpoint
			}
			if t.Credentials != nil {
				routes[i].Principal = t.Credentials.AccessKey
			}
		}
	}
	return routes, nil
}

// Replicate makes a bucket replicate everything, delete markers and existing
// objects included, to a bucket at another MinIO, as the given principal there.
// Both buckets must have versioning. For laboratories.
func (a *Admin) Replicate(ctx context.Context, bucket string, to s3.Config, toBucket string) error {
	u, err := url.Parse(to.Endpoint)
	if err != nil || u.Host == "" {
		return fmt.Errorf("replicate %s: target endpoint %q is not a URL", bucket, to.Endpoint)
	}
	if rules, err := a.store.Rules(ctx, bucket); err != nil {
		return err
	} else if len(rules) > 0 {
		return fmt.Errorf("replicate %s: it has replication rules: %w; remove them first", bucket, fs.ErrExist)
	}
	var arn string
	err = a.do(ctx, "add a replication target to "+bucket, func(ctx context.Context) error {
		var err error
		arn, err = a.mc.SetRemoteTarget(ctx, bucket, &madmin.BucketTarget{
			SourceBucket: bucket, Endpoint: u.Host, Secure: u.Scheme == "https", TargetBucket: toBucket,
			Credentials: &madmin.Credentials{AccessKey: to.AccessKey, SecretKey: to.SecretKey},
			Type:        madmin.ReplicationService, API: "s3v4", Path: "on", Region: to.Region,
			HealthCheckDuration: time.Second,
		})
		return err
	})
	if err != nil {
		return err
	}
	return a.store.SetReplication(ctx, bucket, "", []objectstore.ReplicationRule{{
		ID: strings.ReplaceAll("to-"+u.Host+"-"+toBucket, ":", "-"), Enabled: true, Destination: arn, DeleteMarkers: true, ExistingObjects: true,
	}})
}
