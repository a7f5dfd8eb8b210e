package group

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/verdict"
	"breakwater/lab/server/memtest"

	"golang.org/x/crypto/ssh"
)

// madeUp is a store that holds a checkpoint in a file, and says that every table has it
// and a million files. Nothing of it is in memory, so that what is measured is the
// reader's.
type madeUp struct {
	objectstore.Store // none: whatever else is asked is a mistake of the test
	checkpoint        *os.File
	size              int64
	files             int
}

const (
	madeCheckpoint = "_delta_log/00000000000000000010.checkpoint.parquet"
	madeCommit     = "_delta_log/00000000000000000010.json"
	madeLine       = `{"commitInfo":{"timestamp":1700000000000,"operation":"WRITE"}}`
)

func (s madeUp) List(ctx context.Context, _, prefix string) iter.Seq2[objectstore.Object, error] {
	return func(yield func(objectstore.Object, error) bool) {
		root, _, log := strings.Cut(strings.TrimSuffix(prefix, "/"), "/_delta_log")
		at := time.UnixMilli(1_700_000_000_000)
		if !yield(objectstore.Object{Key: root + "/" + madeCheckpoint, Size: s.size, LastModified: at}, nil) ||
			!yield(objectstore.Object{Key: root + "/" + madeCommit, Size: int64(len(madeLine)), LastModified: at}, nil) || log {
			return
		}
		for n := range s.files {
			path, size := deltatest.LargeFile(n)
			if ctx.Err() != nil || !yield(objectstore.Object{Key: root + "/" + path, Size: size}, ctx.Err()) {
				return
			}
		}
	}
}

func (s madeUp) Get(_ context.Context, _, key string) ([]byte, objectstore.Object, error) {
	if strings.HasSuffix(key, madeCommit) {
		return []byte(madeLine), objectstore.Object{Key: key, Size: int64(len(madeLine))}, nil
	}
	return nil, objectstore.Object{}, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
}

func (s madeUp) ReadPart(_ context.Context, from objectstore.Source, p []byte, off int64) (int, error) {
	if strings.HasSuffix(from.Key, madeCheckpoint) {
		return s.checkpoint.ReadAt(p, off)
	}
	return bytes.NewReader([]byte(madeLine)).ReadAt(p, off)
}

// madeUpSystems are the systems of an estate whose every bucket is made up.
type madeUpSystems struct{ madeUp }

func (s madeUpSystems) Bucket(_ context.Context, _ *estate.Estate, region, logical string) (objectstore.Bucket, error) {
	return objectstore.Bind(s.madeUp, logical+"-"+region), nil
}

func (s madeUpSystems) StorageAs(context.Context, *estate.Estate, string, estate.Ref, string) (objectstore.Store, error) {
	return s.madeUp, nil
}

func (madeUpSystems) Depot(context.Context, *estate.Estate) (d depot.Depot, err error) {
	return d, objectstore.ErrLacks
}

func (madeUpSystems) Format(string) (table.Format, error) { return port.Format{}, nil }

// oneOutcome is a run's records once its recovery point is applied.
type oneOutcome struct{ out *action.Outcome }

func (r *oneOutcome) Outcome(context.Context, string, string) (action.Outcome, error) {
	if r.out == nil {
		return action.Outcome{}, fs.ErrNotExist
	}
	return *r.out, nil
}

func (r *oneOutcome) Observations(context.Context, string, string) ([]action.Observation, error) {
	return nil, fs.ErrNotExist
}

func (r *oneOutcome) Obligations(context.Context) ([]action.Obligation, error) { return nil, nil }

// largeGroup plans, applies and verifies a recovery point of that many tables.
func largeGroup(t *testing.T, tables, files int, checkpoint *os.File) {
	t.Helper()
	info, err := checkpoint.Stat()
	if err != nil {
		t.Fatal(err)
	}
	e := &estate.Estate{
		Estate: "large", Regions: []estate.Region{{Region: "east", Role: estate.Primary}, {Region: "west", Role: estate.Standby}},
		Buckets: []estate.Bucket{{Bucket: "lake", In: map[string]string{"east": "lake-east", "west": "lake-west"}}},
		Groups:  []estate.Group{{Group: "all", Tier: 1}}, Tiers: []estate.Tier{{Tier: 1, RPO: estate.Duration(time.Hour)}},
	}
	for n := range tables {
		e.Groups[0].Tables = append(e.Groups[0].Tables, estate.Table{Table: fmt.Sprintf("t%03d", n), Bucket: "lake", Path: fmt.Sprintf("all/t%03d", n), Format: "delta"})
	}
	s := room{lake.New(madeUpSystems{madeUp{checkpoint: checkpoint, size: info.Size(), files: files}})}
	records := &oneOutcome{}
	c := action.Call[pointParams]{Request: action.Request{
		Run:  action.Run{Workflow: "w", Mode: action.ModeDrill, Source: "east", Target: "west"},
		Item: estate.Item{Name: "all", Kind: estate.GroupKind}, Estate: e, Records: records,
		Progress: func(int64, int64, string) {}, Guard: func(context.Context) error { return nil },
	}}
	ch, err := s.planPoint(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	c.Plan = &ch
	out, err := applyPoint(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	records.out = &out
	obs, err := s.verifyPoint(t.Context(), c)
	if err != nil || action.Worst(obs) != verdict.Pass {
		t.Fatalf("%v: %v", err, obs)
	}
	if n := len(ch.Effects); n != tables {
		t.Errorf("%d tables are planned, want %d", n, tables)
	}
}

// made writes a checkpoint of that many files.
func made(t *testing.T, files int) string {
	t.Helper()
	body, err := deltatest.LargeCheckpoint(files)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "checkpoint.parquet")
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMadeUpGroup holds the made up store to what the measurement rests on.
func TestMadeUpGroup(t *testing.T) {
	t.Parallel()
	f, err := os.Open(made(t, 1000))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	largeGroup(t, 3, 1000, f)
}

// A recovery point of 100 tables of a million files each takes less than 2 GiB, measured
// in a process of its own. Part of make bench alone.
func TestMemoryOfAGroup(t *testing.T) {
	const files = 1_000_000
	tables := 100
	if n, err := strconv.Atoi(os.Getenv("BREAKWATER_BENCH_TABLES")); err == nil {
		tables = n
	}
	if os.Getenv("BREAKWATER_BENCH") == "" {
		return
	}
	mib, took, measured := memtest.Peak(t, func() string { return made(t, files) }, func(checkpoint string) {
		f, err := os.Open(checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		largeGroup(t, tables, files, f)
	})
	if !measured {
		return
	}
	t.Logf("recovery point of %d tables of 1,000,000 files: peak memory %d MiB (wanted: under 2048), %v", tables, mib, took)
	if mib >= 2048 {
		t.Errorf("%d MiB", mib)
	}
}

func (madeUpSystems) Signer(context.Context, *estate.Estate) (ssh.Signer, error) {
	return nil, objectstore.ErrLacks
}
