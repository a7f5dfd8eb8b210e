package s3_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/objectstore/storetest"
	"breakwater/internal/reach"
	"breakwater/lab/server/lossy"
	"breakwater/lab/server/miniotest"
)

func TestMinIO(t *testing.T) {
	s := miniotest.Shared(t)
	c := s.Client(t)
	lake, vault := s.Bucket(t, "lake", true), miniotest.Unique("vault")
	if err := c.CreateBucket(t.Context(), lake, true); err != nil {
		t.Fatalf("create it twice: %v", err)
	}
	must(t, c.CreateLockedBucket(t.Context(), vault))
	storetest.Run(t, storetest.Target{Store: c, Bucket: lake, Locked: vault, Stranger: s.As(t, "nobody", "nobody-secret"), Keys: 2500})
	t.Run("no replication", func(t *testing.T) {
		if rules, err := c.Replication(t.Context(), lake); err != nil || len(rules) != 0 {
			t.Errorf("Replication = %v, %v; want none", rules, err)
		}
	})
	t.Run("unversioned", func(t *testing.T) {
		b := c.Bucket(s.Bucket(t, "plain", false))
		if on, err := b.Versioned(t.Context()); err != nil || on {
			t.Errorf("Versioned = %v, %v; want false", on, err)
		}
		if _, err := b.Put(t.Context(), "k", []byte("old content")); err != nil {
			t.Fatal(err)
		}
		r, err := b.ReaderAt(t.Context(), "k", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), "k", []byte("new content")); err != nil {
			t.Fatal(err)
		}
		if n, err := r.ReadAt(make([]byte, 4), 0); !errors.Is(err, objectstore.ErrChanged) {
			t.Errorf("ReadAt of a replaced object = %d, %v; want ErrChanged", n, err)
		}
	})
}

// TestUnreachable asks dead endpoints: nothing may be concluded, and soon.
func TestUnreachable(t *testing.T) {
	ask := func(t *testing.T, c *s3.Client) {
		t.Helper()
		for _, tc := range []struct {
			name string
			ask  func(context.Context) error
		}{
			// First, on the connection that is pooled: it could be replayed.
			{"Get", func(ctx context.Context) error { _, _, err := c.Get(ctx, "lake", "k"); return err }},
			{"PutIfAbsent", func(ctx context.Context) error { _, err := c.PutIfAbsent(ctx, "lake", "k", []byte("x")); return err }},
			{"PutIfMatch", func(ctx context.Context) error {
				_, err := c.PutIfMatch(ctx, "lake", "k", []byte("x"), "e")
				return err
			}},
			{"List", func(ctx context.Context) error {
				for _, err := range c.List(ctx, "lake", "") {
					return err
				}
				return nil
			}},
		} {
			name := tc.name
			began := time.Now()
			err := tc.ask(t.Context())
			if !reach.Unreachable(err) || !errors.Is(err, reach.ErrUnreachable) {
				t.Errorf("%s: got %v, want it marked unreachable", name, err)
			}
			for _, conclusion := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, objectstore.ErrChanged, objectstore.ErrSame} {
				if errors.Is(err, conclusion) {
					t.Errorf("%s: %v concludes %v from silence", name, err, conclusion)
				}
			}
			if d := time.Since(began); d > 4*time.Second {
				t.Errorf("%s: took %v to say so", name, d)
			}
		}
	}
	t.Run("killed", func(t *testing.T) {
		s := miniotest.Start(t)
		c := s.Client(t)
		if err := c.CreateBucket(t.Context(), "lake", true); err != nil { // so that connections are pooled
			t.Fatal(err)
		}
		s.Kill()
		ask(t, c)
		s.Restart(t)
		if _, err := c.Put(t.Context(), "lake", "k", []byte("back")); err != nil {
			t.Errorf("after the server's return: %v", err)
		}
	})
	t.Run("frozen", func(t *testing.T) {
		s := miniotest.Start(t)
		c := s.Client(t)
		if err := c.CreateBucket(t.Context(), "lake", true); err != nil {
			t.Fatal(err)
		}
		s.Freeze(t)
		ask(t, c)
		s.Thaw(t)
		if _, err := c.Put(t.Context(), "lake", "k", []byte("back")); err != nil {
			t.Errorf("after the server's return: %v", err)
		}
	})
	t.Run("dies in the middle of the body", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Content-Length", "1000")
			if _, err := io.WriteString(w, "only this"); err != nil {
				t.Error(err)
			}
		}))
		defer srv.Close()
		_, _, err := client(t, srv.URL).Get(t.Context(), "lake", "k")
		if !errors.Is(err, reach.ErrUnreachable) {
			t.Errorf("got %v, want unreachable", err)
		}
	})
	t.Run("a gateway that cannot reach it", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
		}))
		defer srv.Close()
		ask(t, client(t, srv.URL))
	})
	t.Run("we stopped asking", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := client(t, "http://127.0.0.1:1").Get(ctx, "lake", "k")
		if !errors.Is(err, context.Canceled) || reach.Unreachable(err) {
			t.Errorf("got %v, want a cancellation, which says nothing about the store", err)
		}
	})
}

func client(t *testing.T, endpoint string) *s3.Client {
	t.Helper()
	c, err := s3.New(s3.Config{Endpoint: endpoint, AccessKey: "a", SecretKey: "b", PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLostAnswer puts a proxy before MinIO that lets a write through and swallows
// its answer, as a broken connection does.
func TestLostAnswer(t *testing.T) {
	s := miniotest.Shared(t)
	lake := s.Bucket(t, "lake", true)
	front, swallow := lossy.Front(t, s.Endpoint)
	cfg := s.Config()
	cfg.Endpoint = front
	c, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Bucket(lake)

	swallow.Store(1)
	o, err := b.PutIfAbsent(t.Context(), "entry", []byte("mine"))
	if !errors.Is(err, objectstore.ErrSame) || !errors.Is(err, fs.ErrExist) {
		t.Errorf("PutIfAbsent whose answer was lost = %v, want ErrSame", err)
	}
	if swallow.Load() > 0 {
		t.Fatal("nothing was swallowed: the test proves nothing")
	}
	swallow.Store(1)
	if _, err = b.PutIfMatch(t.Context(), "entry", []byte("mine, next"), o.ETag); !errors.Is(err, objectstore.ErrSame) {
		t.Errorf("PutIfMatch whose answer was lost = %v, want ErrSame", err)
	}
	swallow.Store(100)
	_, err = b.PutIfAbsent(t.Context(), "other", []byte("mine"))
	if !errors.Is(err, reach.ErrUnreachable) || errors.Is(err, fs.ErrExist) {
		t.Errorf("PutIfAbsent without any answer = %v, want unreachable", err)
	}
	swallow.Store(0)
	versions := 0
	for _, err := range b.ListVersions(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		versions++
	}
	if versions != 3 {
		t.Errorf("%d versions were written, want 3: one for each conditional put", versions)
	}
}

func TestNew(t *testing.T) {
	for name, cfg := range map[string]s3.Config{
		"no endpoint":    {AccessKey: "a", SecretKey: "b"},
		"no scheme":      {Endpoint: "127.0.0.1:9000", AccessKey: "a", SecretKey: "b"},
		"no credentials": {Endpoint: "http://127.0.0.1:9000"},
	} {
		if _, err := s3.New(cfg); err == nil {
			t.Errorf("%s: New accepted %+v", name, cfg)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q is more than a line", name, err)
		}
	}
}
