package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"breakwater/internal/poll"
	"breakwater/lab/server"
	"breakwater/lab/server/baotest"
	"breakwater/lab/server/miniotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/vault/api"
	"github.com/minio/madmin-go/v3"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

// What every world has: the groups with their tables, and the regions' buckets.
var (
	groups  = map[string][]string{"orders": {"orders", "payments"}, "clicks": {"clicks"}}
	buckets = map[string][]string{East: {"ledger", "lake-east", "archive-east"}, West: {"ledger", "lake-west", "archive-west"}}
)

// furnishedPart is the name under which a set of servers hands on the folder that
// [Furnish] made; see [server.Handed].
const furnishedPart = "furnished"

// furnished is the folder from which the worlds of this process start: the one that
// was handed on, or one that is made for the first world, in the folder of [Main].
// Children of the process start from it, too.
var furnished = sync.OnceValues(func() (string, error) {
	var folder string
	if ok, err := server.Handed(furnishedPart, &folder); ok || err != nil {
		return folder, err
	}
	folder = filepath.Join(own, furnishedPart)
	//nolint:forbidigo // all tests of the process wait for it, and none of them owns it
	if err := errors.Join(Furnish(context.Background(), folder), server.Hand(own, furnishedPart, folder)); err != nil {
		return "", err
	}
	return folder, os.Setenv(server.SetEnv, own)
})

// own is a folder of this process, which Main makes and removes.
var own string

// HandFurnished makes what worlds start from, in a set of servers whose folder is set.
func HandFurnished(ctx context.Context, set string) error {
	folder := filepath.Join(set, furnishedPart)
	if err := Furnish(ctx, folder); err != nil {
		return err
	}
	return server.Hand(set, furnishedPart, folder)
}

// Furnish makes a folder from which worlds start, because each user costs MinIO, and
// its administrator's client, two key derivations: what a MinIO and an OpenBao have
// stored, per region and for the backup place, once they were furnished as a
// laboratory is.
func Furnish(ctx context.Context, folder string) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, region := range []string{East, West} {
		g.Go(func() error {
			return withMinIO(ctx, filepath.Join(folder, region), miniotest.RootUser, miniotest.RootPassword, func(m *storage) error { return m.furnishRegion(ctx, region) })
		})
		g.Go(func() error { return furnishBao(ctx, filepath.Join(folder, region)) })
	}
	g.Go(func() error {
		return withMinIO(ctx, filepath.Join(folder, vaultPlace), VaultRoot, VaultSecret, func(m *storage) error { return m.furnishVault(ctx) })
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("furnish what worlds start from: %w", err)
	}
	return nil
}

// withMinIO runs a server on the folder minio below a folder while do works with it.
func withMinIO(ctx context.Context, folder, root, secret string, do func(*storage) error) error {
	s, err := miniotest.New(filepath.Join(folder, "minio"), filepath.Join(folder, "minio.log"))
	if err != nil {
		return err
	}
	s.SetRoot(root, secret)
	if err := s.Run(ctx); err != nil {
		return err
	}
	defer s.Kill()
	m, err := newStorage(s.Endpoint, root, secret)
	if err != nil {
		return err
	}
	return do(m)
}

// storage has raw clients of a MinIO as root, which share nothing with the product.
type storage struct {
	s3    *s3.Client
	admin *madmin.AdminClient
}

func newStorage(endpoint, root, secret string) (*storage, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	admin, err := madmin.NewWithOptions(u.Host, &madmin.Options{Creds: miniocreds.NewStaticV4(root, secret, "")})
	if err != nil {
		return nil, err
	}
	return &storage{admin: admin, s3: s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(root, secret, ""), HTTPClient: &http.Client{Timeout: 10 * time.Second},
	})}, nil
}

// furnishRegion makes buckets, one object per table, and users with the rights that
// they have before a failover.
func (m *storage) furnishRegion(ctx context.Context, region string) error {
	for _, b := range buckets[region] {
		if _, err := m.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &b}); err != nil {
			return err
		}
		if _, err := m.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: &b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		}); err != nil {
			return err
		}
	}
	lake := buckets[region][1]
	for group, tables := range groups {
		for _, t := range tables {
			for _, name := range []string{"_delta_log/00000000000000000000.json", "part-0.parquet"} {
				key := group + "/" + t + "/" + name
				if _, err := m.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &lake, Key: &key, Body: bytes.NewReader([]byte("{}\n"))}); err != nil {
					return err
				}
			}
		}
	}
	// Recovery deletes no version for good, as in the laboratory.
	all := []string{"arn:aws:s3:::*"}
	if err := m.user(ctx, "breakwater", allows(all, "s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:ListBucket",
		"s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject")); err != nil {
		return err
	}
	for group := range groups {
		for _, level := range []string{"reader", "writer"} {
			actions := []string{"s3:GetObject"}
			if level == "writer" {
				actions = append(actions, "s3:PutObject", "s3:DeleteObject")
			}
			statement := allows([]string{"arn:aws:s3:::lake-east/" + group + "/*"}, actions...)
			if region == West { // closed until access is given
				statement = allows([]string{"arn:aws:s3:::lake-west"}, "s3:GetBucketLocation")
			}
			if err := m.user(ctx, group+"-"+level, statement); err != nil {
				return err
			}
		}
	}
	return m.user(ctx, "replicator", allows(all, "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload",
		"s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetReplicationConfiguration", "s3:GetEncryptionConfiguration",
		"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectVersionTagging", "s3:PutObject", "s3:DeleteObject",
		"s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"))
}

// furnishVault makes the backup place's bucket, with Object Lock, and its users.
func (m *storage) furnishVault(ctx context.Context) error {
	if _, err := m.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("vault"), ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		return err
	}
	all := []string{"arn:aws:s3:::vault", "arn:aws:s3:::vault/*"}
	return errors.Join(
		m.user(ctx, "adder", Adds()...),
		m.user(ctx, "restorer", allows(all, "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:ListBucket", "s3:ListBucketVersions",
			"s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetLifecycleConfiguration", "s3:GetBucketPolicy")),
		// AWS asks for the second one of these, MinIO for the first also of a version.
		m.user(ctx, "expirer", allows(all, "s3:DeleteObject", "s3:DeleteObjectVersion")),
	)
}

// allows is a statement of an IAM policy.
func allows(resources []string, actions ...string) map[string]any {
	return map[string]any{"Effect": "Allow", "Action": actions, "Resource": resources}
}

// user makes a user with a policy of its own. A server that is still reading what it
// has stored may forget a policy that it is given meanwhile, and then refuses to
// attach it: it is given the policy until it knows it.
func (m *storage) user(ctx context.Context, name string, statements ...map[string]any) error {
	if err := m.admin.AddUser(ctx, name, SecretOf(name)); err != nil {
		return fmt.Errorf("user %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		if err := m.may(ctx, name, statements...); err != nil {
			return true, err
		}
		_, err := m.admin.AttachPolicy(ctx, Attach(name, name))
		if err != nil {
			err = fmt.Errorf("attach policy %s: %w", name, err)
		}
		return madmin.ToErrorResponse(errors.Unwrap(err)).Code != "XMinioAdminNoSuchPolicy", err
	})
}

// may says what a user may do from now on, by the policy of the user's name.
func (m *storage) may(ctx context.Context, name string, statements ...map[string]any) error {
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return err
	}
	if err := m.admin.AddCannedPolicy(ctx, name, doc); err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	return nil
}

// furnishBao writes a region's secrets, as they read while the source is active,
// and makes recovery's token, which is left beside the store in the file token.
func furnishBao(ctx context.Context, folder string) error {
	s, err := baotest.New(filepath.Join(folder, "bao"))
	if err != nil {
		return err
	}
	defer s.Kill()
	if err := s.Run(ctx); err != nil {
		return err
	}
	c, err := api.NewClient(&api.Config{Address: s.Address, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	c.SetToken(s.RootToken)
	secrets := map[string]map[string]any{sentinel: {"readable": "yes"}}
	for group := range groups {
		data := map[string]any{}
		for k, v := range routing(group, East) {
			data[k] = v
		}
		secrets["lakehouse/"+group] = data
	}
	for path, data := range secrets {
		if _, err := c.KVv2(Mount).Put(ctx, path, data); err != nil {
			return fmt.Errorf("secret %s: %w", path, err)
		}
	}
	if err := c.Sys().PutPolicyWithContext(ctx, policy, `path "secret/data/lakehouse/*" { capabilities = ["create", "read", "update"] }
path "secret/delete/lakehouse/*" { capabilities = ["update"] }
path "secret/metadata/lakehouse/*" { capabilities = ["read", "list"] }`); err != nil {
		return err
	}
	made, err := c.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{Policies: []string{policy}})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "token"), []byte(made.Auth.ClientToken), 0o600)
}

// routing is what a group's secret holds while a region is active.
func routing(group, region string) map[string]string {
	return map[string]string{"region": region, "bucket": "lake-" + region, "topic": group}
}
