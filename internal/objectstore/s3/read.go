package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
)

// Get is that of [objectstore.Reader].
func (c *Client) Get(ctx context.Context, bucket, key string) ([]byte, objectstore.Object, error) {
	return c.GetVersion(ctx, bucket, key, "")
}

// GetVersion is that of [objectstore.Versions].
func (c *Client) GetVersion(ctx context.Context, bucket, key, version string) ([]byte, objectstore.Object, error) {
	out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version)})
	if err != nil {
		return nil, objectstore.Object{}, c.fail("get", bucket, key, err)
	}
	o := objectstore.Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId),
		LastModified: aws.ToTime(out.LastModified), ReplicationStatus: string(out.ReplicationStatus),
	}
	body, err := io.ReadAll(out.Body)
	if err := errors.Join(err, out.Body.Close()); err != nil {
		return nil, o, c.fail("get", bucket, key, err)
	}
	return body, o, nil
}

// VersionReader is that of [objectstore.Versions].
func (c *Client) VersionReader(ctx context.Context, bucket, key, version string) (io.ReadCloser, objectstore.Object, error) {
	out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version)})
	if err != nil {
		return nil, objectstore.Object{}, c.fail("get", bucket, key, err)
	}
	return out.Body, objectstore.Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId), LastModified: aws.ToTime(out.LastModified),
	}, nil
}

// Head is that of [objectstore.Reader].
func (c *Client) Head(ctx context.Context, bucket, key string) (objectstore.Object, error) {
	return c.HeadVersion(ctx, bucket, key, "")
}

// HeadVersion is that of [objectstore.Versions].
func (c *Client) HeadVersion(ctx context.Context, bucket, key, version string) (objectstore.Object, error) {
	out, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version)})
	if err != nil {
		return objectstore.Object{}, c.failHead(ctx, "head", bucket, key, version, err)
	}
	return objectstore.Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId),
		LastModified: aws.ToTime(out.LastModified), ReplicationStatus: string(out.ReplicationStatus), Archived: archived(out),
	}, nil
}

// archived reports whether an object must be restored before it can be read. A restored
// one says so, with the day until which it is.
func archived(out *s3.HeadObjectOutput) bool {
	restored := strings.Contains(aws.ToString(out.Restore), `ongoing-request="false"`)
	return (objectstore.ArchiveClass(string(out.StorageClass)) || out.ArchiveStatus != "") && !restored
}

// orNoBucket replaces the answer "not found", which a HEAD gives without saying
// what, if it is the bucket that is missing or if that cannot be told. A
// principal that may not ask for the bucket has got as far as its objects.
func (c *Client) orNoBucket(ctx context.Context, bucket string, notFound error) error {
	_, err := c.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	if err == nil {
		return notFound
	}
	switch err := c.classify(err); {
	case errors.Is(err, fs.ErrNotExist):
		return c.fail("head", bucket, "", noBucket("", nil))
	case errors.Is(err, fs.ErrPermission):
		return notFound
	default:
		return c.fail("look for", bucket, "", err)
	}
}

// List is that of [objectstore.Reader], a page of up to 1,000 at a time.
func (c *Client) List(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Object, error] {
	return func(yield func(objectstore.Object, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
		for {
			var entries page
			out, err := c.s3.ListObjectsV2(ctx, in, func(o *s3.Options) { o.APIOptions = append(o.APIOptions, entries.read) })
			if err == nil {
				err = entries.decode(out.EncodingType, len(out.Contents))
			}
			if err == nil && out.KeyCount != nil && int(*out.KeyCount) != len(entries) {
				err = errPage
			}
			if err != nil {
				yield(objectstore.Object{}, c.fail("list", bucket, prefix, err))
				return
			}
			for _, o := range entries {
				if !yield(o.Object, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			if aws.ToString(out.NextContinuationToken) == "" {
				yield(objectstore.Object{}, c.fail("list", bucket, prefix, errNoToken))
				return
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

var errNoToken = errors.New("the store says that there is more and not how to go on; nothing can be concluded from this listing")

// ReadPart is that of [objectstore.Reader].
func (c *Client) ReadPart(ctx context.Context, from objectstore.Source, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read s3://%s/%s: negative offset %d", from.Bucket, from.Key, off)
	}
	if len(p) == 0 {
		return 0, nil
	}
	in := &s3.GetObjectInput{
		Bucket: &from.Bucket, Key: &from.Key, VersionId: optional(from.VersionID),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)),
	}
	if from.ETag != "" {
		in.IfMatch = quoteETag(from.ETag)
	}
	out, err := c.s3.GetObject(ctx, in)
	if code(err) == "InvalidRange" { // off is at or beyond the end
		return 0, io.EOF
	}
	if err != nil {
		return 0, c.fail("read part of", from.Bucket, from.Key, err)
	}
	if out.ContentRange == nil {
		err := errors.New("the store ignored the range; nothing can be concluded from what it sent")
		return 0, c.fail("read part of", from.Bucket, from.Key, errors.Join(err, out.Body.Close()))
	}
	got := p[:min(int64(len(p)), aws.ToInt64(out.ContentLength))]
	n, err := io.ReadFull(out.Body, got)
	if err := errors.Join(err, out.Body.Close()); err != nil {
		return n, c.fail("read part of", from.Bucket, from.Key, err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
