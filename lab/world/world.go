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
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/objectstore"
	"breakwater/internal/system"
	"breakwater/internal/witness"
	"breakwater/lab/faults"
	"breakwater/lab/server/baotest"
	"breakwater/lab/server/miniotest"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/vault/api"
	"github.com/minio/madmin-go/v3"
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
	private, public := w.key()
	w.Estate.Ledger = estate.Ledger{SigningKey: w.file("worker", private), Signers: []string{public}}
	return w
}

// Journal is the witness's journal in a bucket of the standby, as the worker writes it.
func (w *World) Journal(b objectstore.Bucket) witness.Journal {
	w.T.Helper()
	signer, err := w.Systems.Signer(w.T.Context(), w.Estate)
	w.Must(err)
	trusted, err := w.Estate.Ledger.Trusted(time.Now())
	w.Must(err)
	return witness.Journal{Bucket: b, Prefix: "_witness", Place: w.Estate.Estate + "/" + West, Signer: signer, Trusted: trusted}
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

	// Instead registers the actions of the test's own room in place of its Add: for a
	// test that gives them another connection to what cannot be run here.
	Instead Add
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
		Groups: []estate.Group{w.group("orders", 1), w.group("clicks", 2)},
	}
	w.start()
	for _, r := range []string{East, West} {
		w.region(r)
	}
	private, public := w.key()
	w.Estate.Ledger = estate.Ledger{
		Endpoint: w.Minio[West].Endpoint, Bucket: "ledger", Prefix: "test",
		Credentials: w.User(West, "breakwater"), SigningKey: w.file("worker", private), Signers: []string{public},
	}
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
				Records: NoRecords{}, Parts: &PlanParts{}, Progress: func(int64, int64, string) {}, Guard: func(context.Context) error { return nil },
			}
		}
	}
	w.T.Fatalf("the test's estate has no %s %q", def.Over, name)
	return action.Request{}
}

// PlanParts keeps parts of plans in memory.
type PlanParts struct {
	mu  sync.Mutex
	All map[string][]byte
}

// Put is [action.Parts.Put].
func (p *PlanParts) Put(_ context.Context, part []byte) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.All == nil {
		p.All = map[string][]byte{}
	}
	digest := ledger.Digest(part)
	p.All[digest] = bytes.Clone(part)
	return digest, nil
}

// Get is [action.Parts.Get].
func (p *PlanParts) Get(_ context.Context, digest string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	part, ok := p.All[digest]
	if !ok || ledger.Digest(part) != digest {
		return nil, fmt.Errorf("%w: part %s is not there, or is another", action.ErrRefused, digest)
	}
	return part, nil
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

func (w *World) key() (private, public string) {
	w.T.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	w.Must(err)
	block, err := ssh.MarshalPrivateKey(key, "")
	w.Must(err)
	line, err := ssh.NewPublicKey(pub)
	w.Must(err)
	return string(pem.EncodeToMemory(block)), string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(line)))
}

// Member is a person with a new key.
func (w *World) Member(name string) estate.Member {
	w.T.Helper()
	_, public := w.key()
	return estate.Member{Name: name, Key: public}
}

func (w *World) group(name string, tier int) estate.Group {
	w.T.Helper()
	g := estate.Group{
		Group: name, Tier: tier, Owner: "data-platform", Access: &estate.Access{},
		Routing: &estate.Routing{Secret: "lakehouse/" + name, Values: map[string]map[string]string{}},
	}
	for _, t := range groups[name] {
		g.Tables = append(g.Tables, estate.Table{Table: t, Format: "delta", Bucket: "lake", Path: name + "/" + t, PeakRows: 400})
	}
	for _, r := range []string{East, West} {
		g.Access.Readers = append(g.Access.Readers, estate.AccessPrincipal{Region: r, Name: name + "-reader", Credentials: w.User(r, name+"-reader")})
		g.Access.Writers = append(g.Access.Writers, estate.AccessPrincipal{Region: r, Name: name + "-writer", Credentials: w.User(r, name+"-writer")})
		g.Routing.Values[r] = routing(name, r)
	}
	return g
}

// start starts the servers of both regions, side by side, from what was furnished.
func (w *World) start() {
	w.T.Helper()
	from, err := furnished()
	w.Must(err)
	ctx := w.T.Context()
	var g errgroup.Group
	for _, r := range []string{East, West} {
		dir := w.T.TempDir()
		w.Must(os.CopyFS(dir, os.DirFS(filepath.Join(from, r))))
		w.Minio[r], err = miniotest.New(filepath.Join(dir, "minio"), filepath.Join(dir, "minio.log"))
		w.Must(err)
		w.bao[r], err = baotest.New(filepath.Join(dir, "bao"))
		w.Must(err)
		w.T.Cleanup(w.Minio[r].Kill)
		w.T.Cleanup(w.bao[r].Kill)
		g.Go(func() error { return w.Minio[r].Run(ctx) })
		g.Go(func() error { return w.bao[r].Run(ctx) })
	}
	w.Must(g.Wait())
}

// region describes a region, and connects to its servers.
func (w *World) region(name string) {
	w.T.Helper()
	m, err := newStorage(w.Minio[name].Endpoint, miniotest.RootUser, miniotest.RootPassword)
	w.Must(err)
	w.S3[name], w.Admin[name], w.Vault[name] = m.s3, m.admin, w.bao[name].API(w.T)
	token, err := os.ReadFile(filepath.Join(filepath.Dir(w.Minio[name].Folder), "token"))
	w.Must(err)
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
		Vault: &estate.Vault{
			Address: w.bao[name].Address, Mount: Mount, Sentinel: sentinel,
			Credentials: w.file(name+"-vault", map[string]string{"token": string(token)}),
		},
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
