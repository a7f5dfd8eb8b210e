package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"breakwater/internal/objectstore"
)

// page is the entries of one page of a listing, in the store's order.
//
// They are taken out of the answer before the SDK reads what is around them. It
// would sort versions and delete markers into two lists, where their order is the
// only thing at AWS that tells which came first within a second. And its XML
// decoder takes more than ten times as long, and most of a listing's processor time.
type page []objectstore.Version

var errPage = errors.New("the answer is not the listing that S3 describes")

// read is the client's part in reading a page.
func (p *page) read(s *middleware.Stack) error {
	look := func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		*p = nil // of an attempt before
		out, meta, err := next.HandleDeserialize(ctx, in)
		resp, ok := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !ok || resp.StatusCode != http.StatusOK {
			return out, meta, err
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return out, meta, err
		}
		rest, err := p.take(body)
		if errors.Is(err, errPage) { // the page of a proxy, say, which would be an empty listing
			err = fmt.Errorf("%w: %w", errStranger(resp.Header, body), err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(rest))
		return out, meta, err
	}
	return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("BreakwaterPage", look), middleware.After)
}

// take moves the entries from an answer to the page, and returns what is left.
func (p *page) take(body []byte) (rest []byte, err error) {
	for {
		i := bytes.IndexByte(body, '<')
		if i < 0 {
			if !bytes.Contains(rest, []byte("<ListBucketResult")) && !bytes.Contains(rest, []byte("<ListVersionsResult")) {
				return nil, errPage
			}
			return append(rest, body...), nil
		}
		rest, body = append(rest, body[:i]...), body[i:]
		name, after, ok := bytes.Cut(body[1:], []byte{'>'})
		if !ok {
			return nil, errPage
		}
		switch string(name) {
		case "Contents", "Version", "DeleteMarker":
			v := objectstore.Version{DeleteMarker: string(name) == "DeleteMarker"}
			if body, err = fill(&v, string(name), after); err != nil {
				return nil, err
			}
			*p = append(*p, v)
		default:
			rest, body = append(rest, body[:len(body)-len(after)]...), after
		}
	}
}

// fill reads the elements of an entry, and returns what follows it. Of those that
// have elements of their own none is wanted.
func fill(v *objectstore.Version, entry string, body []byte) (after []byte, err error) {
	named, sized := false, v.DeleteMarker
	for {
		body = bytes.TrimLeft(body, " \t\r\n")
		tag, text, ok := bytes.Cut(body, []byte{'>'})
		switch {
		case !ok || len(tag) < 2 || tag[0] != '<' || tag[1] == '!' || tag[1] == '?':
			return nil, errPage
		case tag[1] == '/':
			if string(tag[2:]) != entry || !named || !sized {
				return nil, errPage
			}
			return text, nil
		case tag[len(tag)-1] == '/': // empty
			body = text
			continue
		}
		name, _, _ := bytes.Cut(tag[1:], []byte{' '})
		end := bytes.IndexByte(text, '<')
		if end < 0 {
			return nil, errPage
		}
		closing := append(append(make([]byte, 0, 64), "</"...), name...)
		closing = append(closing, '>')
		if !bytes.HasPrefix(text[end:], closing) {
			i := bytes.Index(text, closing)
			if i < 0 {
				return nil, errPage
			}
			body = text[i+len(closing):]
			continue
		}
		body = text[end+len(closing):]
		named, sized = named || string(name) == "Key", sized || string(name) == "Size"
		if err := set(v, string(name), unescape(text[:end])); err != nil {
			return nil, err
		}
	}
}

// unescape is the text of an element.
func unescape(text []byte) string {
	if bytes.IndexByte(text, '&') < 0 {
		return string(text)
	}
	return html.UnescapeString(string(text)) // knows all of XML's names, and numbers
}

func set(v *objectstore.Version, name, text string) (err error) {
	switch name {
	case "Key":
		v.Key = text
	case "Size":
		v.Size, err = strconv.ParseInt(text, 10, 64)
	case "ETag":
		v.ETag = unquoteETag(&text)
	case "LastModified":
		v.LastModified, err = time.Parse(time.RFC3339, text)
	case "VersionId":
		v.VersionID = text
	case "IsLatest":
		v.Latest = text == "true"
	case "StorageClass":
		v.StorageClass = text
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errPage, err)
	}
	return nil
}

// decode makes the keys what they are, of a page that may have them URL-encoded.
// left is how many entries the SDK found beside, where there should be none.
func (p page) decode(how types.EncodingType, left int) error {
	if left > 0 {
		return errPage
	}
	for i := range p {
		var err error
		if p[i].Key, err = decoded(&p[i].Key, how); err != nil {
			return err
		}
	}
	return nil
}
