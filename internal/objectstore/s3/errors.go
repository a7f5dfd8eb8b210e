package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
)

// refusal is a store's answer no: short text for people, the sentinels for
// errors.Is and the SDK's own error for whoever digs.
type refusal struct {
	text  string
	kinds []error
	cause error
}

func (e *refusal) Error() string { return e.text }

func (e *refusal) Unwrap() []error {
	if e.cause == nil {
		return e.kinds
	}
	return append(e.kinds[:len(e.kinds):len(e.kinds)], e.cause)
}

// fail turns an SDK error into one of the package's, saying what was done to what.
func (c *Client) fail(doing, bucket, key string, err error) error {
	if err == nil {
		return nil
	}
	what := "s3://" + bucket
	if key != "" {
		what += "/" + key
	}
	return fmt.Errorf("%s %s at %s: %w", doing, what, c.cfg.Endpoint, c.classify(err))
}

// classify is idempotent: what it has worded once it leaves alone.
func (c *Client) classify(err error) error {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return err
	}
	var code, message string
	var api smithy.APIError
	if errors.As(err, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	var status int
	var re *smithyhttp.ResponseError
	if errors.As(err, &re) && re.Response != nil {
		status = re.HTTPStatusCode()
	}
	said := strings.TrimSpace(fmt.Sprintf("%d %s", status, code))
	if message != "" && message != code {
		said += ": " + message
	}
	if why := unseen(status, code, message, re, err); why != "" {
		return &refusal{reach.ErrUnseen.Error() + ": " + why + " (" + said + ")", []error{reach.ErrUnseen}, err}
	}
	switch {
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		// Somebody before the store answered, and says that the store did not.
		return &refusal{"unreachable: " + said, []error{reach.ErrUnreachable}, err}
	case cannotDecrypt(code):
		return &refusal{objectstore.ErrKey.Error() + " (" + said + "); check the key there and who may use it", []error{objectstore.ErrKey}, err}
	case code == "NoSuchBucket":
		return noBucket(" ("+said+")", err)
	case status == http.StatusNotFound,
		status == http.StatusMethodNotAllowed: // the version asked for is a delete marker
		return &refusal{"not found (" + said + ")", []error{fs.ErrNotExist}, err}
	case code == "InvalidObjectState":
		return &refusal{objectstore.ErrArchived.Error() + " (" + said + "); restore it from the archive first", []error{objectstore.ErrArchived}, err}
	case status == http.StatusForbidden:
		return c.forbidden(code, said, err)
	case status == http.StatusPreconditionFailed, code == "ConditionalRequestConflict":
		return &refusal{objectstore.ErrChanged.Error() + " (" + said + ")", []error{objectstore.ErrChanged}, err}
	case status != 0:
		return &refusal{"the store answered " + said, denial(code), err}
	}
	return noAnswer(err)
}

// noBucket words that the bucket is not there.
func noBucket(said string, err error) error {
	return &refusal{objectstore.ErrNoBucket.Error() + said + "; check the bucket's name, and which store the endpoint is", []error{objectstore.ErrNoBucket}, err}
}

// forbidden words an answer that we may not: that is a denial only where the store says
// so, or says nothing. Whoever is not let in at all has looked at nothing.
func (c *Client) forbidden(code, said string, err error) error {
	kinds := []error{fs.ErrPermission, reach.ErrUnseen}
	var why string
	switch code {
	case "InvalidAccessKeyId":
		why = fmt.Sprintf("the store knows no access key %s; check which credentials are given, and to which store", c.cfg.AccessKey)
		kinds = append(kinds, objectstore.ErrNobody)
	case "SignatureDoesNotMatch":
		why = fmt.Sprintf("the store does not accept the signature of access key %s; check its secret key, and whether something before the store changes requests", c.cfg.AccessKey)
	case "AccountProblem", "AllAccessDisabled", "NotSignedUp", "InvalidPayer":
		why = "the account behind the bucket is barred, whoever asks; settle it with the store's provider"
	case "AccessDenied", "Forbidden", "UnknownError", "":
		return &refusal{fmt.Sprintf("access key %s is denied (%s); check its policies", c.cfg.AccessKey, said), append([]error{fs.ErrPermission}, denial(code)...), err}
	default:
		why = fmt.Sprintf("the store lets access key %s in for nothing; look up what it answered", c.cfg.AccessKey)
	}
	return &refusal{reach.ErrUnseen.Error() + ": " + why + " (" + said + ")", kinds, err}
}

// unseen is why an answer tells nothing of what was asked for, with the next move;
// empty where it does.
func unseen(status int, code, message string, re *smithyhttp.ResponseError, err error) string {
	switch code {
	case "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture":
		return "the clock of this machine and the store's differ by too much; set the clock"
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return "the session token has expired; get new credentials"
	case "InvalidToken":
		return "the session token is none that the store knows; get new credentials, or leave the token out if they need none"
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently":
		if region := regionIn(message, re); region != "" {
			return "the bucket is in region " + region + "; name that region, and its endpoint"
		}
		return "the bucket is in another region; name its region and endpoint"
	}
	var undecoded *smithy.DeserializationError
	var strange *stranger
	switch _, slow := slowCodes[code]; {
	case errors.As(err, &strange):
		return "the endpoint sent " + strange.Error() + ", which is no answer of S3; check the endpoint, and what stands before it"
	case status >= 300 && status < 400 && regionIn(message, re) != "":
		return "the bucket is in region " + regionIn(message, re) + "; name that region, and its endpoint"
	case slow, status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		return "the store asks to slow down, also after several attempts; try again later, or do less at a time"
	case status >= 300 && status < 400 && status != http.StatusNotModified:
		return "the endpoint sends us elsewhere; check the endpoint"
	case errors.Is(err, errPage), status >= 200 && status < 300 && errors.As(err, &undecoded) && !reach.Unreachable(err) && !errors.Is(err, io.ErrUnexpectedEOF):
		return "the answer is not one that S3 describes; check the endpoint, and what stands before it"
	}
	return ""
}

// expecting is how a store says in words which region it is of.
var expecting = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)

// regionIn is the region that a store names as the right one.
func regionIn(message string, re *smithyhttp.ResponseError) string {
	if re != nil && re.Response != nil {
		if region := re.Response.Header.Get("X-Amz-Bucket-Region"); region != "" {
			return region
		}
	}
	if m := expecting.FindStringSubmatch(message); m != nil {
		return m[1]
	}
	return ""
}

// denial is what a code says of the principal, if anything.
func denial(code string) []error {
	switch code {
	case "AccessDenied":
		return []error{objectstore.ErrDenied}
	case "InvalidAccessKeyId":
		return []error{objectstore.ErrNobody}
	}
	return nil
}

// failHead is fail for a HEAD, whose answer has no body that could say more than a
// status: what is missing, or why we may not.
func (c *Client) failHead(ctx context.Context, doing, bucket, key, version string, err error) error {
	var re *smithyhttp.ResponseError
	if errors.As(err, &re) && re.Response != nil && (re.HTTPStatusCode() == http.StatusForbidden || re.HTTPStatusCode() == http.StatusBadRequest) {
		// The same right, of one byte.
		out, why := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version), Range: aws.String("bytes=0-0")})
		switch {
		case why == nil:
			err = errors.Join(err, out.Body.Close())
		case code(why) != "" && !errors.Is(c.classify(why), fs.ErrNotExist), errors.Is(c.classify(why), reach.ErrUnseen):
			err = why
		}
	}
	failed := c.fail(doing, bucket, key, err)
	if errors.Is(failed, fs.ErrNotExist) {
		return c.orNoBucket(ctx, bucket, failed)
	}
	return failed
}

// cannotDecrypt tells the codes of a store that has the object and not its key:
// AWS's begin with KMS., and MinIO's are its own.
func cannotDecrypt(code string) bool {
	return strings.HasPrefix(code, "KMS.") || strings.HasPrefix(code, "kms:") || code == "XMinioEncryptionError" || code == "InvalidCiphertextException"
}

// noAnswer marks an error that came without an answer, and shortens its text.
func noAnswer(err error) error {
	marked := reach.Mark(err)
	if errors.Is(err, io.ErrUnexpectedEOF) { // the server died in the middle of the body
		marked = fmt.Errorf("%w: %w", reach.ErrUnreachable, err)
	}
	if !errors.Is(marked, reach.ErrUnreachable) {
		return marked
	}
	text := err.Error()
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		text = ue.Err.Error()
	}
	return &refusal{"unreachable: " + text, []error{reach.ErrUnreachable}, err}
}

// code is the store's own name for its refusal, such as AccessDenied; empty if
// err is not one.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
