package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/objectstore"
)

// largestCopy is how many bytes one request copies at most.
const largestCopy = 5 << 30

// Copier copies versions of objects inside a store as they are: content, user
// metadata, content headers, tags, storage class and SSE-KMS key. It is safe for
// concurrent use.
//
// A copy of a plain object is one request, and has the ETag of what it was made
// of. Where the ETag is not the content's (parts, SSE-KMS), the object is
// described first and the copy says in its metadata what it is of
// ([objectstore.Description.CopyOf]). That an object is such a one may show only when its
// copy has another ETag; then it is copied once more, which leaves one version
// too many, and from then on the Copier describes every object first.
//
// What is larger than LargerThan is copied in parts, cut as the original was, so
// that an ETag made of parts stays the same too. A copy in parts that dies leaves
// an incomplete upload, which a lifecycle rule for such uploads removes.
//
// Not carried over: ACLs, the retention and legal hold of object lock, and
// encryption with the store's own key (SSE-S3), which come from the bucket's own
// defaults. At AWS every object has the last.
type Copier struct {
	Client *Client
	// LargerThan is the size in bytes above which an object is copied in parts;
	// 5 GiB when zero.
	LargerThan int64
	// PartSize is the size in bytes of such parts where the original has none;
	// 512 MiB when zero. The store's limits are 5 MiB to 5 GiB, and 10,000 parts.
	PartSize int64

	describeFirst atomic.Bool
}

// Copier is that of [objectstore.Duplicator].
func (c *Client) Copier() objectstore.Copier { return &Copier{Client: c} }

// Copy is that of [objectstore.Copier].
func (k *Copier) Copy(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	largest := k.LargerThan
	if largest == 0 {
		largest = largestCopy
	}
	switch {
	case r.Size > largest:
		return k.inParts(ctx, r)
	case k.describeFirst.Load() || strings.Contains(r.From.ETag, "-"):
		return k.described(ctx, r)
	}
	in := input(r)
	if settable(r.Class) {
		in.StorageClass = types.StorageClass(r.Class)
	}
	o, err := k.copy(ctx, r, in)
	if err != nil || o.ETag == r.From.ETag {
		return o, err
	}
	k.describeFirst.Store(true)
	r.Over = o.ETag
	return k.described(ctx, r)
}

// input is a request with its conditions alone.
func input(r objectstore.CopyRequest) *s3.CopyObjectInput {
	in := &s3.CopyObjectInput{
		Bucket: &r.Bucket, Key: &r.Key, CopySource: header(r.From), CopySourceIfMatch: quoteETag(r.From.ETag),
	}
	in.IfMatch, in.IfNoneMatch = over(r)
	return in
}

func over(r objectstore.CopyRequest) (match, noneMatch *string) {
	if r.Over == "" {
		return nil, aws.String("*")
	}
	return quoteETag(r.Over), nil
}

// header is the source as a copy names it.
func header(s objectstore.Source) *string {
	// A plus sign would be read as a space.
	path := strings.ReplaceAll((&url.URL{Path: s.Bucket + "/" + s.Key}).EscapedPath(), "+", "%2B")
	if s.VersionID != "" {
		path += "?versionId=" + url.QueryEscape(s.VersionID)
	}
	return &path
}

func (k *Copier) copy(ctx context.Context, r objectstore.CopyRequest, in *s3.CopyObjectInput) (objectstore.Object, error) {
	out, err := k.Client.s3.CopyObject(ctx, in, k.Client.slow)
	if err != nil {
		return objectstore.Object{}, k.fail(r, err)
	}
	o := objectstore.Object{Key: r.Key, Size: r.Size, VersionID: aws.ToString(out.VersionId)}
	if res := out.CopyObjectResult; res != nil {
		o.ETag, o.LastModified = unquoteETag(res.ETag), aws.ToTime(res.LastModified)
	}
	return o, nil
}

func (k *Copier) fail(r objectstore.CopyRequest, err error) error {
	return k.Client.fail("copy version "+r.From.VersionID+" of s3://"+r.From.Bucket+"/"+r.From.Key+" over", r.Bucket, r.Key, err)
}

// describe asks for everything that a copy has to carry.
func (k *Copier) describe(ctx context.Context, r objectstore.CopyRequest) (description, error) {
	d, err := k.Client.describe(ctx, r.From.Bucket, r.From.Key, r.From.VersionID)
	if err == nil && d.ETag != r.From.ETag {
		err = k.fail(r, &refusal{objectstore.ErrChanged.Error() + ": the source has ETag " + d.ETag + ", not " + r.From.ETag, []error{objectstore.ErrChanged}, nil})
	}
	d.VersionID = r.From.VersionID // "null" is not always said
	return d, err
}

func (k *Copier) described(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	d, err := k.describe(ctx, r)
	if err != nil {
		return objectstore.Object{}, err
	}
	in, h := input(r), d.head
	in.MetadataDirective, in.Metadata = types.MetadataDirectiveReplace, d.withMark()
	in.CacheControl, in.ContentDisposition, in.ContentEncoding = h.CacheControl, h.ContentDisposition, h.ContentEncoding
	in.ContentLanguage, in.ContentType, in.Expires = h.ContentLanguage, h.ContentType, h.Expires //nolint:staticcheck // the field that can be written
	in.WebsiteRedirectLocation = h.WebsiteRedirectLocation
	if settable(d.StorageClass) {
		in.StorageClass = types.StorageClass(d.StorageClass)
	}
	in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled = h.ServerSideEncryption, h.SSEKMSKeyId, h.BucketKeyEnabled
	return k.copy(ctx, r, in)
}

// part is a piece of an object.
type part struct {
	number int32
	bytes  string // as a range
}

// cut divides an object into parts.
func cut(total, each int64) []part {
	var all []part
	for off := int64(0); off < total; off += each {
		all = append(all, part{int32(len(all) + 1), fmt.Sprintf("bytes=%d-%d", off, min(off+each, total)-1)}) //nolint:gosec // 10,000 at most
	}
	return all
}

// partSize is the size of the original's parts, where they are all of one size.
func (k *Copier) partSize(ctx context.Context, r objectstore.CopyRequest) (int64, error) {
	size := k.PartSize
	if size == 0 {
		size = 512 << 20
	}
	if !strings.Contains(r.From.ETag, "-") {
		return size, nil
	}
	out, err := k.Client.s3.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &r.From.Bucket, Key: &r.From.Key, VersionId: optional(r.From.VersionID), PartNumber: aws.Int32(1),
	})
	if err != nil {
		return 0, k.Client.fail("ask for the parts of", r.From.Bucket, r.From.Key, err)
	}
	first, n := aws.ToInt64(out.ContentLength), int64(aws.ToInt32(out.PartsCount))
	if first > 0 && n > 1 && (r.Size+first-1)/first == n {
		size = first
	}
	return size, nil
}

func (k *Copier) inParts(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	d, err := k.describe(ctx, r)
	if err != nil {
		return objectstore.Object{}, err
	}
	size, err := k.partSize(ctx, r)
	if err != nil {
		return objectstore.Object{}, err
	}
	var tags *string
	if d.Tags > 0 {
		text, err := k.Client.tags(ctx, r.From.Bucket, r.From.Key, r.From.VersionID)
		if err != nil {
			return objectstore.Object{}, err
		}
		tags = &text
	}
	h := d.head
	create := &s3.CreateMultipartUploadInput{
		Bucket: &r.Bucket, Key: &r.Key, Metadata: d.withMark(), Tagging: tags,
		CacheControl: h.CacheControl, ContentDisposition: h.ContentDisposition, ContentEncoding: h.ContentEncoding,
		ContentLanguage: h.ContentLanguage, ContentType: h.ContentType, Expires: h.Expires, //nolint:staticcheck // as above
		WebsiteRedirectLocation: h.WebsiteRedirectLocation,
		ServerSideEncryption:    h.ServerSideEncryption, SSEKMSKeyId: h.SSEKMSKeyId, BucketKeyEnabled: h.BucketKeyEnabled,
	}
	if settable(d.StorageClass) {
		create.StorageClass = types.StorageClass(d.StorageClass)
	}
	up, err := k.Client.s3.CreateMultipartUpload(ctx, create)
	if err != nil {
		return objectstore.Object{}, k.fail(r, err)
	}
	o, err := k.fill(ctx, r, up.UploadId, cut(r.Size, size))
	if err != nil {
		// Not under the caller's context: it may be what ended.
		_, gone := k.Client.s3.AbortMultipartUpload(context.WithoutCancel(ctx), &s3.AbortMultipartUploadInput{Bucket: &r.Bucket, Key: &r.Key, UploadId: up.UploadId})
		return objectstore.Object{}, errors.Join(k.fail(r, err), k.Client.fail("give up the upload of", r.Bucket, r.Key, gone))
	}
	return o, nil
}

// fill copies the parts and completes the upload.
func (k *Copier) fill(ctx context.Context, r objectstore.CopyRequest, upload *string, parts []part) (objectstore.Object, error) {
	done := make([]types.CompletedPart, len(parts))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(4)
	for i, p := range parts {
		work.Go(func() error {
			out, err := k.Client.s3.UploadPartCopy(wctx, &s3.UploadPartCopyInput{
				Bucket: &r.Bucket, Key: &r.Key, UploadId: upload, PartNumber: &p.number,
				CopySource: header(r.From), CopySourceIfMatch: quoteETag(r.From.ETag), CopySourceRange: &p.bytes,
			}, k.Client.slow)
			if err != nil {
				return err
			}
			if out.CopyPartResult == nil {
				return fmt.Errorf("part %d: the store did not say what it copied", p.number)
			}
			res := out.CopyPartResult
			done[i] = types.CompletedPart{
				PartNumber: &p.number, ETag: res.ETag, ChecksumCRC32: res.ChecksumCRC32, ChecksumCRC32C: res.ChecksumCRC32C,
				ChecksumCRC64NVME: res.ChecksumCRC64NVME, ChecksumSHA1: res.ChecksumSHA1, ChecksumSHA256: res.ChecksumSHA256,
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return objectstore.Object{}, err
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &r.Bucket, Key: &r.Key, UploadId: upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}
	in.IfMatch, in.IfNoneMatch = over(r)
	out, err := k.Client.s3.CompleteMultipartUpload(ctx, in, k.Client.slow)
	if err != nil {
		return objectstore.Object{}, err
	}
	return objectstore.Object{Key: r.Key, Size: r.Size, ETag: unquoteETag(out.ETag), VersionID: aws.ToString(out.VersionId)}, nil
}
