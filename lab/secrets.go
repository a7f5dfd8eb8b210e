package lab

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"breakwater/lab/leaks"
)

// notSecret are the fields of credentials that everybody may know.
var notSecret = []string{"access_key", "username", "user"}

// references are the credentials that an estate's file names.
var references = regexp.MustCompile(`: "?((?:file|env|vault):[^"\s]+)`)

// Secrets are all credentials of the laboratory: what its state and the estate's
// credential files hold, the keys of its people and of the worker, and what its secret
// stores were initialised with. A new one is among them without being named here.
func (l *Lab) Secrets() ([]leaks.Secret, error) {
	by := map[string]leaks.Secret{} // by text: most stand in the state and in a file
	add := func(name, text, env string) {
		if _, ok := by[text]; !ok && text != "" {
			by[text] = leaks.Secret{Name: name, Text: text, Env: env}
		}
	}
	view(&l.state, func(k kept) any {
		for name, c := range k.Secrets {
			env := ""
			if place, user, _ := strings.Cut(name, "/"); user == rootUser {
				env = "minio-" + place // which takes it from nowhere else
			}
			add("the secret key of "+name, c.SecretKey, env)
		}
		for region, token := range k.Tokens {
			add("the token at OpenBao of "+region, token, "")
		}
		return nil
	})
	fromJSON := func(path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var content any
		if err := json.Unmarshal(text, &content); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		texts("", content, func(field, text string) {
			if !slices.Contains(notSecret, strings.TrimPrefix(field, ".")) {
				add(filepath.Base(path)+field, text, "")
			}
		})
		return nil
	}
	var files []string
	for _, pattern := range []string{l.path("estate", "credentials", "*"), l.path("data", "bao-*", "init.json")} {
		found, err := filepath.Glob(pattern)
		if err == nil && len(found) == 0 {
			err = fs.ErrNotExist
		}
		if err != nil {
			return nil, fmt.Errorf("look for credentials in %s: %w", pattern, err)
		}
		files = append(files, found...)
	}
	for _, path := range files {
		if err := fromJSON(path); err != nil {
			return nil, err
		}
	}
	// The estate may not refer to what is not read here.
	text, err := os.ReadFile(l.EstateFile())
	if err != nil {
		return nil, err
	}
	for _, m := range references.FindAllStringSubmatch(string(text), -1) {
		if ref := m[1]; !strings.HasPrefix(ref, "file:credentials/") && !strings.HasPrefix(ref, "file:../keys/") {
			return nil, fmt.Errorf("the estate refers to credential %s, which is not among the laboratory's: teach Secrets to read it", ref)
		}
	}
	keys, err := os.ReadDir(l.path("keys"))
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if strings.HasSuffix(k.Name(), ".pub") {
			continue
		}
		text, err := os.ReadFile(l.Key(k.Name()))
		if err != nil {
			return nil, err
		}
		if err := privateParts(text, func(text string) { add("the private key of "+k.Name(), text, "") }); err != nil {
			return nil, fmt.Errorf("read the key of %s: %w", k.Name(), err)
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b leaks.Secret) int { return strings.Compare(a.Name+a.Text, b.Name+b.Text) }), nil
}

// texts calls each for every text of decoded JSON.
func texts(at string, content any, each func(at, text string)) {
	switch content := content.(type) {
	case string:
		each(at, content)
	case []any:
		for i, one := range content {
			texts(fmt.Sprintf("%s.%d", at, i), one, each)
		}
	case map[string]any:
		for name, one := range content {
			texts(at+"."+name, one, each)
		}
	}
}

// privateParts are what of a private key nobody else may know: its seed, and the line of
// the file in which most of it stands. The other lines are the same for everybody, or
// the public half.
func privateParts(file []byte, each func(string)) error {
	parsed, err := ssh.ParseRawPrivateKey(file)
	if err != nil {
		return err
	}
	private, ok := parsed.(*ed25519.PrivateKey)
	if !ok {
		return errors.New("it is no ed25519 key")
	}
	seed := private.Seed()
	each(string(seed))
	secret := base64Lines(file, seed)
	if len(secret) == 0 {
		return errors.New("its private part is in no line of it")
	}
	for _, line := range secret {
		each(line)
	}
	return nil
}

// base64Lines are the lines of a PEM file that hold at least half of a part of it.
func base64Lines(file, part []byte) (found []string) {
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSpace(line)
		decoded, err := base64.StdEncoding.DecodeString(line) // each line is whole in PEM
		if err != nil {
			continue
		}
		for from := 0; from+len(part)/2 <= len(part); from++ {
			if bytes.Contains(decoded, part[from:from+len(part)/2]) {
				found = append(found, line)
				break
			}
		}
	}
	return found
}

// PartOf is the name of the laboratory's process with that pid, or empty.
func (l *Lab) PartOf(pid int) string {
	return view(&l.state, func(k kept) string {
		for name, p := range k.Processes {
			if p.Pid == pid {
				return name
			}
		}
		return ""
	})
}
