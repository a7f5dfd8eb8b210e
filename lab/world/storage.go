package world

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"breakwater/internal/lake"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

// Bucket is the lake's name in a region.
func (w *World) Bucket(region string) string {
	w.T.Helper()
	real, err := w.Estate.RealBucket("lake", region)
	w.Must(err)
	return real
}

// Put writes as root.
func (w *World) Put(region, key, body string) string {
	w.T.Helper()
	out, err := w.S3[region].PutObject(w.T.Context(), &s3.PutObjectInput{Bucket: aws.String(w.Bucket(region)), Key: &key, Body: bytes.NewReader([]byte(body))})
	w.Must(err)
	return aws.ToString(out.VersionId)
}

// Body is what a reader gets; empty if nothing.
func (w *World) Body(region, key string) string {
	w.T.Helper()
	b, _, err := w.Minio[region].Client(w.T).Get(w.T.Context(), w.Bucket(region), key)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	w.Must(err)
	return string(b)
}

// ManyVersions writes so many versions of a key at the target.
func (w *World) ManyVersions(key string, n int) {
	w.T.Helper()
	bucket := "lake-west"
	work, ctx := errgroup.WithContext(w.T.Context())
	work.SetLimit(8)
	for i := range n {
		work.Go(func() error {
			_, err := w.S3[West].PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(fmt.Sprint("later ", i))})
			return err
		})
	}
	w.Must(work.Wait())
}

// NothingLeft fails if a probe, or a version of one, is in the bucket.
func (w *World) NothingLeft(region, bucket string) {
	w.T.Helper()
	out, err := w.S3[region].ListObjectVersions(w.T.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	w.Must(err)
	for _, v := range out.Versions {
		if strings.Contains(*v.Key, lake.ProbePart) {
			w.T.Errorf("a probe was left: %s", *v.Key)
		}
	}
	for _, m := range out.DeleteMarkers {
		if strings.Contains(*m.Key, lake.ProbePart) {
			w.T.Errorf("a probe's delete marker was left: %s", *m.Key)
		}
	}
}
