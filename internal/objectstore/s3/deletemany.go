package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/poll"
)

// DeleteMany is that of [objectstore.Remover]. After a lost answer a key may have two
// delete markers.
func (c *Client) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (done int, err error) {
	var errs []error
	for part := range slices.Chunk(all, objectstore.DeletionsAtMost) {
		n, err := c.deletePart(ctx, bucket, part)
		done += n
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return done, errors.Join(errs...)
}

func (c *Client) deletePart(ctx context.Context, bucket string, part []objectstore.Deletion) (done int, err error) {
	var left []types.ObjectIdentifier
	etags := map[string]string{}
	for _, d := range part {
		if !inXML(d.Key) { // such a key would arrive as another one
			in := &s3.DeleteObjectInput{Bucket: &bucket, Key: &d.Key, VersionId: optional(d.VersionID)}
			if d.ETag != "" {
				in.IfMatch = quoteETag(d.ETag)
			}
			if _, err := c.s3.DeleteObject(ctx, in); err != nil {
				return done, c.fail("delete", bucket, d.Key, err)
			}
			done++
			continue
		}
		one := types.ObjectIdentifier{Key: aws.String(d.Key), VersionId: optional(d.VersionID)}
		if d.ETag != "" {
			etags[d.Key] = d.ETag
			one.ETag = quoteETag(d.ETag)
		}
		left = append(left, one)
	}
	for attempt := 1; len(left) > 0; attempt++ {
		out, err := c.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &bucket, Delete: &types.Delete{Objects: left, Quiet: aws.Bool(true)},
		}, c.slow)
		if err != nil {
			return done, c.fail(fmt.Sprintf("delete %s, the first", plural.Of(len(left), "key")), bucket, *left[0].Key, err)
		}
		var again []types.ObjectIdentifier
		var refused []types.Error
		for _, e := range out.Errors {
			switch {
			case aws.ToString(e.Code) == "NoSuchVersion" || aws.ToString(e.Code) == "NoSuchKey": // what was wanted
			case attempt < slowAttempts && slow(&smithy.GenericAPIError{Code: aws.ToString(e.Code)}) || attempt < c.cfg.Attempts && aws.ToString(e.Code) == "InternalError":
				one := types.ObjectIdentifier{Key: e.Key, VersionId: e.VersionId}
				if etag := etags[aws.ToString(e.Key)]; etag != "" {
					one.ETag = quoteETag(etag)
				}
				again = append(again, one)
			default:
				refused = append(refused, e)
			}
		}
		done += len(left) - len(again) - len(refused)
		if len(refused) > 0 {
			return done, c.refusedDeletion(bucket, refused)
		}
		if left = again; len(left) > 0 {
			if poll.Wait(ctx, slowDelay(attempt)) != nil {
				return done, ctx.Err()
			}
		}
	}
	return done, nil
}

// refusedDeletion words what the store said about single keys of a request that
// it otherwise did.
func (c *Client) refusedDeletion(bucket string, refused []types.Error) error {
	e := refused[0]
	said := aws.ToString(e.Code)
	if m := aws.ToString(e.Message); m != "" {
		said += ": " + m
	}
	r := &refusal{text: "the store answered " + said}
	switch aws.ToString(e.Code) {
	case "PreconditionFailed", "ConditionalRequestConflict":
		r.kinds = []error{objectstore.ErrChanged}
	case "AccessDenied":
		r = &refusal{text: fmt.Sprintf("access key %s is denied (%s); check its policies", c.cfg.AccessKey, said), kinds: []error{fs.ErrPermission, objectstore.ErrDenied}}
	}
	return c.fail(fmt.Sprintf("delete: refused for %s, the first", plural.Of(len(refused), "key")), bucket, aws.ToString(e.Key), r)
}

// inXML reports whether a key survives the body of a request. XML 1.0 has no
// control characters, and turns a carriage return into a line feed.
func inXML(key string) bool {
	if !utf8.ValidString(key) {
		return false
	}
	for _, r := range key {
		if r < 0x20 || r == 0xFFFE || r == 0xFFFF || r == utf8.RuneError {
			return false
		}
	}
	return true
}
