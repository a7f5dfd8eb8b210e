package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// ListVersions yields every version and delete marker of the keys that start
// with prefix, a page of up to 1,000 at a time, in the store's order: by the bytes
// of the key, and of each key the newest first. Every key that the store accepts
// comes as it is, since names travel URL-encoded. An error ends it.
//
// The order of a version and a delete marker tells which of them came first, and
// at AWS nothing else does: both may have the same whole second. The SDK sorts
// them into two lists, so the order is read from the page itself.
func (c *Client) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		in := &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
		for {
			var order []bool
			page, err := c.s3.ListObjectVersions(ctx, in, func(o *s3.Options) {
				o.APIOptions = append(o.APIOptions, readOrder(&order))
			})
			var all []Version
			if err == nil {
				all, err = inOrder(page, order)
			}
			if err != nil {
				yield(Version{}, c.fail("list versions", bucket, prefix, err))
				return
			}
			for _, v := range all {
				if !yield(v, nil) {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			next, err := decoded(page.NextKeyMarker, page.EncodingType)
			if err == nil && next == "" {
				err = errNoToken
			}
			if err != nil {
				yield(Version{}, c.fail("list versions", bucket, prefix, err))
				return
			}
			in.KeyMarker, in.VersionIdMarker = &next, page.NextVersionIdMarker
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

var errOrder = errors.New("the order of versions and delete markers in the store's answer is not clear; nothing can be concluded from this listing")

// inOrder merges a page's two lists again; a true in order is a delete marker.
func inOrder(page *s3.ListObjectVersionsOutput, order []bool) ([]Version, error) {
	if len(order) != len(page.Versions)+len(page.DeleteMarkers) {
		return nil, errOrder
	}
	all := make([]Version, 0, len(order))
	versions, markers := page.Versions, page.DeleteMarkers
	for _, marker := range order {
		var v Version
		var name *string
		switch {
		case marker && len(markers) > 0:
			m := markers[0]
			markers, name = markers[1:], m.Key
			v = Version{Latest: aws.ToBool(m.IsLatest), DeleteMarker: true, Object: Object{
				VersionID: aws.ToString(m.VersionId), LastModified: aws.ToTime(m.LastModified),
			}}
		case !marker && len(versions) > 0:
			o := versions[0]
			versions, name = versions[1:], o.Key
			v = Version{Latest: aws.ToBool(o.IsLatest), Object: Object{
				Size: aws.ToInt64(o.Size), ETag: unquoteETag(o.ETag), VersionID: aws.ToString(o.VersionId),
				LastModified: aws.ToTime(o.LastModified), StorageClass: string(o.StorageClass),
			}}
		default:
			return nil, errOrder
		}
		var err error
		if v.Key, err = decoded(name, page.EncodingType); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// readOrder looks at a page of versions before the SDK takes it apart.
func readOrder(order *[]bool) func(*middleware.Stack) error {
	look := func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleDeserialize(ctx, in)
		resp, ok := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !ok || resp.StatusCode != http.StatusOK {
			return out, meta, err
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return out, meta, err
		}
		*order = kinds(body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return out, meta, nil
	}
	return func(s *middleware.Stack) error {
		return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("BreakwaterOrderOfVersions", look), middleware.After)
	}
}

// kinds tells the entries of a page apart by their opening tags, which no text in
// XML can look like: true for each delete marker.
func kinds(page []byte) []bool {
	var all []bool
	version, marker := []byte("<Version>"), []byte("<DeleteMarker>")
	for {
		i := bytes.IndexByte(page, '<')
		if i < 0 {
			return all
		}
		page = page[i:]
		switch {
		case bytes.HasPrefix(page, version):
			all = append(all, false)
		case bytes.HasPrefix(page, marker):
			all = append(all, true)
		}
		page = page[1:]
	}
}
