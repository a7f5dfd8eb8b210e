package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"breakwater/internal/plural"
)

// MaxFile is the size beyond which a file is no credential, in bytes.
const MaxFile = 1 << 20

// Resolver looks references up.
type Resolver struct {
	// Base is the folder that relative file references start from: the estate
	// file's. The current one when empty.
	Base string
	// Vault reads the content of a secret in a mount of the region's secret store,
	// with the errors and the numbers that package secret promises. Nil where there
	// is none, as when the vault's own token is looked up.
	Vault func(ctx context.Context, mount, path string) (map[string]any, error)
	// LookupEnv is os.LookupEnv when nil.
	LookupEnv func(name string) (string, bool)
}

// Resolve looks a reference up. wanted says for whom, such as "the storage of
// us-east-1", for the error's reader. A missing credential is [fs.ErrNotExist],
// one that may not be read [fs.ErrPermission], a text that is no reference
// [ErrReference]; an unreachable vault is marked so. No error shows a secret.
func (r Resolver) Resolve(ctx context.Context, reference, wanted string) (Values, error) {
	fail := func(name string, err error, next string) (Values, error) {
		if next != "" {
			next = "; " + next
		}
		return Values{}, fmt.Errorf("credential %s for %s: %w%s", name, wanted, err, next)
	}
	ref, err := Parse(reference)
	if err != nil {
		return Values{}, fmt.Errorf("credential for %s: %w", wanted, err)
	}
	v := Values{reference: ref.String(), wanted: wanted}
	var text string
	switch ref.Scheme {
	case Vault:
		if r.Vault == nil {
			return fail(v.reference, errors.New("no vault can be asked here"), "use env: or file:")
		}
		data, err := r.Vault(ctx, ref.Mount, ref.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fail(v.reference, err, "write it there, or correct the reference in the estate")
		case err != nil:
			return fail(v.reference, err, "")
		}
		if ref.Field == "" {
			if v.fields, err = texts(data); err != nil {
				return fail(v.reference, err, "name one field with #FIELD, or store texts only")
			}
			return v, nil
		}
		field, ok := data[ref.Field]
		if !ok {
			return fail(v.reference, fmt.Errorf("the secret has no such field: %w", fs.ErrNotExist), "it has "+list(data))
		}
		if object, ok := field.(map[string]any); ok {
			if v.fields, err = texts(object); err != nil {
				return fail(v.reference, err, "store texts only")
			}
			return v, nil
		}
		one, err := texts(map[string]any{"value": field})
		if err != nil {
			return fail(v.reference, err, "store a text")
		}
		text = one["value"].Reveal()
	case Env:
		look := r.LookupEnv
		if look == nil {
			look = os.LookupEnv
		}
		var ok bool
		if text, ok = look(ref.Name); !ok {
			return fail(v.reference, fmt.Errorf("the variable is not set: %w", fs.ErrNotExist), "export "+ref.Name+" where this process starts")
		}
	case File:
		path := ref.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.Base, path)
		}
		if text, err = readFile(path); err != nil {
			return fail(v.reference, err, "put the credential there, readable by this process")
		}
	}
	if v.fields, v.plain, err = parse(text); err != nil {
		return fail(v.reference, err, "give a text, or a JSON object of texts")
	}
	return v, nil
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	if len(text) > MaxFile {
		return "", fmt.Errorf("%s is larger than %s", path, plural.Of(MaxFile, "byte"))
	}
	return string(text), nil
}

// parse reads a JSON object of texts, or any other text as the field "value".
func parse(text string) (fields map[string]Secret, plain bool, err error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return nil, false, errors.New("it is empty")
	}
	if !strings.HasPrefix(trimmed, "{") {
		return map[string]Secret{"value": NewSecret(strings.TrimRight(text, "\r\n"))}, true, nil
	}
	d := json.NewDecoder(strings.NewReader(trimmed))
	d.UseNumber()
	var object map[string]any
	// The decoder's own error may quote the text.
	if d.Decode(&object) != nil || d.InputOffset() != int64(len(trimmed)) {
		return nil, false, errors.New("it begins like a JSON object and is none")
	}
	fields, err = texts(object)
	return fields, false, err
}

// texts hides the values of an object, which must be texts, numbers or truth values.
func texts(object map[string]any) (map[string]Secret, error) {
	if len(object) == 0 {
		return nil, errors.New("it has no fields")
	}
	fields := make(map[string]Secret, len(object))
	for name, value := range object {
		switch value := value.(type) {
		case string:
			fields[name] = NewSecret(value)
		case json.Number:
			fields[name] = NewSecret(value.String())
		case bool:
			fields[name] = NewSecret(strconv.FormatBool(value))
		default:
			return nil, fmt.Errorf("its field %q is not a text", name)
		}
	}
	return fields, nil
}

// Values is a credential: named texts. It prints without them.
type Values struct {
	reference, wanted string
	plain             bool // the credential was a text without a name
	fields            map[string]Secret
}

// Reference is what the values were found by.
func (v Values) Reference() string { return v.reference }

// Text is a field's text. A missing or empty one is [fs.ErrNotExist].
func (v Values) Text(name string) (string, error) {
	if text := v.fields[name].Reveal(); text != "" {
		return text, nil
	}
	return "", fmt.Errorf("credential %s for %s: it has no text for %q: %w; it has %s, add the field",
		v.reference, v.wanted, name, fs.ErrNotExist, list(v.fields))
}

// Only is the field's text, or the whole of a credential that is a text without a
// name: what is wanted where there is only one thing to want, such as a token.
func (v Values) Only(name string) (string, error) {
	if v.plain {
		return v.Text("value")
	}
	return v.Text(name)
}

// Reveal is all of it, for handing to a client.
func (v Values) Reveal() map[string]string {
	m := make(map[string]string, len(v.fields))
	for name, s := range v.fields {
		m[name] = s.Reveal()
	}
	return m
}

func list[V any](m map[string]V) string {
	if len(m) == 0 {
		return "no fields"
	}
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
