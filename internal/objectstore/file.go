package objectstore

import (
	"context"
	"fmt"
	"io"
)

// File is one version of an object, open for reading in parts, as Parquet files want
// it. It is an [io.ReaderAt], so it carries the context it was opened with. It needs
// no closing.
type File struct {
	store Reader
	ctx   context.Context
	from  Source
	o     Object
}

var _ io.ReaderAt = (*File)(nil)

// OpenFile opens a key for reading in parts; version is empty for the current one.
// Every read is held to the object found now: if it was replaced since, and no
// version of it is kept, the read fails with [ErrChanged] rather than mixing two
// files.
func OpenFile(ctx context.Context, s Store, bucket, key, version string) (*File, error) {
	o, err := s.HeadVersion(ctx, bucket, key, version)
	if err != nil {
		return nil, err
	}
	if version != "" {
		o.VersionID = version
	}
	from := Source{Bucket: bucket, Key: key, VersionID: o.VersionID, ETag: o.ETag}
	if from.VersionID == "null" {
		from.VersionID = ""
	}
	return &File{store: s, ctx: ctx, from: from, o: o}, nil
}

// Size is the object's length in bytes.
func (f *File) Size() int64 { return f.o.Size }

// Object describes what is being read.
func (f *File) Object() Object { return f.o }

// ReadAt reads len(p) bytes from off with one request. It follows the contract of
// [io.ReaderAt]: fewer bytes come with an error, [io.EOF] at the end.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read s3://%s/%s: negative offset %d", f.from.Bucket, f.o.Key, off)
	}
	if off >= f.o.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.store.ReadPart(f.ctx, f.from, p[:min(int64(len(p)), f.o.Size-off)], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}
