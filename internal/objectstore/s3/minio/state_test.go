package minio_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3/minio"
	"breakwater/internal/reach"
	"breakwater/lab/server/miniotest"
)

// raw is a client of MinIO's own, as root.
func raw(t *testing.T, s *miniotest.Server) *miniogo.Client {
	t.Helper()
	c, err := miniogo.New(strings.TrimPrefix(s.Endpoint, "http://"), &miniogo.Options{Creds: credentials.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, "")})
	must(t, err)
	return c
}

func TestLifecycle(t *testing.T) {
	s, a := admin(t, "lake", "bare")
	must(t, raw(t, s).SetBucketLifecycle(t.Context(), "lake", &lifecycle.Configuration{Rules: []lifecycle.Rule{
		{ID: "current", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "tmp/"}, Expiration: lifecycle.Expiration{Days: 7}},
		{ID: "old", Status: "Enabled", NoncurrentVersionExpiration: lifecycle.NoncurrentVersionExpiration{NoncurrentDays: 3, NewerNoncurrentVersions: 2}},
		{ID: "bare", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "b/"}, Expiration: lifecycle.Expiration{DeleteMarker: true}},
		{ID: "deleted", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "c/"}, DelMarkerExpiration: lifecycle.DelMarkerExpiration{Days: 5}},
		{ID: "all", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "d/"}, Expiration: lifecycle.Expiration{Days: 9, DeleteAll: true}},
		{ID: "tagged", Status: "Enabled", RuleFilter: lifecycle.Filter{And: lifecycle.And{Prefix: "e/", Tags: []lifecycle.Tag{{Key: "k", Value: "v"}}}}, Expiration: lifecycle.Expiration{Days: 2}},
		{ID: "off", Status: "Disabled", RuleFilter: lifecycle.Filter{Prefix: "f/"}, Expiration: lifecycle.Expiration{Days: 1}},
	}}))
	days := objectstore.Days
	want := []objectstore.Removal{
		{Rule: "current", Prefix: "tmp/", What: objectstore.RemovesObjects, After: days(7)},
		{Rule: "old", What: objectstore.RemovesOldVersions, After: days(3), Keep: 2},
		{Rule: "bare", Prefix: "b/", What: objectstore.RemovesBareMarkers},
		{Rule: "deleted", Prefix: "c/", What: objectstore.RemovesDeleted, After: days(5)},
		{Rule: "all", Prefix: "d/", What: objectstore.RemovesEverything, After: days(9)},
		{Rule: "tagged", Prefix: "e/", Narrowed: true, What: objectstore.RemovesObjects, After: days(2)},
	}
	got, err := a.Lifecycle(t.Context(), "lake")
	must(t, err)
	if d := cmp.Diff(objectstore.Lifecycle{Any: true, Removals: want}, got); d != "" {
		t.Errorf("Lifecycle: %s", d)
	}
	// The plain client sees what S3 knows, and takes the rest for what it is not.
	got, err = s.Client(t).Lifecycle(t.Context(), "lake")
	must(t, err)
	seen := slices.Concat(want[:3], want[5:])
	seen = slices.Insert(seen, 3, objectstore.Removal{Rule: "all", Prefix: "d/", What: objectstore.RemovesObjects, After: days(9)})
	if d := cmp.Diff(objectstore.Lifecycle{Any: true, Removals: seen}, got); d != "" {
		t.Errorf("Client.Lifecycle: %s", d)
	}
	for _, read := range []objectstore.Overseer{a, s.Client(t)} {
		if got, err := read.Lifecycle(t.Context(), "bare"); err != nil || got.Any || len(got.Removals) != 0 {
			t.Errorf("of a bucket without rules: %v, %v", got, err)
		}
	}
	if _, err := a.Lifecycle(t.Context(), "nowhere"); !errors.Is(err, objectstore.ErrNoBucket) {
		t.Errorf("of a bucket that is not there: %v", err)
	}
	newUser(t, s, a, "weak")
	cfg := s.Config()
	cfg.AccessKey, cfg.SecretKey = "weak", "weak-secret"
	weak, err := minio.New(cfg)
	must(t, err)
	if _, err := weak.Lifecycle(t.Context(), "lake"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("as somebody without rights: %v", err)
	}
	s.Kill()
	if _, err := a.Lifecycle(t.Context(), "lake"); !reach.Unreachable(err) {
		t.Errorf("of a dead server: %v", err)
	}
}

func TestVersioningExcept(t *testing.T) {
	s, a := admin(t, "lake")
	must(t, raw(t, s).SetBucketVersioning(t.Context(), "lake", miniogo.BucketVersioningConfiguration{
		Status: "Enabled", ExcludedPrefixes: []miniogo.ExcludedPrefix{{Prefix: "tables/*/_temporary"}},
	}))
	v, err := a.Versioning(t.Context(), "lake")
	must(t, err)
	if !v.On || !slices.Equal(v.Except, []string{"tables/*/_temporary"}) {
		t.Errorf("Versioning = %+v", v)
	}
	must(t, raw(t, s).SuspendVersioning(t.Context(), "lake"))
	if v, err := a.Versioning(t.Context(), "lake"); err != nil || v.On {
		t.Errorf("Versioning of a suspended bucket = %+v, %v", v, err)
	}
}

// TestItself: with a rule back, MinIO answers for the other region, and the client
// does not let it.
func TestItself(t *testing.T) {
	east, a := admin(t, "lake")
	west, b := admin(t, "lake")
	replicate(t, west, "lake", east.Config())
	_, err := a.Store().Put(t.Context(), "lake", "only-east", []byte("x"))
	must(t, err)
	eventually(t, "MinIO answers with what the other region has", func(ctx context.Context) (bool, error) {
		_, err := raw(t, west).StatObject(ctx, "lake", "only-east", miniogo.StatObjectOptions{})
		return err == nil, nil
	})
	if _, err := b.Store().Head(t.Context(), "lake", "only-east"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Head of what only the other region has = %v, want that it does not exist", err)
	}
	if _, _, err := b.Store().Get(t.Context(), "lake", "only-east"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of what only the other region has = %v, want that it does not exist", err)
	}
}

func TestReplicationCounts(t *testing.T) {
	from, source := admin(t, "lake")
	at, _ := admin(t, "lake")
	replicate(t, from, "lake", at.Config())
	if m, err := source.ReplicationCounts(t.Context(), "lake"); err != nil || m.Any {
		t.Errorf("before anything was replicated: %+v, %v; want that nothing is known", m, err)
	}
	_, err := source.Store().Put(t.Context(), "lake", "a", []byte("12345"))
	must(t, err)
	eventually(t, "the delivery is counted", func(ctx context.Context) (bool, error) {
		m, err := source.ReplicationCounts(ctx, "lake")
		return m.Any && m.Delivered == 1 && m.DeliveredBytes == 5, err
	})
	at.Kill()
	_, err = source.Store().Put(t.Context(), "lake", "b", []byte("1234567"))
	must(t, err)
	eventually(t, "the failure is counted", func(ctx context.Context) (bool, error) {
		m, err := source.ReplicationCounts(ctx, "lake")
		return m.Any && m.Failed > 0 && m.FailedBytes >= 7 && m.Uptime < time.Hour, err
	})
}
