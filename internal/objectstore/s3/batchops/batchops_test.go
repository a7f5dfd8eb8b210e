package batchops_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/batch"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/objectstore/s3/batchops"
	"breakwater/internal/objectstore/s3/batchops/batchtest"
	"breakwater/internal/reach"
	"breakwater/lab/server/miniotest"
)

// world is a lake with three objects, each with a newer version than the wanted one.
type world struct {
	store   *s3.Client
	control *batchtest.Control
	client  *batchops.Client
	objects []batch.Object
}

var keys = []string{"t/_delta_log/0.json", "t/p=a b+c,%/0.parquet", "t/z.parquet"}

// newStore makes the buckets of every world of a test.
func newStore(t *testing.T) (*s3.Client, []batch.Object) {
	t.Helper()
	store := miniotest.Start(t).Client(t)
	for bucket, make := range map[string]func() error{
		"lake":   func() error { return store.CreateBucket(t.Context(), "lake", true) },
		"notes":  func() error { return store.CreateBucket(t.Context(), "notes", true) },
		"backup": func() error { return store.CreateLockedBucket(t.Context(), "backup") },
	} {
		if err := make(); err != nil {
			t.Fatalf("%s: %v", bucket, err)
		}
	}
	var objects []batch.Object
	for _, k := range keys {
		o, err := store.Put(t.Context(), "lake", k, []byte("wanted "+k))
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, batch.Object{Line: batch.Line{Bucket: "lake", Key: k, VersionID: o.VersionID}, Size: o.Size})
		if _, err := store.Put(t.Context(), "lake", k, []byte("newer")); err != nil {
			t.Fatal(err)
		}
	}
	return store, objects
}

func newWorld(t *testing.T, store *s3.Client, objects []batch.Object) *world {
	t.Helper()
	f := batchtest.New(t, store, store, "eu-central-1")
	c, err := batchops.New(batchops.Config{Role: batchtest.Role, Region: f.Region, AccessKey: "a", SecretKey: "s", Transport: f}, store)
	if err != nil {
		t.Fatal(err)
	}
	return &world{store: store, control: f, client: c, objects: objects}
}

// request uploads the manifest. Every test has a part of the buckets to itself.
func (w *world) request(t *testing.T) batch.Request {
	t.Helper()
	place := strings.ReplaceAll(t.Name(), " ", "-")
	m, err := w.client.Upload(t.Context(), w.store, "notes", place+"/manifest.csv", slices.Values(w.objects), objectstore.Hold{})
	if err != nil {
		t.Fatal(err)
	}
	return batch.Request{
		Token: "run-1/take/" + place, Manifest: m, To: batch.Place{Bucket: "backup", Prefix: place},
		Report: batch.Place{Bucket: "notes", Prefix: place + "/report"},
	}
}

// copied starts a batch, waits for it, and judges it.
func (w *world) copied(t *testing.T, r batch.Request) (states []string, err error) {
	t.Helper()
	id, err := w.client.Create(t.Context(), r)
	if err != nil {
		return nil, err
	}
	if _, err := w.client.Wait(t.Context(), id, func(s batch.State) { states = append(states, s.Status) }); err != nil {
		return states, err
	}
	return states, w.client.Judge(t.Context(), id, r)
}

func TestCopiesTheVersionsOfTheManifest(t *testing.T) {
	store, objects := newStore(t)
	w := newWorld(t, store, objects)
	w.control.LoseAnswer = true // and the SDK asks again
	r := w.request(t)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	r.Hold = objectstore.Hold{Mode: objectstore.Governance, Until: until}
	if again := w.request(t); again.Manifest != r.Manifest || r.Manifest.Lines != 3 {
		t.Errorf("the manifest was uploaded as %+v, and again as %+v", r.Manifest, again.Manifest)
	}
	states, err := w.copied(t, r)
	if err != nil || !slices.Equal(states, []string{"New", "Active", "Complete"}) {
		t.Fatalf("states %v: %v", states, err)
	}
	if states, err := w.copied(t, r); err != nil || !slices.Equal(states, []string{"Complete"}) || w.control.Created() != 1 {
		t.Errorf("again: states %v, %d batches: %v; want the one batch found", states, w.control.Created(), err)
	}
	for _, k := range keys {
		body, o, err := w.store.Get(t.Context(), "backup", r.To.Prefix+"/"+k)
		if err != nil || string(body) != "wanted "+k {
			t.Errorf("%s was copied as %q: %v", k, body, err)
			continue
		}
		if seal, err := w.store.Seal(t.Context(), "backup", o.Key, o.VersionID); err != nil || !seal.Hold.Until.Equal(until) {
			t.Errorf("%s is held by %+v, %v; want until %s", k, seal.Hold, err, until)
		}
	}
	r.To.Prefix += "-elsewhere"
	if _, err := w.client.Create(t.Context(), r); !errors.Is(err, fs.ErrExist) {
		t.Errorf("another batch with the same token: %v; want fs.ErrExist", err)
	}
}

func TestJudgeBelievesNoFault(t *testing.T) {
	store, objects := newStore(t)
	for name, tc := range map[string]struct {
		fault func(*batchtest.Control)
		want  string
	}{
		"an object failed":                 {func(f *batchtest.Control) { f.Refuse = keys[1] }, "1 object failed: s3://lake/" + keys[1] + " version " + objects[1].VersionID + ` (failed AccessDenied 403 no "access")`},
		"only the report says that":        {func(f *batchtest.Control) { f.Refuse, f.Quiet = keys[1], true }, "1 object failed: s3://lake/" + keys[1]},
		"complete with failures":           {func(f *batchtest.Control) { f.Failures = 1 }, "of 3 lines of the manifest it tried 3, failed on 1"},
		"a line is missing":                {func(f *batchtest.Control) { f.Drop = keys[1] }, "lacks 1 lines of the manifest: s3://lake/" + keys[1]},
		"wrong MD5":                        {func(f *batchtest.Control) { f.WrongMD5 = true }, "has MD5"},
		"total lower than lines":           {func(f *batchtest.Control) { f.Fewer = 1 }, "of 3 lines of the manifest it tried 2"},
		"no numbers":                       {func(f *batchtest.Control) { f.NoSummary = true }, "does not say how many"},
		"no report":                        {func(f *batchtest.Control) { f.NoReport = true }, "the report proves nothing"},
		"a line twice":                     {func(f *batchtest.Control) { f.Twice = true }, "reported twice"},
		"a line for another":               {func(f *batchtest.Control) { f.Twice, f.Drop = true, keys[2] }, "reported twice"},
		"a line that was not asked for":    {func(f *batchtest.Control) { f.Foreign = true }, "s3://lake/somebody-elses version v1 is no line of the manifest"},
		"somebody else's report":           {func(f *batchtest.Control) { f.Elsewhere = true }, "is no part of the report"},
		"a report without the status":      {func(f *batchtest.Control) { f.Schema = "Bucket, Key, VersionId" }, "no column TaskStatus"},
		"a report of another format":       {func(f *batchtest.Control) { f.Format = "Report_CSV_2030" }, `format "Report_CSV_2030"`},
		"a report that breaks off":         {func(f *batchtest.Control) { f.Cut = true; f.Refuse = keys[2] }, "results/1.csv: "},
		"nothing was tried":                {func(f *batchtest.Control) { f.Untried = true }, "no object was tried"},
		"it failed as a whole":             {func(f *batchtest.Control) { f.Untried, f.Ends = true, "Failed" }, "it is Failed ManifestNotFound it is gone"},
		"cancelled, though all was copied": {func(f *batchtest.Control) { f.Ends = "Cancelled" }, "it is Cancelled"},
		"waits for a confirmation":         {func(f *batchtest.Control) { f.Ends = "Suspended" }, "waits for a confirmation"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store, objects)
			tc.fault(w.control)
			_, err := w.copied(t, w.request(t))
			if !errors.Is(err, batch.ErrIncomplete) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v\nwant ErrIncomplete with %q", err, tc.want)
			}
		})
	}
	t.Run("the manifest was replaced", func(t *testing.T) {
		w := newWorld(t, store, objects)
		r := w.request(t)
		r.Manifest.ETag = "another"
		r.Manifest.VersionID = ""
		id := "b1"
		if err := w.control.Finished(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), id, 3, r.Report); err != nil {
			t.Fatal(err)
		}
		if err := w.client.Judge(t.Context(), id, r); !errors.Is(err, batch.ErrIncomplete) || !strings.Contains(err.Error(), "was written with another") {
			t.Errorf("%v; want ErrIncomplete", err)
		}
	})
}

func TestWhatCannotBeAsked(t *testing.T) {
	store, objects := newStore(t)
	t.Run("no answer", func(t *testing.T) {
		w := newWorld(t, store, objects)
		r := w.request(t)
		w.control.Stop()
		if _, err := w.client.Create(t.Context(), r); !reach.Unreachable(err) {
			t.Errorf("Create: %v; want unreachable", err)
		}
		if err := w.client.Judge(t.Context(), "b1", r); !reach.Unreachable(err) || errors.Is(err, batch.ErrIncomplete) {
			t.Errorf("Judge: %v; want unreachable", err)
		}
	})
	for status, want := range map[int]error{http.StatusForbidden: fs.ErrPermission, http.StatusNotFound: fs.ErrNotExist, http.StatusBadGateway: reach.ErrUnreachable} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			w := newWorld(t, store, objects)
			w.control.Status = status
			if _, err := w.client.State(t.Context(), "b1"); !errors.Is(err, want) {
				t.Errorf("State: %v; want %v", err, want)
			}
		})
	}
	t.Run("a wait that is ended", func(t *testing.T) {
		w := newWorld(t, store, objects)
		id, err := w.client.Create(t.Context(), w.request(t))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := w.client.Wait(ctx, id, func(batch.State) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v; want context.Canceled", err)
		}
	})
}

func TestUploadRefuses(t *testing.T) {
	store, objects := newStore(t)
	w := newWorld(t, store, objects)
	up := func(all ...batch.Object) error {
		_, err := w.client.Upload(t.Context(), store, "notes", "manifest.csv", slices.Values(all), objectstore.Hold{})
		return err
	}
	if err := up(); err == nil || !strings.Contains(err.Error(), "no object to copy") {
		t.Errorf("nothing: %v", err)
	}
	large := objects[0]
	large.Size = batch.Largest + 1
	if err := up(large); !errors.Is(err, batch.ErrTooLarge) {
		t.Errorf("a large one: %v; want ErrTooLarge", err)
	}
	if there, err := store.Bucket("notes").Exists(t.Context(), "manifest.csv"); there || err != nil {
		t.Errorf("a refused manifest is there: %v, %v", there, err)
	}
	if err := up(objects...); err != nil {
		t.Fatal(err)
	}
	if err := up(objects[:2]...); !errors.Is(err, fs.ErrExist) {
		t.Errorf("another one under the same key: %v; want fs.ErrExist", err)
	}
}
