// Package s3 speaks S3 to whoever serves it: it is [objectstore.Store] for AWS,
// MinIO and their like, with the fence by bucket policy that AWS has. What MinIO has
// beside S3 is in package minio, and S3 Batch Operations are in package batchops.
//
// It alone knows the S3 SDK.
//
// # Time
//
// A request that gets no byte within [Config.AnswerTimeout] is given up, and is
// not tried again: a dead endpoint answers "unreachable" within seconds, and the
// caller owns longer patience. A refused or reset connection and a 5xx answer
// are tried [Config.Attempts] times in all, which means that the answer of a
// write may be lost although the write took place. [Client.PutIfAbsent] and
// [Client.PutIfMatch] resolve that: the second attempt then loses against the
// first, and says [objectstore.ErrSame]. A store that asks to slow down is asked again with
// longer and longer waits, for about 20 s.
//
// Verified against MinIO by package storetest.
package s3

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"breakwater/internal/objectstore"
)

// Config says where a store is and who asks.
type Config struct {
	Endpoint  string // URL with scheme, such as https://s3.us-east-1.amazonaws.com
	Region    string // the region that signatures name; "us-east-1" when empty
	AccessKey string
	SecretKey string
	// SessionToken goes with temporary credentials; empty otherwise.
	SessionToken string
	// PathStyle puts the bucket into the path instead of the host name. MinIO
	// and most local servers need it.
	PathStyle bool
	// ConditionalCopy says that a copy of one request looks at what it is put over, as
	// at AWS. MinIO ignores that condition, and copies.
	ConditionalCopy bool
	// ConditionalDelete says that a deletion looks at the ETag that the current version
	// is to have, as AWS does it; MinIO ignores it.
	ConditionalDelete bool

	// ConnectTimeout bounds one connection attempt; 1 s when zero.
	ConnectTimeout time.Duration
	// AnswerTimeout is the longest silence accepted on a connection while a
	// request is under way, not the length of the request; 3 s when zero. A
	// server-side copy is silent for as long as it works and gets 20 times as
	// much.
	AnswerTimeout time.Duration
	// Attempts is how often a request is sent at most; 3 when zero. Where the
	// store asks to slow down it is 10 at least.
	Attempts int
}

const copyPatience = 20 // times AnswerTimeout

// Client talks to one endpoint as one principal. It is safe for concurrent use.
type Client struct {
	cfg  Config
	s3   *s3.Client
	slow func(*s3.Options) // for requests that are silent while they work
}

var (
	_ objectstore.Vault      = (*Client)(nil)
	_ objectstore.Describer  = (*Client)(nil)
	_ objectstore.Duplicator = (*Client)(nil)
	_ objectstore.Overseer   = (*Client)(nil)
	_ objectstore.Replicator = (*Client)(nil)
	_ objectstore.WallTester = (*Client)(nil)
)

// New returns a client. It asks nothing of the endpoint; only a configuration
// that can never work is an error.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("object store endpoint %q is not a URL; give one such as https://s3.us-east-1.amazonaws.com", cfg.Endpoint)
	}
	if cfg.AccessKey == "" || cfg.SecretKey == "" {
		return nil, fmt.Errorf("object store %s: access key or secret key is empty; name credentials that hold both", cfg.Endpoint)
	}
	cfg.Endpoint = strings.TrimSuffix(cfg.Endpoint, "/")
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = time.Second
	}
	if cfg.AnswerTimeout == 0 {
		cfg.AnswerTimeout = 3 * time.Second
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 3
	}
	slow := &http.Client{Transport: Transport(cfg.ConnectTimeout, copyPatience*cfg.AnswerTimeout)}
	return &Client{
		cfg: cfg,
		s3: s3.New(s3.Options{
			BaseEndpoint: aws.String(cfg.Endpoint),
			Region:       cfg.Region,
			UsePathStyle: cfg.PathStyle,
			Credentials:  credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken),
			HTTPClient:   &http.Client{Transport: Transport(cfg.ConnectTimeout, cfg.AnswerTimeout)},
			Retryer:      retryer(cfg.Attempts),
			APIOptions:   append(itself(cfg), meet),
			// Parts of an object have no checksum of their own to be held against.
			DisableLogOutputChecksumValidationSkipped: true,
		}),
		slow: func(o *s3.Options) { o.HTTPClient = slow },
	}, nil
}

// itself asks for what the store itself holds. A MinIO with a rule back answers a
// GET or a HEAD of what it does not have with what the other region has: a standby
// would seem complete until the day on which it is alone.
func itself(cfg Config) []func(*middleware.Stack) error {
	if !cfg.PathStyle { // not MinIO
		return nil
	}
	return []func(*middleware.Stack) error{smithyhttp.SetHeaderValue("X-Minio-Source-Proxy-Request", "false")}
}

// Traits are those of [objectstore.Store].
func (c *Client) Traits() objectstore.Traits {
	return objectstore.Traits{Versions: true, DeleteMarkers: true, ConditionalCopy: c.cfg.ConditionalCopy, ConditionalDelete: c.cfg.ConditionalDelete, ObjectLock: true}
}

// Endpoint is the URL that the client talks to, without a trailing slash.
func (c *Client) Endpoint() string { return c.cfg.Endpoint }

// AccessKey names the principal that the client asks as.
func (c *Client) AccessKey() string { return c.cfg.AccessKey }

// retryer tries again what was refused or broken, at once and few times. Silence
// is not tried again: it has already cost as much as the caller wants to wait.
func retryer(attempts int) aws.Retryer {
	return patient{attempts: attempts, Standard: retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = max(attempts, slowAttempts)
		o.MaxBackoff = 400 * time.Millisecond
		// The default bucket of retry tokens would make the outcome of a request
		// depend on the failures of others.
		o.RateLimiter = ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{
			retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				var t interface{ Timeout() bool }
				if errors.As(err, &t) && t.Timeout() {
					return aws.FalseTernary
				}
				return aws.UnknownTernary
			}),
			// Two conditional writes met; the loser must ask again to learn why.
			retry.RetryableErrorCode{Codes: map[string]struct{}{"ConditionalRequestConflict": {}}},
			retry.RetryableErrorCode{Codes: slowCodes},
		}, o.Retryables...)
	})}
}

func quoteETag(s string) *string   { return aws.String(`"` + s + `"`) }
func unquoteETag(s *string) string { return strings.Trim(aws.ToString(s), `"`) }
