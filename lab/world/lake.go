package world

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
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/objectstore"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
	"breakwater/lab/faults"
	"breakwater/lab/prove"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Lake is a world with tables that were written at the source, replicated object
// by object as the test says.
type Lake struct {
	*World
	Records *LedgerRecords
	Clock   time.Time
	Writers map[string]*write.Table
	Truth   map[string][]table.Digest // per table: the digest of each version
	commits map[string][]time.Time
}

// Put keeps an outcome.
func (r *LedgerRecords) Put(name, item string, o action.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[name+" "+item] = o
}

// Forget leaves nothing of what was kept.
func (r *LedgerRecords) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.outcomes)
}

// Outcome is [action.Records.Outcome].
func (r *LedgerRecords) Outcome(_ context.Context, name, item string) (action.Outcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.outcomes[name+" "+item]
	if !ok {
		return o, fs.ErrNotExist
	}
	return o, nil
}

// Observations is [action.Records.Observations].
func (r *LedgerRecords) Observations(_ context.Context, name, item string) ([]action.Observation, error) {
	if obs, ok := r.Seen[name+" "+item]; ok {
		return obs, nil
	}
	return nil, fs.ErrNotExist
}

// Obligations is [action.Records.Obligations]: none.
func (r *LedgerRecords) Obligations(context.Context) ([]action.Obligation, error) { return nil, nil }

// SourceStore writes at the source as root.
type SourceStore struct{ location.Bucket }

// Put writes an object.
func (s SourceStore) Put(ctx context.Context, key string, body []byte) error {
	_, err := s.Bucket.Of.Put(ctx, key, body)
	return err
}

// PutIfAbsent writes an object where there is none, or the same one.
func (s SourceStore) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	_, err := s.Bucket.Of.PutIfAbsent(ctx, key, body)
	if errors.Is(err, objectstore.ErrSame) {
		return nil
	}
	return err
}

// OrderColumns are the columns of a lake's tables.
var OrderColumns = []write.Column{{Name: "id", Type: write.Int64}, {Name: "note", Type: write.String}}

// NewLake makes a world whose source is lost.
func NewLake(t *testing.T) *Lake {
	t.Helper()
	w := New(t)
	l := &Lake{
		World: w, Clock: time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC),
		Records: &LedgerRecords{outcomes: map[string]action.Outcome{}, Seen: map[string][]action.Observation{}},
		Writers: map[string]*write.Table{}, Truth: map[string][]table.Digest{}, commits: map[string][]time.Time{},
	}
	w.Estate.Witness = estate.Witness{Bucket: "lake", Prefix: "_witness"}
	w.Estate.Tiers[0].RPO = estate.Duration(time.Minute)
	for i := range w.Estate.Groups {
		for j := range w.Estate.Groups[i].Tables {
			w.Estate.Groups[i].Tables[j].PeakBurst = 100
			l.Empty(East, w.Estate.Groups[i].Tables[j].Path)
			l.Empty(West, w.Estate.Groups[i].Tables[j].Path)
		}
	}
	return l
}

// Lost sets that the source is gone since the clock's time, and accepted to be dead.
func (l *Lake) Lost() {
	at := l.Clock
	l.Run.SourceUnreachable, l.Run.SourceLost = true, &at
	l.Run.SourceDeadSince, l.Run.SourceDead = &at, true
}

// Empty removes what a world furnishes below a prefix, for good.
func (l *Lake) Empty(region, prefix string) {
	l.T.Helper()
	bucket, err := l.Estate.RealBucket("lake", region)
	l.Must(err)
	out, err := l.S3[region].ListObjectVersions(l.T.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix})
	l.Must(err)
	for _, v := range out.Versions {
		_, err := l.S3[region].DeleteObject(l.T.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: v.Key, VersionId: v.VersionId})
		l.Must(err)
	}
}

// RootBucket is a region's lake as root sees it.
func (l *Lake) RootBucket(region string) objectstore.Bucket {
	l.T.Helper()
	real, err := l.Estate.RealBucket("lake", region)
	l.Must(err)
	return l.Minio[region].Client(l.T).Bucket(real)
}

// Tick moves the writers' clock.
func (l *Lake) Tick(d time.Duration) time.Time { l.Clock = l.Clock.Add(d); return l.Clock }

// Create makes a table at the source.
func (l *Lake) Create(name string, every int64) {
	l.T.Helper()
	decl, _, _ := l.Estate.Table(name)
	b := l.RootBucket(East)
	w, err := write.Create(l.T.Context(), SourceStore{location.Bucket{Of: b}}, table.Root{Bucket: b.Name(), Prefix: decl.Path}, OrderColumns,
		write.Options{CheckpointEvery: every, Now: func() time.Time { return l.Clock }})
	l.Must(err)
	l.Writers[name] = w
	l.Learn(name)
}

// Append commits rows at the source and remembers what the table holds then.
func (l *Lake) Append(name string, rows int) {
	l.T.Helper()
	all := make([]write.Row, rows)
	for i := range all {
		all[i] = write.Row{rand.Int64(), fmt.Sprintf("row %d of %s", i, name)}
	}
	_, err := l.Writers[name].Append(l.T.Context(), all)
	l.Must(err)
	l.Learn(name)
}

// Learn remembers what a table holds now.
func (l *Lake) Learn(name string) {
	l.T.Helper()
	log, store := l.Log(East, name)
	s, err := log.Snapshot(l.T.Context(), log.Head())
	l.Must(err)
	d, err := scan.Sum(l.T.Context(), store, s)
	l.Must(err)
	l.Truth[name] = append(l.Truth[name], d)
	l.commits[name] = append(l.commits[name], s.Version.Time)
	if int64(len(l.Truth[name])-1) != log.Head() {
		l.T.Fatalf("%s is at version %d, the test counts %d", name, log.Head(), len(l.Truth[name])-1)
	}
}

// Log opens a table's log in a region as root.
func (l *Lake) Log(region, name string) (*delta.Log, table.Store) {
	l.T.Helper()
	decl, _, _ := l.Estate.Table(name)
	b := l.RootBucket(region)
	store := location.Bucket{Of: b}
	log, err := delta.Open(l.T.Context(), store, table.Root{Bucket: b.Name(), Prefix: decl.Path})
	l.Must(err)
	return log, store
}

// Objects are the keys of a table at the source.
func (l *Lake) Objects(name string) []string {
	l.T.Helper()
	decl, _, _ := l.Estate.Table(name)
	var keys []string
	for o, err := range l.RootBucket(East).List(l.T.Context(), decl.Path+"/") {
		l.Must(err)
		keys = append(keys, o.Key)
	}
	return keys
}

// Replicate copies objects to the target as they are, in random order, unless
// they are held back.
func (l *Lake) Replicate(name string, hold func(key string) bool) {
	l.T.Helper()
	keys := l.Objects(name)
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, key := range keys {
		if hold == nil || !hold(key) {
			l.Carry(key)
		}
	}
}

// Carry copies one object to the target, as replication would.
func (l *Lake) Carry(key string) {
	l.T.Helper()
	from, to := "lake-east", "lake-west"
	out, err := l.S3[East].GetObject(l.T.Context(), &s3.GetObjectInput{Bucket: &from, Key: &key})
	l.Must(err)
	body, err := io.ReadAll(out.Body)
	l.Must(errors.Join(err, out.Body.Close()))
	_, err = l.S3[West].PutObject(l.T.Context(), &s3.PutObjectInput{Bucket: &to, Key: &key, Body: bytes.NewReader(body)})
	l.Must(err)
}

// Entry is the key of a log entry.
func Entry(path string, v int) string { return fmt.Sprintf("%s/_delta_log/%020d.json", path, v) }

// DataOf are the keys of the data files that a version added.
func (l *Lake) DataOf(name string, version int) []string {
	l.T.Helper()
	decl, _, _ := l.Estate.Table(name)
	body, _, err := l.RootBucket(East).Get(l.T.Context(), Entry(decl.Path, version))
	l.Must(err)
	var keys []string
	for line := range bytes.Lines(body) {
		var e struct {
			Add struct {
				Path string `json:"path"`
			} `json:"add"`
		}
		l.Must(json.Unmarshal(line, &e))
		if e.Add.Path != "" {
			keys = append(keys, decl.Path+"/"+e.Add.Path)
		}
	}
	return keys
}

// See journals the head of a table as a witness would have at the clock's time.
func (l *Lake) See(name string) {
	l.T.Helper()
	j := l.Journal(l.RootBucket(West))
	v := len(l.Truth[name]) - 1
	d := l.Truth[name][v]
	_, err := j.Put(l.T.Context(), witness.Record{
		Table: name, Version: int64(v), Rows: d.Rows, Hash: hex.EncodeToString(d.Sum[:]), CommittedAt: l.commits[name][v], SeenAt: l.Clock, Run: "witness",
	})
	l.Must(err)
	_, err = j.See(l.T.Context(), name, witness.Sighting{Version: int64(v), Rows: d.Rows, CommittedAt: l.commits[name][v], Last: l.Clock, Run: l.Clock.String()})
	l.Must(err)
}

// Request is [World.Request] with the lake's run and records.
func (l *Lake) Request(d *action.Definition, item string) action.Request {
	r := l.World.Request(d, item)
	r.Run, r.Records = l.Run, l.Records
	return r
}

// Do plans and applies an action, and leaves its outcome in the records.
func (l *Lake) Do(name, item string) (action.Request, action.Outcome) {
	l.T.Helper()
	d := l.Recorded(name)
	r := l.Request(d, item)
	o := l.Act(d, &r, nil)
	l.Records.Put(name, item, o)
	return r, o
}

// Verified asks for a verdict.
func (l *Lake) Verified(name string, r action.Request, want verdict.Verdict) []action.Observation {
	l.T.Helper()
	obs, err := l.Recorded(name).Verify(l.T.Context(), r, nil)
	l.Must(err)
	if got := action.Worst(obs); got != want {
		l.T.Errorf("%s on %s: %s, want %s\n%s", name, r.Item, got, want, prove.Told(obs))
	}
	return obs
}

// Point is the recovery point that a group has in the records.
func (l *Lake) Point(group string) recovery.GroupPoint {
	l.T.Helper()
	p, _, err := record.GroupPoint.Read(l.T.Context(), l.Records, group)
	l.Must(err)
	return p
}

// FaultSet is what can be done to the lake's tables and regions.
func (l *Lake) FaultSet() fault.Set {
	return slices.Concat(faults.Tables(l.Faults), faults.Regions(l.Faults), faults.Lineages(l.Faults))
}

// Everything is what a reader sees below a prefix of the target.
func (l *Lake) Everything(prefix string) map[string]string {
	l.T.Helper()
	have := map[string]string{}
	for o, err := range l.RootBucket(West).List(l.T.Context(), prefix+"/") {
		l.Must(err)
		have[o.Key] = o.ETag
	}
	return have
}

// Unmark removes the delete markers below a prefix of the target.
func (l *Lake) Unmark(prefix string) {
	l.T.Helper()
	bucket := "lake-west"
	out, err := l.S3[West].ListObjectVersions(l.T.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix})
	l.Must(err)
	for _, m := range out.DeleteMarkers {
		_, err := l.S3[West].DeleteObject(l.T.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: m.Key, VersionId: m.VersionId})
		l.Must(err)
	}
}

// OrdersLake has two tables with different lag. Of orders only the data of
// version 8 did not arrive; of payments neither data nor log entry of 7, while 8
// arrived. So 7 of orders is complete, and the group comes back to 6.
func OrdersLake(t *testing.T) *Lake {
	t.Helper()
	l := NewLake(t)
	for range 9 {
		l.Tick(10 * time.Second)
		for _, name := range []string{"orders", "payments"} {
			if l.Writers[name] == nil {
				l.Create(name, 4)
			} else {
				l.Append(name, 10+len(l.Truth[name]))
			}
		}
		l.Tick(2 * time.Second)
		l.See("orders")
		l.See("payments")
	}
	l.Tick(3 * time.Second)
	late := append(l.DataOf("orders", 8), l.DataOf("payments", 7)...)
	late = append(late, Entry("orders/payments", 7))
	l.Replicate("orders", func(key string) bool { return slices.Contains(late, key) })
	l.Replicate("payments", func(key string) bool { return slices.Contains(late, key) })
	l.Lost()
	return l
}

// PromotedLake is a lake whose tables were promoted at the target.
func PromotedLake(t *testing.T) *Lake {
	t.Helper()
	l := OrdersLake(t)
	l.Do("group.recovery-point", "orders")
	for _, name := range []string{"orders", "payments"} {
		r, _ := l.Do("table.promote", name)
		l.Verified("table.promote", r, verdict.Pass)
	}
	return l
}
