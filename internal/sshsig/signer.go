package sshsig

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Signer is a key and the time in which its signatures count.
type Signer struct {
	Key    Key
	After  time.Time // from then on; zero: ever since
	Before time.Time // until then; zero: for ever
}

// Valid reports whether signatures of the key count at a time.
func (s Signer) Valid(at time.Time) bool {
	return !at.Before(s.After) && (s.Before.IsZero() || at.Before(s.Before))
}

// ParseSigner reads a key as [ParseKey] does, with the two options of OpenSSH's
// allowed_signers before it, where it has a period:
//
//	valid-after="20260101Z",valid-before="202612011200Z" ssh-ed25519 AAAA… comment
//
// A time is YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with the Z of UTC after it.
func ParseSigner(line string) (Signer, error) {
	public, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) == 0 || len(bytes.TrimSpace(rest)) > 0 {
		key, err := ParseKey(line)
		return Signer{Key: key}, err
	}
	s := Signer{Key: Key{public}}
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		into, known := map[string]*time.Time{"valid-after": &s.After, "valid-before": &s.Before}[strings.ToLower(name)]
		switch {
		case !known:
			return Signer{}, fmt.Errorf("SSH public key %q: option %q has no meaning here: write valid-after and valid-before, or leave it out", line, name)
		case !into.IsZero():
			return Signer{}, fmt.Errorf("SSH public key %q: %s is given twice", line, name)
		}
		if *into, err = validity(strings.Trim(value, `"`)); err != nil {
			return Signer{}, fmt.Errorf("SSH public key %q: %s: %w", line, name, err)
		}
	}
	if !s.Before.IsZero() && !s.After.Before(s.Before) {
		return Signer{}, fmt.Errorf("SSH public key %q: it is valid-before it is valid-after", line)
	}
	return s, nil
}

func validity(text string) (time.Time, error) {
	for _, layout := range []string{"20060102Z", "200601021504Z", "20060102150405Z"} {
		if len(text) == len(layout) {
			if at, err := time.Parse(layout, text); err == nil {
				return at, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time in UTC such as 20261201Z or 202612011200Z", text)
}
