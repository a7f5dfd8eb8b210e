package world

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Versions is every version of the prefix, by id.
func (s *Shelf) Versions() map[string]objectstore.Version {
	s.T.Helper()
	all := map[string]objectstore.Version{}
	for v, err := range s.Minio[West].Client(s.T).ListVersions(s.T.Context(), s.Bucket, s.Prefix) {
		s.Must(err)
		all[v.VersionID] = v
	}
	return all
}

// Shelf is a prefix of the target's bucket that tests write to as root.
type Shelf struct {
	*World
	Bucket, Prefix string
}

// NewShelf makes a world with a shelf below a prefix of the target's lake.
func NewShelf(t *testing.T, prefix string) *Shelf {
	t.Helper()
	return &Shelf{New(t), "lake-west", prefix}
}

// Put writes an object as root, and returns its version.
func (s *Shelf) Put(key, body string) string {
	s.T.Helper()
	key = s.Prefix + key
	out, err := s.S3[West].PutObject(s.T.Context(), &s3.PutObjectInput{Bucket: &s.Bucket, Key: &key, Body: strings.NewReader(body)})
	s.Must(err)
	return aws.ToString(out.VersionId)
}

// Remove deletes an object as root.
func (s *Shelf) Remove(key string) {
	s.T.Helper()
	key = s.Prefix + key
	_, err := s.S3[West].DeleteObject(s.T.Context(), &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: &key})
	s.Must(err)
}

// Holds is what a reader finds: key without the prefix, and content.
func (s *Shelf) Holds(bucket, prefix string) map[string]string {
	s.T.Helper()
	all := map[string]string{}
	for o, err := range s.Minio[West].Client(s.T).List(s.T.Context(), bucket, prefix) {
		s.Must(err)
		out, err := s.S3[West].GetObject(s.T.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &o.Key})
		s.Must(err)
		body, err := io.ReadAll(out.Body)
		s.Must(errors.Join(err, out.Body.Close()))
		all[strings.TrimPrefix(o.Key, prefix)] = string(body)
	}
	return all
}

// Moment waits until the store's clock shows a time strictly between what was
// written before and what will be, and returns it. MinIO stamps to the
// microsecond, and lists to the millisecond.
func (s *Shelf) Moment() time.Time {
	s.T.Helper()
	key := s.Prefix + "tick"
	for {
		s.Put("tick", "x")
		h := s.Minio[West].Client(s.T).ListVersions
		for v, err := range h(s.T.Context(), s.Bucket, key) {
			s.Must(err)
			if v.LastModified.Nanosecond() == 0 { // a whole second would stand for all of it
				break
			}
			at := v.LastModified
			for m := at; !m.After(at); { // the next write is a millisecond later
				s.Put("tick2", "x")
				for v, err := range h(s.T.Context(), s.Bucket, s.Prefix+"tick2") {
					s.Must(err)
					m = v.LastModified
					break
				}
			}
			return at
		}
	}
}
