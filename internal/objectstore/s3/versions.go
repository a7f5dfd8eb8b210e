package s3

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
)

// ListVersions is that of [objectstore.Versions], a page of up to 1,000 at a time.
func (c *Client) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Version, error] {
	return c.ListSpan(ctx, bucket, objectstore.Span{Prefix: prefix})
}

// ListSpan is that of [objectstore.Versions]. Every key that the store accepts comes as
// it is, since names travel URL-encoded.
func (c *Client) ListSpan(ctx context.Context, bucket string, s objectstore.Span) iter.Seq2[objectstore.Version, error] {
	prefix := s.Prefix
	return func(yield func(objectstore.Version, error) bool) {
		in := &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
		switch {
		case strings.HasPrefix(s.After, prefix):
			in.KeyMarker = optional(s.After) // without a version: a key is passed over with all of them
		case s.After > prefix:
			return // nothing comes after; and MinIO refuses a marker outside of the prefix
		}
		if s.Page > 0 {
			in.MaxKeys = aws.Int32(int32(min(s.Page, 1000)))
		}
		for {
			var entries page
			out, err := c.s3.ListObjectVersions(ctx, in, func(o *s3.Options) { o.APIOptions = append(o.APIOptions, entries.read) })
			if err == nil {
				err = entries.decode(out.EncodingType, len(out.Versions)+len(out.DeleteMarkers))
			}
			if err != nil {
				yield(objectstore.Version{}, c.fail("list versions", bucket, prefix, err))
				return
			}
			for _, v := range entries {
				if !yield(v, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			next, err := decoded(out.NextKeyMarker, out.EncodingType)
			if err == nil && next == "" {
				err = errNoToken
			}
			if err != nil {
				yield(objectstore.Version{}, c.fail("list versions", bucket, prefix, err))
				return
			}
			in.KeyMarker, in.VersionIdMarker = &next, out.NextVersionIdMarker
		}
	}
}

// decoded is a name as it is, out of a listing that may have it URL-encoded.
func decoded(name *string, how types.EncodingType) (string, error) {
	s := aws.ToString(name)
	if how != types.EncodingTypeUrl {
		return s, nil
	}
	s, err := url.QueryUnescape(s)
	if err != nil {
		return "", fmt.Errorf("the store sent a name that it did not encode as it says: %w", err)
	}
	return s, nil
}
