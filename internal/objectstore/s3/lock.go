package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
)

// CreateLockedBucket makes a bucket with Object Lock and versioning, and without
// a default retention, for laboratories. One that is already there and ours is no
// error.
func (c *Client) CreateLockedBucket(ctx context.Context, bucket string) error {
	in := &s3.CreateBucketInput{Bucket: &bucket, ObjectLockEnabledForBucket: aws.Bool(true)}
	if c.cfg.Region != "us-east-1" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(c.cfg.Region)}
	}
	if _, err := c.s3.CreateBucket(ctx, in); err != nil && code(err) != "BucketAlreadyOwnedByYou" {
		return c.fail("create", bucket, "", err)
	}
	return nil
}

// LockEnabled is that of [objectstore.Keeper]. Without Object Lock no hold can be set.
func (c *Client) LockEnabled(ctx context.Context, bucket string) (bool, error) {
	out, err := c.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &bucket})
	if code(err) == "ObjectLockConfigurationNotFoundError" {
		return false, nil
	}
	if err != nil {
		return false, c.fail("ask for the object lock of", bucket, "", err)
	}
	return out.ObjectLockConfiguration != nil && out.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled, nil
}

// Add is that of [objectstore.Keeper].
func (c *Client) Add(ctx context.Context, bucket, key string, body []byte, h objectstore.Hold) (objectstore.Object, error) {
	sum := sha256.Sum256(body)
	in := &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, IfNoneMatch: aws.String("*"),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}
	if h.Mode != "" {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockMode(h.Mode), aws.Time(h.Until.UTC())
	}
	o, err := c.put(ctx, in, body)
	return o, c.added(bucket, key, err)
}

// added gives a refused condition its sentinel.
func (c *Client) added(bucket, key string, err error) error {
	if err = c.fail("add", bucket, key, err); errors.Is(err, objectstore.ErrChanged) {
		return fmt.Errorf("add s3://%s/%s at %s: something else is there: %w", bucket, key, c.cfg.Endpoint, fs.ErrExist)
	}
	return err
}

// partSize is the size of one part of a large upload: bytes in memory per upload
// under way. A store takes 10,000 parts.
func partSize(size int64) int64 {
	const smallest, parts = 16 << 20, 10_000
	return max(smallest, (size+parts-1)/parts)
}

// AddFrom is that of [objectstore.Keeper]. An upload that is broken off leaves parts
// and no object; a lifecycle rule of the bucket may remove those.
func (c *Client) AddFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, h objectstore.Hold) (objectstore.Object, error) {
	return c.upload(ctx, bucket, key, from, size, sum, h, new(string))
}

// PutFrom is that of [objectstore.Writer].
func (c *Client) PutFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, over *string) (objectstore.Object, error) {
	return c.upload(ctx, bucket, key, from, size, sum, objectstore.Hold{}, over)
}

func (c *Client) upload(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, h objectstore.Hold, over *string) (o objectstore.Object, err error) {
	in := &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}
	if h.Mode != "" {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockMode(h.Mode), aws.Time(h.Until.UTC())
	}
	up, err := c.s3.CreateMultipartUpload(ctx, in)
	if err != nil {
		return o, c.fail("begin to add", bucket, key, err)
	}
	defer func() {
		if err == nil {
			return
		}
		// Without the right to abort, the parts stay: the first error is the one to tell.
		_, abort := c.s3.AbortMultipartUpload(context.WithoutCancel(ctx), &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId})
		if abort != nil {
			err = fmt.Errorf("%w (and its parts stay: %v)", err, c.classify(abort)) //nolint:errorlint // one cause, and what is left to do
		}
	}()
	hash := sha256.New()
	buf := make([]byte, min(partSize(size), max(size, 1)))
	var parts []types.CompletedPart
	var sent int64
	for number := int32(1); sent < size || number == 1; number++ {
		n, err := io.ReadFull(from, buf[:min(int64(len(buf)), size-sent)])
		if err != nil {
			return o, fmt.Errorf("add s3://%s/%s: read what to add, of which %d of %s came: %w", bucket, key, sent+int64(n), plural.Of(size, "byte"), err)
		}
		hash.Write(buf[:n])
		part, err := c.s3.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(number), Body: bytes.NewReader(buf[:n]), ContentLength: aws.Int64(int64(n)),
		})
		if err != nil {
			return o, c.fail(fmt.Sprintf("add part %d of", number), bucket, key, err)
		}
		parts = append(parts, types.CompletedPart{ETag: part.ETag, PartNumber: aws.Int32(number), ChecksumCRC32: part.ChecksumCRC32})
		sent += int64(n)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		return o, fmt.Errorf("add s3://%s/%s: %w: its bytes have SHA-256 %s, and should have %s", bucket, key, objectstore.ErrChanged, got, sum)
	}
	end := &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	switch {
	case over == nil:
	case *over == "":
		end.IfNoneMatch = aws.String("*")
	default:
		end.IfMatch = quoteETag(*over)
	}
	out, err := c.s3.CompleteMultipartUpload(ctx, end, c.slow)
	if err != nil {
		return o, c.added(bucket, key, err)
	}
	return objectstore.Object{Key: key, Size: size, ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId)}, nil
}

// Seal is that of [objectstore.Keeper].
func (c *Client) Seal(ctx context.Context, bucket, key, version string) (objectstore.Sealed, error) {
	out, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return objectstore.Sealed{}, c.failHead(ctx, "head", bucket, key, version, err)
	}
	s := objectstore.Sealed{Object: objectstore.Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId), LastModified: aws.ToTime(out.LastModified), Archived: archived(out),
	}}
	if out.ObjectLockMode != "" {
		s.Hold = objectstore.Hold{Mode: objectstore.LockMode(out.ObjectLockMode), Until: aws.ToTime(out.ObjectLockRetainUntilDate)}
	}
	if raw, err := base64.StdEncoding.DecodeString(aws.ToString(out.ChecksumSHA256)); err == nil && len(raw) == sha256.Size && out.ChecksumType != types.ChecksumTypeComposite {
		s.SHA256 = hex.EncodeToString(raw)
	}
	return s, nil
}

// Hold is that of [objectstore.Keeper].
func (c *Client) Hold(ctx context.Context, bucket, key, version string, h objectstore.Hold) error {
	return c.hold(ctx, bucket, key, version, h, false)
}

func (c *Client) hold(ctx context.Context, bucket, key, version string, h objectstore.Hold, bypass bool) error {
	in := &s3.PutObjectRetentionInput{
		Bucket: &bucket, Key: &key, VersionId: optional(version),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(h.Mode), RetainUntilDate: aws.Time(h.Until.UTC())},
	}
	if bypass {
		in.BypassGovernanceRetention = aws.Bool(true)
	}
	_, err := c.s3.PutObjectRetention(ctx, in)
	return c.fail("hold version "+version+" of", bucket, key, err)
}
