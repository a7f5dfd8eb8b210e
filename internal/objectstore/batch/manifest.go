package batch

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"regexp"
	"strings"

	"breakwater/internal/plural"
	"breakwater/internal/reach"
)

// Largest is the size in bytes of the largest object that is copied. AWS says 5 GB;
// whichever kind of gigabyte that is, the smaller is safe.
const Largest = 5_000_000_000

// Named is how many objects an error names.
const Named = 5

// Line is one version of an object, as a manifest and a report name it.
type Line struct {
	Bucket, Key, VersionID string
}

func (l Line) String() string {
	return "s3://" + l.Bucket + "/" + l.Key + " version " + l.VersionID
}

// Object is one version to copy.
type Object struct {
	Line
	Size int64 // bytes
}

// longestKey is how many bytes a key may have.
const longestKey = 1024

// Fits reports whether a batch can copy the object below a prefix of so many bytes,
// its slash included. What does not fit is to be copied by other means.
func (o Object) Fits(prefix int) bool {
	return o.check() == nil && o.Size <= Largest && prefix+len(o.Key) <= longestKey
}

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	versionID  = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// check refuses what a manifest cannot say exactly.
func (l Line) check() error {
	switch {
	case !bucketName.MatchString(l.Bucket):
		return fmt.Errorf("%q is no bucket's name", l.Bucket)
	case l.Key == "":
		return fmt.Errorf("s3://%s: an object without a key", l.Bucket)
	case l.VersionID == "" || l.VersionID == "null":
		// The newest of the time of copying would be copied, and a version "null"
		// can be written over.
		return fmt.Errorf("s3://%s/%s has no version of its own; copy it object by object, or turn versioning on", l.Bucket, l.Key)
	case !versionID.MatchString(l.VersionID):
		return fmt.Errorf("s3://%s/%s: %q is no version", l.Bucket, l.Key, l.VersionID)
	}
	return nil
}

// WriteManifest writes a line `Bucket,Key,VersionId` for each object, and says how
// many they are. The objects must be in ascending order of bucket and key: then no
// key stands there twice, of which either version might win, and equal plans have
// equal manifests. Objects above [Largest] are [ErrTooLarge]; the error names them.
func WriteManifest(w io.Writer, objects iter.Seq[Object]) (lines int64, err error) {
	out := bufio.NewWriter(w)
	var last Line
	var large []string
	var tooMany int
	for o := range objects {
		if err := o.check(); err != nil {
			return lines, fmt.Errorf("write manifest: line %d: %w", lines+1, err)
		}
		if o.Bucket < last.Bucket || o.Bucket == last.Bucket && o.Key <= last.Key {
			return lines, fmt.Errorf("write manifest: line %d: %s does not come after %s; sort by bucket and key, and name each key once", lines+1, o.Line, last)
		}
		last = o.Line
		lines++
		if o.Size > Largest {
			if tooMany++; len(large) < Named {
				large = append(large, fmt.Sprintf("%s (%s)", o.Line, plural.Of(o.Size, "byte")))
			}
		}
		if tooMany > 0 {
			continue // for the names of all
		}
		if _, err := out.WriteString(o.Bucket + "," + escape(o.Key) + "," + o.VersionID + "\n"); err != nil {
			return lines, fmt.Errorf("write manifest: %w", err)
		}
	}
	if tooMany > 0 {
		return lines, fmt.Errorf("write manifest: %s %w: %s", plural.Of(tooMany, "object", "is", "are"), ErrTooLarge, List(large, tooMany))
	}
	if err := out.Flush(); err != nil {
		return lines, fmt.Errorf("write manifest: %w", err)
	}
	return lines, nil
}

// escape writes a key such that it needs no quotes, and reads the same where a plus
// sign is taken for a space and where it is not.
func escape(key string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// List is what an error says of n things of which it names the first.
func List(first []string, n int) string {
	text := strings.Join(first, "; ")
	if n > len(first) {
		text += fmt.Sprintf("; and %d more", n-len(first))
	}
	return text
}

// ReadManifest reads what [WriteManifest] wrote. An error is the last element.
func ReadManifest(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		rows := csv.NewReader(r)
		rows.FieldsPerRecord, rows.ReuseRecord = 3, true
		for {
			row, err := rows.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			var l Line
			if err == nil {
				l, err = ParseLine(row[0], row[1], row[2])
			}
			if err == nil {
				err = l.check()
			}
			if err != nil {
				yield(Line{}, fmt.Errorf("read manifest: %w", Broken(err)))
				return
			}
			if !yield(l, nil) {
				return
			}
		}
	}
}

// ParseLine reads the columns of a line, of which the key is URL-encoded.
func ParseLine(bucket, key, version string) (Line, error) {
	plain, err := url.PathUnescape(key)
	if err != nil {
		return Line{}, fmt.Errorf("key %q: %w", key, err)
	}
	return Line{bucket, plain, version}, nil
}

// Broken marks what ended a body before its end: [reach.ErrUnreachable].
func Broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", reach.ErrUnreachable, err)
	}
	return reach.Mark(err)
}
