package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
)

// Lifecycle is that of [objectstore.Overseer]. MinIO has rules of its own that this
// does not see: ask package minio there.
func (c *Client) Lifecycle(ctx context.Context, bucket string) (objectstore.Lifecycle, error) {
	out, err := c.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
	if code(err) == "NoSuchLifecycleConfiguration" {
		return objectstore.Lifecycle{}, nil
	}
	if err != nil {
		return objectstore.Lifecycle{}, c.fail("read lifecycle of", bucket, "", err)
	}
	all := objectstore.Lifecycle{Any: true}
	for _, r := range out.Rules {
		if r.Status != types.ExpirationStatusEnabled {
			continue
		}
		rule := objectstore.Removal{Rule: aws.ToString(r.ID), Prefix: aws.ToString(r.Prefix)} //nolint:staticcheck // deprecated for writers; rules made before Filter still have it
		if f := r.Filter; f != nil {
			rule.Narrowed = f.Tag != nil || f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil
			if f.Prefix != nil {
				rule.Prefix = *f.Prefix
			} else if a := f.And; a != nil {
				rule.Prefix = aws.ToString(a.Prefix)
				rule.Narrowed = len(a.Tags) > 0 || a.ObjectSizeGreaterThan != nil || a.ObjectSizeLessThan != nil
			}
		}
		all.Removals = append(all.Removals, each(rule, r)...)
	}
	return all, nil
}

// each is what one rule removes.
func each(r objectstore.Removal, from types.LifecycleRule) []objectstore.Removal {
	var all []objectstore.Removal
	if e := from.Expiration; e != nil {
		if e.Days != nil || e.Date != nil {
			current := r
			current.What, current.After, current.On = objectstore.RemovesObjects, objectstore.Days(int(aws.ToInt32(e.Days))), aws.ToTime(e.Date)
			all = append(all, current)
		}
		if aws.ToBool(e.ExpiredObjectDeleteMarker) {
			bare := r
			bare.What = objectstore.RemovesBareMarkers
			all = append(all, bare)
		}
	}
	if e := from.NoncurrentVersionExpiration; e != nil {
		old := r
		old.What, old.After, old.Keep = objectstore.RemovesOldVersions, objectstore.Days(int(aws.ToInt32(e.NoncurrentDays))), int(aws.ToInt32(e.NewerNoncurrentVersions))
		all = append(all, old)
	}
	return all
}
