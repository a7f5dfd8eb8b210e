package s3

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// stranger is an answer that no S3 gives: a sign-in page, or that of a proxy. It may have
// any status, and says nothing of what was asked for.
type stranger struct{ kind, begins string }

// Error is what was sent, for people.
func (e *stranger) Error() string {
	sent := "an answer"
	if e.kind != "" {
		sent += " of type " + e.kind
	}
	if e.begins == "" {
		return sent + " without what S3 says of an object"
	}
	return fmt.Sprintf("%s that begins with %q", sent, e.begins)
}

// shown is how many bytes of a strange answer people are shown.
const shown = 60

// errStranger is the answer as an error.
func errStranger(h http.Header, begin []byte) error {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(begin[:min(len(begin), shown)]), "")), " ")
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return &stranger{kind, text}
}

// aPage reports whether a body is a web page, by its type or by how it begins.
func aPage(h http.Header, begin []byte) bool {
	begin = bytes.ToLower(bytes.TrimSpace(begin))
	return strings.Contains(h.Get("Content-Type"), "html") || bytes.HasPrefix(begin, []byte("<!doctype html")) || bytes.HasPrefix(begin, []byte("<html"))
}

// looked is how many bytes of an answer are looked at: an error's XML is shorter.
const looked = 4096

// meet refuses answers of strangers before anything is read into them: an error without
// S3's error document, a page where a document was asked for, and what has no ETag where
// an object was. An answer to HEAD has no body, and errors of some stores have none.
func meet(s *middleware.Stack) error {
	look := func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleDeserialize(ctx, in)
		resp, ok := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !ok {
			return out, meta, err
		}
		operation := awsmiddleware.GetOperationName(ctx)
		object := operation == "GetObject" || operation == "HeadObject"
		var strange error
		switch good := resp.StatusCode < 300; {
		case good && object:
			if resp.Header.Get("ETag") == "" {
				strange = errStranger(resp.Header, peek(resp))
			}
		case good:
			if begin := peek(resp); len(begin) > 0 && aPage(resp.Header, begin) {
				strange = errStranger(resp.Header, begin)
			}
		case resp.StatusCode < 500:
			if begin := peek(resp); len(begin) > 0 && !bytes.Contains(begin, []byte("<Error")) {
				strange = errStranger(resp.Header, begin)
			}
		}
		if strange == nil {
			return out, meta, nil
		}
		return out, meta, &smithyhttp.ResponseError{Response: resp, Err: errors.Join(strange, resp.Body.Close())}
	}
	return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("BreakwaterStranger", look), middleware.After)
}

// peeked is a body of which the beginning was looked at.
type peeked struct {
	io.Reader
	io.Closer
}

// peek looks at the beginning of a body, which stays to be read; what cannot be read, the
// reader finds.
func peek(resp *smithyhttp.Response) []byte {
	if resp.Body == nil || resp.Body == http.NoBody {
		return nil
	}
	r := bufio.NewReaderSize(resp.Body, looked)
	begin, err := r.Peek(looked)
	resp.Body = peeked{r, resp.Body}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return begin
}
