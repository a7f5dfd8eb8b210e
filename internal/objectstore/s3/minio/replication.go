package minio

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/minio/madmin-go/v3"

	"breakwater/internal/objectstore"
)

// Replication is one rule of a bucket and the remote target that it names.
type Replication struct {
	Rule   objectstore.ReplicationRule
	Target Target
}

// Target is where a bucket's objects are replicated to. The zero value stands for
// a rule whose target is not configured, which replicates nothing.
type Target struct {
	ARN       string
	Endpoint  string // URL
	Bucket    string
	AccessKey string // the principal at the target that writes the replicas
	// Online and LastOnline are what the source's last health check of the target
	// found, not the state of any object.
	Online     bool
	LastOnline time.Time
}

// Replication reads the rules of a bucket with their targets. A bucket without
// rules has none, without an error.
func (a *Admin) Replication(ctx context.Context, bucket string) ([]Replication, error) {
	rules, err := a.store.Replication(ctx, bucket)
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
	out := make([]Replication, len(rules))
	for i, r := range rules {
		out[i].Rule = r
		for _, t := range targets {
			if t.Arn != r.Destination {
				continue
			}
			out[i].Target = Target{ARN: t.Arn, Endpoint: "http://" + t.Endpoint, Bucket: t.TargetBucket, Online: t.Online, LastOnline: t.LastOnline}
			if t.Secure {
				out[i].Target.Endpoint = "https://" + t.Endpoint
			}
			if t.Credentials != nil {
				out[i].Target.AccessKey = t.Credentials.AccessKey
			}
		}
	}
	return out, nil
}

// Replicate makes a bucket replicate everything, delete markers and existing
// objects included, to a bucket at another MinIO, as the given principal there.
// Both buckets must have versioning. For laboratories.
func (a *Admin) Replicate(ctx context.Context, bucket string, to objectstore.Config, toBucket string) error {
	u, err := url.Parse(to.Endpoint)
	if err != nil || u.Host == "" {
		return fmt.Errorf("replicate %s: target endpoint %q is not a URL", bucket, to.Endpoint)
	}
	if rules, err := a.Replication(ctx, bucket); err != nil {
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
