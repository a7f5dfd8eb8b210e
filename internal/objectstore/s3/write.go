package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
)

// Put is that of [objectstore.Writer].
func (c *Client) Put(ctx context.Context, bucket, key string, body []byte) (objectstore.Object, error) {
	o, err := c.put(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key}, body)
	return o, c.fail("put", bucket, key, err)
}

// PutIfAbsent is that of [objectstore.Writer].
func (c *Client) PutIfAbsent(ctx context.Context, bucket, key string, body []byte) (objectstore.Object, error) {
	o, err := c.put(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, IfNoneMatch: aws.String("*")}, body)
	if err == nil {
		return o, nil
	}
	err = c.classify(err)
	if !errors.Is(err, objectstore.ErrChanged) {
		return objectstore.Object{}, c.fail("put if absent", bucket, key, err)
	}
	o, kinds, err := c.inPlace(ctx, bucket, key, body)
	return o, c.fail("put if absent", bucket, key, lost("it exists", append(kinds, fs.ErrExist), err))
}

// PutIfMatch is that of [objectstore.Writer].
func (c *Client) PutIfMatch(ctx context.Context, bucket, key string, body []byte, etag string) (objectstore.Object, error) {
	o, err := c.put(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, IfMatch: quoteETag(etag)}, body)
	if err == nil {
		return o, nil
	}
	err = c.classify(err)
	switch {
	case errors.Is(err, objectstore.ErrNoBucket), !errors.Is(err, objectstore.ErrChanged) && !errors.Is(err, fs.ErrNotExist):
		return objectstore.Object{}, c.fail("put if unchanged", bucket, key, err)
	}
	o, kinds, err := c.inPlace(ctx, bucket, key, body)
	return o, c.fail("put if unchanged", bucket, key, lost("it is not as it was read (ETag "+etag+")", append(kinds, objectstore.ErrChanged), err))
}

// inPlace looks at what a refused conditional write found in its place.
func (c *Client) inPlace(ctx context.Context, bucket, key string, body []byte) (objectstore.Object, []error, error) {
	there, o, err := c.Get(ctx, bucket, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return objectstore.Object{}, []error{fs.ErrNotExist}, nil
	case err != nil:
		return objectstore.Object{}, nil, err
	case bytes.Equal(there, body):
		return o, []error{objectstore.ErrSame}, nil
	}
	return o, nil, nil
}

// lost words a conditional write's refusal. If the object could not be looked
// at because no answer came, whose bytes are there is not known, and the error
// must not read as a conclusion.
func lost(why string, kinds []error, lookErr error) error {
	if reach.Unreachable(lookErr) {
		return fmt.Errorf("refused, %s, and whose bytes are there is not known: %w", why, lookErr)
	}
	text := why
	for _, k := range kinds {
		if errors.Is(k, objectstore.ErrSame) || errors.Is(k, fs.ErrNotExist) {
			text += "; " + k.Error()
		}
	}
	if lookErr != nil {
		text += "; " + lookErr.Error()
		kinds = append(kinds, lookErr)
	}
	return &refusal{text: text, kinds: kinds, cause: lookErr}
}

func (c *Client) put(ctx context.Context, in *s3.PutObjectInput, body []byte) (objectstore.Object, error) {
	in.Body = bytes.NewReader(body)
	in.ContentLength = aws.Int64(int64(len(body)))
	out, err := c.s3.PutObject(ctx, in)
	if err != nil {
		return objectstore.Object{}, err
	}
	return objectstore.Object{Key: *in.Key, Size: int64(len(body)), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId)}, nil
}

// Copy is that of [objectstore.Writer]. One request copies 5 GiB at most; a store
// refuses what is larger.
func (c *Client) Copy(ctx context.Context, from objectstore.Source, bucket, key string) (objectstore.Object, error) {
	in := &s3.CopyObjectInput{Bucket: &bucket, Key: &key, CopySource: header(from)}
	if from.ETag != "" {
		in.CopySourceIfMatch = quoteETag(from.ETag)
	}
	out, err := c.s3.CopyObject(ctx, in, c.slow)
	if err != nil {
		return objectstore.Object{}, c.fail("copy s3://"+from.Bucket+"/"+from.Key+" to", bucket, key, err)
	}
	o := objectstore.Object{Key: key, VersionID: aws.ToString(out.VersionId)}
	if r := out.CopyObjectResult; r != nil {
		o.ETag, o.LastModified = unquoteETag(r.ETag), aws.ToTime(r.LastModified)
	}
	return o, nil
}

// Delete is that of [objectstore.Remover].
func (c *Client) Delete(ctx context.Context, bucket, key string) (marker string, err error) {
	out, err := c.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return "", c.fail("delete", bucket, key, err)
	}
	return aws.ToString(out.VersionId), nil
}

// DeleteVersion is that of [objectstore.Remover].
func (c *Client) DeleteVersion(ctx context.Context, bucket, key, version string) error {
	if version == "" {
		return fmt.Errorf("delete a version of s3://%s/%s: no version given; list the versions and name one", bucket, key)
	}
	_, err := c.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: &version})
	return c.fail("delete version "+version+" of", bucket, key, err)
}
