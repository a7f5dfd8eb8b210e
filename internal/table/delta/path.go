package delta

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"

	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// place is where a path of the log leads.
type place struct {
	bucket string // empty: the table's own
	key    string
}

// resolve decodes a path as add, remove and sidecar actions hold it: a URI,
// percent-encoded, relative to the table or absolute. An absolute path into the
// table's own bucket becomes a key; one into another bucket keeps its name, so
// that a clone of another region's table cannot pass for a local one (traps 5
// and 27). It refuses what could lead outside by "..".
func (r folder) resolve(path string) (place, error) {
	if path == "" {
		return place{}, fmt.Errorf("%w: empty path", ErrCorrupt)
	}
	scheme, rest, absolute := cutScheme(path)
	if !absolute {
		rel := path
		if strings.IndexByte(path, '%') >= 0 {
			var err error
			if rel, err = url.PathUnescape(path); err != nil {
				return place{}, fmt.Errorf("%w: path %q: %w", ErrCorrupt, path, err)
			}
		}
		if rel == "" || rel[0] == '/' || dotted(rel) {
			return place{}, fmt.Errorf("%w: path %q leaves the table", ErrCorrupt, path)
		}
		return place{key: r.Key(rel)}, nil
	}
	authority, encoded := "", strings.TrimLeft(rest, "/")
	if scheme != "file" { // whose URIs have no authority, and one slash or three
		rest, ok := strings.CutPrefix(rest, "//")
		if authority, encoded, _ = strings.Cut(rest, "/"); !ok || authority == "" {
			encoded = ""
		}
	}
	if encoded == "" {
		return place{}, fmt.Errorf("%w: absolute path %q names no bucket and key", ErrCorrupt, path)
	}
	key, err := url.PathUnescape(encoded)
	if err != nil {
		return place{}, fmt.Errorf("%w: absolute path %q: %w", ErrCorrupt, path, err)
	}
	if dotted(key) {
		return place{}, fmt.Errorf("%w: absolute path %q has dots for a folder", ErrCorrupt, path)
	}
	bucket := authority // S3's have their plain name
	if scheme != "s3" && scheme != "s3a" && scheme != "s3n" {
		bucket = scheme + "://" + authority
	}
	if r.mapper != nil {
		if mapped, ok := r.mapper.Map(table.BucketURI(bucket), key); ok {
			return place{key: mapped}, nil
		}
	}
	if bucket == r.Bucket {
		return place{key: key}, nil
	}
	return place{bucket, key}, nil
}

// cutScheme takes a URI apart at the colon that a slash follows. Without one, the
// path is relative: a colon may stand in a partition's folder.
func cutScheme(path string) (scheme, rest string, ok bool) {
	i := strings.IndexByte(path, ':')
	if i < 1 || i+1 >= len(path) || path[i+1] != '/' {
		return "", "", false
	}
	for n, c := range []byte(path[:i]) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		other := '0' <= c && c <= '9' || c == '+' || c == '.' || c == '-'
		if !letter && (n == 0 || !other) {
			return "", "", false
		}
	}
	return strings.ToLower(path[:i]), path[i+1:], true
}

// isPlain reports whether a path is relative and stands for itself.
func isPlain(path string) bool {
	if path == "" || path[0] == '/' || path[0] == '.' || strings.IndexByte(path, '%') >= 0 {
		return false
	}
	for {
		i := strings.IndexByte(path, '/')
		switch {
		case i < 0:
			return true
		case i > 0 && path[i-1] == ':', i+1 < len(path) && path[i+1] == '.':
			return false
		}
		path = path[i+1:]
	}
}

func dotted(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == ".." || part == "." {
			return true
		}
	}
	return false
}

// DeletionVector describes the rows of a data file that are deleted, as the
// protocol's deletion vector descriptor does.
type DeletionVector struct {
	StorageType    string `json:"storageType"` // u, p or i
	PathOrInlineDv string `json:"pathOrInlineDv"`
	Offset         *int32 `json:"offset,omitempty"` // in bytes; absent for i
	SizeInBytes    int32  `json:"sizeInBytes"`      // of the vector, without its length and checksum
	Cardinality    int64  `json:"cardinality"`      // rows deleted

	at place
}

// ID tells this vector from others of the same data file; with the file's path
// it identifies a logical file.
func (d *DeletionVector) ID() string {
	if d == nil {
		return ""
	}
	if d.Offset == nil {
		return d.StorageType + d.PathOrInlineDv
	}
	return fmt.Sprintf("%s%s@%d", d.StorageType, d.PathOrInlineDv, *d.Offset)
}

// same reports whether both have the same [DeletionVector.ID].
func (d *DeletionVector) same(o *DeletionVector) bool {
	if d == nil || o == nil {
		return d == nil && o == nil
	}
	return d.ID() == o.ID()
}

// File is where the vector's bytes lie: a key, and a bucket where that is not
// the table's own. The key is empty for an inline vector.
func (d *DeletionVector) File() (bucket, key string) { return d.at.bucket, d.at.key }

// Inline gives the bytes of an inline vector.
func (d *DeletionVector) Inline() ([]byte, error) {
	raw, err := z85(d.PathOrInlineDv)
	if err != nil {
		return nil, fmt.Errorf("%w: inline deletion vector: %w", ErrCorrupt, err)
	}
	if d.SizeInBytes < 0 || int(d.SizeInBytes) > len(raw) {
		return nil, fmt.Errorf("%w: inline deletion vector has %s, recorded %d", ErrCorrupt, plural.Of(len(raw), "byte"), d.SizeInBytes)
	}
	return raw[:d.SizeInBytes], nil // z85 pads to four bytes
}

// vectorFraming is what stands around a vector in its file: its length before
// it and its CRC-32 after it.
const vectorFraming = 4 + 4

// end is how long the vector's file must at least be.
func (d *DeletionVector) end() int64 {
	var off int64
	if d.Offset != nil {
		off = int64(*d.Offset)
	}
	return off + int64(d.SizeInBytes) + vectorFraming
}

// locate checks the descriptor and works out where its bytes lie.
func (d *DeletionVector) locate(r folder) error {
	if d.SizeInBytes < 0 || d.Cardinality < 0 || d.Offset != nil && *d.Offset < 0 {
		return fmt.Errorf("%w: deletion vector %s has a negative size, offset or cardinality", ErrCorrupt, d.ID())
	}
	var err error
	switch d.StorageType {
	case "i":
		_, err = d.Inline()
	case "p":
		if _, _, absolute := cutScheme(d.PathOrInlineDv); !absolute {
			return fmt.Errorf("%w: deletion vector path %q is not absolute", ErrCorrupt, d.PathOrInlineDv)
		}
		d.at, err = r.resolve(d.PathOrInlineDv)
	case "u":
		var rel string
		if rel, err = uuidPath(d.PathOrInlineDv); err == nil {
			d.at = place{key: r.Key(rel)}
		}
	default:
		err = fmt.Errorf("%w: deletion vector storage type %q", ErrCorrupt, d.StorageType)
	}
	return err
}

// uuidPath turns a random prefix and 20 characters of z85 into a file name.
func uuidPath(s string) (string, error) {
	if len(s) < 20 {
		return "", fmt.Errorf("%w: deletion vector id %q is shorter than a UUID", ErrCorrupt, s)
	}
	prefix, encoded := s[:len(s)-20], s[len(s)-20:]
	id, err := z85(encoded)
	if err != nil {
		return "", fmt.Errorf("%w: deletion vector id %q is no prefix and UUID: %w", ErrCorrupt, s, err)
	}
	if strings.Contains(prefix, "/") || dotted(prefix) {
		return "", fmt.Errorf("%w: deletion vector id %q has a prefix that is no folder's name", ErrCorrupt, s)
	}
	h := hex.EncodeToString(id)
	name := fmt.Sprintf("deletion_vector_%s-%s-%s-%s-%s.bin", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
	if prefix != "" {
		name = prefix + "/" + name
	}
	return name, nil
}

const z85Alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

// z85 decodes ZeroMQ's base 85, which the standard library does not have.
func z85(s string) ([]byte, error) {
	if len(s)%5 != 0 {
		return nil, fmt.Errorf("base 85 of %d characters, not a multiple of 5", len(s))
	}
	out := make([]byte, 0, len(s)/5*4)
	for i := 0; i < len(s); i += 5 {
		var n uint64
		for _, c := range []byte(s[i : i+5]) {
			d := strings.IndexByte(z85Alphabet, c)
			if d < 0 {
				return nil, fmt.Errorf("character %q is not base 85", c)
			}
			n = n*85 + uint64(d)
		}
		if n > 1<<32-1 {
			return nil, fmt.Errorf("base 85 group %q overflows", s[i:i+5])
		}
		out = append(out, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return out, nil
}
