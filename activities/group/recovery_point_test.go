package group

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/recovery"
	"breakwater/internal/system"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
	"breakwater/internal/table/tabletest"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/world"
)

var firstCommit = time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)

// inMemory is a group whose tables lie in memory.
type inMemory struct {
	t     *testing.T
	store *tabletest.Store
	ev    lake.GroupEvidence
}

func (m *inMemory) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// table writes a table of some versions, one every ten seconds, each of one row.
func (m *inMemory) table(name string, versions int, every int64) *lake.TableEvidence {
	m.t.Helper()
	root := table.Root{Bucket: "lake", Prefix: name}
	clock := firstCommit
	w, err := write.Create(m.t.Context(), m.store, root, []write.Column{{Name: "id", Type: write.Int64}},
		write.Options{CheckpointEvery: every, Now: func() time.Time { return clock }})
	m.must(err)
	for v := 1; v < versions; v++ {
		clock = clock.Add(10 * time.Second)
		_, err := w.Append(m.t.Context(), []write.Row{{int64(v)}})
		m.must(err)
	}
	t := &lake.TableEvidence{Table: lake.Table{Name: name, Format: port.Format{}, Store: m.store, Root: root}, Incomplete: map[int64]bool{}}
	t.State.Name = name
	m.ev.Tables = append(m.ev.Tables, t)
	return t
}

// lose removes what a version brought, and its log entry if asked.
func (m *inMemory) lose(name string, version int, log bool) {
	m.t.Helper()
	key := world.Entry(name, version)
	body, err := m.store.Get(m.t.Context(), key)
	m.must(err)
	for _, f := range m.store.Keys(name + "/") {
		if bytes.Contains(body, []byte(`"`+strings.TrimPrefix(f, name+"/")+`"`)) {
			m.store.Delete(f)
		}
	}
	if log {
		m.store.Delete(key)
	}
}

func (m *inMemory) choose() (recovery.Cut, error) {
	m.t.Helper()
	for _, t := range m.ev.Tables {
		if err := t.Look(m.t.Context()); err != nil {
			return recovery.Cut{}, err
		}
	}
	return m.ev.Choose(m.t.Context())
}

func TestCutLiesFurtherBackThanWasRead(t *testing.T) {
	m := &inMemory{t: t, store: &tabletest.Store{Now: time.Now}}
	fast := m.table("fast", 300, 50)
	m.table("slow", 300, 0)
	m.lose("slow", 7, false)
	_, before := m.store.Calls()
	cut, err := m.choose()
	if err != nil {
		t.Fatal(err)
	}
	_, after := m.store.Calls()
	if cut.Tables[0].Version != 6 || cut.Tables[1].Version != 6 {
		t.Errorf("cut %+v; want both at 6, before the version that lost its file", cut.Tables)
	}
	if fast.From > 6 {
		t.Errorf("fast was read from version %d on, and the cut lies at 6", fast.From)
	}
	if reads := after - before; reads > 2500 {
		t.Errorf("%d reads for two tables of 300 versions", reads)
	}
}

// A checkpoint without its commit is the newest complete version of a table, and
// has no time. What lies below it is out of reach, so there is no cut where the
// other table holds the group further back; and looking for one ends.
func TestNoCutBelowACheckpointWithoutItsCommit(t *testing.T) {
	m := &inMemory{t: t, store: &tabletest.Store{Now: time.Now}}
	big := m.table("big", 6, 3)
	m.table("small", 6, 0)
	m.lose("small", 2, false)
	for v := 2; v < 6; v++ {
		m.store.Delete(world.Entry("big", v))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := m.choose()
		done <- err
	}()
	select {
	case err := <-done:
		var none *recovery.NoCutError
		if !errors.As(err, &none) {
			t.Errorf("choose = %v; want no cut", err)
		}
	case <-ctx.Done():
		t.Fatal("it looks further and further back without an end")
	}
	if big.Newest.Version.Number != 3 {
		t.Errorf("newest complete is %d, want 3, from the checkpoint", big.Newest.Version.Number)
	}
}

// A version whose file was removed by a later one can be incomplete below one
// that is complete. It is found out when the cut falls on it.
func TestCutStepsBackFromAnIncompleteOlderVersion(t *testing.T) {
	m := &inMemory{t: t, store: &tabletest.Store{Now: time.Now}}
	big := m.table("big", 6, 0)
	m.table("small", 6, 0)
	m.lose("small", 5, false) // holds the group before version 5
	body, err := m.store.Get(t.Context(), world.Entry("big", 3))
	m.must(err)
	var path string
	for _, f := range m.store.Keys("big/") {
		if bytes.Contains(body, []byte(`"`+strings.TrimPrefix(f, "big/")+`"`)) {
			path = strings.TrimPrefix(f, "big/")
		}
	}
	m.must(m.store.Put(t.Context(), world.Entry("big", 6), fmt.Appendf(nil, `{"commitInfo":{"timestamp":%d,"operation":"DELETE"}}
{"remove":{"path":%q,"dataChange":true}}
`, firstCommit.Add(time.Minute).UnixMilli(), path)))
	m.lose("big", 3, false)
	cut, err := m.choose()
	if err != nil {
		t.Fatal(err)
	}
	if big.Newest.Version.Number != 6 || cut.Tables[0].Version != 2 || cut.Tables[1].Version != 2 {
		t.Errorf("newest complete %d, cut %+v; want 6, and both at 2: versions 3 to 5 of big need the file", big.Newest.Version.Number, cut.Tables)
	}
	if cut.Tables[0].Rows != 2 {
		t.Errorf("big has %d rows at version 2, want 2", cut.Tables[0].Rows)
	}
}

func TestNoCutNamesTheTable(t *testing.T) {
	for name, tc := range map[string]struct {
		breaks func(*inMemory)
	}{
		"nothing arrived":  {func(m *inMemory) { m.ev.Tables[1].Root.Prefix = "elsewhere" }},
		"no whole version": {func(m *inMemory) { m.store.Delete(world.Entry("two", 0)) }},
	} {
		t.Run(name, func(t *testing.T) {
			m := &inMemory{t: t, store: &tabletest.Store{Now: time.Now}}
			m.table("one", 3, 0)
			m.table("two", 3, 0)
			tc.breaks(m)
			_, err := m.choose()
			var none *recovery.NoCutError
			if !errors.As(err, &none) || none.Dataset != "two" {
				t.Errorf("choose = %v; want no cut, because of two", err)
			}
		})
	}
}

// A store that does not answer concludes nothing.
func TestUnreadEvidenceIsNoEvidence(t *testing.T) {
	m := &inMemory{t: t, store: &tabletest.Store{Now: time.Now}}
	m.table("one", 5, 2)
	lost := errors.New("no answer")
	for _, op := range []string{"list", "get"} {
		m.store.Fail = func(did, _ string) error {
			if did == op {
				return lost
			}
			return nil
		}
		if cut, err := m.choose(); !errors.Is(err, lost) {
			t.Errorf("without %s: %+v, %v; want the store's error", op, cut, err)
		}
	}
}

// The oldest partition of a topic holds the tables back too.
func TestTopicBindsTheCut(t *testing.T) {
	m := &inMemory{t: t, store: &tabletest.Store{Now: time.Now}}
	m.table("one", 9, 0)
	m.ev.Topics = []recovery.TopicState{{Name: "events", Partitions: []recovery.PartitionState{
		{Partition: 0, MirroredThrough: 10, NewestAt: firstCommit.Add(time.Hour)},
		{Partition: 1, MirroredThrough: 10, NewestAt: firstCommit.Add(35 * time.Second)},
	}}}
	cut, err := m.choose()
	if err != nil {
		t.Fatal(err)
	}
	if cut.Tables[0].Version != 3 || cut.Binding.Dataset != "events/1" {
		t.Errorf("version %d bound by %s; want 3 by events/1", cut.Tables[0].Version, cut.Binding.Dataset)
	}
}

// BenchmarkRecoveryPoint plans the recovery point of a group of 100 tables of 25
// versions each, on one MinIO.
func BenchmarkRecoveryPoint(b *testing.B) {
	const tables, versions = 100, 25
	m := miniotest.Start(b)
	client := m.Client(b)
	bucket := client.Bucket("lake-west")
	if err := client.CreateBucket(b.Context(), bucket.Name(), true); err != nil {
		b.Fatal(err)
	}
	e := &estate.Estate{
		Estate: "bench", Buckets: []estate.Bucket{{Bucket: "lake", In: map[string]string{world.West: bucket.Name()}}},
		Groups: []estate.Group{{Group: "g", Tier: 1}},
		Regions: []estate.Region{{Region: world.West, Storage: estate.Storage{
			Provider: "minio", Endpoint: m.Endpoint, SigningName: "us-east-1", Credentials: "env:BENCH_CREDENTIALS",
		}}},
	}
	b.Setenv("BENCH_CREDENTIALS", fmt.Sprintf(`{"access_key":%q,"secret_key":%q}`, miniotest.RootUser, miniotest.RootPassword))
	for n := range tables {
		name := fmt.Sprintf("t%03d", n)
		e.Groups[0].Tables = append(e.Groups[0].Tables, estate.Table{Table: name, Format: "delta", Bucket: "lake", Path: "g/" + name})
		clock := firstCommit
		w, err := write.Create(b.Context(), world.SourceStore{Bucket: location.Bucket{Of: bucket}}, table.Root{Bucket: bucket.Name(), Prefix: "g/" + name},
			[]write.Column{{Name: "id", Type: write.Int64}}, write.Options{CheckpointEvery: 10, Now: func() time.Time { return clock }})
		for v := 1; v < versions && err == nil; v++ {
			clock = clock.Add(10 * time.Second)
			_, err = w.Append(b.Context(), []write.Row{{int64(v)}})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	s := &system.Systems{Folder: b.TempDir()}
	c := action.Call[pointParams]{Request: action.Request{
		Run:    action.Run{Mode: action.ModeLive, Target: world.West, SourceUnreachable: true},
		Estate: e, Item: estate.Item{Kind: estate.GroupKind, Name: "g"}, Records: world.NoRecords{},
		Progress: func(int64, int64, string) {}, Guard: func(context.Context) error { return nil },
	}}
	for b.Loop() {
		ch, err := newRoom(s).planPoint(b.Context(), c)
		if err != nil || len(ch.Effects) != tables {
			b.Fatalf("%d effects, %v", len(ch.Effects), err)
		}
	}
}

// A commit that a log store may have acknowledged, and that the log does not have, is a
// version of which neither time nor rows are known: no cut lands there, and the source's
// head below it does not say that nothing is lost.
func TestPendingCommitIsAVersion(t *testing.T) {
	for name, pending := range map[string]bool{"none": false, "one above the head": true} {
		m := &inMemory{t: t, store: &tabletest.Store{Now: time.Now}}
		one := m.table("one", 6, 0)
		head := firstCommit.Add(50 * time.Second)
		one.State.Source = &recovery.Head{Version: 5, Rows: 5, CommittedAt: head, At: head.Add(time.Second)}
		if pending {
			m.must(m.store.Put(t.Context(), "one/_delta_log/.tmp/00000000000000000006.json.8f3a", []byte("{}")))
		}
		cut, err := m.choose()
		m.must(err)
		last := one.State.Versions[len(one.State.Versions)-1]
		if cut.Tables[0].Version != 5 || (last.Version == 6) != pending || pending && (last.Complete || !last.CommittedAt.IsZero() || last.Rows != recovery.Unknown) {
			t.Errorf("%s: cut %+v, newest version %+v", name, cut.Tables, last)
		}
	}
}

// TestOneClockFarAhead: a commit that is stamped a year ahead drags no other along, is
// named, and a version's time is the same wherever reading begins.
func TestOneClockFarAhead(t *testing.T) {
	m := &inMemory{t: t, store: &tabletest.Store{Now: time.Now}}
	root := table.Root{Bucket: "lake", Prefix: "odd"}
	clock := firstCommit
	w, err := write.Create(t.Context(), m.store, root, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{Now: func() time.Time { return clock }})
	m.must(err)
	for v := 1; v < 8; v++ {
		clock = firstCommit.Add(time.Duration(v) * 10 * time.Second)
		if v == 3 {
			clock = clock.AddDate(1, 0, 0)
		}
		_, err := w.Append(t.Context(), []write.Row{{int64(v)}})
		m.must(err)
	}
	odd := &lake.TableEvidence{Table: lake.Table{Name: "odd", Format: port.Format{}, Store: m.store, Root: root}, Incomplete: map[int64]bool{}, Skew: time.Second}
	odd.State.Name = "odd"
	m.ev.Tables = append(m.ev.Tables, odd)
	m.table("zz", 20, 0)
	cut, err := m.choose()
	m.must(err)
	if want := firstCommit.Add(70 * time.Second); !cut.At.Equal(want) || cut.Tables[0].Version != 7 || cut.Tables[1].Version != 7 {
		t.Errorf("cut at %s, %+v; want %s", cut.At, cut.Tables, want)
	}
	if all := m.ev.OddTimes(); len(all) != 1 || all[0].ID != "odd-times odd" || !strings.Contains(all[0].Sentence, ": 3 of 2026-") {
		t.Errorf("it is not named: %+v", all)
	}
	times := map[int64]time.Time{}
	for from := range int64(8) {
		for c, err := range odd.Log.History(t.Context(), from) {
			m.must(err)
			if was, ok := times[c.Version.Number]; ok && !was.Equal(c.Version.Time) {
				t.Errorf("version %d is of %s, and of %s read from %d on", c.Version.Number, was, c.Version.Time, from)
			}
			times[c.Version.Number] = c.Version.Time
		}
	}
}
