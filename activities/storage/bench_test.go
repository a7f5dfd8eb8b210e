package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/system"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/server"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// yard is one MinIO with what a measurement needs.
type yard struct {
	t       *testing.T
	server  *miniotest.Server
	raw     *s3.Client
	estate  *estate.Estate
	systems *system.Systems
}

func newYard(t *testing.T, stored string) *yard {
	t.Helper()
	y := &yard{t: t, server: miniotest.StartWith(t, stored), systems: &system.Systems{Folder: t.TempDir()}}
	t.Cleanup(y.systems.Close)
	y.raw = s3.New(s3.Options{
		BaseEndpoint: aws.String(y.server.Endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(miniotest.RootUser, miniotest.RootPassword, ""),
		HTTPClient:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	})
	y.estate = &estate.Estate{
		Estate:  "bench",
		Buckets: []estate.Bucket{{Bucket: "lake", In: map[string]string{world.East: "lake"}}},
		Groups:  []estate.Group{{Group: "g", Tier: 1, Tables: []estate.Table{{Table: "t", Format: "delta", Bucket: "lake", Path: "p"}}}},
		Regions: []estate.Region{{Region: world.East, Role: estate.Primary, Storage: estate.Storage{
			Provider: "minio", Endpoint: y.server.Endpoint, SigningName: "us-east-1", Credentials: "file:root",
		}}},
	}
	root, err := json.Marshal(map[string]string{"access_key": miniotest.RootUser, "secret_key": miniotest.RootPassword})
	y.must(err)
	y.must(os.WriteFile(filepath.Join(y.systems.Folder, "root"), root, 0o600))
	return y
}

func (y *yard) must(err error) {
	y.t.Helper()
	if err != nil {
		y.t.Fatal(err)
	}
}

// each does something to many keys at once.
func (y *yard) each(n int, f func(ctx context.Context, i int) error) {
	y.t.Helper()
	work, ctx := errgroup.WithContext(y.t.Context())
	work.SetLimit(perform.AtOnce)
	for i := range n {
		work.Go(func() error { return f(ctx, i) })
	}
	y.must(work.Wait())
}

func (y *yard) put(ctx context.Context, key string, body []byte) error {
	_, err := y.raw.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("lake"), Key: &key, Body: bytes.NewReader(body)})
	return err
}

func (y *yard) remove(ctx context.Context, key string) error {
	_, err := y.raw.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("lake"), Key: &key})
	return err
}

// ours plans and applies an action, and returns how long both took.
func (y *yard) ours(name string, p any) (plan, apply time.Duration, changed int64) {
	y.t.Helper()
	def, ok := prove.Catalogue(y.systems, Add).Get(name)
	if !ok {
		y.t.Fatal(name)
	}
	r := action.Request{
		Run: action.Run{Workflow: "bench", FirstRun: "1"}, Item: y.estate.Items(def.Over, estate.Filter{})[0], Estate: y.estate, Records: world.NoRecords{}, Parts: &world.PlanParts{},
		Progress: func(int64, int64, string) {}, Guard: func(context.Context) error { return nil },
	}
	began := time.Now()
	ch, err := def.Plan(y.t.Context(), r, prove.With(y.t, p))
	y.must(err)
	plan = time.Since(began)
	r.Plan = &ch
	began = time.Now()
	out, err := def.Apply(y.t.Context(), r, prove.With(y.t, p))
	y.must(err)
	apply = time.Since(began)
	y.t.Logf("%s: plan %v, apply %v, a plan of %d bytes", name, plan, apply, len(ch.Data))
	obs, err := def.Verify(y.t.Context(), r, prove.With(y.t, p))
	y.must(err)
	if action.Worst(obs) != verdict.Pass {
		y.t.Errorf("Verify of %s:\n%s", name, prove.Told(obs))
	}
	return plan, apply, out.Mutations
}

// left is how many keys are not as at a time.
func (y *yard) left(at time.Time) int {
	y.t.Helper()
	b := y.server.Client(y.t).Bucket("lake")
	n := 0
	p := perform.Place{From: b, Prefix: "p/", To: b, ToPrefix: "p/", At: at, Entries: y.systems.Formats().Entry}
	_, err := p.Draw(y.t.Context(), rewind.Choice{}, 0, func() perform.Put {
		n = 0
		return func(_ context.Context, lines []rewind.Line) error { n += len(lines); return nil }
	})
	y.must(err)
	return n
}

// whole waits until the clock is just past a second, so that tools which take
// times in seconds mean the same moment.
func whole(ctx context.Context) time.Time {
	at := time.Now().Truncate(time.Second).Add(2 * time.Second)
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(at.Add(1100 * time.Millisecond))):
	}
	return at.UTC()
}

// store keeps what a server holds, for several to start from.
func (y *yard) store() string {
	y.t.Helper()
	y.server.Kill()
	folder := y.t.TempDir()
	y.must(os.CopyFS(folder, os.DirFS(y.server.Folder)))
	return folder
}

// TestBenchRewind measures a rewind in place of 20,000 keys with 35,000 versions,
// of which half differ, against the least that must be asked, mc and rclone.
func TestBenchRewind(t *testing.T) {
	if os.Getenv("BREAKWATER_BENCH") == "" {
		t.Log("not measured: make bench sets BREAKWATER_BENCH")
		return
	}
	const keys = 20_000
	y := newYard(t, "")
	c := y.server.Client(t)
	y.must(c.CreateBucket(t.Context(), "lake", true))
	key := func(i int) string { return fmt.Sprintf("p/d=%02d/part-%05d.parquet", i%40, i) }
	body := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 1000+rand.IntN(3000)) }
	y.each(keys/4, func(ctx context.Context, i int) error { return y.put(ctx, key(2*i), body(1)) })
	y.each(keys, func(ctx context.Context, i int) error { return y.put(ctx, key(i), body(2)) })
	at := whole(t.Context())
	y.each(keys/2, func(ctx context.Context, i int) error {
		if i%4 == 0 {
			return y.remove(ctx, key(2*i))
		}
		return y.put(ctx, key(2*i), body(3))
	})
	stored := y.store()
	fast := []string{"--fast-list", "--transfers", fmt.Sprint(perform.AtOnce), "--checkers", fmt.Sprint(perform.AtOnce)}
	runs := map[string]func(*yard){
		"floor": func(y *yard) { y.must(y.floorRewind(at)) },
		"mc":    func(y *yard) { y.mc(at) },
		// With as many requests at once as ours: the flag for a time is one of the remote, which then cannot be written to.
		"rclone": func(y *yard) {
			scratch := y.t.TempDir()
			y.rclone(at, "copy", "at:lake/p", scratch, fast...)
			y.rclone(at, "sync", scratch, "now:lake/p", append(fast, "--checksum")...)
		},
		// As it comes: what somebody who reads its manual types first.
		"rclone with its own settings": func(y *yard) {
			scratch := y.t.TempDir()
			y.rclone(at, "copy", "at:lake/p", scratch)
			y.rclone(at, "sync", scratch, "now:lake/p")
		},
		// As mc is used: into a scratch bucket, and back.
		"rclone with a scratch bucket": func(y *yard) {
			y.must(y.server.Client(y.t).CreateBucket(y.t.Context(), "scratch", false))
			y.rclone(at, "copy", "at:lake/p", "now:scratch/p")
			y.rclone(at, "sync", "now:scratch/p", "now:lake/p")
		},
		// And at its best: two remotes for one store, and copies on the server.
		"rclone on the server": func(y *yard) {
			y.rclone(at, "sync", "at:lake/p", "now:lake/p", append(fast, "--checksum", "--server-side-across-configs")...)
		},
	}
	const unmarked = "ours, removing delete markers" // what a gate has to accept
	took := map[string][]time.Duration{}
	// The others come between ours, since a machine gets slower as its disk gets busier.
	for _, name := range []string{
		"floor", "ours", "rclone on the server", "ours", unmarked, "floor", "rclone", "floor", "ours", unmarked,
		"rclone with its own settings", "ours", "floor", "mc", "rclone with a scratch bucket", unmarked, "floor", "ours",
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t, stored)
			var n int64
			began := time.Now()
			if name == "ours" || name == unmarked { // Verify is not part of it: the others have none
				var plan, apply time.Duration
				plan, apply, n = y.ours("storage.rewind", rewindParams{At: at, Prefix: "p/", UnmarkDelete: name == unmarked})
				took[name] = append(took[name], plan+apply)
			} else {
				runs[name](y)
				took[name] = append(took[name], time.Since(began))
			}
			if left := y.left(at); left > 0 {
				t.Logf("%s left %d keys that are not as at the time", name, left)
			}
			t.Logf("%s: %v (%d changes)", name, took[name][len(took[name])-1], n)
			y.server.Kill()
		})
	}
	ratios(t, "rewind of 20,000 keys, 10,000 differ", took)
}

// ratios prints the medians of an odd number of runs each, beside ours.
func ratios(t *testing.T, what string, took map[string][]time.Duration) {
	t.Helper()
	median := func(name string) float64 {
		return slices.Sorted(slices.Values(took[name]))[len(took[name])/2].Seconds()
	}
	for _, name := range slices.Sorted(maps.Keys(took)) {
		t.Logf("%s: %s %.2f s of %v, %.2f times ours", what, name, median(name), took[name], median(name)/median("ours"))
	}
}

// floorRewind is the least: one listing, and the copies that are needed.
func (y *yard) floorRewind(at time.Time) error {
	type want struct{ key, id string }
	var copies []want
	var key string
	var now, then string
	flush := func() {
		if then != "" && now != then {
			copies = append(copies, want{key, then})
		}
	}
	pages := s3.NewListObjectVersionsPaginator(y.raw, &s3.ListObjectVersionsInput{Bucket: aws.String("lake"), Prefix: aws.String("p/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(y.t.Context())
		if err != nil {
			return err
		}
		for _, v := range page.Versions {
			if *v.Key != key {
				flush()
				key, now, then = *v.Key, "", ""
			}
			if *v.IsLatest {
				now = *v.VersionId
			}
			if then == "" && v.LastModified.Before(at.Add(time.Second)) {
				then = *v.VersionId
			}
		}
	}
	flush()
	work, ctx := errgroup.WithContext(y.t.Context())
	work.SetLimit(perform.AtOnce)
	for _, c := range copies {
		work.Go(func() error {
			_, err := y.raw.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("lake"), Key: &c.key, CopySource: aws.String("lake/" + c.key + "?versionId=" + c.id)})
			return err
		})
	}
	return work.Wait()
}

// tool runs another's program.
func (y *yard) tool(name string, env []string, args ...string) {
	y.t.Helper()
	bin, err := server.Binary(name)
	y.must(err)
	cmd := exec.CommandContext(y.t.Context(), bin, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		y.t.Fatalf("%s %q: %v: %s", name, args, err, out[max(0, len(out)-2000):])
	}
}

// mc copies the state into a scratch bucket and mirrors it back.
func (y *yard) mc(at time.Time) {
	y.t.Helper()
	y.must(y.server.Client(y.t).CreateBucket(y.t.Context(), "scratch", false))
	env := []string{"MC_HOST_lab=" + strings.Replace(y.server.Endpoint, "://", "://"+miniotest.RootUser+":"+miniotest.RootPassword+"@", 1)}
	config := "--config-dir=" + y.t.TempDir()
	y.tool("mc", env, config, "--quiet", "cp", "--recursive", "--rewind", at.Format(time.RFC3339), "lab/lake/p/", "lab/scratch/p/")
	y.tool("mc", env, config, "--quiet", "mirror", "--overwrite", "--remove", "lab/scratch/p/", "lab/lake/p/")
}

// rclone runs rclone with two remotes: the store at a time, and the store now.
func (y *yard) rclone(at time.Time, do, from, to string, flags ...string) {
	y.t.Helper()
	var env []string
	for remote, more := range map[string][]string{"AT": {"VERSION_AT=" + at.Add(time.Second).Format("2006-01-02 15:04:05")}, "NOW": nil} {
		for _, kv := range slices.Concat(more, []string{
			"TYPE=s3", "PROVIDER=Minio", "ENDPOINT=" + y.server.Endpoint, "ACCESS_KEY_ID=" + miniotest.RootUser, "SECRET_ACCESS_KEY=" + miniotest.RootPassword,
		}) {
			env = append(env, "RCLONE_CONFIG_"+remote+"_"+kv)
		}
	}
	env = append(env, "TZ=UTC")
	y.tool("rclone", env, append([]string{do, from, to}, append(flags, "--config", filepath.Join(y.t.TempDir(), "none"))...)...)
}

// TestBenchUndelete measures bringing back the 20,000 deleted files of a table,
// against a listing and the bulk deletions of their markers.
func TestBenchUndelete(t *testing.T) {
	if os.Getenv("BREAKWATER_BENCH") == "" {
		t.Log("not measured: make bench sets BREAKWATER_BENCH")
		return
	}
	const files = 20_000
	y := newYard(t, "")
	y.must(y.server.Client(t).CreateBucket(t.Context(), "lake", true))
	log := &bytes.Buffer{}
	fmt.Fprintln(log, `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`)
	fmt.Fprintln(log, `{"metaData":{"id":"b","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}`)
	name := func(i int) string { return fmt.Sprintf("d=%02d/part-%05d.parquet", i%40, i) }
	for i := range files {
		fmt.Fprintf(log, `{"add":{"path":"%s","partitionValues":{},"size":1000,"modificationTime":0,"dataChange":true}}`+"\n", name(i))
	}
	y.must(y.put(t.Context(), "p/_delta_log/00000000000000000000.json", log.Bytes()))
	y.each(files, func(ctx context.Context, i int) error { return y.put(ctx, "p/"+name(i), bytes.Repeat([]byte{1}, 1000)) })
	y.each(files, func(ctx context.Context, i int) error { return y.remove(ctx, "p/"+name(i)) })
	stored := y.store()
	took := map[string][]time.Duration{}
	for _, name := range []string{"floor", "ours", "ours", "floor", "floor", "ours"} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t, stored)
			if name == "ours" {
				plan, apply, n := y.ours("storage.undelete", undeleteParams{})
				if n != files {
					t.Errorf("%d changes", n)
				}
				took[name] = append(took[name], plan+apply)
			} else {
				began := time.Now()
				y.must(y.floorUndelete())
				took[name] = append(took[name], time.Since(began))
			}
			t.Logf("%s: %v", name, took[name][len(took[name])-1])
			y.server.Kill()
		})
	}
	ratios(t, "undelete of 20,000 objects", took)
}

func (y *yard) floorUndelete() error {
	var all []types.ObjectIdentifier
	pages := s3.NewListObjectVersionsPaginator(y.raw, &s3.ListObjectVersionsInput{Bucket: aws.String("lake"), Prefix: aws.String("p/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(y.t.Context())
		if err != nil {
			return err
		}
		for _, m := range page.DeleteMarkers {
			all = append(all, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
	}
	work, ctx := errgroup.WithContext(y.t.Context())
	work.SetLimit(4) // as package perform does
	for part := range slices.Chunk(all, objectstore.DeletionsAtMost) {
		work.Go(func() error {
			out, err := y.raw.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String("lake"), Delete: &types.Delete{Objects: part, Quiet: aws.Bool(true)}})
			if err == nil && len(out.Errors) > 0 {
				err = errors.New(aws.ToString(out.Errors[0].Message))
			}
			return err
		})
	}
	return work.Wait()
}
