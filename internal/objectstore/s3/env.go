package s3

import (
	"cmp"
	"errors"
	"strings"
)

// FromEnv is a client of what the environment describes, as other tools read it:
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION or
// AWS_DEFAULT_REGION, and where endpoint is empty AWS_ENDPOINT_URL_S3 or
// AWS_ENDPOINT_URL, and then AWS itself.
func FromEnv(endpoint string, env func(string) string) (*Client, error) {
	region := cmp.Or(env("AWS_REGION"), env("AWS_DEFAULT_REGION"), "us-east-1")
	endpoint = cmp.Or(endpoint, env("AWS_ENDPOINT_URL_S3"), env("AWS_ENDPOINT_URL"))
	// Only AWS has a host name per bucket for certain.
	aws := endpoint == "" || strings.Contains(endpoint, ".amazonaws.com")
	cfg := Config{
		Endpoint: cmp.Or(endpoint, "https://s3."+region+".amazonaws.com"), Region: region,
		AccessKey: env("AWS_ACCESS_KEY_ID"), SecretKey: env("AWS_SECRET_ACCESS_KEY"), SessionToken: env("AWS_SESSION_TOKEN"),
		PathStyle: !aws, ConditionalCopy: aws, ConditionalDelete: aws,
	}
	if cfg.AccessKey == "" || cfg.SecretKey == "" {
		return nil, errors.New("an s3:// location needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
	}
	return New(cfg)
}
