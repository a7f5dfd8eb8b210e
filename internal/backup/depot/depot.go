// Package depot reads and writes backups in their place: a bucket with versioning
// and Object Lock, away from the regions.
//
// It asks as two principals. One may add and lengthen holds, and can neither read
// nor delete. The other may read, and nothing else. Whatever is read is read by
// version, so that a put over an object or a delete marker on it changes nothing:
// of a manifest, the first version that was written counts.
package depot

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"breakwater/internal/backup"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/sshsig"
)

// Whole is up to which size an object is read into memory once, and sent; a
// larger one is read twice: to name it by its content, and to send it.
const Whole = 32 << 20

// Depot is where an estate's backups are. Adder and Reader may be nil where only
// the other is needed.
type Depot struct {
	Adder  objectstore.Vault // may add, and hold longer
	Reader objectstore.Vault // may read
	Bucket string
	Prefix string // with a slash at its end, or empty
	Mode   objectstore.LockMode
	// Trusted are the keys whose signatures on manifests count.
	Trusted []sshsig.Key
}

// URL is the address of a key, for people.
func (p Depot) URL(key string) string { return "s3://" + p.Bucket + "/" + p.Prefix + key }

// first lists, in order, the first version of every key under a prefix that is no
// delete marker.
func (p Depot) first(ctx context.Context, prefix string) ([]objectstore.Version, error) {
	oldest := map[string]objectstore.Version{}
	var keys []string
	for v, err := range p.Reader.ListVersions(ctx, p.Bucket, p.Prefix+prefix) {
		if err != nil {
			return nil, err
		}
		if v.DeleteMarker {
			continue
		}
		if _, seen := oldest[v.Key]; !seen {
			keys = append(keys, v.Key)
		}
		oldest[v.Key] = v // versions of a key come newest first
	}
	all := make([]objectstore.Version, len(keys))
	for i, k := range keys {
		all[i] = oldest[k]
		all[i].Key = strings.TrimPrefix(k, p.Prefix)
	}
	return all, nil
}

// Manifests reads every manifest of a group, good or not, by number. Only an error
// of the store ends it.
func (p Depot) Manifests(ctx context.Context, group string) ([]backup.Found, error) {
	versions, err := p.first(ctx, backup.ManifestPrefix(group))
	if err != nil {
		return nil, err
	}
	var all []backup.Found
	for _, v := range versions {
		seq, ok := backup.SeqOf(v.Key)
		if !ok {
			continue // not ours
		}
		data, err := p.Get(ctx, backup.Stored{Key: v.Key, Version: v.VersionID, Size: v.Size})
		f := backup.Found{Seq: seq}
		switch {
		case err == nil:
			sum := sha256.Sum256(data)
			f.SHA256 = hex.EncodeToString(sum[:])
			f.Manifest, f.Damage = backup.ParseManifest(data, p.Trusted)
			if errors.Is(f.Damage, sshsig.ErrUnknownSigner) {
				if m, key, err := backup.ParseStrangers(data); err == nil && m.Group == group && m.Seq == seq {
					f.Manifest, f.Stranger = m, key.Fingerprint()
				}
			}
			if m := f.Manifest; f.Damage == nil && (m.Group != group || m.Seq != seq) {
				f.Damage = fmt.Errorf("%w: it says that it is %s", backup.ErrDamaged, m.Name())
			}
		case Answered(err):
			f.Damage = fmt.Errorf("%w: %w", backup.ErrDamaged, err)
		default:
			return nil, err
		}
		all = append(all, f)
	}
	backup.Vouch(all)
	return all, nil
}

// Answered reports whether an error says something about the backup, rather than
// about our way to it.
func Answered(err error) bool { return err != nil && objectstore.Answered(err) }

// Verified reads which backups of a group were restored and compared. A record
// that cannot be believed is none.
func (p Depot) Verified(ctx context.Context, group string) (map[int64]backup.Verified, error) {
	versions, err := p.first(ctx, backup.VerifiedPrefix(group))
	if err != nil {
		return nil, err
	}
	all := map[int64]backup.Verified{}
	for _, v := range versions {
		data, err := p.Get(ctx, backup.Stored{Key: v.Key, Version: v.VersionID, Size: v.Size})
		if err != nil && !Answered(err) {
			return nil, err
		}
		seq, ok := backup.SeqOf(v.Key)
		if err != nil || !ok {
			continue
		}
		if r, err := backup.ParseVerified(data, p.Trusted); err == nil && r.Group == group && r.Seq == seq {
			all[seq] = r
		}
	}
	return all, nil
}

// Get reads an object, and holds it against its checksum where it has one.
func (p Depot) Get(ctx context.Context, s backup.Stored) ([]byte, error) {
	body, _, err := p.Reader.GetVersion(ctx, p.Bucket, p.Prefix+s.Key, s.Version)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(body); s.SHA256 != "" && hex.EncodeToString(sum[:]) != s.SHA256 {
		return nil, fmt.Errorf("%w: %s has other bytes than those that were written: SHA-256 %x, want %s", backup.ErrDamaged, p.URL(s.Key), sum, s.SHA256)
	}
	return body, nil
}

// List reads the objects of a table of a manifest.
func (p Depot) List(ctx context.Context, t backup.Table) ([]backup.Object, error) {
	var all []backup.Object
	err := p.Each(ctx, t, func(o backup.Object) error {
		all = append(all, o)
		return nil
	})
	return all, err
}

// Each reads the objects of a table of a manifest one after the other, as many as there
// are. Only if no error comes in the end, they were those that the manifest names.
func (p Depot) Each(ctx context.Context, t backup.Table, do func(backup.Object) error) error {
	fail := func(err error) error { return fmt.Errorf("list of table %s: %w", t.Table, err) }
	body, _, err := p.Reader.VersionReader(ctx, p.Bucket, p.Prefix+t.List.Key, t.List.Version)
	if err != nil {
		return fail(err)
	}
	sum := sha256.New()
	from := io.TeeReader(body, sum)
	n, bytes := 0, int64(0)
	said := error(nil)
	err = backup.ReadList(from, func(o backup.Object) error {
		n, bytes = n+1, bytes+o.Copy.Size
		said = do(o)
		return said
	})
	if said != nil {
		return errors.Join(said, body.Close())
	}
	if err == nil || errors.Is(err, backup.ErrDamaged) {
		if _, rest := io.Copy(io.Discard, from); rest != nil { // all of it counts
			err = rest
		}
	}
	if err = errors.Join(err, body.Close()); err != nil && !errors.Is(err, backup.ErrDamaged) {
		if errors.Is(err, io.ErrUnexpectedEOF) { // the store went away in the middle
			err = fmt.Errorf("%w: %w", reach.ErrUnreachable, err)
		}
		return fail(reach.Mark(err))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); t.List.SHA256 != "" && got != t.List.SHA256 {
		return fail(fmt.Errorf("%w: %s has other bytes than those that were written: SHA-256 %s, want %s", backup.ErrDamaged, p.URL(t.List.Key), got, t.List.SHA256))
	}
	if err != nil {
		return fail(err)
	}
	return t.Lacks(n, bytes)
}

// Held is what a look at an object of a backup found wrong; empty for nothing.
func (p Depot) Held(ctx context.Context, s backup.Stored, until time.Time) (wrong string, err error) {
	seal, err := p.Reader.Seal(ctx, p.Bucket, p.Prefix+s.Key, s.Version)
	if errors.Is(err, fs.ErrNotExist) {
		return "is gone", nil
	}
	if err != nil {
		return "", err
	}
	return p.wrong(seal, s, until), nil
}

func (p Depot) wrong(seal objectstore.Sealed, s backup.Stored, until time.Time) string {
	switch {
	case seal.Size != s.Size:
		return fmt.Sprintf("has %s, and was written with %d", plural.Of(seal.Size, "byte"), s.Size)
	case seal.SHA256 != "" && seal.SHA256 != s.SHA256:
		return "has another checksum than it was written with"
	case seal.Archived:
		return "lies in an archive; restore it from there first"
	case seal.Hold.Until.Before(until):
		return fmt.Sprintf("is held until %s, and must be until %s", when(seal.Hold.Until), when(until))
	case p.Mode == objectstore.Compliance && seal.Hold.Mode != p.Mode:
		return fmt.Sprintf("is held in mode %s, and must be in %s", seal.Hold.Mode, p.Mode)
	}
	return ""
}

func when(t time.Time) string {
	if t.IsZero() {
		return "no time"
	}
	return t.Format(time.RFC3339)
}

// Added is an object that is in its place.
type Added struct {
	backup.Stored
	MD5 string // hex
	New bool   // this call wrote it
}

// Add writes bytes under a key, held. What is there already with the same content
// stays, and is held at least as long; other content is [fs.ErrExist].
func (p Depot) Add(ctx context.Context, key string, body []byte, until time.Time) (Added, error) {
	sum, old := sha256.Sum256(body), md5.Sum(body)
	a := Added{Stored: backup.Stored{Key: key, Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}, MD5: hex.EncodeToString(old[:]), New: true}
	o, err := p.Adder.Add(ctx, p.Bucket, p.Prefix+key, body, p.hold(until))
	a.Version = o.VersionID
	return p.orThere(ctx, a, until, err)
}

// AddBytes writes bytes of a generation under the name of their content.
func (p Depot) AddBytes(ctx context.Context, group string, generation int64, body []byte, until time.Time) (Added, error) {
	sum := sha256.Sum256(body)
	return p.Add(ctx, backup.DataKey(group, generation, hex.EncodeToString(sum[:])), body, until)
}

// AddContent writes an object of a generation under the name of its content, and
// reads no more of it into memory than [Whole] bytes.
func (p Depot) AddContent(ctx context.Context, group string, generation int64, from objectstore.Store, bucket, key string, size int64, until time.Time) (Added, objectstore.Object, error) {
	if size <= Whole {
		body, o, err := from.Get(ctx, bucket, key)
		if err != nil {
			return Added{}, o, err
		}
		a, err := p.AddBytes(ctx, group, generation, body, until)
		return a, o, err
	}
	content, o, err := from.VersionReader(ctx, bucket, key, "")
	if err != nil {
		return Added{}, o, err
	}
	a := Added{New: true}
	if a.Size, a.SHA256, a.MD5, err = sums(content); err != nil {
		return Added{}, o, fmt.Errorf("read s3://%s/%s: %w", bucket, key, err)
	}
	a.Key = backup.DataKey(group, generation, a.SHA256)
	if there, err := p.there(ctx, a); err != nil || there.Version != "" { // before so much is sent for nothing
		if err == nil {
			err = fs.ErrExist
		}
		a, err = p.orThere(ctx, a, until, err)
		return a, o, err
	}
	// The second time by version: it must be the bytes that were named.
	again, _, err := from.VersionReader(ctx, bucket, key, o.VersionID)
	if err != nil {
		return a, o, err
	}
	put, err := p.Adder.AddFrom(ctx, p.Bucket, p.Prefix+a.Key, again, a.Size, a.SHA256, p.hold(until))
	if closed := again.Close(); err == nil && closed != nil {
		err = closed
	}
	a.Version = put.VersionID
	a, err = p.orThere(ctx, a, until, err)
	return a, o, err
}

func (p Depot) hold(until time.Time) objectstore.Hold {
	return objectstore.Hold{Mode: p.Mode, Until: until}
}

// orThere makes "it exists" of an add into the object that is there, if that has
// the same content.
func (p Depot) orThere(ctx context.Context, a Added, until time.Time, err error) (Added, error) {
	if !errors.Is(err, fs.ErrExist) {
		return a, err
	}
	there, look := p.there(ctx, a)
	switch {
	case look != nil:
		return a, look
	case there.Version == "":
		return a, fmt.Errorf("%s holds something else: %w", p.URL(a.Key), err)
	}
	there.New = false
	return there, p.Lengthen(ctx, there.Stored, until)
}

// there looks for a version of the key with the same content; an empty Version
// says that there is none.
func (p Depot) there(ctx context.Context, a Added) (Added, error) {
	want := a
	a.Version = ""
	for v, err := range p.Reader.ListVersions(ctx, p.Bucket, p.Prefix+a.Key) {
		if err != nil {
			return a, err
		}
		if v.DeleteMarker || v.Key != p.Prefix+a.Key || v.Size != a.Size {
			continue
		}
		seal, err := p.Reader.Seal(ctx, p.Bucket, v.Key, v.VersionID)
		if err != nil {
			return a, err
		}
		sum := seal.SHA256
		if sum == "" {
			if sum, err = Sum(ctx, p.Reader, p.Bucket, v.Key, v.VersionID); err != nil {
				return a, err
			}
		}
		if sum == want.SHA256 {
			a.Version = v.VersionID // the oldest one with these bytes, since it comes last
		}
	}
	return a, nil
}

// Sum reads a version of an object, the current one if it is empty, and returns the
// SHA-256 of its bytes in hex.
func Sum(ctx context.Context, c objectstore.Versions, bucket, key, version string) (string, error) {
	body, _, err := c.VersionReader(ctx, bucket, key, version)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = drain(hash, body)
	return hex.EncodeToString(hash.Sum(nil)), err
}

// sums reads a body to its end, closes it, and returns how many bytes it has, and
// their SHA-256 and MD5 in hex.
func sums(body io.ReadCloser) (n int64, sum, old string, err error) {
	hash, hash5 := sha256.New(), md5.New()
	n, err = drain(io.MultiWriter(hash, hash5), body)
	return n, hex.EncodeToString(hash.Sum(nil)), hex.EncodeToString(hash5.Sum(nil)), err
}

// drain copies a body to its end, and closes it.
func drain(to io.Writer, body io.ReadCloser) (int64, error) {
	n, err := io.Copy(to, body)
	return n, reach.Mark(errors.Join(err, body.Close()))
}

// Lengthen makes sure that an object is held until a time at least: a file that
// several manifests share has the latest lock of them.
func (p Depot) Lengthen(ctx context.Context, s backup.Stored, until time.Time) error {
	seal, err := p.Reader.Seal(ctx, p.Bucket, p.Prefix+s.Key, s.Version)
	if err != nil {
		return err
	}
	if !seal.Hold.Until.Before(until) {
		return nil
	}
	return p.Adder.Hold(ctx, p.Bucket, p.Prefix+s.Key, s.Version, p.hold(until))
}

// Equal reports whether what is under a key is these bytes, in the words of a
// listing of another store: its ETag is that of the source, or the MD5 of one put.
func Equal(o backup.Object, size int64, etag string) bool {
	return size == o.Copy.Size && etag != "" && (etag == o.ETag || etag == o.MD5)
}

// WriteTo copies an object of a backup to a key of another bucket, over whatever
// is there. Bytes with another checksum are [backup.ErrDamaged], and are not there
// afterwards.
func (p Depot) WriteTo(ctx context.Context, o backup.Object, to objectstore.Bucket, key string) error {
	return p.write(ctx, o, to, key, func(body []byte) error {
		_, err := to.Put(ctx, key, body)
		return err
	}, nil)
}

// WriteOver copies an object of a backup over the one with the ETag, or to a key
// that does not exist if it is empty. Anything else there is
// [objectstore.ErrChanged] or [fs.ErrExist], unless it is the object itself.
func (p Depot) WriteOver(ctx context.Context, o backup.Object, to objectstore.Bucket, key, etag string) error {
	if o.Copy.Size > Whole {
		// An upload in parts is refused at its end alone: look before.
		switch now, err := to.Head(ctx, key); {
		case errors.Is(err, fs.ErrNotExist) && etag == "":
		case err != nil:
			return err
		case now.ETag != etag:
			return fmt.Errorf("%s has ETag %s, had %q: %w", to.URL(key), now.ETag, etag, objectstore.ErrChanged)
		}
	}
	return p.write(ctx, o, to, key, func(body []byte) error {
		var err error
		if etag == "" {
			_, err = to.PutIfAbsent(ctx, key, body)
		} else {
			_, err = to.PutIfMatch(ctx, key, body, etag)
		}
		if errors.Is(err, objectstore.ErrSame) {
			return nil
		}
		return err
	}, &etag)
}

// write sends a small object by a call, and another one in parts, over what has the ETag.
func (p Depot) write(ctx context.Context, o backup.Object, to objectstore.Bucket, key string, small func([]byte) error, over *string) error {
	if o.Copy.Size <= Whole {
		body, err := p.Get(ctx, o.Copy)
		if err != nil {
			return err
		}
		return small(body)
	}
	from, _, err := p.Reader.VersionReader(ctx, p.Bucket, p.Prefix+o.Copy.Key, o.Copy.Version)
	if err != nil {
		return err
	}
	_, err = to.PutFrom(ctx, key, from, o.Copy.Size, o.Copy.SHA256, over)
	switch {
	case over != nil && (errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist)):
		// Perhaps our own, of which the answer was lost.
		if sum, unread := Sum(ctx, to.Client(), to.Name(), key, ""); unread == nil && sum == o.Copy.SHA256 {
			err = nil
		} else {
			err = fmt.Errorf("%w: %w", objectstore.ErrChanged, err)
		}
	case errors.Is(err, objectstore.ErrChanged):
		err = fmt.Errorf("%w: %w", backup.ErrDamaged, err)
	}
	return errors.Join(err, from.Close())
}
