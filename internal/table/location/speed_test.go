package location_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/location"
	"breakwater/lab/server/memtest"
	"breakwater/lab/server/miniotest"

	"golang.org/x/sync/errgroup"
)

const (
	benchBucket = "lake"
	benchPrefix = "tables/large"
)

// The lines of a table's newest commit, which its checkpoint holds too.
const benchCommit = `{"commitInfo":{"timestamp":1700000000000,"operation":"WRITE"}}`

// Finding the newest complete version of 100,000 files on a real object store,
// beside what cannot be avoided (one listing of the prefix, and delta-rs' load of
// the log) and beside asking for each file. Part of make bench alone.
func TestSpeedOfNewestComplete(t *testing.T) {
	if os.Getenv("BREAKWATER_BENCH") == "" {
		return
	}
	const files = 100_000
	server := miniotest.Start(t)
	c := server.Client(t)
	ctx := t.Context()
	if err := c.CreateBucket(ctx, benchBucket, false); err != nil {
		t.Fatal(err)
	}
	b := c.Bucket(benchBucket)
	body, err := deltatest.LargeCheckpoint(files)
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "_delta_log/00000000000000000010.checkpoint.parquet", body)
	put(t, b, "_delta_log/00000000000000000010.json", []byte(benchCommit))
	put(t, b, "_delta_log/_last_checkpoint", []byte(`{"version":10,"size":100002}`))
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for n := range files {
		group.Go(func() error {
			path, size := deltatest.LargeFile(n)
			_, err := b.Put(each, benchPrefix+"/"+path, make([]byte, size))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	root := table.Root{Bucket: benchBucket, Prefix: benchPrefix}
	var ours, listing, theirs []time.Duration
	for range 5 {
		listing = append(listing, timed(t, func() error {
			n := 0
			for _, err := range b.List(ctx, benchPrefix+"/") {
				if err != nil {
					return err
				}
				n++
			}
			return wanted(n, files+3)
		}))
		theirs = append(theirs, deltaRS(t, server))
		ours = append(ours, timed(t, func() error {
			l, err := delta.Open(ctx, location.Bucket{Of: b}, root)
			if err != nil {
				return err
			}
			n, err := l.NewestComplete(ctx, time.Time{})
			if err != nil {
				return err
			}
			return wanted(n.Snapshot.Len(), files)
		}))
	}
	const asked, atOnce = 5_000, 2 // as many requests under way as we have: one of the listing, one of the log
	heads := timed(t, func() error {
		group, each := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for n := range asked {
			group.Go(func() error {
				path, _ := deltatest.LargeFile(n)
				_, err := b.Head(each, benchPrefix+"/"+path)
				return err
			})
		}
		return group.Wait()
	}) * files / asked
	floor := least(listing) + least(theirs)
	t.Logf("listing %v, delta-rs %v, ours %v; HEAD of each, from %d of them, %d at once: %v", listing, theirs, ours, asked, atOnce, heads)
	t.Logf("to listing and delta-rs' load: %.2f (wanted: at most 1.3); HEAD of each file takes %.1f times as long (wanted: at least 5)",
		least(ours).Seconds()/floor.Seconds(), heads.Seconds()/least(ours).Seconds())
}

func put(t testing.TB, b objectstore.Bucket, name string, body []byte) {
	t.Helper()
	if _, err := b.Put(t.Context(), benchPrefix+"/"+name, body); err != nil {
		t.Fatal(err)
	}
}

func wanted(n, want int) error {
	if n != want {
		return fmt.Errorf("%d of %d", n, want)
	}
	return nil
}

func timed(t testing.TB, do func() error) time.Duration {
	t.Helper()
	at := time.Now()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	return time.Since(at)
}

func least(all []time.Duration) time.Duration {
	m := all[0]
	for _, d := range all {
		m = min(m, d)
	}
	return m
}

// deltaRS is how long delta-rs takes to load the log, without Python's start.
func deltaRS(t testing.TB, s *miniotest.Server) time.Duration {
	t.Helper()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		t.Fatal("BREAKWATER_PYTHON names no Python that has deltalake: run make tools, and this through make bench")
	}
	const script = `
import json, sys, time
from deltalake import DeltaTable
at = time.time()
t = DeltaTable(sys.argv[1], storage_options=json.loads(sys.argv[2]))
took = time.time() - at
assert t.version() == 10, t.version()
print(took)`
	options, err := json.Marshal(map[string]string{
		"AWS_ENDPOINT_URL": s.Endpoint, "AWS_ACCESS_KEY_ID": miniotest.RootUser, "AWS_SECRET_ACCESS_KEY": miniotest.RootPassword,
		"AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", script, "s3://"+benchBucket+"/"+benchPrefix, string(options)).Output()
	if err != nil {
		t.Fatalf("delta-rs: %v", err)
	}
	took, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(took * float64(time.Second))
}

// millionFiles is a store that lists the files of a large checkpoint without
// holding them, so that what is measured is the reader's.
type millionFiles struct {
	table.Store // of the log, in a folder
	prefix      string
	files       int
}

func (s millionFiles) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	if strings.Contains(prefix, "_delta_log") {
		return s.Store.List(ctx, prefix)
	}
	return func(yield func(table.Object, error) bool) {
		for n := range s.files {
			path, size := deltatest.LargeFile(n)
			if !yield(table.Object{Key: s.prefix + "/" + path, Size: size}, nil) {
				return
			}
		}
	}
}

// A table of a million files is found complete in less than 1 GiB, measured in a
// process of its own. Part of make bench alone.
func TestMemoryOfAMillionFiles(t *testing.T) {
	const files = 1_000_000
	if os.Getenv("BREAKWATER_BENCH") == "" {
		return
	}
	prepare := func() string {
		dir := t.TempDir()
		body, err := deltatest.LargeCheckpoint(files)
		if err != nil {
			t.Fatal(err)
		}
		log := filepath.Join(dir, "_delta_log")
		if err := os.Mkdir(log, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"00000000000000000010.checkpoint.parquet": body, "00000000000000000010.json": []byte(benchCommit)} {
			if err := os.WriteFile(filepath.Join(log, name), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	mib, took, measured := memtest.Peak(t, prepare, func(dir string) {
		loc, err := location.Open(dir, location.Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := delta.Open(t.Context(), millionFiles{loc.Store, loc.Root.Prefix, files}, loc.Root)
		if err != nil {
			t.Fatal(err)
		}
		n, err := l.NewestComplete(t.Context(), time.Time{})
		if err != nil || n.Snapshot.Len() != files || len(n.Above) != 0 {
			t.Fatalf("%+v, %v", n, err)
		}
	})
	if !measured {
		return
	}
	t.Logf("newest complete version of 1,000,000 files: peak memory %d MiB (wanted: under 1024), %v", mib, took)
	if mib >= 1024 {
		t.Errorf("%d MiB", mib)
	}
}
