// Package backup decides about backups of a lakehouse's tables: what a backup
// holds and how it is proven, what of it has to be copied, in which order, and
// when it may go. It is pure: bytes in, bytes out. backup/depot reads and writes.
//
// # What a backup is
//
// A [Manifest] per consistency group and backup, written last and never over
// another. It names every object of every table at one cut, whichever backup
// copied it, so a restore needs one manifest and replays no chain. Objects are
// named by the SHA-256 of their content and by the version that the store gave
// them: what somebody writes over them later is another version, which nobody
// reads.
//
// # Layout
//
// Below the estate's prefix, with the group's name escaped as in a ledger:
//
//	GROUP/manifests/000000000007         a manifest and its signature   [ManifestKey]
//	GROUP/verified/000000000007          that it was restored           [VerifiedKey]
//	GROUP/data/000000000005/e3b0c442…    an object                      [DataKey]
//	GROUP/data/000000000005/batch/0f6a…/ copies of S3 Batch Operations  [BatchFolder]
//	GROUP/batches/0f6a…/                 what a batch was to do and did [BatchNotes]
//
// A batch names its copies by the source's keys. They are named by their version
// too, and their checksums are known before a manifest names them.
//
// # Generations
//
// A full backup begins a generation, a folder of its own for objects: it copies
// everything again, so that one object that went bad in silence is in the backups
// of one generation only. The backups after it copy what is new.
//
// # Chain
//
// A manifest holds the number and the SHA-256 of the one before it. That proves
// that none in between was taken away or replaced; [Check] holds what is there
// against it. Where a key no longer counts, what it signed is believed as far as a manifest
// that is believed names it ([Vouch]); what is left is used if people accept the key.
package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"
	"breakwater/internal/table"
)

// The namespaces of signatures, so that one for a manifest says nothing else.
const (
	ManifestNamespace = "breakwater-backup-manifest"
	VerifiedNamespace = "breakwater-backup-verified"
)

// ErrDamaged says that something of a backup is not what was written.
var ErrDamaged = errors.New("damaged backup")

// Manifest is one backup of a consistency group.
type Manifest struct {
	Group        string    `json:"group"`
	Seq          int64     `json:"seq"` // in the group's chain, from 1
	Estate       string    `json:"estate"`
	EstateDigest string    `json:"estate_digest"`
	Region       string    `json:"region"` // whose tables these are
	Cut          time.Time `json:"cut"`    // the moment at which every table was at its version
	TakenAt      time.Time `json:"taken_at"`
	// LockedUntil is until when every object that it names is held at least.
	LockedUntil time.Time `json:"locked_until"`
	// Generation is the number of the full backup that copied, or began to copy,
	// the objects; Seq itself of a full one.
	Generation int64   `json:"generation"`
	Previous   *Link   `json:"previous,omitempty"` // nil for the first
	Token      string  `json:"token"`              // of the step that took it: a repeated one finds its own
	Tables     []Table `json:"tables"`             // by name
}

// Full reports whether the backup copied everything itself.
func (m Manifest) Full() bool { return m.Generation == m.Seq }

// Name is how people and parameters name the backup: GROUP/NUMBER.
func (m Manifest) Name() string { return Name(m.Group, m.Seq) }

// Table returns the table of that name.
func (m Manifest) Table(name string) (Table, bool) {
	for _, t := range m.Tables {
		if t.Table == name {
			return t, true
		}
	}
	return Table{}, false
}

// Link is how a manifest names the one before it.
type Link struct {
	Seq         int64     `json:"seq"`
	SHA256      string    `json:"sha256"` // of the object's bytes
	LockedUntil time.Time `json:"locked_until"`
}

// Table is a table of a backup at its version.
type Table struct {
	Table       string    `json:"table"`
	Format      string    `json:"format"`
	Bucket      string    `json:"bucket"` // a logical one of the estate
	Path        string    `json:"path"`   // prefix in it
	Version     int64     `json:"version"`
	CommittedAt time.Time `json:"committed_at,omitzero"`
	// Rows and Hash are what reading it gave, as package scan sums it up. An
	// empty Hash says that a column's type cannot be read, and Rows is what the
	// log says, or -1.
	Rows    int64  `json:"rows"`
	Hash    string `json:"hash,omitempty"`
	Objects int    `json:"objects"`
	Bytes   int64  `json:"bytes"`
	List    Stored `json:"list"` // its objects, a line each: [Object]
}

// Stored is an object of the backup place.
type Stored struct {
	Key     string `json:"key"` // below the estate's prefix
	Version string `json:"version,omitempty"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
}

// Object is one object of a table, and where its copy is.
type Object struct {
	Key           string     `json:"key"` // in the table's bucket
	Role          table.Role `json:"role"`
	ETag          string     `json:"etag"` // as the source had it
	SourceVersion string     `json:"source_version,omitempty"`
	MD5           string     `json:"md5,omitempty"`
	Copy          Stored     `json:"copy"` // its size and SHA-256 are the object's own
	LockedUntil   time.Time  `json:"locked_until"`
}

// Name names a backup for people.
func Name(group string, seq int64) string { return fmt.Sprintf("%s/%d", group, seq) }

// ParseName is the inverse of [Name].
func ParseName(name string) (group string, seq int64, err error) {
	i := strings.LastIndexByte(name, '/')
	if i > 0 {
		seq, err = strconv.ParseInt(name[i+1:], 10, 64)
	}
	if i <= 0 || err != nil || seq < 1 {
		return "", 0, fmt.Errorf("%q names no backup: write GROUP/NUMBER, as in orders/7", name)
	}
	return name[:i], seq, nil
}

// Folder is the prefix of everything of a group.
func Folder(group string) string { return ledger.Escape(group) + "/" }

// ManifestPrefix is the prefix of a group's manifests; their keys sort by number.
func ManifestPrefix(group string) string { return Folder(group) + "manifests/" }

// ManifestKey is the key of a manifest.
func ManifestKey(group string, seq int64) string {
	return fmt.Sprintf("%s%012d", ManifestPrefix(group), seq)
}

// VerifiedPrefix is the prefix of a group's verifications.
func VerifiedPrefix(group string) string { return Folder(group) + "verified/" }

// VerifiedKey is the key of the record that a backup was restored and compared.
func VerifiedKey(group string, seq int64) string {
	return fmt.Sprintf("%s%012d", VerifiedPrefix(group), seq)
}

// DataPrefix is the prefix of all objects of a group.
func DataPrefix(group string) string { return Folder(group) + "data/" }

// DataKey is the key of an object of a generation: named by its content, so that
// writing it twice writes the same.
func DataKey(group string, generation int64, sha256 string) string {
	return fmt.Sprintf("%s%012d/%s", DataPrefix(group), generation, sha256)
}

// BatchName names a batch of a step: by the step's token, by the SHA-256 of what is
// to be copied, and by how many batches of that have come to nothing before, so that
// a step that was broken off finds its own again. It has 32 digits.
func BatchName(token, sha256 string, failed int) string {
	return ledger.Digest(fmt.Appendf(nil, "%s\n%s\n%d", token, sha256, failed))[:32]
}

// BatchFolder is the prefix below which a batch puts its copies in a generation.
func BatchFolder(group string, generation int64, name string) string {
	return fmt.Sprintf("%s%012d/batch/%s/", DataPrefix(group), generation, name)
}

// BatchNotes is the prefix of a batch's manifest and report.
func BatchNotes(group, name string) string { return Folder(group) + "batches/" + name + "/" }

// SeqOf reads the number out of a key of a manifest or a verification.
func SeqOf(key string) (int64, bool) {
	number := key[strings.LastIndexByte(key, '/')+1:]
	seq, err := strconv.ParseInt(number, 10, 64)
	return seq, err == nil && seq > 0 && fmt.Sprintf("%012d", seq) == number
}

// Sign writes a document of the backup place: one line of canonical JSON and the
// signature over it, as `ssh-keygen -Y sign` would make it.
func Sign(signer ssh.Signer, namespace string, v any) ([]byte, error) {
	line, err := ledger.Encode(v)
	if err != nil {
		return nil, err
	}
	signature, err := sshsig.Sign(signer, namespace, line)
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", namespace, err)
	}
	return append(line, signature...), nil
}

// open is the inverse of [Sign]: it holds the signature against the trusted keys.
func open(data []byte, namespace string, trusted []sshsig.Key, v any) error {
	line, signature, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return fmt.Errorf("%w: it is not a line with a signature", ErrDamaged)
	}
	if _, err := sshsig.Verify(string(signature), namespace, append(bytes.Clone(line), '\n'), trusted); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// ParseManifest reads a manifest that one of the keys signed; anything else is
// [ErrDamaged].
func ParseManifest(data []byte, trusted []sshsig.Key) (Manifest, error) {
	var m Manifest
	err := open(data, ManifestNamespace, trusted, &m)
	return m, err
}

// Verified records that a backup was restored, read and compared.
type Verified struct {
	Group    string    `json:"group"`
	Seq      int64     `json:"seq"`
	Manifest string    `json:"manifest"` // its SHA-256
	Cut      time.Time `json:"cut"`
	At       time.Time `json:"at"`
	Table    string    `json:"table"` // the one that was restored
	Rows     int64     `json:"rows"`
	Hash     string    `json:"hash,omitempty"`
	Token    string    `json:"token"`
}

// ParseVerified reads a verification that one of the keys signed.
func ParseVerified(data []byte, trusted []sshsig.Key) (Verified, error) {
	var v Verified
	err := open(data, VerifiedNamespace, trusted, &v)
	return v, err
}

// EncodeList writes the objects of a table, a line each in the given order.
func EncodeList(objects []Object) ([]byte, error) {
	b := &bytes.Buffer{}
	e := json.NewEncoder(b)
	for _, o := range objects {
		if err := e.Encode(o); err != nil {
			return nil, fmt.Errorf("write the list of a table's objects: %w", err)
		}
	}
	return b.Bytes(), nil
}

// ParseList is the inverse of [EncodeList].
func ParseList(data []byte) ([]Object, error) {
	var all []Object
	err := ReadList(bytes.NewReader(data), func(o Object) error {
		all = append(all, o)
		return nil
	})
	return all, err
}

// ReadList reads a list one object after the other. An error of do ends it, and so does
// one of reading.
func ReadList(from io.Reader, do func(Object) error) error {
	d := json.NewDecoder(from)
	for line := 1; ; line++ {
		var o Object
		err := d.Decode(&o)
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &syntax), errors.As(err, &kind), errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("%w: line %d of a list: %w", ErrDamaged, line, err)
		case err != nil:
			return err
		}
		if err := do(o); err != nil {
			return err
		}
	}
}
