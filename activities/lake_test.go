package activities

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/objectstore"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/location"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
	"breakwater/lab/faults"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// lake is a world with tables that were written at the source, replicated object
// by object as the test says.
type lake struct {
	*world
	records *ledgerRecords
	clock   time.Time
	writers map[string]*write.Table
	truth   map[string][]scan.Digest // per table: the digest of each version
	commits map[string][]time.Time
}

// ledgerRecords keeps outcomes as the ledger does.
type ledgerRecords struct {
	mu       sync.Mutex
	outcomes map[string]action.Outcome
	seen     map[string][]action.Observation
}

func (r *ledgerRecords) put(name, item string, o action.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[name+" "+item] = o
}

func (r *ledgerRecords) Outcome(_ context.Context, name, item string) (action.Outcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.outcomes[name+" "+item]
	if !ok {
		return o, fs.ErrNotExist
	}
	return o, nil
}

func (r *ledgerRecords) Observations(_ context.Context, name, item string) ([]action.Observation, error) {
	if obs, ok := r.seen[name+" "+item]; ok {
		return obs, nil
	}
	return nil, fs.ErrNotExist
}

func (r *ledgerRecords) Obligations(context.Context) ([]action.Obligation, error) { return nil, nil }

// sourceStore writes at the source as root.
type sourceStore struct{ location.Bucket }

func (s sourceStore) Put(ctx context.Context, key string, body []byte) error {
	_, err := s.Bucket.Bucket.Put(ctx, key, body)
	return err
}

func (s sourceStore) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	_, err := s.Bucket.Bucket.PutIfAbsent(ctx, key, body)
	if errors.Is(err, objectstore.ErrSame) {
		return nil
	}
	return err
}

var orderColumns = []write.Column{{Name: "id", Type: write.Int64}, {Name: "note", Type: write.String}}

// newLake makes a world whose source is lost.
func newLake(t *testing.T) *lake {
	t.Helper()
	w := newWorld(t)
	l := &lake{
		world: w, clock: time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC),
		records: &ledgerRecords{outcomes: map[string]action.Outcome{}, seen: map[string][]action.Observation{}},
		writers: map[string]*write.Table{}, truth: map[string][]scan.Digest{}, commits: map[string][]time.Time{},
	}
	w.estate.Witness = estate.Witness{Bucket: "lake", Prefix: "_witness"}
	w.estate.Tiers[0].RPO = estate.Duration(time.Minute)
	for i := range w.estate.Groups {
		for j := range w.estate.Groups[i].Tables {
			w.estate.Groups[i].Tables[j].PeakBurst = 100
			l.empty(east, w.estate.Groups[i].Tables[j].Path)
			l.empty(west, w.estate.Groups[i].Tables[j].Path)
		}
	}
	return l
}

// lost sets that the source is gone since the clock's time.
func (l *lake) lost() {
	at := l.clock
	l.run.SourceUnreachable, l.run.SourceLost = true, &at
}

// empty removes what a world furnishes below a prefix, for good.
func (l *lake) empty(region, prefix string) {
	l.t.Helper()
	bucket, err := l.estate.RealBucket("lake", region)
	l.must(err)
	out, err := l.s3[region].ListObjectVersions(l.t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix})
	l.must(err)
	for _, v := range out.Versions {
		_, err := l.s3[region].DeleteObject(l.t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: v.Key, VersionId: v.VersionId})
		l.must(err)
	}
}

func (l *lake) rootBucket(region string) objectstore.Bucket {
	l.t.Helper()
	real, err := l.estate.RealBucket("lake", region)
	l.must(err)
	return l.minio[region].Client(l.t).Bucket(real)
}

// tick moves the writers' clock.
func (l *lake) tick(d time.Duration) time.Time { l.clock = l.clock.Add(d); return l.clock }

// create makes a table at the source.
func (l *lake) create(name string, every int64) {
	l.t.Helper()
	decl, _, _ := l.estate.Table(name)
	b := l.rootBucket(east)
	w, err := write.Create(l.t.Context(), sourceStore{location.Bucket{Bucket: b}}, delta.Root{Bucket: b.Name(), Prefix: decl.Path}, orderColumns,
		write.Options{CheckpointEvery: every, Now: func() time.Time { return l.clock }})
	l.must(err)
	l.writers[name] = w
	l.learn(name)
}

// append commits rows at the source and remembers what the table holds then.
func (l *lake) append(name string, rows int) {
	l.t.Helper()
	all := make([]write.Row, rows)
	for i := range all {
		all[i] = write.Row{rand.Int64(), fmt.Sprintf("row %d of %s", i, name)}
	}
	_, err := l.writers[name].Append(l.t.Context(), all)
	l.must(err)
	l.learn(name)
}

func (l *lake) learn(name string) {
	l.t.Helper()
	log, store := l.log(east, name)
	s, err := log.Snapshot(l.t.Context(), log.Head())
	l.must(err)
	d, err := scan.Sum(l.t.Context(), store, s)
	l.must(err)
	l.truth[name] = append(l.truth[name], d)
	l.commits[name] = append(l.commits[name], s.Version.Time)
	if int64(len(l.truth[name])-1) != log.Head() {
		l.t.Fatalf("%s is at version %d, the test counts %d", name, log.Head(), len(l.truth[name])-1)
	}
}

func (l *lake) log(region, name string) (*delta.Log, delta.Store) {
	l.t.Helper()
	decl, _, _ := l.estate.Table(name)
	b := l.rootBucket(region)
	store := location.Bucket{Bucket: b}
	log, err := delta.Open(l.t.Context(), store, delta.Root{Bucket: b.Name(), Prefix: decl.Path})
	l.must(err)
	return log, store
}

// objects are the keys of a table at the source.
func (l *lake) objects(name string) []string {
	l.t.Helper()
	decl, _, _ := l.estate.Table(name)
	var keys []string
	for o, err := range l.rootBucket(east).List(l.t.Context(), decl.Path+"/") {
		l.must(err)
		keys = append(keys, o.Key)
	}
	return keys
}

// replicate copies objects to the target as they are, in random order, unless
// they are held back.
func (l *lake) replicate(name string, hold func(key string) bool) {
	l.t.Helper()
	keys := l.objects(name)
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, key := range keys {
		if hold == nil || !hold(key) {
			l.carry(key)
		}
	}
}

func (l *lake) carry(key string) {
	l.t.Helper()
	from, to := "lake-east", "lake-west"
	out, err := l.s3[east].GetObject(l.t.Context(), &s3.GetObjectInput{Bucket: &from, Key: &key})
	l.must(err)
	body, err := io.ReadAll(out.Body)
	l.must(errors.Join(err, out.Body.Close()))
	_, err = l.s3[west].PutObject(l.t.Context(), &s3.PutObjectInput{Bucket: &to, Key: &key, Body: bytes.NewReader(body)})
	l.must(err)
}

// entry is the key of a log entry.
func entry(path string, v int) string { return fmt.Sprintf("%s/_delta_log/%020d.json", path, v) }

// dataOf are the keys of the data files that a version added.
func (l *lake) dataOf(name string, version int) []string {
	l.t.Helper()
	decl, _, _ := l.estate.Table(name)
	body, _, err := l.rootBucket(east).Get(l.t.Context(), entry(decl.Path, version))
	l.must(err)
	var keys []string
	for line := range bytes.Lines(body) {
		var e struct {
			Add struct {
				Path string `json:"path"`
			} `json:"add"`
		}
		l.must(json.Unmarshal(line, &e))
		if e.Add.Path != "" {
			keys = append(keys, decl.Path+"/"+e.Add.Path)
		}
	}
	return keys
}

// see journals the head of a table as a witness would have at the clock's time.
func (l *lake) see(name string) {
	l.t.Helper()
	j := witness.Journal{Bucket: l.rootBucket(west), Prefix: "_witness"}
	v := len(l.truth[name]) - 1
	d := l.truth[name][v]
	_, err := j.Put(l.t.Context(), witness.Record{
		Table: name, Version: int64(v), Rows: d.Rows, Hash: hex.EncodeToString(d.Sum[:]), CommittedAt: l.commits[name][v], SeenAt: l.clock, Run: "witness",
	})
	l.must(err)
	_, err = j.See(l.t.Context(), name, witness.Sighting{Version: int64(v), Rows: d.Rows, CommittedAt: l.commits[name][v], Last: l.clock, Run: l.clock.String()})
	l.must(err)
}

// recorded is a catalogue whose every Apply leaves its outcome in the records.
func (l *lake) recorded(name string) *action.Definition {
	l.t.Helper()
	c := action.NewCatalogue()
	a := l.systems.recoveryPoint()
	apply := a.Apply
	a.Apply = func(ctx context.Context, c action.Call[none]) (action.Outcome, error) {
		o, err := apply(ctx, c)
		if err == nil {
			l.records.put(a.Name, c.Item.Name, o)
		}
		return o, err
	}
	action.Add(c, a)
	l.systems.tableActions(c)
	l.systems.rollbackActions(c)
	l.systems.witnessActions(c)
	l.systems.goldenActions(c)
	d, ok := c.Get(name)
	if !ok {
		l.t.Fatalf("no action %s", name)
	}
	return d
}

func (l *lake) request(d *action.Definition, item string) action.Request {
	r := l.world.request(d, item)
	r.Run, r.Records = l.run, l.records
	return r
}

// do plans and applies an action, and leaves its outcome in the records.
func (l *lake) do(name, item string) (action.Request, action.Outcome) {
	l.t.Helper()
	d := l.recorded(name)
	r := l.request(d, item)
	ch, err := d.Plan(l.t.Context(), r, nil)
	l.must(err)
	r.Plan = &ch
	o, err := d.Apply(l.t.Context(), r, nil)
	l.must(err)
	l.records.put(name, item, o)
	return r, o
}

// verified asks for a verdict.
func (l *lake) verified(name string, r action.Request, want verdict.Verdict) []action.Observation {
	l.t.Helper()
	obs, err := l.recorded(name).Verify(l.t.Context(), r, nil)
	l.must(err)
	if got := action.Worst(obs); got != want {
		l.t.Errorf("%s on %s: %s, want %s\n%s", name, r.Item, got, want, told(obs))
	}
	return obs
}

func (l *lake) point(group string) GroupPoint {
	l.t.Helper()
	p, err := groupPoint(l.t.Context(), l.records, group)
	l.must(err)
	return p
}

func (l *lake) faultSet() fault.Set {
	return slices.Concat(faults.Tables(l.faults), faults.Regions(l.faults))
}

// everything is what a reader sees below a prefix of the target.
func (l *lake) everything(prefix string) map[string]string {
	l.t.Helper()
	have := map[string]string{}
	for o, err := range l.rootBucket(west).List(l.t.Context(), prefix+"/") {
		l.must(err)
		have[o.Key] = o.ETag
	}
	return have
}

func (l *lake) unmark(prefix string) {
	l.t.Helper()
	bucket := "lake-west"
	out, err := l.s3[west].ListObjectVersions(l.t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix})
	l.must(err)
	for _, m := range out.DeleteMarkers {
		_, err := l.s3[west].DeleteObject(l.t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: m.Key, VersionId: m.VersionId})
		l.must(err)
	}
}
