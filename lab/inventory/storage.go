package inventory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/minio/madmin-go/v3"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

func (s Storage) s3() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: s.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		HTTPClient:  &http.Client{Timeout: 20 * time.Second},
	})
}

func (s Storage) admin() (*madmin.AdminClient, error) {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, err
	}
	return madmin.NewWithOptions(u.Host, &madmin.Options{Creds: miniocreds.NewStaticV4(s.AccessKey, s.SecretKey, ""), Secure: u.Scheme == "https"})
}

// storage counts a MinIO: its buckets, and who may do what there.
func (t *taken) storage(ctx context.Context, place string, s Storage) error {
	adm, err := s.admin()
	if err != nil {
		return fmt.Errorf("storage of %s: %w", place, err)
	}
	for _, b := range s.Buckets {
		if err := errors.Join(t.bucket(ctx, place, s.s3(), b), t.replicates(ctx, place, adm, b)); err != nil {
			return fmt.Errorf("bucket %s in %s: %w", b, place, err)
		}
	}
	if err := t.people(ctx, place, adm); err != nil {
		return fmt.Errorf("users of the storage of %s: %w", place, err)
	}
	return nil
}

func (t *taken) bucket(ctx context.Context, place string, c *s3.Client, bucket string) error {
	b := &bucket
	for name, ask := range map[string]func() (any, error){
		"versioning": func() (any, error) {
			out, err := c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: b})
			return of(out, err, func() any { return out.Status })
		},
		"policy": func() (any, error) {
			out, err := c.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: b})
			return of(out, err, func() any { return document([]byte(*out.Policy)) })
		},
		"replication": func() (any, error) {
			out, err := c.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: b})
			return of(out, err, func() any { return out.ReplicationConfiguration })
		},
		"lifecycle": func() (any, error) {
			out, err := c.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: b})
			return of(out, err, func() any { return out.Rules })
		},
		"object lock": func() (any, error) {
			out, err := c.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: b})
			return of(out, err, func() any { return out.ObjectLockConfiguration })
		},
		"tags": func() (any, error) {
			out, err := c.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: b})
			return of(out, err, func() any { return out.TagSet })
		},
		"encryption": func() (any, error) {
			out, err := c.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: b})
			return of(out, err, func() any { return out.ServerSideEncryptionConfiguration })
		},
		"notification": func() (any, error) {
			out, err := c.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: b})
			return of(out, err, func() any {
				return []any{out.QueueConfigurations, out.TopicConfigurations, out.LambdaFunctionConfigurations}
			})
		},
	} {
		value, err := ask()
		if err == nil && value != nil {
			err = t.note(place, Setting, name+" of bucket "+bucket, value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return errors.Join(t.versions(ctx, place, c, bucket), t.uploads(ctx, place, c, bucket))
}

// of is what a server answered; nothing where it has no such setting.
func of[T any](_ T, err error, value func() any) (any, error) {
	var api smithy.APIError
	if errors.As(err, &api) {
		if code := api.ErrorCode(); strings.HasPrefix(code, "NoSuch") && code != "NoSuchBucket" || strings.HasSuffix(code, "NotFoundError") {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return value(), nil
}

// atOnce is how many objects are read at the same time.
const atOnce = 16

// versions notes every version, and reads the ones that a reader gets.
func (t *taken) versions(ctx context.Context, place string, c *s3.Client, bucket string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		for _, m := range page.DeleteMarkers {
			if err := t.note(place, Version, fmt.Sprintf("%s/%s %s", bucket, *m.Key, *m.VersionId), "a delete marker"); err != nil {
				return err
			}
		}
		for _, v := range page.Versions {
			if err := t.note(place, Version, fmt.Sprintf("%s/%s %s", bucket, *v.Key, *v.VersionId), fmt.Sprintf("%d bytes, ETag %s", *v.Size, *v.ETag)); err != nil {
				return err
			}
			if aws.ToBool(v.IsLatest) {
				g.Go(func() error { return t.object(ctx, place, c, bucket, *v.Key) })
			}
		}
	}
	return g.Wait()
}

func (t *taken) object(ctx context.Context, place string, c *s3.Client, bucket, key string) error {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, out.Body)
	if err := errors.Join(err, out.Body.Close()); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return t.note(place, Object, bucket+"/"+key, fmt.Sprintf("%d bytes, SHA-256 %s, %s", n, hex.EncodeToString(sum.Sum(nil)), aws.ToString(out.ContentType)))
}

func (t *taken) uploads(ctx context.Context, place string, c *s3.Client, bucket string) error {
	// MinIO lists the uploads of one key alone: of those that are there, and of any that a
	// page names.
	out, err := c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		return err
	}
	for _, u := range out.Uploads {
		if err := t.note(place, Upload, fmt.Sprintf("%s/%s %s", bucket, *u.Key, *u.UploadId), u.Initiated.UTC().String()); err != nil {
			return err
		}
	}
	return nil
}

// replicates notes where a bucket's replicas go and as whom; not how the line has been.
func (t *taken) replicates(ctx context.Context, place string, adm *madmin.AdminClient, bucket string) error {
	targets, err := adm.ListRemoteTargets(ctx, bucket, "")
	if err != nil {
		return err
	}
	for _, r := range targets {
		who := ""
		if r.Credentials != nil {
			who = r.Credentials.AccessKey
		}
		if err := t.note(place, Remote, bucket+" "+r.Arn, fmt.Sprintf("%s of %s as %s, %d bytes a second, synchronous: %t", r.TargetBucket, r.Endpoint, who, r.BandwidthLimit, r.ReplicationSync)); err != nil {
			return err
		}
	}
	q, err := adm.GetBucketQuota(ctx, bucket)
	if err != nil || q.Size == 0 && q.Quota == 0 {
		return err
	}
	return t.note(place, Quota, bucket, q)
}

// people notes users, groups, and the policies that there are.
func (t *taken) people(ctx context.Context, place string, adm *madmin.AdminClient) error {
	users, err := adm.ListUsers(ctx)
	if err != nil {
		return err
	}
	for name, u := range users {
		policies := strings.Split(u.PolicyName, ",")
		slices.Sort(policies)
		keys, err := adm.ListServiceAccounts(ctx, name)
		if err != nil {
			return err
		}
		var more []string
		for _, k := range keys.Accounts {
			more = append(more, k.AccessKey)
		}
		slices.Sort(more)
		if err := t.note(place, User, name, fmt.Sprintf("%s, policies %s, in groups %q, with more keys %q", u.Status, policies, u.MemberOf, more)); err != nil {
			return err
		}
	}
	policies, err := adm.ListCannedPolicies(ctx)
	if err != nil {
		return err
	}
	for name, text := range policies {
		if err := t.note(place, Policy, name, document(text)); err != nil {
			return err
		}
	}
	groups, err := adm.ListGroups(ctx)
	if err != nil {
		return err
	}
	for _, name := range groups {
		g, err := adm.GetGroupDescription(ctx, name)
		if err != nil {
			return err
		}
		slices.Sort(g.Members)
		if err := t.note(place, UserGroup, name, fmt.Sprintf("%s, policy %s, members %q", g.Status, g.Policy, g.Members)); err != nil {
			return err
		}
	}
	return nil
}

// document is a policy in one form: what it lists are sets, which MinIO tells in any order.
func document(raw []byte) any {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return string(raw)
	}
	sortSets(v)
	return v
}

func sortSets(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			sortSets(e)
		}
	case []any:
		for _, e := range v {
			sortSets(e)
		}
		slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
}
