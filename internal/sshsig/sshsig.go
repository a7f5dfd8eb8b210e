// Package sshsig signs and verifies short messages with SSH keys, in the format
// of `ssh-keygen -Y sign` and of signed git commits (OpenSSH's
// PROTOCOL.sshsig). An approver needs no tool of ours: any terminal with
// ssh-keygen, and any key in an agent or on a security token, will do.
//
// A signature is made for a namespace, so that one given to approve a plan says
// nothing about a ledger, nor the other way round.
package sshsig

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

var (
	// ErrMalformed means that a text is no SSH signature at all.
	ErrMalformed = errors.New("not an SSH signature")
	// ErrUnknownSigner means that a key which nobody listed made the signature.
	// Whether the signature is right was not looked at.
	ErrUnknownSigner = errors.New("unknown signer")
	// ErrInvalid means that the signature is not one of this message in this
	// namespace.
	ErrInvalid = errors.New("the signature does not match")
)

const (
	begin = "-----BEGIN " + sshsig.PEMType + "-----"
	end   = "-----END " + sshsig.PEMType + "-----"
)

// Key is a public key. Two keys are the same if their fingerprints are; the
// comment is nobody's proof of anything.
type Key struct {
	public ssh.PublicKey
}

// ParseKey reads a line of an authorized_keys file: "ssh-ed25519 AAAA… comment".
// Options before the type are refused, since nothing here would heed them.
func ParseKey(line string) (Key, error) {
	public, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return Key{}, fmt.Errorf("SSH public key %q: %w; write it as in a .pub file: ssh-ed25519 AAAA…", line, err)
	case len(options) > 0:
		return Key{}, fmt.Errorf("SSH public key %q: it has options (%s), which have no meaning here; leave them out", line, strings.Join(options, ","))
	case len(bytes.TrimSpace(rest)) > 0:
		return Key{}, fmt.Errorf("SSH public key %q: there is more than one line; give one key", line)
	}
	return Key{public}, nil
}

// ParseKeys reads one key per line, as [ParseKey] does.
func ParseKeys(lines []string) ([]Key, error) {
	keys := make([]Key, 0, len(lines))
	for _, line := range lines {
		key, err := ParseKey(line)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Public returns the public half of a key that signs.
func Public(signer ssh.Signer) Key { return Key{signer.PublicKey()} }

// isZero reports whether there is no key.
func (k Key) isZero() bool { return k.public == nil }

// Fingerprint identifies the key, as `ssh-keygen -l` prints it: "SHA256:…". The
// zero Key has none.
func (k Key) Fingerprint() string {
	if k.isZero() {
		return ""
	}
	return ssh.FingerprintSHA256(k.public)
}

// String is the key as a line of an authorized_keys file, without a comment.
func (k Key) String() string {
	if k.isZero() {
		return ""
	}
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(k.public)), "\n")
}

// Equal reports whether both are the same key.
func (k Key) Equal(other Key) bool {
	return !k.isZero() && !other.isZero() &&
		subtle.ConstantTimeCompare(k.public.Marshal(), other.public.Marshal()) == 1
}

// Sign signs message for namespace, and returns the signature in its armour, as
// `ssh-keygen -Y sign -n namespace` would. An Ed25519 key signs the same message
// to the same bytes every time.
func Sign(signer ssh.Signer, namespace string, message []byte) (string, error) {
	sig, err := sshsig.Sign(bytes.NewReader(message), signer, sshsig.HashSHA512, namespace)
	if err != nil {
		return "", fmt.Errorf("sign for %s with %s: %w", namespace, Public(signer).Fingerprint(), err)
	}
	return string(sshsig.Armor(sig)), nil
}

// Line is a signature without its armour, as one line for a file of lines.
func Line(armoured string) string {
	_, body, _ := strings.Cut(armoured, begin)
	body, _, _ = strings.Cut(body, end)
	return strings.Join(strings.Fields(body), "")
}

// Armour is the inverse of [Line].
func Armour(line string) string { return begin + "\n" + line + "\n" + end + "\n" }

// Verify returns which of the trusted keys signed message for namespace. The
// armour may have lost or gained white space on its way through a form or a
// shell. Errors are ErrMalformed, ErrUnknownSigner or ErrInvalid.
func Verify(armoured, namespace string, message []byte, trusted []Key) (Key, error) {
	sig, err := parse(armoured)
	if err != nil {
		return Key{}, err
	}
	signer := Key{sig.PublicKey}
	known := false
	for _, key := range trusted {
		known = known || key.Equal(signer)
	}
	if !known {
		return Key{}, fmt.Errorf("%w: key %s is not among the %d trusted", ErrUnknownSigner, signer.Fingerprint(), len(trusted))
	}
	if sig.Namespace != namespace {
		return Key{}, fmt.Errorf("%w: it was made for namespace %q, not %q", ErrInvalid, sig.Namespace, namespace)
	}
	if err := sshsig.Verify(bytes.NewReader(message), sig, sig.PublicKey, sig.HashAlgorithm, namespace); err != nil {
		return Key{}, fmt.Errorf("%w: key %s did not sign this text: %w", ErrInvalid, signer.Fingerprint(), err)
	}
	return signer, nil
}

// Claimed is the key that a signature says made it. Nothing is verified.
func Claimed(armoured string) (Key, error) {
	sig, err := parse(armoured)
	if err != nil {
		return Key{}, err
	}
	return Key{sig.PublicKey}, nil
}

func parse(armoured string) (*sshsig.Signature, error) {
	_, body, ok := strings.Cut(armoured, begin)
	body, _, closed := strings.Cut(body, end)
	if !ok || !closed {
		return nil, fmt.Errorf("%w: it has to stand between %q and %q", ErrMalformed, begin, end)
	}
	body = strings.NewReplacer(`\r`, "", `\n`, "").Replace(body)
	body = strings.Join(strings.Fields(body), "")
	raw, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	sig, err := sshsig.ParseSignature(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return sig, nil
}
