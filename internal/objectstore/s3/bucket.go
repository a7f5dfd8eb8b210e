package s3

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
)

// CreateBucket makes a bucket, with versioning if asked, for laboratories. One
// that is already there and ours is no error.
func (c *Client) CreateBucket(ctx context.Context, bucket string, versioned bool) error {
	in := &s3.CreateBucketInput{Bucket: &bucket}
	if c.cfg.Region != "us-east-1" { // the one region that must not be named
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{
			LocationConstraint: types.BucketLocationConstraint(c.cfg.Region),
		}
	}
	if _, err := c.s3.CreateBucket(ctx, in); err != nil && code(err) != "BucketAlreadyOwnedByYou" {
		return c.fail("create", bucket, "", err)
	}
	if !versioned {
		return nil
	}
	_, err := c.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket:                  &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	return c.fail("turn versioning on for", bucket, "", err)
}

// Versioning is that of [objectstore.Versions]. It does not see what MinIO excepts.
func (c *Client) Versioning(ctx context.Context, bucket string) (objectstore.Versioning, error) {
	out, err := c.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket})
	if err != nil {
		return objectstore.Versioning{}, c.fail("read versioning of", bucket, "", err)
	}
	return objectstore.Versioning{On: out.Status == types.BucketVersioningStatusEnabled, Suspended: out.Status == types.BucketVersioningStatusSuspended}, nil
}

// Replication is that of [objectstore.Replicator]. It knows where a rule of AWS's
// leads; a rule of MinIO's names a target that only its administrator may ask for.
func (c *Client) Replication(ctx context.Context, bucket string) ([]objectstore.Route, error) {
	rules, err := c.Rules(ctx, bucket)
	routes := make([]objectstore.Route, 0, len(rules))
	for _, r := range rules {
		_, to, _ := strings.Cut(r.Destination, ":::")
		routes = append(routes, objectstore.Route{ReplicationRule: r, To: to})
	}
	return routes, err
}

// Rules returns a bucket's replication rules as they are written there. No rules, no
// error, when none are configured.
func (c *Client) Rules(ctx context.Context, bucket string) ([]objectstore.ReplicationRule, error) {
	out, err := c.s3.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: &bucket})
	if code(err) == "ReplicationConfigurationNotFoundError" {
		return nil, nil
	}
	if err != nil {
		return nil, c.fail("read replication of", bucket, "", err)
	}
	var rules []objectstore.ReplicationRule
	if out.ReplicationConfiguration == nil {
		return nil, nil
	}
	for _, r := range out.ReplicationConfiguration.Rules {
		rule := objectstore.ReplicationRule{ID: aws.ToString(r.ID), Enabled: r.Status == types.ReplicationRuleStatusEnabled, Prefix: aws.ToString(r.Prefix)} //nolint:staticcheck // deprecated for writers; rules made before Filter still have it
		if f := r.Filter; f != nil {
			rule.Narrowed = f.Tag != nil || f.And != nil && len(f.And.Tags) > 0
			if f.Prefix != nil {
				rule.Prefix = *f.Prefix
			} else if f.And != nil {
				rule.Prefix = aws.ToString(f.And.Prefix)
			}
		}
		if r.Destination != nil {
			rule.Destination = aws.ToString(r.Destination.Bucket)
		}
		if m := r.DeleteMarkerReplication; m != nil {
			rule.DeleteMarkers = m.Status == types.DeleteMarkerReplicationStatusEnabled
		}
		if e := r.ExistingObjectReplication; e != nil {
			rule.ExistingObjects = e.Status == types.ExistingObjectReplicationStatusEnabled
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// SetReplication replaces a bucket's replication rules, for laboratories. role
// is the ARN that AWS replicates as; MinIO wants it empty.
func (c *Client) SetReplication(ctx context.Context, bucket, role string, rules []objectstore.ReplicationRule) error {
	onOff := map[bool]string{true: "Enabled", false: "Disabled"}
	cfg := &types.ReplicationConfiguration{Role: &role}
	for i, r := range rules {
		cfg.Rules = append(cfg.Rules, types.ReplicationRule{
			ID: aws.String(r.ID), Priority: aws.Int32(int32(i + 1)), // a handful of rules
			Status:      types.ReplicationRuleStatus(onOff[r.Enabled]),
			Filter:      &types.ReplicationRuleFilter{Prefix: aws.String(r.Prefix)},
			Destination: &types.Destination{Bucket: aws.String(r.Destination)},
			DeleteMarkerReplication: &types.DeleteMarkerReplication{
				Status: types.DeleteMarkerReplicationStatus(onOff[r.DeleteMarkers]),
			},
			ExistingObjectReplication: &types.ExistingObjectReplication{
				Status: types.ExistingObjectReplicationStatus(onOff[r.ExistingObjects]),
			},
		})
	}
	_, err := c.s3.PutBucketReplication(ctx, &s3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: cfg})
	return c.fail("set replication of", bucket, "", err)
}

// BucketPolicy is that of [objectstore.WallTester].
func (c *Client) BucketPolicy(ctx context.Context, bucket string) (string, error) {
	out, err := c.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket})
	if code(err) == "NoSuchBucketPolicy" {
		return "", nil
	}
	if err != nil {
		return "", c.fail("read policy of", bucket, "", err)
	}
	return aws.ToString(out.Policy), nil
}

// setBucketPolicy writes the policy, or removes it when doc is empty.
func (c *Client) setBucketPolicy(ctx context.Context, bucket, doc string) error {
	var err error
	if doc == "" {
		_, err = c.s3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: &bucket})
	} else {
		_, err = c.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &doc})
	}
	return c.fail("write policy of", bucket, "", err)
}

// Bucket binds the client to a bucket.
func (c *Client) Bucket(name string) objectstore.Bucket { return objectstore.Bind(c, name) }
