package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"breakwater/internal/objectstore"
)

// Decrypt is that of [objectstore.Describer]. A key that is gone is [fs.ErrNotExist].
func (c *Client) Decrypt(ctx context.Context, bucket, key string) (enc objectstore.Encryption, status string, err error) {
	out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: aws.String("bytes=0-0")})
	if code(err) == "InvalidRange" { // it is empty, so that all of it was read
		return c.EncryptionOf(ctx, bucket, key)
	}
	if err != nil {
		return objectstore.Encryption{}, "", c.fail("read the first byte of", bucket, key, err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(out.Body, 1))
	if n == 0 && err == nil {
		err = fmt.Errorf("the store sent nothing: %w", io.ErrUnexpectedEOF)
	}
	enc = objectstore.Encryption{Algorithm: string(out.ServerSideEncryption), Key: aws.ToString(out.SSEKMSKeyId)}
	return enc, string(out.ReplicationStatus), c.fail("read the first byte of", bucket, key, errors.Join(err, out.Body.Close()))
}

// EncryptionOf is that of [objectstore.Describer].
func (c *Client) EncryptionOf(ctx context.Context, bucket, key string) (enc objectstore.Encryption, status string, err error) {
	out, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return objectstore.Encryption{}, "", c.fail("head", bucket, key, err)
	}
	return objectstore.Encryption{Algorithm: string(out.ServerSideEncryption), Key: aws.ToString(out.SSEKMSKeyId)}, string(out.ReplicationStatus), nil
}
