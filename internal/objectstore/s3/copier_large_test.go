package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/lab/server/miniotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestTortureCopyLargerThanOneRequest copies an object that no single request may
// copy at AWS, over a newer version of itself. MinIO would copy it by one request,
// which shows in the ETag: it is the original's only if the parts are. It writes
// 11 GiB and runs with BREAKWATER_TORTURE=1 only; TestCopierKeepsEverything copies
// small objects in parts.
func TestTortureCopyLargerThanOneRequest(t *testing.T) {
	if os.Getenv("BREAKWATER_TORTURE") != "1" {
		t.Log("BREAKWATER_TORTURE is not 1: nothing of 5 GiB is copied")
		return
	}
	const each, parts = 64 << 20, 82 // 5.125 GiB
	s := miniotest.Start(t)
	c, r := s.Client(t), raw(s.Endpoint)
	must(t, c.CreateBucket(t.Context(), "lake", true))
	lake, key := aws.String("lake"), aws.String("large.parquet")
	up, err := r.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: lake, Key: key, Metadata: map[string]string{"owner": "ann"}})
	must(t, err)
	var done []types.CompletedPart
	for n := int32(1); n <= parts; n++ {
		body := bytes.Repeat([]byte{byte(n)}, each)
		out, err := r.UploadPart(t.Context(), &sdk.UploadPartInput{Bucket: lake, Key: key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(body)})
		must(t, err)
		done = append(done, types.CompletedPart{PartNumber: aws.Int32(n), ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
	}
	_, err = r.CompleteMultipartUpload(t.Context(), &sdk.CompleteMultipartUploadInput{
		Bucket: lake, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	must(t, err)
	was, err := c.Head(t.Context(), *lake, *key)
	must(t, err)
	if was.Size != each*parts || was.Size <= 5<<30 {
		t.Fatalf("the object has %d bytes: the test shows nothing", was.Size)
	}
	newer, err := r.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: lake, Key: key, Body: bytes.NewReader([]byte("ransom"))})
	must(t, err)

	k := &s3.Copier{Client: c}
	got, err := k.Copy(t.Context(), objectstore.CopyRequest{
		From: objectstore.Source{Bucket: *lake, Key: *key, VersionID: was.VersionID, ETag: was.ETag}, Size: was.Size,
		Bucket: *lake, Key: *key, Over: strings.Trim(aws.ToString(newer.ETag), `"`),
	})
	must(t, err)
	if !strings.HasSuffix(got.ETag, fmt.Sprintf("-%d", parts)) {
		t.Errorf("the copy has ETag %s, want one of %d parts", got.ETag, parts)
	}
	is, err := c.Head(t.Context(), *lake, *key)
	must(t, err)
	if is.VersionID != got.VersionID || is.VersionID == was.VersionID || is.Size != was.Size || is.ETag != was.ETag {
		t.Errorf("the copy is %+v, of %+v", is, was)
	}
	for n := int64(1); n <= parts; n++ { // the two bytes at each seam
		from := (n - 1) * each
		out, err := r.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: lake, Key: key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", max(from-1, 0), from))})
		must(t, err)
		body, err := io.ReadAll(out.Body)
		must(t, err)
		must(t, out.Body.Close())
		want := []byte{byte(n - 1), byte(n)}
		if n == 1 {
			want = want[1:]
		}
		if !bytes.Equal(body, want) {
			t.Errorf("at the seam before part %d the copy has %v", n, body)
		}
	}
	head, err := r.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: lake, Key: key})
	must(t, err)
	if head.Metadata["owner"] != "ann" {
		t.Errorf("the copy has metadata %v", head.Metadata)
	}
}
