package depot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/backup"
	"breakwater/internal/objectstore"
)

// Copies lists the keys below a prefix, which they are returned without, each with
// the version that was written first.
func (p Depot) Copies(ctx context.Context, prefix string) (map[string]string, error) {
	versions, err := p.first(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(versions))
	for _, v := range versions {
		all[strings.TrimPrefix(v.Key, prefix)] = v.VersionID
	}
	return all, nil
}

// Copied describes a copy that the store was told to make of a source, once it has
// proven that it is that, and held: anything else is [backup.ErrDamaged].
//
// The checksum is the one that the store computed over the whole copy, or where it
// keeps none, that of the copy's bytes, read. Equal it is to the source by the ETag,
// which is the MD5 of what was put at once and not encrypted by a key of one's own;
// where the ETags say nothing, by the source's bytes, read.
func (p Depot) Copied(ctx context.Context, from objectstore.Versions, bucket string, n backup.Need, key, version string, until time.Time) (Added, error) {
	seal, err := p.Reader.Seal(ctx, p.Bucket, p.Prefix+key, version)
	if err != nil {
		return Added{}, err
	}
	fail := func(wrong string) (Added, error) {
		return Added{}, fmt.Errorf("%w: %s %s", backup.ErrDamaged, p.URL(key), wrong)
	}
	a := Added{Stored: backup.Stored{Key: key, Version: version, Size: n.Size, SHA256: seal.SHA256}, New: true}
	if wrong := p.wrong(seal, a.Stored, until); wrong != "" {
		return fail(wrong)
	}
	equal := seal.ETag == n.ETag
	if equal && !strings.Contains(n.ETag, "-") {
		a.MD5 = n.ETag
	}
	read := func(c objectstore.Versions, bucket, key, version string) (sum string, err error) {
		body, _, err := c.VersionReader(ctx, bucket, key, version)
		if err != nil {
			return "", err
		}
		if _, sum, a.MD5, err = sums(body); err != nil {
			return "", fmt.Errorf("read s3://%s/%s: %w", bucket, key, err)
		}
		return sum, nil
	}
	if a.SHA256 == "" {
		if a.SHA256, err = read(p.Reader, p.Bucket, p.Prefix+key, version); err != nil {
			return Added{}, err
		}
		equal = equal || a.MD5 == n.ETag
	}
	if !equal {
		sum, err := read(from, bucket, n.Key, n.Version)
		if err != nil {
			return Added{}, err
		}
		equal = sum == a.SHA256
	}
	if !equal {
		return fail(fmt.Sprintf("has other bytes than version %s of s3://%s/%s, of which it should be a copy", n.Version, bucket, n.Key))
	}
	return a, nil
}
