package objectstore

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Removed is what a lifecycle rule takes away.
type Removed string

// What lifecycle rules take away.
const (
	// RemovesObjects hides current objects under a delete marker, or removes them
	// where no versions are kept.
	RemovesObjects Removed = "current objects"
	// RemovesOldVersions removes versions that are no longer current, for good.
	RemovesOldVersions Removed = "old versions"
	// RemovesBareMarkers removes delete markers that hide nothing any more.
	RemovesBareMarkers Removed = "delete markers that hide nothing"
	// RemovesDeleted removes a deleted key with its delete marker and every version
	// below it, for good. MinIO's own.
	RemovesDeleted Removed = "deleted keys with every version"
	// RemovesEverything removes current objects with every version below them, for
	// good. MinIO's own.
	RemovesEverything Removed = "current objects with every version"
)

// Removal is one thing that a bucket's lifecycle does by itself, without anybody
// deleting anything.
type Removal struct {
	Rule   string // its id
	Prefix string // the keys it takes; empty for all
	// Narrowed says that the rule has a filter beyond the prefix, such as a tag or
	// a size: which keys it takes cannot be told from their names.
	Narrowed bool
	What     Removed
	// After is the age at which it happens: of a current object since it was
	// written, of an old version since it was replaced, of a deleted key since it
	// was deleted. Rules count whole days.
	After time.Duration
	On    time.Time // the day on which it happens, whatever the age; zero for none
	Keep  int       // how many of the newest old versions stay whatever their age
}

// Touches reports whether the rule can take anything below the prefix.
func (r Removal) Touches(prefix string) bool {
	return strings.HasPrefix(prefix, r.Prefix) || strings.HasPrefix(r.Prefix, prefix)
}

// Days is a number of days as a duration.
func Days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// Lifecycle returns what the enabled lifecycle rules of a bucket remove. Without
// rules there is none, and no error. MinIO has rules of its own that this does
// not see: ask package minio there.
func (c *Client) Lifecycle(ctx context.Context, bucket string) ([]Removal, error) {
	out, err := c.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
	if code(err) == "NoSuchLifecycleConfiguration" {
		return nil, nil
	}
	if err != nil {
		return nil, c.fail("read lifecycle of", bucket, "", err)
	}
	var all []Removal
	for _, r := range out.Rules {
		if r.Status != types.ExpirationStatusEnabled {
			continue
		}
		rule := Removal{Rule: aws.ToString(r.ID), Prefix: aws.ToString(r.Prefix)} //nolint:staticcheck // deprecated for writers; rules made before Filter still have it
		if f := r.Filter; f != nil {
			rule.Narrowed = f.Tag != nil || f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil
			if f.Prefix != nil {
				rule.Prefix = *f.Prefix
			} else if a := f.And; a != nil {
				rule.Prefix = aws.ToString(a.Prefix)
				rule.Narrowed = len(a.Tags) > 0 || a.ObjectSizeGreaterThan != nil || a.ObjectSizeLessThan != nil
			}
		}
		all = append(all, rule.each(r)...)
	}
	return all, nil
}

// each is what one rule removes.
func (r Removal) each(from types.LifecycleRule) []Removal {
	var all []Removal
	if e := from.Expiration; e != nil {
		if e.Days != nil || e.Date != nil {
			current := r
			current.What, current.After, current.On = RemovesObjects, Days(int(aws.ToInt32(e.Days))), aws.ToTime(e.Date)
			all = append(all, current)
		}
		if aws.ToBool(e.ExpiredObjectDeleteMarker) {
			bare := r
			bare.What = RemovesBareMarkers
			all = append(all, bare)
		}
	}
	if e := from.NoncurrentVersionExpiration; e != nil {
		old := r
		old.What, old.After, old.Keep = RemovesOldVersions, Days(int(aws.ToInt32(e.NoncurrentDays))), int(aws.ToInt32(e.NewerNoncurrentVersions))
		all = append(all, old)
	}
	return all
}
