package objectstore

import (
	"context"
	"errors"
	"io/fs"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
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

// BucketVersioning reports whether every write to the bucket makes a new
// version. Suspended versioning does not.
func (c *Client) BucketVersioning(ctx context.Context, bucket string) (bool, error) {
	out, err := c.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket})
	if err != nil {
		return false, c.fail("read versioning of", bucket, "", err)
	}
	return out.Status == types.BucketVersioningStatusEnabled, nil
}

// ReplicationRule is one rule of a bucket's replication.
type ReplicationRule struct {
	ID      string
	Enabled bool
	Prefix  string // the keys it covers; empty for all
	// Narrowed says that the rule has a filter beyond the prefix, such as a tag:
	// what it covers cannot be told from keys.
	Narrowed    bool
	Destination string // ARN: of the bucket at AWS, of a remote target at MinIO
	// DeleteMarkers says that delete markers are replicated.
	DeleteMarkers bool
	// ExistingObjects says that objects older than the rule are covered.
	ExistingObjects bool
}

// Replication returns a bucket's replication rules. No rules, no error, when
// none are configured.
func (c *Client) Replication(ctx context.Context, bucket string) ([]ReplicationRule, error) {
	out, err := c.s3.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: &bucket})
	if code(err) == "ReplicationConfigurationNotFoundError" {
		return nil, nil
	}
	if err != nil {
		return nil, c.fail("read replication of", bucket, "", err)
	}
	var rules []ReplicationRule
	if out.ReplicationConfiguration == nil {
		return nil, nil
	}
	for _, r := range out.ReplicationConfiguration.Rules {
		rule := ReplicationRule{ID: aws.ToString(r.ID), Enabled: r.Status == types.ReplicationRuleStatusEnabled, Prefix: aws.ToString(r.Prefix)} //nolint:staticcheck // deprecated for writers; rules made before Filter still have it
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
func (c *Client) SetReplication(ctx context.Context, bucket, role string, rules []ReplicationRule) error {
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

// BucketPolicy is the bucket's policy document, byte for byte; empty when none.
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

// Bucket is a [Client] bound to one bucket: what a table format reads through.
// Its methods are the client's, without the bucket.
type Bucket struct {
	c    *Client
	name string
}

// Bucket binds the client to a bucket.
func (c *Client) Bucket(name string) Bucket { return Bucket{c, name} }

// Name is the bucket's name.
func (b Bucket) Name() string { return b.name }

// Client is what the bucket is asked through.
func (b Bucket) Client() *Client { return b.c }

// URL is the key's address, as s3://bucket/key.
func (b Bucket) URL(key string) string { return "s3://" + b.name + "/" + key }

// List is [Client.List].
func (b Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return b.c.List(ctx, b.name, prefix)
}

// ListVersions is [Client.ListVersions].
func (b Bucket) ListVersions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return b.c.ListVersions(ctx, b.name, prefix)
}

// Get is [Client.Get].
func (b Bucket) Get(ctx context.Context, key string) ([]byte, Object, error) {
	return b.c.Get(ctx, b.name, key)
}

// Head is [Client.Head].
func (b Bucket) Head(ctx context.Context, key string) (Object, error) {
	return b.c.Head(ctx, b.name, key)
}

// ReaderAt is [Client.ReaderAt].
func (b Bucket) ReaderAt(ctx context.Context, key, version string) (*Reader, error) {
	return b.c.ReaderAt(ctx, b.name, key, version)
}

// ReadAt is [Client.ReadAt].
func (b Bucket) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	return b.c.ReadAt(ctx, b.name, key, p, off)
}

// Put is [Client.Put].
func (b Bucket) Put(ctx context.Context, key string, body []byte) (Object, error) {
	return b.c.Put(ctx, b.name, key, body)
}

// PutIfAbsent is [Client.PutIfAbsent].
func (b Bucket) PutIfAbsent(ctx context.Context, key string, body []byte) (Object, error) {
	return b.c.PutIfAbsent(ctx, b.name, key, body)
}

// PutIfMatch is [Client.PutIfMatch].
func (b Bucket) PutIfMatch(ctx context.Context, key string, body []byte, etag string) (Object, error) {
	return b.c.PutIfMatch(ctx, b.name, key, body, etag)
}

// Copy is [Client.Copy] within the bucket; from.Bucket is ignored.
func (b Bucket) Copy(ctx context.Context, from Source, key string) (Object, error) {
	from.Bucket = b.name
	return b.c.Copy(ctx, from, b.name, key)
}

// Delete is [Client.Delete].
func (b Bucket) Delete(ctx context.Context, key string) (marker string, err error) {
	return b.c.Delete(ctx, b.name, key)
}

// DeleteVersion is [Client.DeleteVersion].
func (b Bucket) DeleteVersion(ctx context.Context, key, version string) error {
	return b.c.DeleteVersion(ctx, b.name, key, version)
}

// Exists reports whether a key is there now. An error means that it could not be
// told.
func (b Bucket) Exists(ctx context.Context, key string) (bool, error) {
	_, err := b.Head(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
