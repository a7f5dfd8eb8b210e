// Package world makes small estates on real servers for tests.
package world

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/system"
	"breakwater/lab/faults"
	"breakwater/lab/server/baotest"
	"breakwater/lab/server/miniotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/vault/api"
	"github.com/minio/madmin-go/v3"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

// Attach asks for a policy to be given to a user.
func Attach(policy, user string) madmin.PolicyAssociationReq {
	return madmin.PolicyAssociationReq{Policies: []string{policy}, User: user}
}

// Bare is a world without any server, for those that a test adds.
func Bare(t *testing.T) *World {
	t.Helper()
	w := &World{
		T: t, Systems: &system.Systems{Folder: t.TempDir()},
		Run: action.Run{
			Namespace: "default", Workflow: "failover-test", FirstRun: "6f0d1a52-0001", Runbook: "RegionalFailover",
			Mode: action.ModeLive, Source: East, Target: West, Incident: "INC-1", Epoch: 1, Started: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC),
		},
	}
	t.Cleanup(w.Systems.Close)
	w.Estate = &estate.Estate{
		Estate: "test", ClockSkew: estate.Duration(100 * time.Millisecond),
		Tiers:   []estate.Tier{{Tier: 1, RPO: estate.Duration(30 * time.Second)}},
		Regions: []estate.Region{{Region: East, Role: estate.Primary}, {Region: West, Role: estate.Standby}},
	}
	return w
}

// The regions of a world.
const (
	East = "us-east-1" // the source
	West = "us-west-2" // the target
)

// World is a small estate on real servers: a MinIO and an OpenBao per region.
// Kafka is for those tests that need it to add.
type World struct {
	T       *testing.T
	Estate  *estate.Estate
	Systems *system.Systems
	Run     action.Run
	Minio   map[string]*miniotest.Server // by region
	bao     map[string]*baotest.Server   // by region
	Faults  faults.Env

	// Raw clients as root, by region, which share nothing with the product.
	S3    map[string]*s3.Client
	Admin map[string]*madmin.AdminClient
	Vault map[string]*api.Client
}

// What a region's secret store has.
const (
	Mount    = "secret"
	sentinel = "lakehouse/sentinel"
	policy   = "recovery" // of recovery's own token
)

// New starts the servers and furnishes them as a laboratory is: users with
// the rights that they have before a failover, one object per table, and the
// groups' secrets as they read while the source is active.
func New(t *testing.T) *World {
	t.Helper()
	started := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	w := &World{
		T:     t,
		Minio: map[string]*miniotest.Server{}, bao: map[string]*baotest.Server{},
		S3: map[string]*s3.Client{}, Admin: map[string]*madmin.AdminClient{}, Vault: map[string]*api.Client{},
		Systems: &system.Systems{Folder: t.TempDir()},
		Run: action.Run{
			Namespace: "default", Workflow: "failover-test", FirstRun: "6f0d1a52-0001", Runbook: "RegionalFailover",
			Mode: action.ModeLive, Source: East, Target: West, Incident: "INC-1", Epoch: 1, Started: started,
		},
	}
	t.Cleanup(w.Systems.Close)
	w.Estate = &estate.Estate{
		Estate:    "test",
		ClockSkew: estate.Duration(500 * time.Millisecond),
		Tiers:     []estate.Tier{{Tier: 1, RTO: estate.Duration(5 * time.Minute)}, {Tier: 2, RTO: estate.Duration(15 * time.Minute)}},
		Roles: []estate.Role{
			{Role: "incident-commander", Method: estate.Signed, Members: []estate.Member{w.Member("alice"), w.Member("bob")}},
			{Role: "data-platform", Method: estate.Signed, Members: []estate.Member{w.Member("erin")}},
		},
		Buckets: []estate.Bucket{
			{Bucket: "lake", In: map[string]string{East: "lake-east", West: "lake-west"}},
			{Bucket: "archive", In: map[string]string{East: "archive-east", West: "archive-west"}},
		},
		Groups: []estate.Group{w.group("orders", 1, "orders", "payments"), w.group("clicks", 2, "clicks")},
	}
	stored, done := furnishedOnce()
	defer done()
	for _, r := range []string{East, West} {
		w.region(r, stored[r])
	}
	w.Estate.Ledger = estate.Ledger{
		Endpoint: w.Minio[West].Endpoint, Bucket: "ledger", Prefix: "test",
		Credentials: w.User(West, "breakwater"), SigningKey: w.file("worker", w.key()),
	}
	w.furnish(stored)
	w.Faults.Source, w.Faults.Target = w.place(East), w.place(West)
	w.Faults.Group = faults.Group{Prefix: "orders/orders", Reader: "orders-reader", Writer: "orders-writer", WriterSecret: SecretOf("orders-writer"), Secret: "lakehouse/orders"}
	w.Faults.Other = faults.Group{Prefix: "clicks/clicks", Reader: "clicks-reader", Writer: "clicks-writer", WriterSecret: SecretOf("clicks-writer"), Secret: "lakehouse/clicks"}
	w.Faults.Writer = faults.User{Name: "orders-writer", Secret: SecretOf("orders-writer")}
	w.Faults.Replicator = faults.User{Name: "replicator", Secret: SecretOf("replicator")}
	return w
}

// Must ends the test at an error.
func (w *World) Must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Request calls an action on the item of that name; the estate itself when it is
// over nothing.
func (w *World) Request(def *action.Definition, name string) action.Request {
	w.T.Helper()
	for _, i := range w.Estate.Items(def.Over, estate.Filter{}) {
		if i.Name == name || def.Over == estate.Nothing {
			return action.Request{
				Run: w.Run, Stage: "stage", Step: "stage/1-" + def.Name, Title: def.Name, Item: i, Estate: w.Estate,
				Records: NoRecords{}, Progress: func(int64, int64, string) {}, Guard: func(context.Context) error { return nil },
			}
		}
	}
	w.T.Fatalf("the test's estate has no %s %q", def.Over, name)
	return action.Request{}
}

// NoRecords is a run in which no earlier step left anything.
type NoRecords struct{}

// Outcome is [action.Records.Outcome]: none.
func (NoRecords) Outcome(context.Context, string, string) (action.Outcome, error) {
	return action.Outcome{}, fs.ErrNotExist
}

// Observations is [action.Records.Observations]: none.
func (NoRecords) Observations(context.Context, string, string) ([]action.Observation, error) {
	return nil, fs.ErrNotExist
}

// Obligations is [action.Records.Obligations]: none.
func (NoRecords) Obligations(context.Context) ([]action.Obligation, error) { return nil, nil }

// SecretOf is a user's secret key.
func SecretOf(user string) string { return user + "-secret" }

// file writes a credential and returns its reference.
func (w *World) file(name string, content any) estate.Ref {
	w.T.Helper()
	text, ok := content.(string)
	if !ok {
		b, err := json.Marshal(content)
		w.Must(err)
		text = string(b)
	}
	w.Must(os.WriteFile(filepath.Join(w.Systems.Folder, name), []byte(text), 0o600))
	return estate.Ref("file:" + name)
}

// User is the reference to a user's credentials in a region.
func (w *World) User(region, name string) estate.Ref {
	w.T.Helper()
	secret := SecretOf(name)
	if name == miniotest.RootUser {
		secret = miniotest.RootPassword
	}
	return w.file(region+"-"+name, map[string]string{"access_key": name, "secret_key": secret})
}

func (w *World) key() string {
	w.T.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	w.Must(err)
	block, err := ssh.MarshalPrivateKey(key, "")
	w.Must(err)
	return string(pem.EncodeToMemory(block))
}

// Member is a person with a new key.
func (w *World) Member(name string) estate.Member {
	w.T.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	w.Must(err)
	key, err := ssh.NewPublicKey(pub)
	w.Must(err)
	return estate.Member{Name: name, Key: string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key)))}
}

func (w *World) group(name string, tier int, tables ...string) estate.Group {
	w.T.Helper()
	g := estate.Group{
		Group: name, Tier: tier, Owner: "data-platform", Access: &estate.Access{},
		Routing: &estate.Routing{Secret: "lakehouse/" + name, Values: map[string]map[string]string{}},
	}
	for _, t := range tables {
		g.Tables = append(g.Tables, estate.Table{Table: t, Format: "delta", Bucket: "lake", Path: name + "/" + t, PeakRows: 400})
	}
	for _, r := range []string{East, West} {
		g.Access.Readers = append(g.Access.Readers, estate.AccessPrincipal{Region: r, Name: name + "-reader", Credentials: w.User(r, name+"-reader")})
		g.Access.Writers = append(g.Access.Writers, estate.AccessPrincipal{Region: r, Name: name + "-writer", Credentials: w.User(r, name+"-writer")})
		g.Routing.Values[r] = map[string]string{"region": r, "bucket": "lake-" + r, "topic": name}
	}
	return g
}

// region starts a region's servers and describes them.
func (w *World) region(name, stored string) {
	w.T.Helper()
	w.Minio[name], w.bao[name] = miniotest.StartWith(w.T, stored), baotest.Start(w.T)
	w.S3[name] = s3.New(s3.Options{
		BaseEndpoint: aws.String(w.Minio[name].Endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(miniotest.RootUser, miniotest.RootPassword, ""),
		HTTPClient:  &http.Client{Timeout: 10 * time.Second},
	})
	u, err := url.Parse(w.Minio[name].Endpoint)
	w.Must(err)
	w.Admin[name], err = madmin.NewWithOptions(u.Host, &madmin.Options{
		Creds: miniocreds.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, ""),
	})
	w.Must(err)
	w.Vault[name], err = api.NewClient(&api.Config{Address: w.bao[name].Address, Timeout: 10 * time.Second})
	w.Must(err)
	w.Vault[name].SetToken(w.bao[name].RootToken)
	r := estate.Region{
		Region: name, Role: estate.Primary,
		Storage: estate.Storage{
			// The servers of tests sign as MinIO does by default.
			Provider: "minio", Endpoint: w.Minio[name].Endpoint, SigningName: "us-east-1",
			Credentials: w.User(name, "breakwater"), Admin: w.User(name, miniotest.RootUser),
			Writers: []estate.Principal{
				{Name: "orders-writer", Credentials: w.User(name, "orders-writer")},
				{Name: "clicks-writer", Credentials: w.User(name, "clicks-writer")},
			},
		},
		Vault: &estate.Vault{Address: w.bao[name].Address, Mount: Mount, Sentinel: sentinel},
	}
	if name == West {
		r.Role = estate.Standby
		r.Storage.Replication = &estate.Principal{Name: "replicator", Credentials: w.User(name, "replicator")}
	}
	w.Estate.Regions = append(w.Estate.Regions, r)
}

// place is a region as faults see it.
func (w *World) place(name string) faults.Region {
	real, err := w.Estate.RealBucket("lake", name)
	w.Must(err)
	return faults.Region{
		Name: name,
		Storage: faults.Storage{
			Endpoint: w.Minio[name].Endpoint, AccessKey: miniotest.RootUser, SecretKey: miniotest.RootPassword, Bucket: real,
			Recovery: faults.User{Name: "breakwater", Secret: SecretOf("breakwater")},
		},
		Vault: faults.Vault{Address: w.bao[name].Address, Token: w.bao[name].RootToken, Mount: Mount, Sentinel: sentinel, Policy: policy},
		Stop: func(_ context.Context, s faults.System) error {
			w.servers(name, s, (*miniotest.Server).Kill, (*baotest.Server).Kill)
			return nil
		},
		Start: func(_ context.Context, s faults.System) error {
			w.servers(name, s, func(m *miniotest.Server) { m.Restart(w.T) }, func(b *baotest.Server) { b.Restart(w.T) })
			return nil
		},
	}
}

func (w *World) servers(region string, s faults.System, m func(*miniotest.Server), b func(*baotest.Server)) {
	if s == faults.All || s == faults.StorageSystem {
		m(w.Minio[region])
	}
	if s == faults.All || s == faults.VaultSystem {
		b(w.bao[region])
	}
}

// furnished is what the first world stored in its regions, for all that follow:
// each user costs MinIO, and its administrator's client, two key derivations.
var furnished struct {
	sync.Mutex
	folder string            // Main makes and removes it
	stored map[string]string // by region
}

// furnishedOnce returns the folders to start from, none for the first world,
// which others wait for until it calls done.
func furnishedOnce() (stored map[string]string, done func()) {
	furnished.Lock()
	if furnished.stored != nil {
		furnished.Unlock()
		return furnished.stored, func() {}
	}
	return nil, furnished.Unlock
}

// furnish makes buckets, users, policies, objects and secrets, through raw clients.
func (w *World) furnish(stored map[string]string) {
	w.T.Helper()
	var g errgroup.Group
	for _, r := range []string{East, West} {
		if stored == nil {
			g.Go(func() error { return w.furnishStorage(r) })
		}
		w.furnishVault(r)
	}
	w.Must(g.Wait())
	if stored != nil {
		return
	}
	all := map[string]string{}
	for _, r := range []string{East, West} {
		w.Minio[r].Kill()
		all[r] = filepath.Join(furnished.folder, r)
		w.Must(os.CopyFS(all[r], os.DirFS(w.Minio[r].Folder)))
		w.Minio[r].Restart(w.T)
	}
	furnished.stored = all
}

func (w *World) furnishStorage(region string) error {
	ctx := w.T.Context()
	buckets := []string{"ledger"}
	for _, b := range w.Estate.Buckets {
		buckets = append(buckets, b.In[region])
	}
	for _, b := range buckets {
		if _, err := w.S3[region].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &b}); err != nil {
			return err
		}
		if _, err := w.S3[region].PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: &b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		}); err != nil {
			return err
		}
	}
	for _, g := range w.Estate.Groups {
		for _, t := range g.Tables {
			real, err := w.Estate.RealBucket(t.Bucket, region)
			if err != nil {
				return err
			}
			for _, key := range []string{t.Path + "/_delta_log/00000000000000000000.json", t.Path + "/part-0.parquet"} {
				if _, err := w.S3[region].PutObject(ctx, &s3.PutObjectInput{Bucket: &real, Key: &key, Body: bytes.NewReader([]byte("{}\n"))}); err != nil {
					return err
				}
			}
		}
	}
	// Recovery deletes no version for good, as in the laboratory.
	all := []string{"arn:aws:s3:::*"}
	if err := w.minioUser(region, "breakwater", allows(all, "s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:ListBucket",
		"s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject")); err != nil {
		return err
	}
	for _, g := range w.Estate.Groups {
		for _, level := range []string{"reader", "writer"} {
			actions := []string{"s3:GetObject"}
			if level == "writer" {
				actions = append(actions, "s3:PutObject", "s3:DeleteObject")
			}
			statement := allows([]string{"arn:aws:s3:::lake-east/" + g.Group + "/*"}, actions...)
			if region == West { // closed until access is given
				statement = allows([]string{"arn:aws:s3:::lake-west"}, "s3:GetBucketLocation")
			}
			if err := w.minioUser(region, g.Group+"-"+level, statement); err != nil {
				return err
			}
		}
	}
	return w.minioUser(region, "replicator", allows(all, "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload",
		"s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetReplicationConfiguration", "s3:GetEncryptionConfiguration",
		"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectVersionTagging", "s3:PutObject", "s3:DeleteObject",
		"s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"))
}

func allows(resources []string, actions ...string) map[string]any {
	return map[string]any{"Effect": "Allow", "Action": actions, "Resource": resources}
}

// minioUser makes a user with a policy of its own.
func (w *World) minioUser(region, name string, statements ...map[string]any) error {
	ctx := w.T.Context()
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return err
	}
	if err := w.Admin[region].AddUser(ctx, name, SecretOf(name)); err != nil {
		return fmt.Errorf("user %s: %w", name, err)
	}
	if err := w.Admin[region].AddCannedPolicy(ctx, name, doc); err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	_, err = w.Admin[region].AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{name}, User: name})
	return err
}

// furnishVault writes the secrets, and makes recovery's token.
func (w *World) furnishVault(region string) {
	w.T.Helper()
	ctx, c := w.T.Context(), w.Vault[region]
	put := func(path string, data map[string]any) {
		w.T.Helper()
		_, err := c.KVv2(Mount).Put(ctx, path, data)
		w.Must(err)
	}
	put(sentinel, map[string]any{"readable": "yes"})
	for _, g := range w.Estate.Groups {
		data := map[string]any{}
		for k, v := range g.Routing.Values[East] {
			data[k] = v
		}
		put(g.Routing.Secret, data)
	}
	w.Must(c.Sys().PutPolicyWithContext(ctx, policy, `path "secret/data/lakehouse/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/lakehouse/*" { capabilities = ["read", "list"] }`))
	made, err := c.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{Policies: []string{policy}})
	w.Must(err)
	r, _ := w.Estate.Region(region)
	r.Vault.Credentials = w.file(region+"-vault", map[string]string{"token": made.Auth.ClientToken})
}
