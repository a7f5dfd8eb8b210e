package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Encryption says how a store keeps an object at rest, as far as it tells.
type Encryption struct {
	Algorithm string // AES256, aws:kms, aws:kms:dsse; empty where the store names none
	Key       string // of the key management service; empty for the store's own keys
}

// String names the key, for people.
func (e Encryption) String() string {
	switch {
	case e.Key != "":
		return "key " + e.Key
	case e.Algorithm != "":
		return "the store's own keys (" + e.Algorithm + ")"
	}
	return "no key named"
}

// Decrypt reads the first byte of a key's current version, which a store gives
// only if it can decrypt the object. To describe one with [Client.Head] takes no
// key, and proves nothing.
//
// The error is [fs.ErrNotExist] where the key is gone. The replication status is
// the object's own, such as [ReplicationReplica].
func (c *Client) Decrypt(ctx context.Context, bucket, key string) (enc Encryption, status string, err error) {
	out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: aws.String("bytes=0-0")})
	if code(err) == "InvalidRange" { // it is empty, so that all of it was read
		return c.EncryptionOf(ctx, bucket, key)
	}
	if err != nil {
		return Encryption{}, "", c.fail("read the first byte of", bucket, key, err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(out.Body, 1))
	if n == 0 && err == nil {
		err = fmt.Errorf("the store sent nothing: %w", io.ErrUnexpectedEOF)
	}
	enc = Encryption{Algorithm: string(out.ServerSideEncryption), Key: aws.ToString(out.SSEKMSKeyId)}
	return enc, string(out.ReplicationStatus), c.fail("read the first byte of", bucket, key, errors.Join(err, out.Body.Close()))
}

// EncryptionOf asks how a key's current version is kept, without reading it, and
// for its replication status.
func (c *Client) EncryptionOf(ctx context.Context, bucket, key string) (enc Encryption, status string, err error) {
	out, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return Encryption{}, "", c.fail("head", bucket, key, err)
	}
	return Encryption{Algorithm: string(out.ServerSideEncryption), Key: aws.ToString(out.SSEKMSKeyId)}, string(out.ReplicationStatus), nil
}
