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
	s3 "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/minio"
	"breakwater/internal/objectstore/miniotest"
	"breakwater/internal/reach"
)

// raw is a client of MinIO's own, as root.
func raw(t *testing.T, s *miniotest.Server) *s3.Client {
	t.Helper()
	c, err := s3.New(strings.TrimPrefix(s.Endpoint, "http://"), &s3.Options{Creds: credentials.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, "")})
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
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Lifecycle: %s", d)
	}
	// The plain client sees what S3 knows, and takes the rest for what it is not.
	got, err = a.Store().Lifecycle(t.Context(), "lake")
	must(t, err)
	seen := slices.Concat(want[:3], want[5:])
	seen = slices.Insert(seen, 3, objectstore.Removal{Rule: "all", Prefix: "d/", What: objectstore.RemovesObjects, After: days(9)})
	if d := cmp.Diff(seen, got); d != "" {
		t.Errorf("Client.Lifecycle: %s", d)
	}
	for _, read := range []func(context.Context, string) ([]objectstore.Removal, error){a.Lifecycle, a.Store().Lifecycle} {
		if got, err := read(t.Context(), "bare"); err != nil || len(got) != 0 {
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

func TestRemovalTouches(t *testing.T) {
	for _, tc := range []struct {
		rule, prefix string
		want         bool
	}{
		{"", "a/", true}, {"a/", "a/", true}, {"a", "a/b/", true}, {"a/b/part", "a/b/", true}, {"a/c", "a/b/", false}, {"b", "", true},
	} {
		if got := (objectstore.Removal{Prefix: tc.rule}).Touches(tc.prefix); got != tc.want {
			t.Errorf("a rule for %q touches %q: %v, want %v", tc.rule, tc.prefix, got, tc.want)
		}
	}
}

func TestVersioningExcept(t *testing.T) {
	s, a := admin(t, "lake")
	must(t, raw(t, s).SetBucketVersioning(t.Context(), "lake", s3.BucketVersioningConfiguration{
		Status: "Enabled", ExcludedPrefixes: []s3.ExcludedPrefix{{Prefix: "tables/*/_temporary"}},
	}))
	on, except, err := a.Versioning(t.Context(), "lake")
	must(t, err)
	if !on || !slices.Equal(except, []string{"tables/*/_temporary"}) {
		t.Errorf("Versioning = %v, %q", on, except)
	}
	must(t, raw(t, s).SuspendVersioning(t.Context(), "lake"))
	if on, _, err := a.Versioning(t.Context(), "lake"); err != nil || on {
		t.Errorf("Versioning of a suspended bucket = %v, %v", on, err)
	}
}

// TestItself: with a rule back, MinIO answers for the other region, and the client
// does not let it.
func TestItself(t *testing.T) {
	east, a := admin(t, "lake")
	west, b := admin(t, "lake")
	must(t, b.Replicate(t.Context(), "lake", east.Config(), "lake"))
	_, err := a.Store().Put(t.Context(), "lake", "only-east", []byte("x"))
	must(t, err)
	eventually(t, "MinIO answers with what the other region has", func(ctx context.Context) (bool, error) {
		_, err := raw(t, west).StatObject(ctx, "lake", "only-east", s3.StatObjectOptions{})
		return err == nil, nil
	})
	if _, err := b.Store().Head(t.Context(), "lake", "only-east"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Head of what only the other region has = %v, want that it does not exist", err)
	}
	if _, _, err := b.Store().Get(t.Context(), "lake", "only-east"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of what only the other region has = %v, want that it does not exist", err)
	}
}

func TestReplicationMetrics(t *testing.T) {
	_, source := admin(t, "lake")
	at, _ := admin(t, "lake")
	must(t, source.Replicate(t.Context(), "lake", at.Config(), "lake"))
	if m, err := source.ReplicationMetrics(t.Context(), "lake"); err != nil || m.Any {
		t.Errorf("before anything was replicated: %+v, %v; want that nothing is known", m, err)
	}
	_, err := source.Store().Put(t.Context(), "lake", "a", []byte("12345"))
	must(t, err)
	eventually(t, "the delivery is counted", func(ctx context.Context) (bool, error) {
		m, err := source.ReplicationMetrics(ctx, "lake")
		return m.Any && m.Delivered == 1 && m.DeliveredBytes == 5, err
	})
	at.Kill()
	_, err = source.Store().Put(t.Context(), "lake", "b", []byte("1234567"))
	must(t, err)
	eventually(t, "the failure is counted", func(ctx context.Context) (bool, error) {
		m, err := source.ReplicationMetrics(ctx, "lake")
		return m.Any && m.Failed > 0 && m.FailedBytes >= 7 && m.Uptime < time.Hour, err
	})
}
