package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/lab/server/miniotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

// raw is a client that shares nothing with the package.
func raw(endpoint string) *sdk.Client {
	return sdk.New(sdk.Options{
		BaseEndpoint: aws.String(endpoint), Region: "us-east-1", UsePathStyle: true, HTTPClient: http.DefaultClient,
		Credentials: credentials.NewStaticCredentialsProvider(miniotest.RootUser, miniotest.RootPassword, ""),
	})
}

// withKMS is a server that encrypts by keys, and has two of them.
func withKMS(t *testing.T) *miniotest.Server {
	t.Helper()
	s := miniotest.Start(t)
	s.Command.Env = append(s.Command.Env, "MINIO_KMS_SECRET_KEY=lake-key:IyqsU3kMFloCNup4BsZtf/rmfHVcTgznO2F25CkEH1g=")
	s.Restart(t)
	return s
}

// upload puts an object in parts of 5 MiB and a rest.
func upload(t *testing.T, c *sdk.Client, in *sdk.CreateMultipartUploadInput, body []byte) {
	t.Helper()
	up, err := c.CreateMultipartUpload(t.Context(), in)
	must(t, err)
	var parts []types.CompletedPart
	for n := int32(1); len(body) > 0; n++ {
		piece := body[:min(len(body), 5<<20)]
		body = body[len(piece):]
		out, err := c.UploadPart(t.Context(), &sdk.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(piece)})
		must(t, err)
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
	}
	_, err = c.CompleteMultipartUpload(t.Context(), &sdk.CompleteMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestCopierKeepsEverything copies versions over newer ones, in place and into
// another bucket, by one request and in parts: whatever the original had, the
// copy has.
func TestCopierKeepsEverything(t *testing.T) {
	t.Parallel()
	s := withKMS(t)
	c, r := s.Client(t), raw(s.Endpoint)
	must(t, c.CreateBucket(t.Context(), "lake", true))
	must(t, c.CreateBucket(t.Context(), "other", true))
	lake := "lake"
	meta := map[string]string{"owner": "ann", "with-dash": "plain"}
	big := bytes.Repeat([]byte("0123456789abcdef"), 11<<16)
	bodies := map[string][]byte{
		"plain": []byte("plain"), "rich": []byte("rich"), "kms": []byte("secret"), "sse-s3": []byte("secret too"), "reduced": []byte("reduced"),
		"parts": big, "parts of kms": big[:6<<20], "large": big[:7<<20], "empty": {}, "odd ü+%?#&/name": []byte("odd"),
	}
	for key, body := range bodies {
		in := &sdk.PutObjectInput{Bucket: &lake, Key: &key, Body: bytes.NewReader(body)}
		switch key {
		case "rich":
			in.Metadata, in.Tagging = meta, aws.String("team=lake&note=a%20b%2Bc")
			in.CacheControl, in.ContentType, in.ContentEncoding = aws.String("max-age=5"), aws.String("application/x-lake"), aws.String("gzip")
			in.ContentDisposition, in.ContentLanguage = aws.String("attachment"), aws.String("de")
		case "kms":
			in.ServerSideEncryption, in.SSEKMSKeyId, in.Metadata = types.ServerSideEncryptionAwsKms, aws.String("lake-key"), meta
		case "sse-s3":
			in.ServerSideEncryption = types.ServerSideEncryptionAes256
		case "reduced":
			in.StorageClass = types.StorageClassReducedRedundancy
		case "parts", "parts of kms":
			create := &sdk.CreateMultipartUploadInput{Bucket: &lake, Key: &key, Metadata: meta, Tagging: aws.String("a=b"), ContentType: aws.String("text/x")}
			if key == "parts of kms" {
				create.ServerSideEncryption, create.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, aws.String("lake-key")
			}
			upload(t, r, create, body)
			continue
		}
		_, err := r.PutObject(t.Context(), in)
		must(t, err)
	}
	originals := map[string]objectstore.Version{}
	for v, err := range c.ListVersions(t.Context(), lake, "") {
		must(t, err)
		originals[v.Key] = v
	}
	if len(originals) != len(bodies) {
		t.Fatalf("wrote %d objects, listed %d", len(bodies), len(originals))
	}
	for name, k := range map[string]*s3.Copier{
		"by one request": {Client: c},
		"in parts":       {Client: c, LargerThan: 1, PartSize: 5 << 20},
	} {
		for _, to := range []string{"lake", "other"} {
			for key, v := range originals {
				t.Run(fmt.Sprintf("%s into %s %s", name, to, key), func(t *testing.T) {
					if v.Size == 0 && name == "in parts" { // of which there would be none
						k = &s3.Copier{Client: c}
					}
					newer, err := c.Put(t.Context(), to, key, []byte("something else"))
					must(t, err)
					o, err := k.Copy(t.Context(), objectstore.CopyRequest{
						From: objectstore.Source{Bucket: lake, Key: key, VersionID: v.VersionID, ETag: v.ETag},
						Size: v.Size, Class: v.StorageClass, Bucket: to, Key: key, Over: newer.ETag,
					})
					must(t, err)
					same(t, c, r, originals[key], bodies[key], to, o)
				})
			}
		}
	}
}

// same holds a copy against its original in every respect.
func same(t *testing.T, c *s3.Client, r *sdk.Client, was objectstore.Version, body []byte, bucket string, o objectstore.Object) {
	t.Helper()
	key := was.Key
	got, now, err := c.Get(t.Context(), bucket, key)
	must(t, err)
	if !bytes.Equal(got, body) || now.VersionID != o.VersionID {
		t.Errorf("it has %d bytes and version %s, want %d and %s", len(got), now.VersionID, len(body), o.VersionID)
	}
	from, err := c.Describe(t.Context(), "lake", key, was.VersionID)
	must(t, err)
	to, err := c.Describe(t.Context(), bucket, key, "")
	must(t, err)
	if to.ETag != was.ETag && to.CopyOf != objectstore.SourceName(was.VersionID, was.ETag) {
		t.Errorf("its ETag is %s instead of %s, and it says it is a copy of %q", to.ETag, was.ETag, to.CopyOf)
	}
	if to.ETag != o.ETag {
		t.Errorf("Copy says ETag %s, HEAD %s", o.ETag, to.ETag)
	}
	type rest struct {
		Metadata, Headers map[string]string
		Class             string
		Encryption        objectstore.Encryption
		Tags              int
	}
	// The store's own key is the bucket's affair: see Copier.
	from.Encryption.Algorithm, to.Encryption.Algorithm = strings.TrimPrefix(from.Encryption.Algorithm, "AES256"), strings.TrimPrefix(to.Encryption.Algorithm, "AES256")
	if d := cmp.Diff(rest{from.Metadata, from.Headers, from.StorageClass, from.Encryption, from.Tags},
		rest{to.Metadata, to.Headers, to.StorageClass, to.Encryption, to.Tags}); d != "" {
		t.Errorf("what it is like (-original +copy): %s", d)
	}
	if same, known := from.SameChecksum(to); known && !same {
		t.Errorf("checksums %v, and were %v", to.Checksums, from.Checksums)
	}
	tags := func(bucket, version string) map[string]string {
		in := &sdk.GetObjectTaggingInput{Bucket: &bucket, Key: &key}
		if version != "" {
			in.VersionId = &version
		}
		out, err := r.GetObjectTagging(t.Context(), in)
		must(t, err)
		all := map[string]string{}
		for _, tag := range out.TagSet {
			all[*tag.Key] = *tag.Value
		}
		return all
	}
	if a, b := tags("lake", was.VersionID), tags(bucket, ""); !maps.Equal(a, b) {
		t.Errorf("tags %v, and were %v", b, a)
	}
}

func TestCopierRefusesAnotherSource(t *testing.T) {
	t.Parallel()
	s := miniotest.Shared(t)
	c, lake := s.Client(t), s.Bucket(t, "lake", true)
	o, err := c.Put(t.Context(), lake, "k", []byte("one"))
	must(t, err)
	for name, k := range map[string]*s3.Copier{"by one request": {Client: c}, "in parts": {Client: c, LargerThan: 1}} {
		req := objectstore.CopyRequest{
			From: objectstore.Source{Bucket: lake, Key: "k", VersionID: o.VersionID, ETag: strings.Repeat("0", 32)}, Size: 3, Bucket: lake, Key: "to",
		}
		if _, err := k.Copy(t.Context(), req); !errors.Is(err, objectstore.ErrChanged) {
			t.Errorf("%s: copy of another ETag = %v", name, err)
		}
		req.From = objectstore.Source{Bucket: lake, Key: "k", VersionID: "11111111-1111-4111-8111-111111111111", ETag: o.ETag}
		if _, err := k.Copy(t.Context(), req); err == nil {
			t.Errorf("%s: copied a version that is not there", name)
		}
	}
	// A copy in parts that fails leaves no upload behind.
	k := &s3.Copier{Client: c, LargerThan: 1, PartSize: 1 << 20}
	body := bytes.Repeat([]byte("x"), 3<<20)
	o, err = c.Put(t.Context(), lake, "k", body)
	must(t, err)
	_, err = k.Copy(t.Context(), objectstore.CopyRequest{
		From: objectstore.Source{Bucket: lake, Key: "k", VersionID: o.VersionID, ETag: o.ETag}, Size: o.Size, Bucket: lake, Key: "to",
	})
	if err == nil { // the store takes no parts of 1 MiB
		t.Error("parts that are too small were taken")
	}
	ups, err := raw(s.Endpoint).ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: aws.String(lake), Prefix: aws.String("to")})
	must(t, err)
	if len(ups.Uploads) > 0 {
		t.Errorf("%d uploads were left", len(ups.Uploads))
	}
}

// TestVersionsInOrder alternates versions and delete markers over several pages.
func TestVersionsInOrder(t *testing.T) {
	t.Parallel()
	s := miniotest.Shared(t)
	c, lake := s.Client(t), s.Bucket(t, "lake", true)
	var want []string
	for i := range 30 {
		o, err := c.Put(t.Context(), lake, "a b+c", []byte(fmt.Sprint(i)))
		must(t, err)
		want = append(want, o.VersionID)
		if i%3 == 0 {
			m, err := c.Delete(t.Context(), lake, "a b+c")
			must(t, err)
			want = append(want, m+" deleted")
		}
	}
	var got []string
	for v, err := range c.ListVersions(t.Context(), lake, "a b+") {
		must(t, err)
		if v.Latest != (len(got) == 0) || v.Key != "a b+c" {
			t.Errorf("entry %d is of %q, latest %v", len(got), v.Key, v.Latest)
		}
		id := v.VersionID
		if v.DeleteMarker {
			id += " deleted"
		}
		got = append([]string{id}, got...)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestDeleteMany hides, and then removes, more keys than one request takes.
func TestDeleteMany(t *testing.T) {
	t.Parallel()
	s := miniotest.Shared(t)
	c, lake := s.Client(t), s.Bucket(t, "lake", true)
	var all []objectstore.Deletion
	keys := []string{"a b", "new\nline", "\x01control", "cr\r", "ü&<>\"'", "100%+"}
	for i := range 1100 {
		keys = append(keys, fmt.Sprintf("k%04d", i))
	}
	puts, ctx := errgroup.WithContext(t.Context())
	puts.SetLimit(16)
	for _, key := range keys {
		all = append(all, objectstore.Deletion{Key: key})
		puts.Go(func() error {
			_, err := c.Put(ctx, lake, key, []byte("x"))
			return err
		})
	}
	must(t, puts.Wait())
	count := func() (there, markers int, ids []objectstore.Deletion) {
		for v, err := range c.ListVersions(t.Context(), lake, "") {
			must(t, err)
			if v.Latest && !v.DeleteMarker {
				there++
			}
			if v.DeleteMarker {
				markers++
				ids = append(ids, objectstore.Deletion{Key: v.Key, VersionID: v.VersionID})
			}
		}
		return there, markers, ids
	}
	n, err := c.DeleteMany(t.Context(), lake, all)
	if there, markers, _ := count(); err != nil || n != len(all) || there != 0 || markers != len(all) {
		t.Errorf("DeleteMany = %d, %v; %d objects are there, %d markers; want %d", n, err, there, markers, len(all))
	}
	_, _, ids := count()
	for range 2 { // what is gone already is done
		n, err = c.DeleteMany(t.Context(), lake, ids)
		if there, markers, _ := count(); err != nil || n != len(all) || there != len(all) || markers != 0 {
			t.Errorf("DeleteMany of markers = %d, %v; %d objects are there, %d markers", n, err, there, markers)
		}
	}
	stranger := s.As(t, "nobody", "nobody-secret")
	if n, err := stranger.DeleteMany(t.Context(), lake, all[:3]); err == nil || n != 0 {
		t.Errorf("DeleteMany by a stranger = %d, %v", n, err)
	}
	if there, _, _ := count(); there != len(all) {
		t.Errorf("%d objects are there after a stranger's deletion", there)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.DeleteMany(ended, lake, all); !errors.Is(err, context.Canceled) {
		t.Errorf("DeleteMany, cancelled = %v", err)
	}
}
