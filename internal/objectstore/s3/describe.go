package s3

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
)

// sourceMark is the user metadata in which a [Copier] records what a copy is of,
// where the copy's ETag does not show it.
const sourceMark = "breakwater-source"

// description is an object's, with all that a copy has to carry.
type description struct {
	objectstore.Description
	head *s3.HeadObjectOutput
}

// Describe is that of [objectstore.Describer].
func (c *Client) Describe(ctx context.Context, bucket, key, version string) (objectstore.Description, error) {
	d, err := c.describe(ctx, bucket, key, version)
	return d.Description, err
}

func (c *Client) describe(ctx context.Context, bucket, key, version string) (description, error) {
	out, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &bucket, Key: &key, VersionId: optional(version), ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return description{}, c.failHead(ctx, "describe", bucket, key, version, err)
	}
	d := description{head: out, Description: objectstore.Description{
		Object: objectstore.Object{
			Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId),
			LastModified: aws.ToTime(out.LastModified), ReplicationStatus: string(out.ReplicationStatus), StorageClass: string(out.StorageClass), Archived: archived(out),
		},
		Checksums: map[string]string{}, Metadata: map[string]string{}, Headers: map[string]string{},
		Tags:       int(aws.ToInt32(out.TagCount)),
		Encryption: objectstore.Encryption{Algorithm: string(out.ServerSideEncryption), Key: aws.ToString(out.SSEKMSKeyId)},
	}}
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
func (d description) withMark() map[string]string {
	m := maps.Clone(d.Metadata)
	m[sourceMark] = objectstore.SourceName(d.VersionID, d.ETag)
	return m
}

// settable reports whether a storage class may be asked for by name. A store that
// moves objects to colder places reports names of its own.
func settable(class string) bool {
	return class != string(types.StorageClassStandard) && slices.Contains(types.StorageClass("").Values(), types.StorageClass(class))
}
