package objectstore

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// sourceMark is the user metadata in which a [Copier] records what a copy is of,
// where the copy's ETag does not show it.
const sourceMark = "breakwater-source"

// Description is what a HEAD says about one version of an object.
type Description struct {
	Object
	// CopyOf names the version that a [Copier] made this object of, as
	// [SourceName] does; empty for any other object.
	CopyOf string
	// Checksums are those that the store keeps over the whole object, by
	// algorithm, as in "CRC64NVME". A checksum over checksums of parts depends on
	// the parts and is left out.
	Checksums map[string]string
	// Metadata is what the user wrote, by name in lower case, without CopyOf.
	Metadata map[string]string
	// Headers are Cache-Control, Content-Type and their like, as they are set.
	Headers    map[string]string
	Tags       int    // how many tags it has
	Encryption string // "AES256", "aws:kms", "aws:kms:dsse" or empty
	KMSKey     string // ARN or id; empty without SSE-KMS

	head *s3.HeadObjectOutput
}

// SourceName is how a copy records the version that it was made of. The ETag is
// in it since every object that is older than versioning has the version "null".
func SourceName(version, etag string) string { return version + ";" + etag }

// Describe asks everything about one version of an object, or the current one
// when version is empty. What is not there is [fs.ErrNotExist].
func (c *Client) Describe(ctx context.Context, bucket, key, version string) (Description, error) {
	out, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &bucket, Key: &key, VersionId: optional(version), ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		err = c.fail("describe", bucket, key, err)
		if errors.Is(err, fs.ErrNotExist) {
			err = c.orNoBucket(ctx, bucket, err)
		}
		return Description{}, err
	}
	d := Description{
		Object: Object{
			Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId),
			LastModified: aws.ToTime(out.LastModified), ReplicationStatus: string(out.ReplicationStatus), StorageClass: string(out.StorageClass),
		},
		Checksums: map[string]string{}, Metadata: map[string]string{}, Headers: map[string]string{},
		Tags: int(aws.ToInt32(out.TagCount)), Encryption: string(out.ServerSideEncryption), KMSKey: aws.ToString(out.SSEKMSKeyId),
		head: out,
	}
	for name, v := range out.Metadata {
		if name = strings.ToLower(name); name == sourceMark {
			d.CopyOf = v
		} else {
			d.Metadata[name] = v
		}
	}
	for name, v := range map[string]*string{
		"Cache-Control": out.CacheControl, "Content-Disposition": out.ContentDisposition, "Content-Encoding": out.ContentEncoding,
		"Content-Language": out.ContentLanguage, "Content-Type": out.ContentType, "Expires": out.ExpiresString,
		"Website-Redirect-Location": out.WebsiteRedirectLocation,
	} {
		if v != nil {
			d.Headers[name] = *v
		}
	}
	if out.ChecksumType == types.ChecksumTypeComposite {
		return d, nil
	}
	for name, v := range map[string]*string{
		"CRC32": out.ChecksumCRC32, "CRC32C": out.ChecksumCRC32C, "CRC64NVME": out.ChecksumCRC64NVME,
		"SHA1": out.ChecksumSHA1, "SHA256": out.ChecksumSHA256,
	} {
		if v != nil && !strings.Contains(*v, "-") {
			d.Checksums[name] = *v
		}
	}
	return d, nil
}

// SameChecksum compares the checksums that two objects have in common. known is
// false where there is none, from which nothing follows.
func (d Description) SameChecksum(other Description) (same, known bool) {
	same = true
	for name, sum := range d.Checksums {
		if o, ok := other.Checksums[name]; ok {
			known, same = true, same && o == sum
		}
	}
	return same && known, known
}

// tags reads a version's tags in the form in which a header takes them.
func (c *Client) tags(ctx context.Context, bucket, key, version string) (string, error) {
	out, err := c.s3.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key, VersionId: optional(version)})
	if err != nil {
		return "", c.fail("read the tags of", bucket, key, err)
	}
	v := url.Values{}
	for _, t := range out.TagSet {
		v.Set(aws.ToString(t.Key), aws.ToString(t.Value))
	}
	return v.Encode(), nil
}

// withMark is the metadata of a copy.
func (d Description) withMark() map[string]string {
	m := maps.Clone(d.Metadata)
	m[sourceMark] = SourceName(d.VersionID, d.ETag)
	return m
}

// settable reports whether a storage class may be asked for by name. A store that
// moves objects to colder places reports names of its own.
func settable(class string) bool {
	return class != string(types.StorageClassStandard) && slices.Contains(types.StorageClass("").Values(), types.StorageClass(class))
}
