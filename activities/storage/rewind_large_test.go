package storage

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

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

// TestTortureRewindLongHistory has a key with very many versions among others.
func TestTortureRewindLongHistory(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/long/")
	s.Put("a", "before")
	s.Put("b", "the one")
	s.Put("z", "after")
	at := s.Moment()
	s.ManyVersions(s.Prefix+"b", history())
	s.Put("z", "later")
	def := s.World.Action("storage.rewind")
	r, p := s.Request(def, "lake"), prove.With(t, rewindParams{At: at, Prefix: s.Prefix})
	out := s.Act(def, &r, p)
	got := s.Holds(s.Bucket, s.Prefix)
	if got["b"] != "the one" || got["z"] != "after" || got["a"] != "before" || out.Mutations != 3 { // tick2 is the third
		t.Errorf("after %d mutations: %q", out.Mutations, got)
	}
	prove.Passes(t, def, r, p)
	if n := s.World.Versions(world.West, s.Prefix+"b"); n < 1000 { // the first page alone
		t.Errorf("%d versions are left on the first page: something was destroyed", n)
	}
}

// TestTortureUndeleteLongHistory brings back a file over which very many versions
// were written before it was deleted.
func TestTortureUndeleteLongHistory(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 100, 3)
	key := l.DataOf("orders", 2)[0]
	l.ManyVersions(key, history())
	l.Deletes(key, l.DataOf("orders", 3)[0])
	def := l.World.Action("storage.undelete")
	r := l.Request(def, "orders")
	ch, err := def.Plan(t.Context(), r, nil)
	l.Must(err)
	r.Plan = &ch
	if out, err := def.Apply(t.Context(), r, nil); err != nil || out.Mutations != 2 {
		t.Errorf("Apply = %+v, %v; want 2 mutations", out, err)
	}
	prove.Passes(t, def, r, nil)
	l.Reads("orders", 3)
}

// TestRewindSeesAStrangerAnywhere puts a key that was not planned for before,
// among and after the lines: Apply changes nothing.
func TestRewindSeesAStrangerAnywhere(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/wide/")
	const keys = 12
	all := func(body string) {
		t.Helper()
		work, ctx := errgroup.WithContext(t.Context())
		work.SetLimit(16)
		for i := range keys {
			key := fmt.Sprintf("%s%04d", s.Prefix, 2*i)
			work.Go(func() error {
				_, err := s.S3[world.West].PutObject(ctx, &s3.PutObjectInput{Bucket: &s.Bucket, Key: &key, Body: strings.NewReader(body)})
				return err
			})
		}
		s.Must(work.Wait())
	}
	all("one")
	at := s.Moment()
	all("two!")
	def := s.World.Action("storage.rewind")
	r, p := s.Request(def, "lake"), prove.With(t, rewindParams{At: at, Prefix: s.Prefix})
	ch, err := def.Plan(t.Context(), r, p)
	s.Must(err)
	r.Plan = &ch
	for _, stranger := range []string{"", "0001", "0011", "9999", "zzz"} {
		s.Put(stranger, "x")
		if out, err := def.Apply(t.Context(), r, p); !errors.Is(err, action.ErrMoved) || out.Mutations != 0 {
			t.Errorf("with %q: Apply = %+v, %v", stranger, out, err)
		}
		s.Remove(stranger)
	}
	if out, err := def.Apply(t.Context(), r, p); err != nil || out.Mutations != keys+1 {
		t.Errorf("Apply = %+v, %v; want %d mutations", out, err, keys+1)
	}
	prove.Passes(t, def, r, p)
}

// TestRewindWhereCopiesChangeTheETag rewinds objects that were uploaded in parts
// or are encrypted by a key: a second plan knows the copies again, Verify does,
// and so does what takes it back.
func TestRewindWhereCopiesChangeTheETag(t *testing.T) {
	t.Parallel()
	s := world.NewShelf(t, "clicks/kms/")
	s.Minio[world.West].Command.Env = append(s.Minio[world.West].Command.Env, "MINIO_KMS_SECRET_KEY=lake-key:IyqsU3kMFloCNup4BsZtf/rmfHVcTgznO2F25CkEH1g=")
	s.Minio[world.West].Restart(t)
	encrypted := func(key, body string) {
		t.Helper()
		key = s.Prefix + key
		_, err := s.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &s.Bucket, Key: &key, Body: strings.NewReader(body), ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("lake-key"),
			Metadata: map[string]string{"owner": "ann"},
		})
		s.Must(err)
	}
	for i := range 5 {
		encrypted(fmt.Sprint("e", i), fmt.Sprint("content ", i))
	}
	s.Put("plain", "content p")
	want := s.Holds(s.Bucket, s.Prefix)
	at := s.Moment()
	for i := range 5 {
		encrypted(fmt.Sprint("e", i), fmt.Sprint("CONTENT ", i))
	}
	s.Put("plain", "CONTENT p")
	before := s.Holds(s.Bucket, s.Prefix)
	def := s.World.Action("storage.rewind")
	r, p := s.Request(def, "lake"), prove.With(t, rewindParams{At: at, Prefix: s.Prefix})
	s.Act(def, &r, p)
	got := s.Holds(s.Bucket, s.Prefix)
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
	prove.Passes(t, def, r, p)
	// A copy by somebody else, of the same size, is not taken for ours.
	encrypted("e0", "CONTENT 0")
	if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("Verify of other content of the same size: %v\n%s", err, prove.Told(obs))
	}
	_, err := def.Apply(t.Context(), r, p) // what the plan saw was another version
	if !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply over other content of the same size = %v", err)
	}
	head, err := s.Minio[world.West].Client(t).Head(t.Context(), s.Bucket, s.Prefix+"e0")
	s.Must(err)
	s.Must(s.Minio[world.West].Client(t).DeleteVersion(t.Context(), s.Bucket, s.Prefix+"e0", head.VersionID))
	if obs, err := def.Verify(t.Context(), r, p); err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("Verify without it: %v\n%s", err, prove.Told(obs))
	}
	s.TakenBack(def, &r, p)
	got, before = s.Holds(s.Bucket, s.Prefix), maps.Clone(before)
	delete(got, "tick")
	delete(got, "tick2")
	delete(before, "tick")
	delete(before, "tick2")
	if d := cmp.Diff(before, got); d != "" {
		t.Errorf("after it was taken back (-want +got): %s", d)
	}
}
