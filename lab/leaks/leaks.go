// Package leaks looks for credentials where none may stand.
//
// A [Search] knows the credentials and looks for each of them as it is, and as it
// would be inside of something else: in base64 at any alignment, in hex, escaped for
// URLs, JSON and HTML.
package leaks

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Secret is a credential, and who may have it where others can see it.
type Secret struct {
	Name string
	Text string
	// Env names the one process that is given it by its environment; empty for none.
	Env string
}

// Finding is a credential where it may not stand. It does not show it.
type Finding struct {
	Secret string // its name
	Place  string // "history", "ledger", …
	Where  string // in there
	Form   string // "as it is", "base64", …
}

// String is a line for people.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s holds %s, %s", f.Place, f.Where, f.Secret, f.Form)
}

// shortest is the length below which a text could be met by chance, and no search for
// it would mean anything.
const shortest = 12

// needle is a secret in one form.
type needle struct {
	text   string
	secret int
	form   string
}

// Search looks for secrets. It may be used by several goroutines at once.
type Search struct {
	secrets []Secret
	first   [1 << 16]bool       // the first two bytes of any needle
	needles map[uint64][]needle // by the first eight bytes
}

// New prepares a search. A secret too short to look for is an error, and so is none.
func New(secrets []Secret) (*Search, error) {
	s := &Search{secrets: secrets, needles: map[uint64][]needle{}}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("there are no credentials to look for")
	}
	for i, secret := range secrets {
		if len(secret.Text) < shortest {
			return nil, fmt.Errorf("%s has %d characters, and one of less than %d would be met by chance: make it longer", secret.Name, len(secret.Text), shortest)
		}
		for form, texts := range forms(secret.Text) {
			for _, text := range texts {
				key := binary.BigEndian.Uint64([]byte(text))
				s.first[key>>48] = true
				s.needles[key] = append(s.needles[key], needle{text, i, form})
			}
		}
	}
	return s, nil
}

// Secrets are those that are looked for.
func (s *Search) Secrets() []Secret { return slices.Clone(s.secrets) }

// forms are all that a text looks like inside of something else.
func forms(text string) map[string][]string {
	all := map[string][]string{"as it is": {text}}
	add := func(form, one string) {
		if one != text && !slices.Contains(all[form], one) {
			all[form] = append(all[form], one)
		}
	}
	add("in hex", hex.EncodeToString([]byte(text)))
	add("in hex", strings.ToUpper(hex.EncodeToString([]byte(text))))
	add("escaped for a URL", url.QueryEscape(text))
	add("escaped for a URL", url.PathEscape(text))
	add("escaped for HTML", html.EscapeString(text))
	if quoted, err := json.Marshal(text); err == nil {
		add("escaped for JSON", string(quoted[1:len(quoted)-1]))
	}
	// Of what stands before and after it in the same base64 nothing is known, so only
	// the characters that depend on the text alone are looked for.
	for before := range 3 {
		padded := append(make([]byte, before), text...)
		for len(padded)%3 != 0 {
			padded = padded[:len(padded)-1]
		}
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			one := e.EncodeToString(padded)
			if before > 0 {
				one = one[4:]
			}
			add("in base64", one)
		}
	}
	for form, texts := range all {
		all[form] = slices.DeleteFunc(texts, func(t string) bool { return len(t) < 8 })
	}
	return all
}

// In looks into a text.
func (s *Search) In(place, where string, text []byte) []Finding {
	var found []Finding
	for i := 0; i+8 <= len(text); i++ {
		if !s.first[uint16(text[i])<<8|uint16(text[i+1])] {
			continue
		}
		for _, n := range s.needles[binary.BigEndian.Uint64(text[i:])] {
			if len(text)-i < len(n.text) || string(text[i:i+len(n.text)]) != n.text {
				continue
			}
			f := Finding{Secret: s.secrets[n.secret].Name, Place: place, Where: where, Form: n.form}
			if !slices.Contains(found, f) {
				found = append(found, f)
			}
		}
	}
	return found
}

// Files looks into the files below a folder, and counts those that it read. Sockets and
// such are passed over.
func (s *Search) Files(place, dir string, which func(path string) bool) (found []Finding, read int, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || which != nil && !which(path) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		found = append(found, s.In(place, path, text)...)
		return nil
	})
	return found, read, err
}
