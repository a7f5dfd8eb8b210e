package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Wall is a place whose content somebody must not be able to destroy, and one
// object in it, held, on which that is tried.
type Wall struct {
	Attacker *Client
	Bucket   string
	Key      string
	Version  string
	Hold     Hold
	// HasLifecycle is what [Client.ExpiryRules] saw: an attempt on a bucket that
	// has one would replace it if let through, so it is not made there.
	HasLifecycle bool
	// Policy is what [Client.BucketPolicy] returned; nil where that is not known,
	// and then nothing is tried that could replace it.
	Policy *string
}

// Attempt is one way to destroy what is behind a wall.
type Attempt struct {
	What string
	// Deletes marks what a lock alone stops, even of those who may delete.
	Deletes bool
	// Marks says that it leaves a delete marker, and hides nothing from who reads
	// by version.
	Marks bool
	// Shortens marks what nobody can do to a hold in mode compliance, and what a
	// store may answer there before it asks for rights.
	Shortens bool
	Try      func(context.Context) error
	// Undo takes back what came of it where it was let through; nil where nothing
	// can or need be.
	Undo func(context.Context) error
}

// Attempts are the ways over a wall. Each is harmless if it is let through: what
// is attacked is the one object, and what is configured is taken back by Undo.
func (w Wall) Attempts() []Attempt {
	c := w.Attacker
	probe := w.Key + "/nothing-is-here/"
	all := []Attempt{
		{What: "delete a version for good", Deletes: true, Try: func(ctx context.Context) error {
			return c.DeleteVersion(ctx, w.Bucket, w.Key, w.Version)
		}},
		{What: "delete a version for good, bypassing governance", Deletes: true, Try: func(ctx context.Context) error {
			_, err := c.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &w.Bucket, Key: &w.Key, VersionId: &w.Version, BypassGovernanceRetention: aws.Bool(true)})
			return c.fail("delete, bypassing governance,", w.Bucket, w.Key, err)
		}},
		{What: "hide an object behind a delete marker", Marks: true, Try: func(ctx context.Context) error {
			_, err := c.Delete(ctx, w.Bucket, w.Key)
			return err
		}},
		{What: "shorten a retention to an hour, bypassing governance", Shortens: true, Try: func(ctx context.Context) error {
			return c.hold(ctx, w.Bucket, w.Key, w.Version, Hold{Mode: w.Hold.Mode, Until: time.Now().Add(time.Hour)}, true)
		}},
		{What: "suspend versioning", Try: func(ctx context.Context) error {
			_, err := c.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
				Bucket: &w.Bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
			})
			return c.fail("suspend versioning of", w.Bucket, "", err)
		}, Undo: func(ctx context.Context) error {
			_, err := c.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
				Bucket: &w.Bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
			})
			return c.fail("bring back versioning of", w.Bucket, "", err)
		}},
		{What: "configure replication", Try: func(ctx context.Context) error { // to itself: a store refuses that even of those who may
			return c.SetReplication(ctx, w.Bucket, "", []ReplicationRule{{ID: "breakwater-probe", Prefix: probe, Destination: "arn:aws:s3:::" + w.Bucket}})
		}},
	}
	if !w.HasLifecycle {
		all = append(all, Attempt{What: "let a lifecycle rule expire versions", Try: func(ctx context.Context) error {
			_, err := c.s3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
				Bucket: &w.Bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
					ID: aws.String("breakwater-probe"), Status: types.ExpirationStatusDisabled, Filter: &types.LifecycleRuleFilter{Prefix: &probe},
					NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(3650)},
				}}},
			})
			return c.fail("change the lifecycle of", w.Bucket, "", err)
		}, Undo: func(ctx context.Context) error {
			_, err := c.s3.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: &w.Bucket})
			return c.fail("take back the lifecycle of", w.Bucket, "", err)
		}})
	}
	return append(all, w.policyAttempts()...)
}

// ownPolicy denies to read what is not there: what an attempt on a bucket without a
// policy writes.
func (w Wall) ownPolicy() string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"BreakwaterProbe","Effect":"Deny","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/nothing-is-here/*"]}]}`, w.Bucket)
}

// HasPolicy reports whether the bucket is known to have a policy of somebody's, and
// not just what an earlier attempt left.
func (w Wall) HasPolicy() bool {
	return w.Policy != nil && *w.Policy != "" && !samePolicy(*w.Policy, w.ownPolicy())
}

// policyAttempts are the ways to change the rules that make the wall. A policy is
// replaced by itself; where there is none, by one that denies nothing that is there.
// To remove it is tried where there is none: what is gone by somebody who may not
// write one could not be brought back.
func (w Wall) policyAttempts() []Attempt {
	if w.Policy == nil {
		return nil
	}
	write := func(doc string) func(context.Context) error {
		return func(ctx context.Context) error { return w.Attacker.setBucketPolicy(ctx, w.Bucket, doc) }
	}
	const what = "write the bucket's policy"
	if w.HasPolicy() {
		return []Attempt{{What: what, Try: write(*w.Policy)}}
	}
	return []Attempt{{What: what, Try: write(w.ownPolicy()), Undo: write("")}, {What: "remove the bucket's policy", Try: write("")}}
}

// Nobody reports whether the store's answer says that it knows no principal of
// that key. It is a denial only for keys that are known to work elsewhere.
func Nobody(err error) bool { return code(err) == "InvalidAccessKeyId" }

// ExpiryRule is a lifecycle rule that deletes versions in silence.
type ExpiryRule struct {
	ID     string
	Prefix string // of the keys it is for; empty for all
	After  time.Duration
}

// ExpiryRules lists the enabled lifecycle rules of a bucket that delete current or
// noncurrent versions, and whether it has a lifecycle at all.
func (c *Client) ExpiryRules(ctx context.Context, bucket string) (rules []ExpiryRule, any bool, err error) {
	out, err := c.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
	if code(err) == "NoSuchLifecycleConfiguration" {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, c.fail("read the lifecycle of", bucket, "", err)
	}
	const day = 24 * time.Hour
	for _, r := range out.Rules {
		if r.Status != types.ExpirationStatusEnabled {
			continue
		}
		e := ExpiryRule{ID: aws.ToString(r.ID), Prefix: aws.ToString(r.Prefix)} //nolint:staticcheck // old rules have it there
		if r.Filter != nil {
			e.Prefix += aws.ToString(r.Filter.Prefix)
			if r.Filter.And != nil {
				e.Prefix += aws.ToString(r.Filter.And.Prefix)
			}
		}
		if x := r.NoncurrentVersionExpiration; x != nil {
			e.After = time.Duration(aws.ToInt32(x.NoncurrentDays)) * day
			rules = append(rules, e)
		}
		if x := r.Expiration; x != nil && (x.Date != nil || aws.ToInt32(x.Days) > 0) {
			e.After = time.Duration(aws.ToInt32(x.Days)) * day
			rules = append(rules, e)
		}
	}
	return rules, true, nil
}

// Stands reports whether the wall's object is still there as it was, by the eyes
// of another: nil if it is.
func (w Wall) Stands(ctx context.Context, reader *Client, size int64) error {
	s, err := reader.Seal(ctx, w.Bucket, w.Key, w.Version)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("version %s of %s is gone: %w", w.Version, w.Key, ErrChanged)
	case err != nil:
		return err
	case s.Size != size:
		return fmt.Errorf("version %s of %s has %d bytes, had %d: %w", w.Version, w.Key, s.Size, size, ErrChanged)
	case s.Hold.Mode != w.Hold.Mode || s.Hold.Until.Before(w.Hold.Until):
		return fmt.Errorf("version %s of %s is held until %s in mode %q, was until %s in mode %s: %w",
			w.Version, w.Key, s.Hold.Until.Format(time.RFC3339), s.Hold.Mode, w.Hold.Until.Format(time.RFC3339), w.Hold.Mode, ErrChanged)
	}
	return nil
}
