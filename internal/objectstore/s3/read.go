package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Get reads the current version of a key, all of it into memory.
func (c *Client) Get(ctx context.Context, bucket, key string) ([]byte, Object, error) {
	return c.GetVersion(ctx, bucket, key, "")
}

// GetVersion reads one version of a key, or the current one when version is
// empty. A version that is a delete marker is [fs.ErrNotExist].
func (c *Client) GetVersion(ctx context.Context, bucket, key, version string) ([]byte, Object, error) {
	out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version)})
	if err != nil {
		return nil, Object{}, c.fail("get", bucket, key, err)
	}
	o := Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId),
		LastModified: aws.ToTime(out.LastModified), ReplicationStatus: string(out.ReplicationStatus),
	}
	body, err := io.ReadAll(out.Body)
	if err := errors.Join(err, out.Body.Close()); err != nil {
		return nil, o, c.fail("get", bucket, key, err)
	}
	return body, o, nil
}

// Head describes the current version of a key.
func (c *Client) Head(ctx context.Context, bucket, key string) (Object, error) {
	return c.HeadVersion(ctx, bucket, key, "")
}

// HeadVersion describes one version of a key, or the current one when version is
// empty.
func (c *Client) HeadVersion(ctx context.Context, bucket, key, version string) (Object, error) {
	out, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version)})
	if err != nil {
		err = c.fail("head", bucket, key, err)
		if errors.Is(err, fs.ErrNotExist) {
			return Object{}, c.orNoBucket(ctx, bucket, err)
		}
		return Object{}, err
	}
	return Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId),
		LastModified: aws.ToTime(out.LastModified), ReplicationStatus: string(out.ReplicationStatus),
	}, nil
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
		return c.fail("head", bucket, "", &refusal{ErrNoBucket.Error() + "; check the estate's bucket name", []error{ErrNoBucket}, nil})
	case errors.Is(err, fs.ErrPermission):
		return notFound
	default:
		return c.fail("look for", bucket, "", err)
	}
}

// List yields the current objects whose key starts with prefix, in the order of
// their keys' bytes, a page of up to 1,000 at a time. An error ends it: what was
// yielded before it is then a part, not the whole.
func (c *Client) List(ctx context.Context, bucket, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
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
				yield(Object{}, c.fail("list", bucket, prefix, err))
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
				yield(Object{}, c.fail("list", bucket, prefix, errNoToken))
				return
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

var errNoToken = errors.New("the store says that there is more and not how to go on; nothing can be concluded from this listing")

// Reader reads parts of one version of an object, as Parquet files want it. It
// is an [io.ReaderAt], so it carries the context it was opened with.
type Reader struct {
	c      *Client
	ctx    context.Context
	bucket string
	o      Object
}

// ReaderAt opens a key for reading in parts; version is empty for the current
// one. Every read is held to the object found now: if it was replaced since,
// the read fails with [ErrChanged] rather than mixing two files.
func (c *Client) ReaderAt(ctx context.Context, bucket, key, version string) (*Reader, error) {
	o, err := c.HeadVersion(ctx, bucket, key, version)
	if err != nil {
		return nil, err
	}
	if version != "" {
		o.VersionID = version
	}
	return &Reader{c: c, ctx: ctx, bucket: bucket, o: o}, nil
}

// Size is the object's length in bytes.
func (r *Reader) Size() int64 { return r.o.Size }

// Object describes what is being read.
func (r *Reader) Object() Object { return r.o }

// ReadAt reads len(p) bytes from off with one ranged request. It follows the
// contract of [io.ReaderAt]: fewer bytes come with an error, [io.EOF] at the end.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read s3://%s/%s: negative offset %d", r.bucket, r.o.Key, off)
	}
	if off >= r.o.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	version := r.o.VersionID
	if version == "null" {
		version = ""
	}
	n, err := r.c.readAt(r.ctx, r.bucket, r.o.Key, version, r.o.ETag, p[:min(int64(len(p)), r.o.Size-off)], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// ReadAt reads len(p) bytes of a key's current version from off with one request,
// for readers that know where to look. Fewer bytes come with [io.EOF].
func (c *Client) ReadAt(ctx context.Context, bucket, key string, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read s3://%s/%s: negative offset %d", bucket, key, off)
	}
	if len(p) == 0 {
		return 0, nil
	}
	return c.readAt(ctx, bucket, key, "", "", p, off)
}

func (c *Client) readAt(ctx context.Context, bucket, key, version, etag string, p []byte, off int64) (int, error) {
	in := &s3.GetObjectInput{
		Bucket: &bucket, Key: &key, VersionId: optional(version),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)),
	}
	if etag != "" {
		in.IfMatch = quoteETag(etag)
	}
	out, err := c.s3.GetObject(ctx, in)
	if code(err) == "InvalidRange" { // off is at or beyond the end
		return 0, io.EOF
	}
	if err != nil {
		return 0, c.fail("read part of", bucket, key, err)
	}
	if out.ContentRange == nil {
		err := errors.New("the store ignored the range; nothing can be concluded from what it sent")
		return 0, c.fail("read part of", bucket, key, errors.Join(err, out.Body.Close()))
	}
	got := p[:min(int64(len(p)), aws.ToInt64(out.ContentLength))]
	n, err := io.ReadFull(out.Body, got)
	if err := errors.Join(err, out.Body.Close()); err != nil {
		return n, c.fail("read part of", bucket, key, err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var _ io.ReaderAt = (*Reader)(nil)

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
