package activities

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/verdict"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

// What a rewind meets in large buckets: keys with very many versions, so many keys
// that several listings go over them, objects that were uploaded in parts.

// history is how many versions one key has: some pages of a listing, and ten
// thousand with BREAKWATER_TORTURE=1.
func history() int {
	if os.Getenv("BREAKWATER_TORTURE") == "1" {
		return 10_000
	}
	return 2500
}

// manyVersions writes so many versions of a key at the target.
func (w *world) manyVersions(key string, n int) {
	w.t.Helper()
	bucket := "lake-west"
	work, ctx := errgroup.WithContext(w.t.Context())
	work.SetLimit(8)
	for i := range n {
		work.Go(func() error {
			_, err := w.s3[west].PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(fmt.Sprint("later ", i))})
			return err
		})
	}
	w.must(work.Wait())
}

// TestTortureRewindLongHistory has a key with very many versions among others.
func TestTortureRewindLongHistory(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "clicks/long/")
	s.put("a", "before")
	s.put("b", "the one")
	s.put("z", "after")
	at := s.moment()
	s.manyVersions(s.prefix+"b", history())
	s.put("z", "later")
	def := s.action("storage.rewind")
	r, p := s.request(def, "lake"), with(t, rewindParams{At: at, Prefix: s.prefix})
	out := s.act(def, &r, p)
	got := s.holds(s.bucket, s.prefix)
	if got["b"] != "the one" || got["z"] != "after" || got["a"] != "before" || out.Mutations != 3 { // tick2 is the third
		t.Errorf("after %d mutations: %q", out.Mutations, got)
	}
	passes(t, def, r, p)
	if n := s.world.versions(west, s.prefix+"b"); n < 1000 { // the first page alone
		t.Errorf("%d versions are left on the first page: something was destroyed", n)
	}
}

// TestTortureUndeleteLongHistory brings back a file over which very many versions
// were written before it was deleted.
func TestTortureUndeleteLongHistory(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 3)
	key := l.dataOf("orders", 2)[0]
	l.manyVersions(key, history())
	l.deletes(key, l.dataOf("orders", 3)[0])
	def := l.action("storage.undelete")
	r := l.request(def, "orders")
	ch, err := def.Plan(t.Context(), r, nil)
	l.must(err)
	r.Plan = &ch
	if out, err := def.Apply(t.Context(), r, nil); err != nil || out.Mutations != 2 {
		t.Errorf("Apply = %+v, %v; want 2 mutations", out, err)
	}
	passes(t, def, r, nil)
	l.reads("orders", 3)
}

// TestRewindSeesAStrangerAnywhere puts a key that was not planned for before,
// among and after the lines: Apply changes nothing.
func TestRewindSeesAStrangerAnywhere(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "clicks/wide/")
	const keys = 12
	all := func(body string) {
		t.Helper()
		work, ctx := errgroup.WithContext(t.Context())
		work.SetLimit(16)
		for i := range keys {
			key := fmt.Sprintf("%s%04d", s.prefix, 2*i)
			work.Go(func() error {
				_, err := s.s3[west].PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: strings.NewReader(body)})
				return err
			})
		}
		s.must(work.Wait())
	}
	all("one")
	at := s.moment()
	all("two!")
	def := s.action("storage.rewind")
	r, p := s.request(def, "lake"), with(t, rewindParams{At: at, Prefix: s.prefix})
	ch, err := def.Plan(t.Context(), r, p)
	s.must(err)
	r.Plan = &ch
	for _, stranger := range []string{"", "0001", "0011", "9999", "zzz"} {
		s.put(stranger, "x")
		if out, err := def.Apply(t.Context(), r, p); !errors.Is(err, action.ErrMoved) || out.Mutations != 0 {
			t.Errorf("with %q: Apply = %+v, %v", stranger, out, err)
		}
		s.remove(stranger)
	}
	if out, err := def.Apply(t.Context(), r, p); err != nil || out.Mutations != keys+1 {
		t.Errorf("Apply = %+v, %v; want %d mutations", out, err, keys+1)
	}
	passes(t, def, r, p)
}

// TestRewindWhereCopiesChangeTheETag rewinds objects that were uploaded in parts
// or are encrypted by a key: a second plan knows the copies again, Verify does,
// and so does what takes it back.
func TestRewindWhereCopiesChangeTheETag(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "clicks/kms/")
	s.minio[west].Env = append(s.minio[west].Env, "MINIO_KMS_SECRET_KEY=lake-key:IyqsU3kMFloCNup4BsZtf/rmfHVcTgznO2F25CkEH1g=")
	s.minio[west].Restart(t)
	encrypted := func(key, body string) {
		t.Helper()
		key = s.prefix + key
		_, err := s.s3[west].PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &s.bucket, Key: &key, Body: strings.NewReader(body), ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("lake-key"),
			Metadata: map[string]string{"owner": "ann"},
		})
		s.must(err)
	}
	for i := range 5 {
		encrypted(fmt.Sprint("e", i), fmt.Sprint("content ", i))
	}
	s.put("plain", "content p")
	want := s.holds(s.bucket, s.prefix)
	at := s.moment()
	for i := range 5 {
		encrypted(fmt.Sprint("e", i), fmt.Sprint("CONTENT ", i))
	}
	s.put("plain", "CONTENT p")
	before := s.holds(s.bucket, s.prefix)
	def := s.action("storage.rewind")
	r, p := s.request(def, "lake"), with(t, rewindParams{At: at, Prefix: s.prefix})
	s.act(def, &r, p)
	got := s.holds(s.bucket, s.prefix)
	delete(got, "tick")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("after the rewind (-want +got): %s", d)
	}
	if again, err := def.Plan(t.Context(), r, p); err != nil || len(again.Effects) > 0 {
		t.Errorf("a second plan would do something again: %v %+v", err, again.Effects)
	}
	if out, err := def.Apply(t.Context(), r, p); err != nil || out.Mutations != 0 {
		t.Errorf("Apply again = %+v, %v", out, err)
	}
	passes(t, def, r, p)
	// A copy by somebody else, of the same size, is not taken for ours.
	encrypted("e0", "CONTENT 0")
	if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("Verify of other content of the same size: %v\n%s", err, told(obs))
	}
	_, err := def.Apply(t.Context(), r, p) // what the plan saw was another version
	if !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply over other content of the same size = %v", err)
	}
	head, err := s.minio[west].Client(t).Head(t.Context(), s.bucket, s.prefix+"e0")
	s.must(err)
	s.must(s.minio[west].Client(t).DeleteVersion(t.Context(), s.bucket, s.prefix+"e0", head.VersionID))
	if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("Verify without it: %v\n%s", err, told(obs))
	}
	s.takenBack(def, &r, p)
	got, before = s.holds(s.bucket, s.prefix), maps.Clone(before)
	delete(got, "tick")
	delete(got, "tick2")
	delete(before, "tick")
	delete(before, "tick2")
	if d := cmp.Diff(before, got); d != "" {
		t.Errorf("after it was taken back (-want +got): %s", d)
	}
}
