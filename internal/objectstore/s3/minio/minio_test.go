package minio_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/minio/madmin-go/v3"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/objectstore/s3/minio"
	"breakwater/internal/objectstore/storetest"
	"breakwater/internal/reach"
	"breakwater/lab/server/miniotest"
)

// admin starts a server with the given versioned buckets.
func admin(t *testing.T, buckets ...string) (*miniotest.Server, *minio.Admin) {
	t.Helper()
	s := miniotest.Start(t)
	a, err := minio.New(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range buckets {
		if err := s.Client(t).CreateBucket(t.Context(), b, true); err != nil {
			t.Fatal(err)
		}
	}
	return s, a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// root is a client of MinIO's own that may do everything.
func root(t *testing.T, s *miniotest.Server) *madmin.AdminClient {
	t.Helper()
	mc, err := madmin.NewWithOptions(strings.TrimPrefix(s.Endpoint, "http://"), &madmin.Options{Creds: credentials.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, "")})
	must(t, err)
	return mc
}

// newUser makes a user with the given policies; its secret is its name + "-secret".
func newUser(t *testing.T, s *miniotest.Server, a *minio.Admin, name string, policies ...string) *s3.Client {
	t.Helper()
	must(t, root(t, s).AddUser(t.Context(), name, name+"-secret"))
	for _, p := range policies {
		must(t, a.Attach(t.Context(), name, p))
	}
	return s.As(t, name, name+"-secret")
}

// replicate makes a bucket replicate everything, delete markers and existing objects
// included, to the bucket of that name at another server, as a principal there.
func replicate(t *testing.T, from *miniotest.Server, bucket string, to s3.Config) {
	t.Helper()
	arn, err := root(t, from).SetRemoteTarget(t.Context(), bucket, &madmin.BucketTarget{
		SourceBucket: bucket, Endpoint: strings.TrimPrefix(to.Endpoint, "http://"), TargetBucket: bucket,
		Credentials: &madmin.Credentials{AccessKey: to.AccessKey, SecretKey: to.SecretKey},
		Type:        madmin.ReplicationService, API: "s3v4", Path: "on", HealthCheckDuration: time.Second,
	})
	must(t, err)
	must(t, from.Client(t).SetReplication(t.Context(), bucket, "", []objectstore.ReplicationRule{{
		ID: "to-there", Enabled: true, Destination: arn, DeleteMarkers: true, ExistingObjects: true,
	}}))
}

func read(t *testing.T, f objectstore.Fence) objectstore.FenceState {
	t.Helper()
	st, err := f.Read(t.Context())
	must(t, err)
	return st
}

// tried writes to a bucket, removes what came of it, and reads there beside it: only
// both together say something about a fence, for a mistyped key is denied everything.
func tried(t *testing.T, w *s3.Client, bucket, there string) (write, read objectstore.ProbeOutcome) {
	t.Helper()
	key := objectstore.ProbePrefix + t.Name()
	o, err := w.Put(t.Context(), bucket, key, []byte("a probe"))
	if write = objectstore.Attempted(err); write == objectstore.ProbeAllowed {
		must(t, w.DeleteVersion(t.Context(), bucket, key, o.VersionID))
	}
	_, _, err = w.Get(t.Context(), bucket, there)
	return write, objectstore.Attempted(err)
}

// wants tries the fence with the writer's credentials.
func wants(t *testing.T, when string, w *s3.Client, bucket string, want objectstore.ProbeOutcome) {
	t.Helper()
	if write, read := tried(t, w, bucket, "there"); write != want || read != objectstore.ProbeAllowed {
		t.Errorf("%s: %s at %s: its write is %s and its read %s; want %s and allowed", when, w.AccessKey(), bucket, write, read, want)
	}
}

func TestFence(t *testing.T) {
	s, a := admin(t, "lake", "other")
	for _, b := range []string{"lake", "other"} {
		_, err := a.Store().Put(t.Context(), b, "there", []byte("x"))
		must(t, err)
	}
	own := []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}`)
	must(t, a.SetPolicy(t.Context(), "etl-own", own))
	etl := newUser(t, s, a, "etl", "etl-own")
	boss := newUser(t, s, a, "boss", "consoleAdmin", "readwrite")
	reader := newUser(t, s, a, "reader", "etl-own") // shares the writer's policy, and is not named
	_, err := root(t, s).AddServiceAccount(t.Context(), madmin.AddServiceAccountReq{TargetUser: "etl", AccessKey: "etl-robot", SecretKey: "etl-robot-secret"})
	must(t, err)
	robot := s.As(t, "etl-robot", "etl-robot-secret")

	f := a.Fence("lake", []string{"etl", "boss"})
	before := read(t, f)
	if before.Closed || before.Run != "" {
		t.Fatalf("before: %+v", before)
	}
	all := map[string]*s3.Client{"user": etl, "admin user": boss, "service account": robot}
	for _, w := range all {
		wants(t, "before", w, "lake", objectstore.ProbeAllowed)
	}

	for range 2 { // closing is safe to repeat
		must(t, f.Close(t.Context(), before, "r1"))
		st := read(t, f)
		if !st.Closed || st.Run != "r1" || st.Base != before.Base {
			t.Fatalf("closed: %+v, want it closed by r1 over the same base", st)
		}
	}
	for _, w := range all {
		wants(t, "closed", w, "lake", objectstore.ProbeDenied)
		wants(t, "closed", w, "other", objectstore.ProbeAllowed)
		if _, err := w.Delete(t.Context(), "lake", "there"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: Delete = %v, want it denied", w.AccessKey(), err)
		}
		_, o, err := w.Get(t.Context(), "lake", "there")
		must(t, err)
		if err := w.DeleteVersion(t.Context(), "lake", "there", o.VersionID); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: DeleteVersion = %v, want it denied", w.AccessKey(), err)
		}
		if _, err := w.Copy(t.Context(), objectstore.Source{Bucket: "other", Key: "there"}, "lake", "copied"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: Copy = %v, want it denied", w.AccessKey(), err)
		}
	}
	wants(t, "closed", reader, "lake", objectstore.ProbeAllowed)

	t.Run("another run's", func(t *testing.T) {
		if err := f.Close(t.Context(), read(t, f), "r2"); !errors.Is(err, objectstore.ErrFenced) {
			t.Errorf("Close = %v, want ErrFenced", err)
		}
		if err := f.Open(t.Context(), before, "r2"); !errors.Is(err, objectstore.ErrFenced) {
			t.Errorf("Open = %v, want ErrFenced", err)
		}
		wants(t, "still closed", etl, "lake", objectstore.ProbeDenied)
	})
	t.Run("a second fence of the run", func(t *testing.T) {
		g := a.Fence("other", []string{"etl"})
		was := read(t, g)
		must(t, g.Close(t.Context(), was, "r1"))
		if st := read(t, f); !st.Closed || st.Base != before.Base {
			t.Errorf("the first fence now reads %+v", st)
		}
		wants(t, "second fence", etl, "other", objectstore.ProbeDenied)
		must(t, g.Open(t.Context(), was, "r1"))
		wants(t, "second fence opened", etl, "other", objectstore.ProbeAllowed)
		wants(t, "second fence opened", etl, "lake", objectstore.ProbeDenied)
	})
	t.Run("weakened by somebody", func(t *testing.T) {
		u, err := a.User(t.Context(), "etl")
		must(t, err)
		for _, p := range u.Policies {
			if strings.HasPrefix(p, objectstore.FenceMark) {
				must(t, a.Detach(t.Context(), "etl", p))
			}
		}
		if st := read(t, f); st.Closed || st.Run != "r1" {
			t.Errorf("Read = %+v, want it not closed and r1's", st)
		}
		wants(t, "weakened", etl, "lake", objectstore.ProbeAllowed)
		must(t, f.Close(t.Context(), before, "r1")) // a repeated Close mends it
		wants(t, "mended", etl, "lake", objectstore.ProbeDenied)
	})
	t.Run("policies changed meanwhile", func(t *testing.T) {
		must(t, a.Attach(t.Context(), "etl", "diagnostics"))
		if err := f.Open(t.Context(), before, "r1"); !errors.Is(err, objectstore.ErrChanged) {
			t.Errorf("Open = %v, want ErrChanged", err)
		}
		wants(t, "still closed", etl, "lake", objectstore.ProbeDenied)
		must(t, a.Detach(t.Context(), "etl", "diagnostics"))
	})

	for range 2 {
		must(t, f.Open(t.Context(), before, "r1"))
		if st := read(t, f); st != before {
			t.Errorf("opened: %+v, want %+v", st, before)
		}
	}
	for _, w := range all {
		wants(t, "opened", w, "lake", objectstore.ProbeAllowed)
	}
	if u, err := a.User(t.Context(), "boss"); err != nil || fmt.Sprint(u.Policies) != "[consoleAdmin readwrite]" {
		t.Errorf("boss afterwards = %+v, %v", u, err)
	}
	t.Run("stale plan", func(t *testing.T) {
		must(t, a.SetPolicy(t.Context(), "etl-own", []byte(strings.ReplaceAll(string(own), "s3:*", "s3:Get*"))))
		if err := f.Close(t.Context(), before, "r1"); !errors.Is(err, objectstore.ErrChanged) {
			t.Errorf("Close on a changed policy = %v, want ErrChanged", err)
		}
		if st := read(t, f); st.Run != "" {
			t.Errorf("the refused Close left %+v", st)
		}
	})
}

func TestFenceConformance(t *testing.T) {
	s, a := admin(t, "lake")
	etl, loader, reader := newUser(t, s, a, "etl", "readwrite"), newUser(t, s, a, "loader", "readwrite"), newUser(t, s, a, "reader", "readwrite")
	storetest.RunFence(t, func(testing.TB) storetest.Fenced {
		return storetest.Fenced{
			Bucket: "lake", Fence: func() objectstore.Fence { return a.Fence("lake", []string{"loader", "etl"}) }, Nobody: a.Fence("lake", nil),
			Change:  func(testing.TB) { must(t, a.Attach(t.Context(), "etl", "diagnostics")) },
			Restore: func(testing.TB) { must(t, a.Detach(t.Context(), "etl", "diagnostics")) },
			Writers: []objectstore.Store{etl, loader}, Other: reader,
		}
	})
}

func TestWhoCannotBeFenced(t *testing.T) {
	s, a := admin(t, "lake")
	for _, name := range []string{"nobody", miniotest.RootUser} {
		f := a.Fence("lake", []string{name})
		if _, err := f.Read(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Read of a fence for %s = %v, want not found", name, err)
		}
		if err := f.Close(t.Context(), objectstore.FenceState{}, "r1"); err == nil {
			t.Errorf("Close of a fence for %s was accepted", name)
		}
	}
	if _, err := a.Fence("lake", nil).Read(t.Context()); err == nil {
		t.Error("a fence without writers was accepted")
	}
	newUser(t, s, a, "etl", "readwrite")
	weak, err := minio.New(func() s3.Config {
		c := s.Config()
		c.AccessKey, c.SecretKey = "etl", "etl-secret"
		return c
	}())
	must(t, err)
	if _, err := (weak.Fence("lake", []string{"reader"})).Read(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Read without the admin action = %v, want denied", err)
	}
	if write, _ := tried(t, s.As(t, "etl", "mistyped-secret"), "lake", "there"); write != objectstore.ProbeOther {
		t.Errorf("a write with a mistyped secret is %s; it proves nothing", write)
	}
	s.Freeze(t)
	began := time.Now()
	if _, err := a.User(t.Context(), "etl"); !errors.Is(err, reach.ErrUnreachable) {
		t.Errorf("User of a frozen server = %v, want unreachable", err)
	}
	if d := time.Since(began); d > 6*time.Second {
		t.Errorf("it took %v to say so", d)
	}
	if write, _ := tried(t, s.As(t, "etl", "etl-secret"), "lake", "there"); write != objectstore.ProbeUnreachable {
		t.Errorf("a write to a frozen server is %s", write)
	}
	s.Thaw(t)
	s.Kill()
	began = time.Now()
	if _, err := a.User(t.Context(), "etl"); !errors.Is(err, reach.ErrUnreachable) {
		t.Errorf("User of a dead server = %v, want unreachable", err)
	}
	if d := time.Since(began); d > 6*time.Second {
		t.Errorf("it took %v to say so", d)
	}
}

// eventually asks until the answer is right.
func eventually(t *testing.T, what string, ok func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok(ctx)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if done {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: never happened", what)
		case <-tick.C:
		}
	}
}

// TestIntake denies replication at the target, and proves by real replication
// that what is put at the source afterwards does not arrive.
func TestIntake(t *testing.T) {
	from, source := admin(t, "lake")
	at, target := admin(t, "lake")
	must(t, target.SetPolicy(t.Context(), "replication", []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Action":["s3:GetReplicationConfiguration","s3:ListBucket","s3:ListBucketMultipartUploads","s3:GetBucketLocation","s3:GetBucketVersioning","s3:GetBucketObjectLockConfiguration","s3:GetEncryptionConfiguration"],
		"Resource":["arn:aws:s3:::lake"]},{"Effect":"Allow",
		"Action":["s3:GetReplicationConfiguration","s3:ReplicateTags","s3:AbortMultipartUpload","s3:GetObject","s3:GetObjectVersion","s3:GetObjectVersionTagging","s3:PutObject","s3:PutObjectRetention","s3:PutBucketObjectLockConfiguration","s3:PutObjectLegalHold","s3:DeleteObject","s3:ReplicateObject","s3:ReplicateDelete"],
		"Resource":["arn:aws:s3:::lake/*"]}]}`)))
	newUser(t, at, target, "replicator", "replication")
	to := at.Config()
	to.AccessKey, to.SecretKey = "replicator", "replicator-secret"
	replicate(t, from, "lake", to)
	reps, err := source.Replication(t.Context(), "lake")
	must(t, err)
	if len(reps) != 1 || !reps[0].Enabled || !reps[0].DeleteMarkers || !reps[0].ExistingObjects || !reps[0].Resyncs ||
		reps[0].Endpoint != at.Endpoint || reps[0].To != "lake" || reps[0].Principal != "replicator" {
		t.Fatalf("Replication = %+v", reps)
	}

	put := func(key string) {
		t.Helper()
		_, err := source.Store().Put(t.Context(), "lake", key, []byte(key))
		must(t, err)
	}
	status := func(key, want string) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			o, err := source.Store().Head(ctx, "lake", key)
			return o.ReplicationStatus == want, err
		}
	}
	arrived := func(key string) bool {
		t.Helper()
		there, err := objectstore.Bind(target.Store(), "lake").Exists(t.Context(), key)
		must(t, err)
		return there
	}

	put("before")
	eventually(t, "before the fence, objects arrive", status("before", "COMPLETED"))
	if o, err := target.Store().Head(t.Context(), "lake", "before"); err != nil || o.ReplicationStatus != "REPLICA" {
		t.Fatalf("at the target: %+v, %v", o, err)
	}

	f := target.Fence("lake", []string{reps[0].Principal})
	was := read(t, f)
	must(t, f.Close(t.Context(), was, "r1"))
	replicator := at.As(t, "replicator", "replicator-secret")
	if write, read := tried(t, replicator, "lake", "before"); write != objectstore.ProbeDenied || read != objectstore.ProbeAllowed {
		t.Errorf("a probe of the intake: write %s, read %s", write, read)
	}
	for i := range 5 {
		put(fmt.Sprintf("during%d", i))
	}
	_, err = source.Store().Delete(t.Context(), "lake", "before")
	must(t, err)
	for i := range 5 { // it was tried, and refused
		eventually(t, "the source notices", status(fmt.Sprintf("during%d", i), "FAILED"))
	}
	for i := range 5 {
		if arrived(fmt.Sprintf("during%d", i)) {
			t.Errorf("object %d arrived behind the fence", i)
		}
	}
	if !arrived("before") {
		t.Error("a delete marker arrived behind the fence")
	}

	must(t, f.Open(t.Context(), was, "r1"))
	put("after")
	eventually(t, "after the fence, objects arrive", status("after", "COMPLETED"))
	if !arrived("after") {
		t.Error("COMPLETED, and not at the target")
	}
}
