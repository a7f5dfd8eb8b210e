package table

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/sshsig"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
	"breakwater/lab/world"

	"golang.org/x/crypto/ssh"
)

// seen is a store in memory that tells of every request before it is answered. A deaf
// one keeps no conditions on copies and deletions, as MinIO.
type seen struct {
	*memory.Store
	deaf   bool
	before func(doing, key string) // nil for nobody
}

var (
	_ objectstore.Describer  = (*seen)(nil)
	_ objectstore.Duplicator = (*seen)(nil)
)

func (s *seen) tell(doing, key string) {
	if s.before != nil {
		s.before(doing, key)
	}
}

// Traits are those of [objectstore.Store].
func (s *seen) Traits() objectstore.Traits {
	t := s.Store.Traits()
	t.ConditionalCopy, t.ConditionalDelete = !s.deaf, !s.deaf
	return t
}

func (s *seen) Get(ctx context.Context, bucket, key string) ([]byte, objectstore.Object, error) {
	s.tell("Get", key)
	return s.Store.Get(ctx, bucket, key)
}

func (s *seen) Head(ctx context.Context, bucket, key string) (objectstore.Object, error) {
	s.tell("Head", key)
	return s.Store.Head(ctx, bucket, key)
}

func (s *seen) List(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Object, error] {
	return func(yield func(objectstore.Object, error) bool) {
		s.tell("List", prefix)
		s.Store.List(ctx, bucket, prefix)(yield)
	}
}

func (s *seen) ReadPart(ctx context.Context, from objectstore.Source, p []byte, off int64) (int, error) {
	s.tell("ReadPart", from.Key)
	return s.Store.ReadPart(ctx, from, p, off)
}

func (s *seen) GetVersion(ctx context.Context, bucket, key, id string) ([]byte, objectstore.Object, error) {
	s.tell("GetVersion", key)
	return s.Store.GetVersion(ctx, bucket, key, id)
}

func (s *seen) HeadVersion(ctx context.Context, bucket, key, id string) (objectstore.Object, error) {
	s.tell("HeadVersion", key)
	return s.Store.HeadVersion(ctx, bucket, key, id)
}

func (s *seen) VersionReader(ctx context.Context, bucket, key, id string) (io.ReadCloser, objectstore.Object, error) {
	s.tell("VersionReader", key)
	return s.Store.VersionReader(ctx, bucket, key, id)
}

func (s *seen) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		s.tell("ListVersions", prefix)
		s.Store.ListVersions(ctx, bucket, prefix)(yield)
	}
}

func (s *seen) Versioning(ctx context.Context, bucket string) (objectstore.Versioning, error) {
	s.tell("Versioning", "")
	return s.Store.Versioning(ctx, bucket)
}

func (s *seen) PutIfAbsent(ctx context.Context, bucket, key string, body []byte) (objectstore.Object, error) {
	s.tell("PutIfAbsent", key)
	return s.Store.PutIfAbsent(ctx, bucket, key, body)
}

func (s *seen) PutIfMatch(ctx context.Context, bucket, key string, body []byte, etag string) (objectstore.Object, error) {
	s.tell("PutIfMatch", key)
	return s.Store.PutIfMatch(ctx, bucket, key, body, etag)
}

func (s *seen) Copy(ctx context.Context, from objectstore.Source, bucket, key string) (objectstore.Object, error) {
	s.tell("Copy", key)
	return s.Store.Copy(ctx, from, bucket, key)
}

func (s *seen) Delete(ctx context.Context, bucket, key string) (string, error) {
	s.tell("Delete", key)
	return s.Store.Delete(ctx, bucket, key)
}

func (s *seen) DeleteVersion(ctx context.Context, bucket, key, id string) error {
	s.tell("DeleteVersion", key)
	return s.Store.DeleteVersion(ctx, bucket, key, id)
}

func (s *seen) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (int, error) {
	s.tell("DeleteMany", all[0].Key)
	all = append([]objectstore.Deletion{}, all...)
	for i := range all {
		if s.deaf {
			all[i].ETag = ""
		}
	}
	return s.Store.DeleteMany(ctx, bucket, all)
}

func (s *seen) Describe(ctx context.Context, bucket, key, id string) (objectstore.Description, error) {
	s.tell("Describe", key)
	return s.Store.Describe(ctx, bucket, key, id)
}

func (s *seen) Copier() objectstore.Copier { return seenCopier{s, s.Store.Copier()} }

type seenCopier struct {
	s  *seen
	of objectstore.Copier
}

func (c seenCopier) Copy(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	c.s.tell("Copy", r.Key)
	if c.s.deaf {
		r.Over = ""
		if o, err := c.s.Store.Head(ctx, r.Bucket, r.Key); err == nil {
			r.Over = o.ETag
		}
	}
	return c.of.Copy(ctx, r)
}

// stand is a table named orders in any store, and this room's actions over it: it
// needs no servers but the store's own.
type stand struct {
	t      *testing.T
	bucket objectstore.Bucket // as its owner has it
	acts   objectstore.Store  // as the actions have it
	path   string             // of the table
	run    action.Run
	clock  time.Time
	point  int64 // the recovery point
}

const standRegion = "west"

// inMemory is a stand in memory.
func inMemory(t *testing.T, deaf bool) (*stand, *seen) {
	t.Helper()
	server := memory.New()
	server.Create("lake", memory.Versioned)
	s := &seen{Store: server.Owner(), deaf: deaf}
	return standIn(t, objectstore.Bind(server.Owner(), "lake"), s, "tables/orders"), s
}

func standIn(t *testing.T, b objectstore.Bucket, acts objectstore.Store, path string) *stand {
	at := time.UnixMilli(1795238390000) // just after the fixtures were written
	return &stand{t: t, bucket: b, acts: acts, path: path, clock: at, run: action.Run{Workflow: "stand", FirstRun: "1", Source: standRegion, Target: standRegion, Started: at}}
}

// Bucket, StorageAs, Depot and Format make it what package lake finds tables by.
func (s *stand) Bucket(context.Context, *estate.Estate, string, string) (objectstore.Bucket, error) {
	return objectstore.Bind(s.acts, s.bucket.Name()), nil
}

func (s *stand) StorageAs(context.Context, *estate.Estate, string, estate.Ref, string) (objectstore.Store, error) {
	return s.acts, nil
}

func (s *stand) Depot(context.Context, *estate.Estate) (depot.Depot, error) {
	return depot.Depot{}, errors.New("a stand has no backups")
}

func (s *stand) Format(word string) (table.Format, error) {
	return table.Register(port.Format{}).Of(word)
}

func (s *stand) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// action is one of this room over the stand, and a request for the table.
func (s *stand) action(name string) (*action.Definition, action.Request) {
	s.t.Helper()
	c := action.NewCatalogue()
	r := room{lake: lake.New(s)}
	r.promoteActions(c)
	r.rollbackActions(c)
	r.witnessActions(c)
	signer, err := s.Signer(s.t.Context(), nil)
	s.must(err)
	d, ok := c.Get(name)
	if !ok {
		s.t.Fatalf("no action %s", name)
	}
	return d, action.Request{
		Run: s.run, Records: point(s.point), Step: "step", Item: estate.Item{Kind: estate.TableKind, Name: "orders", Group: "orders"},
		Estate: &estate.Estate{
			Estate: "stand", Ledger: estate.Ledger{Signers: []string{sshsig.Public(signer).String()}}, Regions: []estate.Region{{Region: standRegion, Role: estate.Primary}}, Witness: estate.Witness{Bucket: s.bucket.Name(), Prefix: "_witness"},
			Groups: []estate.Group{{Group: "orders", Tables: []estate.Table{{Table: "orders", Format: "delta", Bucket: "lake", Path: s.path}}}},
		},
		Guard: func(context.Context) error { return nil }, Progress: func(int64, int64, string) {},
	}
}

// planned is an action with its plan in the request.
func (s *stand) planned(name string, with json.RawMessage) (*action.Definition, action.Request) {
	s.t.Helper()
	d, r := s.action(name)
	ch, err := d.Plan(s.t.Context(), r, with)
	s.must(err)
	r.Plan = &ch
	return d, r
}

// write makes a table of as many files, one a version, each of three rows.
func (s *stand) write(files int, checkpointEvery int64) {
	s.t.Helper()
	to := world.SourceStore{Bucket: location.Bucket{Of: s.bucket}}
	w, err := write.Create(s.t.Context(), to, table.Root{Bucket: s.bucket.Name(), Prefix: s.path}, world.OrderColumns,
		write.Options{CheckpointEvery: checkpointEvery, Now: func() time.Time { s.clock = s.clock.Add(time.Second); return s.clock }})
	s.must(err)
	for f := range int64(files) {
		_, err := w.Append(s.t.Context(), []write.Row{{3 * f, "a"}, {3*f + 1, "b"}, {3*f + 2, "c"}})
		s.must(err)
	}
}

// entry is the key of a log entry.
func (s *stand) entry(v int) string { return world.Entry(s.path, v) }

// commit writes a log entry by hand.
func (s *stand) commit(v int, actions ...string) {
	s.t.Helper()
	_, err := s.bucket.PutIfAbsent(s.t.Context(), s.entry(v), []byte(strings.Join(actions, "\n")+"\n"))
	s.must(err)
}

// dataOf is the data file that a version added.
func (s *stand) dataOf(v int) string {
	s.t.Helper()
	body, _, err := s.bucket.Get(s.t.Context(), s.entry(v))
	s.must(err)
	for line := range strings.Lines(string(body)) {
		var e struct {
			Add struct {
				Path string `json:"path"`
			} `json:"add"`
		}
		s.must(json.Unmarshal([]byte(line), &e))
		if e.Add.Path != "" {
			return s.path + "/" + e.Add.Path
		}
	}
	s.t.Fatalf("version %d adds nothing", v)
	return ""
}

// removal is a commit that removes the data file of a version.
func (s *stand) removal(v int) []string {
	return []string{
		`{"commitInfo":{"timestamp":1795238390000,"operation":"DELETE"}}`,
		fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true,"deletionTimestamp":1795238390000}}`, strings.TrimPrefix(s.dataOf(v), s.path+"/")),
	}
}

// counting counts requests by key.
func (s *seen) counting() (count map[string]int, stop func()) {
	var mu sync.Mutex
	count = map[string]int{}
	s.before = func(_, key string) {
		mu.Lock()
		defer mu.Unlock()
		count[key]++
	}
	return count, func() { s.before = nil }
}

// Signer is the worker's key, the same every time.
func (*stand) Signer(context.Context, *estate.Estate) (ssh.Signer, error) {
	return ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
}
