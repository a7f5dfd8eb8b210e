package objectstore

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// What a store says of an object's replication; see [Object.ReplicationStatus].
const (
	ReplicationCompleted = "COMPLETED" // delivered to every target of the rule
	ReplicationPending   = "PENDING"
	ReplicationFailed    = "FAILED"
	ReplicationReplica   = "REPLICA" // it came by replication, and no rule takes it further
)

// Covers reports whether the rule replicates every key below the prefix.
func (r ReplicationRule) Covers(prefix string) bool {
	return r.Enabled && !r.Narrowed && strings.HasPrefix(prefix, r.Prefix)
}

// Histories yields all versions and delete markers of one key after the other, in
// the order of the keys' bytes; of each key the newest first. An error ends it.
// It holds one page of a listing at a time, and all versions of one key.
func (b Bucket) Histories(ctx context.Context, prefix string) iter.Seq2[[]Version, error] {
	return func(yield func([]Version, error) bool) {
		in := &s3.ListObjectVersionsInput{Bucket: &b.name, Prefix: &prefix}
		var held []Version // of the last key so far, whose history may go on
		for {
			page, err := b.c.s3.ListObjectVersions(ctx, in)
			if err == nil && aws.ToBool(page.IsTruncated) && aws.ToString(page.NextKeyMarker) == "" {
				err = errNoToken
			}
			if err != nil {
				yield(nil, b.c.fail("list versions", b.name, prefix, err))
				return
			}
			all := append(held, versionsOf(page)...)
			slices.SortStableFunc(all, func(x, y Version) int { return strings.Compare(x.Key, y.Key) })
			for len(all) > 0 {
				n := 1
				for n < len(all) && all[n].Key == all[0].Key {
					n++
				}
				if n == len(all) && aws.ToBool(page.IsTruncated) {
					break
				}
				history := slices.Clone(all[:n])
				newestFirst(history)
				if !yield(history, nil) {
					return
				}
				all = all[n:]
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			held = slices.Clone(all)
			in.KeyMarker, in.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker
		}
	}
}

// newestFirst orders a key's history. Times are whole seconds at some stores:
// what the store calls the latest comes first, and the rest keeps its order.
func newestFirst(history []Version) {
	slices.SortStableFunc(history, func(x, y Version) int {
		switch {
		case x.Latest != y.Latest && x.Latest:
			return -1
		case x.Latest != y.Latest:
			return 1
		}
		return y.LastModified.Compare(x.LastModified)
	})
}

func versionsOf(page *s3.ListObjectVersionsOutput) []Version {
	var all []Version
	for _, v := range page.Versions {
		all = append(all, Version{Latest: aws.ToBool(v.IsLatest), Object: Object{
			Key: aws.ToString(v.Key), Size: aws.ToInt64(v.Size), ETag: unquoteETag(v.ETag),
			VersionID: aws.ToString(v.VersionId), LastModified: aws.ToTime(v.LastModified),
		}})
	}
	for _, m := range page.DeleteMarkers {
		all = append(all, Version{Latest: aws.ToBool(m.IsLatest), DeleteMarker: true, Object: Object{
			Key: aws.ToString(m.Key), VersionID: aws.ToString(m.VersionId), LastModified: aws.ToTime(m.LastModified),
		}})
	}
	return all
}
