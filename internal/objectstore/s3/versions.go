package s3

import (
	"context"
	"fmt"
	"iter"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
)

// ListVersions is that of [objectstore.Versions], a page of up to 1,000 at a time.
// Every key that the store accepts comes as it is, since names travel URL-encoded.
func (c *Client) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		in := &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
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
