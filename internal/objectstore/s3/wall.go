package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/policy"
)

// Attempts is that of [objectstore.WallTester].
func (c *Client) Attempts(w objectstore.Wall) (all []objectstore.Attempt, untried string) {
	probe := w.Key + "/nothing-is-here/"
	all = []objectstore.Attempt{
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
			return c.hold(ctx, w.Bucket, w.Key, w.Version, objectstore.Hold{Mode: w.Hold.Mode, Until: time.Now().Add(time.Hour)}, true)
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
			return c.SetReplication(ctx, w.Bucket, "", []objectstore.ReplicationRule{{ID: "breakwater-probe", Prefix: probe, Destination: "arn:aws:s3:::" + w.Bucket}})
		}},
	}
	if !w.HasLifecycle {
		all = append(all, objectstore.Attempt{What: "let a lifecycle rule expire versions", Try: func(ctx context.Context) error {
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
	policies, untried := c.policyAttempts(w)
	return append(all, policies...), untried
}

// ownPolicy denies to read what is not there: what an attempt on a bucket without a
// policy writes.
func ownPolicy(bucket string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"BreakwaterProbe","Effect":"Deny","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/nothing-is-here/*"]}]}`, bucket)
}

// policyAttempts are the ways to change the rules that make the wall. A policy is
// replaced by itself; where there is none, or just what an earlier attempt left, by
// one that denies nothing that is there. To remove it is tried where there is none:
// what is gone by somebody who may not write one could not be brought back.
func (c *Client) policyAttempts(w objectstore.Wall) (all []objectstore.Attempt, untried string) {
	if w.Policy == nil {
		return nil, ""
	}
	write := func(doc string) func(context.Context) error {
		return func(ctx context.Context) error { return c.setBucketPolicy(ctx, w.Bucket, doc) }
	}
	const what = "write the bucket's policy"
	own := ownPolicy(w.Bucket)
	if *w.Policy != "" && !policy.Same(*w.Policy, own) {
		return []objectstore.Attempt{{What: what, Try: write(*w.Policy)}},
			"to remove the bucket's policy was not tried, since whoever may not write one could not bring it back"
	}
	return []objectstore.Attempt{{What: what, Try: write(own), Undo: write("")}, {What: "remove the bucket's policy", Try: write("")}}, ""
}
