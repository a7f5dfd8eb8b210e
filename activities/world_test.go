package activities

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
	"breakwater/internal/objectstore/miniotest"
	"breakwater/internal/secret/vault/baotest"
	"breakwater/lab/faults"

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

// The regions of a world.
const (
	east = "us-east-1" // the source
	west = "us-west-2" // the target
)

// world is a small estate on real servers: a MinIO and an OpenBao per region.
// Kafka is for those tests that need it to add.
type world struct {
	t       *testing.T
	estate  *estate.Estate
	systems *Systems
	run     action.Run
	minio   map[string]*miniotest.Server // by region
	bao     map[string]*baotest.Server   // by region
	faults  faults.Env

	// Raw clients as root, by region, which share nothing with the product.
	s3    map[string]*s3.Client
	admin map[string]*madmin.AdminClient
	vault map[string]*api.Client
}

const (
	mount    = "secret"
	sentinel = "lakehouse/sentinel"
	policy   = "recovery" // of recovery's own token
)

// newWorld starts the servers and furnishes them as a laboratory is: users with
// the rights that they have before a failover, one object per table, and the
// groups' secrets as they read while the source is active.
func newWorld(t *testing.T) *world {
	t.Helper()
	started := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	w := &world{
		t:     t,
		minio: map[string]*miniotest.Server{}, bao: map[string]*baotest.Server{},
		s3: map[string]*s3.Client{}, admin: map[string]*madmin.AdminClient{}, vault: map[string]*api.Client{},
		systems: &Systems{Folder: t.TempDir()},
		run: action.Run{
			Namespace: "default", Workflow: "failover-test", FirstRun: "6f0d1a52-0001", Runbook: "RegionalFailover",
			Mode: action.ModeLive, Source: east, Target: west, Incident: "INC-1", Epoch: 1, Started: started,
		},
	}
	t.Cleanup(w.systems.Close)
	w.estate = &estate.Estate{
		Estate:    "test",
		ClockSkew: estate.Duration(500 * time.Millisecond),
		Tiers:     []estate.Tier{{Tier: 1, RTO: estate.Duration(5 * time.Minute)}, {Tier: 2, RTO: estate.Duration(15 * time.Minute)}},
		Roles: []estate.Role{
			{Role: "incident-commander", Method: estate.Signed, Members: []estate.Member{w.member("alice"), w.member("bob")}},
			{Role: "data-platform", Method: estate.Signed, Members: []estate.Member{w.member("erin")}},
		},
		Buckets: []estate.Bucket{
			{Bucket: "lake", In: map[string]string{east: "lake-east", west: "lake-west"}},
			{Bucket: "archive", In: map[string]string{east: "archive-east", west: "archive-west"}},
		},
		Groups: []estate.Group{w.group("orders", 1, "orders", "payments"), w.group("clicks", 2, "clicks")},
	}
	stored, done := furnishedOnce()
	defer done()
	for _, r := range []string{east, west} {
		w.region(r, stored[r])
	}
	w.estate.Ledger = estate.Ledger{
		Endpoint: w.minio[west].Endpoint, Bucket: "ledger", Prefix: "test",
		Credentials: w.user(west, "breakwater"), SigningKey: w.file("worker", w.key()),
	}
	w.furnish(stored)
	w.faults.Source, w.faults.Target = w.place(east), w.place(west)
	w.faults.Group = faults.Group{Prefix: "orders/orders", Reader: "orders-reader", Writer: "orders-writer", WriterSecret: secretOf("orders-writer"), Secret: "lakehouse/orders"}
	w.faults.Other = faults.Group{Prefix: "clicks/clicks", Reader: "clicks-reader", Writer: "clicks-writer", WriterSecret: secretOf("clicks-writer"), Secret: "lakehouse/clicks"}
	w.faults.Writer = faults.User{Name: "orders-writer", Secret: secretOf("orders-writer")}
	w.faults.Replicator = faults.User{Name: "replicator", Secret: secretOf("replicator")}
	return w
}

// must ends the test at an error.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// request calls an action on the item of that name; the estate itself when it is
// over nothing.
func (w *world) request(def *action.Definition, name string) action.Request {
	w.t.Helper()
	for _, i := range w.estate.Items(def.Over, estate.Filter{}) {
		if i.Name == name || def.Over == estate.Nothing {
			return action.Request{
				Run: w.run, Stage: "stage", Step: "stage/1-" + def.Name, Title: def.Name, Item: i, Estate: w.estate,
				Records: noRecords{}, Progress: func(int64, int64, string) {}, Guard: func(context.Context) error { return nil },
			}
		}
	}
	w.t.Fatalf("the test's estate has no %s %q", def.Over, name)
	return action.Request{}
}

// action is a definition of the catalogue.
func (w *world) action(name string) *action.Definition {
	w.t.Helper()
	c := Catalogue(w.systems)
	def, ok := c.Get(name)
	if !ok {
		w.t.Fatalf("the catalogue has no %s", name)
	}
	return def
}

// noRecords is a run in which no earlier step left anything.
type noRecords struct{}

func (noRecords) Outcome(context.Context, string, string) (action.Outcome, error) {
	return action.Outcome{}, fs.ErrNotExist
}

func (noRecords) Observations(context.Context, string, string) ([]action.Observation, error) {
	return nil, fs.ErrNotExist
}

func (noRecords) Obligations(context.Context) ([]action.Obligation, error) { return nil, nil }

func secretOf(user string) string { return user + "-secret" }

// file writes a credential and returns its reference.
func (w *world) file(name string, content any) estate.Ref {
	w.t.Helper()
	text, ok := content.(string)
	if !ok {
		b, err := json.Marshal(content)
		w.must(err)
		text = string(b)
	}
	w.must(os.WriteFile(filepath.Join(w.systems.Folder, name), []byte(text), 0o600))
	return estate.Ref("file:" + name)
}

// user is the reference to a user's credentials in a region.
func (w *world) user(region, name string) estate.Ref {
	w.t.Helper()
	secret := secretOf(name)
	if name == miniotest.RootUser {
		secret = miniotest.RootPassword
	}
	return w.file(region+"-"+name, map[string]string{"access_key": name, "secret_key": secret})
}

func (w *world) key() string {
	w.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	w.must(err)
	block, err := ssh.MarshalPrivateKey(key, "")
	w.must(err)
	return string(pem.EncodeToMemory(block))
}

func (w *world) member(name string) estate.Member {
	w.t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	w.must(err)
	key, err := ssh.NewPublicKey(pub)
	w.must(err)
	return estate.Member{Name: name, Key: string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key)))}
}

func (w *world) group(name string, tier int, tables ...string) estate.Group {
	w.t.Helper()
	g := estate.Group{
		Group: name, Tier: tier, Owner: "data-platform", Access: &estate.Access{},
		Routing: &estate.Routing{Secret: "lakehouse/" + name, Values: map[string]map[string]string{}},
	}
	for _, t := range tables {
		g.Tables = append(g.Tables, estate.Table{Table: t, Format: "delta", Bucket: "lake", Path: name + "/" + t, PeakRows: 400})
	}
	for _, r := range []string{east, west} {
		g.Access.Readers = append(g.Access.Readers, estate.AccessPrincipal{Region: r, Name: name + "-reader", Credentials: w.user(r, name+"-reader")})
		g.Access.Writers = append(g.Access.Writers, estate.AccessPrincipal{Region: r, Name: name + "-writer", Credentials: w.user(r, name+"-writer")})
		g.Routing.Values[r] = map[string]string{"region": r, "bucket": "lake-" + r, "topic": name}
	}
	return g
}

// region starts a region's servers and describes them.
func (w *world) region(name, stored string) {
	w.t.Helper()
	w.minio[name], w.bao[name] = miniotest.StartWith(w.t, stored), baotest.Start(w.t)
	w.s3[name] = s3.New(s3.Options{
		BaseEndpoint: aws.String(w.minio[name].Endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(miniotest.RootUser, miniotest.RootPassword, ""),
		HTTPClient:  &http.Client{Timeout: 10 * time.Second},
	})
	u, err := url.Parse(w.minio[name].Endpoint)
	w.must(err)
	w.admin[name], err = madmin.NewWithOptions(u.Host, &madmin.Options{
		Creds: miniocreds.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, ""),
	})
	w.must(err)
	w.vault[name], err = api.NewClient(&api.Config{Address: w.bao[name].Address, Timeout: 10 * time.Second})
	w.must(err)
	w.vault[name].SetToken(w.bao[name].RootToken)
	r := estate.Region{
		Region: name, Role: estate.Primary,
		Storage: estate.Storage{
			// The servers of tests sign as MinIO does by default.
			Provider: "minio", Endpoint: w.minio[name].Endpoint, SigningName: "us-east-1",
			Credentials: w.user(name, "breakwater"), Admin: w.user(name, miniotest.RootUser),
			Writers: []estate.Principal{
				{Name: "orders-writer", Credentials: w.user(name, "orders-writer")},
				{Name: "clicks-writer", Credentials: w.user(name, "clicks-writer")},
			},
		},
		Vault: &estate.Vault{Address: w.bao[name].Address, Mount: mount, Sentinel: sentinel},
	}
	if name == west {
		r.Role = estate.Standby
		r.Storage.Replication = &estate.Principal{Name: "replicator", Credentials: w.user(name, "replicator")}
	}
	w.estate.Regions = append(w.estate.Regions, r)
}

// place is a region as faults see it.
func (w *world) place(name string) faults.Region {
	real, err := w.estate.RealBucket("lake", name)
	w.must(err)
	return faults.Region{
		Name: name,
		Storage: faults.Storage{
			Endpoint: w.minio[name].Endpoint, AccessKey: miniotest.RootUser, SecretKey: miniotest.RootPassword, Bucket: real,
			Recovery: faults.User{Name: "breakwater", Secret: secretOf("breakwater")},
		},
		Vault: faults.Vault{Address: w.bao[name].Address, Token: w.bao[name].RootToken, Mount: mount, Sentinel: sentinel, Policy: policy},
		Stop: func(_ context.Context, s faults.System) error {
			w.servers(name, s, (*miniotest.Server).Kill, (*baotest.Server).Kill)
			return nil
		},
		Start: func(_ context.Context, s faults.System) error {
			w.servers(name, s, func(m *miniotest.Server) { m.Restart(w.t) }, func(b *baotest.Server) { b.Restart(w.t) })
			return nil
		},
	}
}

func (w *world) servers(region string, s faults.System, m func(*miniotest.Server), b func(*baotest.Server)) {
	if s == faults.All || s == faults.StorageSystem {
		m(w.minio[region])
	}
	if s == faults.All || s == faults.VaultSystem {
		b(w.bao[region])
	}
}

// furnished is what the first world stored in its regions, for all that follow:
// each user costs MinIO, and its administrator's client, two key derivations.
var furnished struct {
	sync.Mutex
	folder string            // TestMain makes and removes it
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
func (w *world) furnish(stored map[string]string) {
	w.t.Helper()
	var g errgroup.Group
	for _, r := range []string{east, west} {
		if stored == nil {
			g.Go(func() error { return w.furnishStorage(r) })
		}
		w.furnishVault(r)
	}
	w.must(g.Wait())
	if stored != nil {
		return
	}
	all := map[string]string{}
	for _, r := range []string{east, west} {
		w.minio[r].Kill()
		all[r] = filepath.Join(furnished.folder, r)
		w.must(os.CopyFS(all[r], os.DirFS(w.minio[r].Folder)))
		w.minio[r].Restart(w.t)
	}
	furnished.stored = all
}

func (w *world) furnishStorage(region string) error {
	ctx := w.t.Context()
	buckets := []string{"ledger"}
	for _, b := range w.estate.Buckets {
		buckets = append(buckets, b.In[region])
	}
	for _, b := range buckets {
		if _, err := w.s3[region].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &b}); err != nil {
			return err
		}
		if _, err := w.s3[region].PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: &b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		}); err != nil {
			return err
		}
	}
	for _, g := range w.estate.Groups {
		for _, t := range g.Tables {
			real, err := w.estate.RealBucket(t.Bucket, region)
			if err != nil {
				return err
			}
			for _, key := range []string{t.Path + "/_delta_log/00000000000000000000.json", t.Path + "/part-0.parquet"} {
				if _, err := w.s3[region].PutObject(ctx, &s3.PutObjectInput{Bucket: &real, Key: &key, Body: bytes.NewReader([]byte("{}\n"))}); err != nil {
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
	for _, g := range w.estate.Groups {
		for _, level := range []string{"reader", "writer"} {
			actions := []string{"s3:GetObject"}
			if level == "writer" {
				actions = append(actions, "s3:PutObject", "s3:DeleteObject")
			}
			statement := allows([]string{"arn:aws:s3:::lake-east/" + g.Group + "/*"}, actions...)
			if region == west { // closed until access is given
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
func (w *world) minioUser(region, name string, statements ...map[string]any) error {
	ctx := w.t.Context()
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return err
	}
	if err := w.admin[region].AddUser(ctx, name, secretOf(name)); err != nil {
		return fmt.Errorf("user %s: %w", name, err)
	}
	if err := w.admin[region].AddCannedPolicy(ctx, name, doc); err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	_, err = w.admin[region].AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{name}, User: name})
	return err
}

// furnishVault writes the secrets, and makes recovery's token.
func (w *world) furnishVault(region string) {
	w.t.Helper()
	ctx, c := w.t.Context(), w.vault[region]
	put := func(path string, data map[string]any) {
		w.t.Helper()
		_, err := c.KVv2(mount).Put(ctx, path, data)
		w.must(err)
	}
	put(sentinel, map[string]any{"readable": "yes"})
	for _, g := range w.estate.Groups {
		data := map[string]any{}
		for k, v := range g.Routing.Values[east] {
			data[k] = v
		}
		put(g.Routing.Secret, data)
	}
	w.must(c.Sys().PutPolicyWithContext(ctx, policy, `path "secret/data/lakehouse/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/lakehouse/*" { capabilities = ["read", "list"] }`))
	made, err := c.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{Policies: []string{policy}})
	w.must(err)
	r, _ := w.estate.Region(region)
	r.Vault.Credentials = w.file(region+"-vault", map[string]string{"token": made.Auth.ClientToken})
}
