// Package miniotest gives tests a real MinIO: one that all tests share, or one of their
// own with its own folder.
package miniotest

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore/s3"
	"breakwater/internal/objectstore/s3/minio"
	"breakwater/lab/server"
)

// Credentials of the root user of every server that is not given another.
const (
	RootUser     = "breakwater-root"
	RootPassword = "breakwater-root-secret"
)

// Store is a running MinIO, as who uses it sees it.
type Store struct {
	Endpoint string // http://127.0.0.1:port

	user, password string // of root
	patience       time.Duration
}

// Server is a MinIO of its own, which may be killed, frozen and started otherwise.
type Server struct {
	*server.Child
	Store
	Folder string // what it has stored
}

// part is the name under which a set of servers hands on a MinIO.
const part = "minio"

// Shared is the MinIO that tests of all packages use at the same time, where there is
// one, and otherwise one of the test's own. What a test makes there needs a name of
// its own: see [Store.Bucket] and [Unique]. Nobody ends it, so that its clients wait
// for an answer as long as a busy machine needs.
func Shared(t testing.TB) *Store {
	t.Helper()
	s := Store{user: RootUser, password: RootPassword}
	handed, err := server.Handed(part, &s)
	if err != nil {
		t.Fatal(err)
	}
	if !handed {
		s = Start(t).Store
	}
	s.patience = time.Minute
	return &s
}

// Hand says in a set of servers that this is the one to share.
func (s *Server) Hand(set string) error { return server.Hand(set, part, s.Store) }

// Unique is a name that nobody else gives, and that begins with the given one.
func Unique(name string) string { return name + "-" + strings.ToLower(rand.Text()[:12]) }

// Bucket makes a bucket with a name that begins with the given one, and returns that.
func (s *Store) Bucket(t testing.TB, name string, versioned bool) string {
	t.Helper()
	bucket := Unique(name)
	if err := s.Client(t).CreateBucket(t.Context(), bucket, versioned); err != nil {
		t.Fatal(err)
	}
	return bucket
}

// Start runs a server in a new folder until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartWith(t, "")
}

// StartWith is [Start] with what another server, killed since, has stored in a
// folder, which is copied. An empty name stands for nothing.
func StartWith(t testing.TB, stored string) *Server {
	t.Helper()
	folder := t.TempDir()
	if stored != "" {
		if err := os.CopyFS(folder, os.DirFS(stored)); err != nil {
			t.Fatalf("copy what a server stored: %v", err)
		}
	}
	s, err := New(folder, filepath.Join(t.TempDir(), "minio.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// New describes a server of a folder, which Run starts.
func New(folder, log string) (*Server, error) {
	bin, err := server.Binary("minio")
	if err != nil {
		return nil, err
	}
	port, err := server.Ports(2, nil)
	if err != nil {
		return nil, err
	}
	s := &Server{Store: Store{Endpoint: "http://" + server.Address(port)}, Folder: folder}
	// MinIO reads its policies side by side when it starts, and the decoder that they share
	// ends the process once in many hundred times.
	falls := func(log string) bool { return strings.Contains(log, "IAMObjectStore).loadPolicyDocConcurrent") }
	s.Child = &server.Child{Server: server.Server{Probe: s.serves, Falls: falls, Command: server.Command{
		Bin:  bin,
		Args: []string{"server", "--quiet", "--address", server.Address(port), "--console-address", server.Address(port + 1), folder},
		Env:  []string{"MINIO_BROWSER=off", "MINIO_UPDATE=off"},
		Log:  log,
	}}}
	s.SetRoot(RootUser, RootPassword)
	return s, nil
}

// serves asks whether the server serves, and knows the buckets' settings, the users and
// the policies that it has stored: what is changed before that is forgotten when it has
// read them. Its question for a cluster is the one that waits for the settings.
func (s *Server) serves(ctx context.Context) error {
	if err := server.Answers(ctx, s.Endpoint+"/minio/health/cluster"); err != nil {
		return err
	}
	a, err := minio.New(s.Config())
	if err != nil {
		return err
	}
	return a.Loaded(ctx)
}

// SetRoot gives the server another root user, from its next start on.
func (s *Server) SetRoot(user, password string) {
	s.user, s.password = user, password
	s.Command.Env = append(s.Command.Env, "MINIO_ROOT_USER="+user, "MINIO_ROOT_PASSWORD="+password)
}

// Config is how root connects. Set other keys for other principals.
func (s *Store) Config() s3.Config {
	return s3.Config{Endpoint: s.Endpoint, AccessKey: s.user, SecretKey: s.password, PathStyle: true, AnswerTimeout: s.patience}
}

// Client connects as root.
func (s *Store) Client(t testing.TB) *s3.Client {
	t.Helper()
	return s.As(t, s.user, s.password)
}

// As connects as somebody else.
func (s *Store) As(t testing.TB, accessKey, secretKey string) *s3.Client {
	t.Helper()
	cfg := s.Config()
	cfg.AccessKey, cfg.SecretKey = accessKey, secretKey
	c, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
