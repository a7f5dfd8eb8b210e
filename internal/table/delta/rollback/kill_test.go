package rollback_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/objectstore/s3"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/table/location"
	"breakwater/lab/server/miniotest"
)

// childEnv holds, in a child process of TestKilledRestore, what it is to restore.
const childEnv = "BREAKWATER_RESTORE_CHILD"

// child is one attempt, made by a process that may die of it.
type child struct {
	Endpoint string `json:"endpoint"`
	Bucket   string `json:"bucket"`
	Prefix   string `json:"prefix"`
	Target   int64  `json:"target"`
	Head     int64  `json:"head"` // that was planned against
	Die      string `json:"die"`  // "before" or "after" the put
}

func TestMain(m *testing.M) {
	text := os.Getenv(childEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var c child
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.run(context.Background()) //nolint:forbidigo // a process of its own, with nobody's context
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// dying kills its own process around the put.
type dying struct {
	bucketStore
	at string
}

func (d dying) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	kill := func(at string) error {
		if d.at != at {
			return nil
		}
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return errors.Join(kill("before"), d.bucketStore.PutIfAbsent(ctx, key, body), kill("after"))
}

// run restores as an attempt of the action does: it looks for an earlier one,
// works the commit out anew and makes it.
func (c child) run(ctx context.Context) error {
	client, err := s3.New(s3.Config{Endpoint: c.Endpoint, AccessKey: miniotest.RootUser, SecretKey: miniotest.RootPassword, PathStyle: true, AnswerTimeout: time.Minute})
	if err != nil {
		return err
	}
	s := dying{bucketStore{location.Bucket{Of: client.Bucket(c.Bucket)}}, c.Die}
	root := table.Root{Bucket: c.Bucket, Prefix: c.Prefix}
	if _, err := rollback.Find(ctx, s, root, c.Head, "kill"); err == nil {
		return nil
	}
	l, err := delta.Open(ctx, s, root)
	if err != nil {
		return err
	}
	p, err := rollback.New(ctx, s, l, c.Target)
	if err != nil {
		return err
	}
	_, _, err = p.Commit(ctx, s, table.Stamp{Token: "kill", Run: "kill", Now: time.Now()})
	return err
}

// Killed at any moment and begun again, as often as it takes, a restore ends as
// one commit with the target's content. BREAKWATER_TORTURE=1 takes SEEDS kills.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kills := 5
	if os.Getenv("BREAKWATER_TORTURE") == "1" {
		kills = 200
		if n, err := strconv.Atoi(os.Getenv("SEEDS")); err == nil {
			kills = n
		}
	}
	minio := miniotest.Shared(t)
	client, lake := minio.Client(t), minio.Bucket(t, "lake", true)
	s := bucketStore{location.Bucket{Of: client.Bucket(lake)}}
	from := load(t, "dv")
	headAt(from, "dv", 8)
	want, _ := content(t, from, "dv", 3)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)

	// begin starts an attempt.
	begin := func(c child) *exec.Cmd {
		t.Helper()
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), childEnv+"="+string(text))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	died, took := 0, 0*time.Second
	for n := range kills + 3 {
		c := child{Endpoint: minio.Endpoint, Bucket: lake, Prefix: fmt.Sprintf("t%03d", n), Target: 3, Head: 8}
		for _, key := range from.Keys("delta/dv/") {
			body, err := from.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Of.Put(t.Context(), c.Prefix+strings.TrimPrefix(key, "delta/dv"), body); err != nil {
				t.Fatal(err)
			}
		}
		switch n {
		case 0, 1:
			c.Die = []string{"before", "after"}[n]
			if err := begin(c).Wait(); err == nil {
				t.Errorf("it did not die %s the put", c.Die)
			}
			died++
			c.Die = ""
		case 2: // undisturbed, to know how long it takes
			at := time.Now()
			if err := begin(c).Wait(); err != nil {
				t.Fatal(err)
			}
			took = time.Since(at)
		default:
			cmd := begin(c)
			timer := time.AfterFunc(time.Duration(r.Float64()*float64(took)), func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
			if cmd.Wait() != nil {
				died++
			}
			timer.Stop()
		}
		if err := begin(c).Wait(); err != nil {
			t.Fatalf("kill %d: the attempt after it: %v", n, err)
		}
		l, err := delta.Open(t.Context(), s, table.Root{Bucket: lake, Prefix: c.Prefix})
		if err != nil {
			t.Fatal(err)
		}
		snap, err := l.Snapshot(t.Context(), l.Head())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for a := range snap.Files() {
			got = append(got, a.Path+" "+a.Vector.ID())
		}
		slices.Sort(got)
		if l.Head() != 9 || !slices.Equal(got, want) {
			t.Errorf("kill %d: head %d with %d files, want one commit above 8 with the target's %d", n, l.Head(), len(got), len(want))
		}
	}
	t.Logf("%d of %d attempts died", died, kills+2)
	if died < 2 {
		t.Errorf("only %d attempts died: the test shows too little", died)
	}
}
