package credential_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/internal/credential"
	"breakwater/internal/reach"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]credential.Reference{
		"vault:secret/storage/west":      {Scheme: credential.Vault, Mount: "secret", Path: "storage/west"},
		"vault:secret/storage/west#key":  {Scheme: credential.Vault, Mount: "secret", Path: "storage/west", Field: "key"},
		"env:AWS_KEY_2":                  {Scheme: credential.Env, Name: "AWS_KEY_2"},
		"file:secrets/west.json":         {Scheme: credential.File, Path: "secrets/west.json"},
		"file:/run/secrets/a b#c:d.json": {Scheme: credential.File, Path: "/run/secrets/a b#c:d.json"},
		"file:../x":                      {Scheme: credential.File, Path: "../x"},
	} {
		got, err := credential.Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("Parse(%q).String() = %q", text, got)
		}
	}
	for _, text := range []string{
		"", "hunter2", "vault:", "vault:secret", "vault:secret/", "vault:/x", "vault:a//b", "vault:a/../b", "vault:a/b#", "vault:a/b#c#d",
		"vault:a/b?list=true", "vault:a/b c", "env:", "env:2X", "env:A-B", "env:A B", "file:", "file:dir/", "file:a\nb", "file: x", "https://hunter2", "Env:X", " env:X",
	} {
		_, err := credential.Parse(text)
		if !errors.Is(err, credential.ErrReference) {
			t.Errorf("Parse(%q) = %v, want ErrReference", text, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows what may be a secret: %v", err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"vault:secret/a/b#c", "env:NAME", "file:a/b", "file:#", "vault:a/b#", ":", "vault:x/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := credential.Parse(text)
		if err != nil {
			if !errors.Is(err, credential.ErrReference) || r != (credential.Reference{}) {
				t.Errorf("Parse(%q) = %+v, %v", text, r, err)
			}
			return
		}
		if r.String() != text {
			t.Errorf("Parse(%q) writes itself as %q", text, r)
		}
		if r.Scheme == credential.Vault && (strings.Contains(r.Mount, "/") || strings.Contains("/"+r.Path+"/", "/../") || strings.ContainsAny(r.Path, "?#%\x00")) {
			t.Errorf("Parse(%q) = %+v would leave its engine", text, r)
		}
	})
}

const shy = "hunter2-the-secret"

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pair.json", `{"access_key": "AK", "secret_key": "`+shy+`", "port": 9000}`+"\n")
	write("token", shy+"\n")
	write("key.pem", "-----BEGIN-----\n"+shy+"\n-----END-----\n")
	write("empty", " \n")
	write("torn.json", `{"secret_key": "`+shy)
	write("two.json", `{"a": "`+shy+`"} {}`)
	write("deep.json", `{"a": {"b": "`+shy+`"}}`)
	write("no-fields.json", `{}`)
	write("huge", strings.Repeat("x", credential.MaxFile+1))
	r := credential.Resolver{
		Base: dir,
		LookupEnv: func(name string) (string, bool) {
			text, ok := map[string]string{"TOKEN": shy, "PAIR": `{"a":"1","b":"2"}`, "EMPTY": ""}[name]
			return text, ok
		},
		Vault: func(_ context.Context, mount, path string) (map[string]any, error) {
			switch mount + " " + path {
			case "secret storage/west":
				return map[string]any{
					"access_key": "AK", "secret_key": shy, "port": json.Number("9000"), "json": `{"a":"1"}`,
					"object": map[string]any{"a": "2"}, "list": []any{shy},
				}, nil
			case "secret plain":
				return map[string]any{"access_key": "AK", "secret_key": shy}, nil
			case "secret away":
				return nil, fmt.Errorf("read: %w", reach.ErrUnreachable)
			case "secret denied":
				return nil, fmt.Errorf("read: %w", fs.ErrPermission)
			}
			return nil, fmt.Errorf("read %s/%s: %w", mount, path, fs.ErrNotExist)
		},
	}
	type values = map[string]string
	for ref, want := range map[string]values{
		"file:pair.json":                       {"access_key": "AK", "secret_key": shy, "port": "9000"},
		"file:token":                           {"value": shy},
		"file:" + dir + "/token":               {"value": shy},
		"file:key.pem":                         {"value": "-----BEGIN-----\n" + shy + "\n-----END-----"},
		"env:TOKEN":                            {"value": shy},
		"env:PAIR":                             {"a": "1", "b": "2"},
		"vault:secret/plain":                   {"access_key": "AK", "secret_key": shy},
		"vault:secret/storage/west#port":       {"value": "9000"},
		"vault:secret/storage/west#json":       {"a": "1"},
		"vault:secret/storage/west#object":     {"a": "2"},
		"vault:secret/storage/west#access_key": {"value": "AK"},
	} {
		got, err := r.Resolve(t.Context(), ref, "the test")
		if err != nil || !maps.Equal(got.Reveal(), want) {
			t.Errorf("Resolve(%s) = %v, %v; want %v", ref, got.Reveal(), err, want)
		}
		if got.Reference() != ref {
			t.Errorf("Resolve(%s).Reference() = %s", ref, got.Reference())
		}
	}
	for ref, tc := range map[string]struct {
		is  error
		say string // what the error must tell its reader
	}{
		"env:MISSING":                     {fs.ErrNotExist, "export MISSING"},
		"env:EMPTY":                       {nil, "empty"},
		"file:missing":                    {fs.ErrNotExist, filepath.Join(dir, "missing")},
		"file:empty":                      {nil, "empty"},
		"file:torn.json":                  {nil, "JSON"},
		"file:two.json":                   {nil, "JSON"},
		"file:deep.json":                  {nil, `"a" is not a text`},
		"file:no-fields.json":             {nil, "no fields"},
		"file:huge":                       {nil, "larger"},
		"vault:secret/none":               {fs.ErrNotExist, "write it there"},
		"vault:secret/storage/west":       {nil, "#FIELD"},
		"vault:secret/storage/west#other": {fs.ErrNotExist, "access_key, json"},
		"vault:secret/storage/west#list":  {nil, "text"},
		"vault:secret/away":               {reach.ErrUnreachable, ""},
		"vault:secret/denied":             {fs.ErrPermission, ""},
	} {
		_, err := r.Resolve(t.Context(), ref, "the storage of us-east-1")
		if err == nil {
			t.Errorf("Resolve(%s) was accepted", ref)
			continue
		}
		if tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("Resolve(%s) = %v, want %v in its chain", ref, err, tc.is)
		}
		for _, word := range []string{ref, "the storage of us-east-1", tc.say} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("Resolve(%s) = %v, which does not say %q", ref, err, word)
			}
		}
		if strings.Contains(err.Error(), shy) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Resolve(%s) = %v, which shows a secret or is more than a line", ref, err)
		}
	}
	if _, err := r.Resolve(t.Context(), shy, "the storage"); !errors.Is(err, credential.ErrReference) || strings.Contains(err.Error(), shy) {
		t.Errorf("Resolve of a secret instead of a reference = %v", err)
	}
	if _, err := (credential.Resolver{}).Resolve(t.Context(), "vault:a/b", "x"); err == nil {
		t.Error("a reference into a vault was resolved without one")
	}
}

func TestValues(t *testing.T) {
	r := credential.Resolver{LookupEnv: func(name string) (string, bool) {
		return map[string]string{"PLAIN": shy, "PAIR": `{"token":"` + shy + `","none":""}`}[name], true
	}}
	plain, err := r.Resolve(t.Context(), "env:PLAIN", "the vault of west")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := r.Resolve(t.Context(), "env:PAIR", "the vault of west")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]credential.Values{"plain": plain, "pair": pair} {
		if text, err := v.Only("token"); err != nil || text != shy {
			t.Errorf("%s: Only = %q, %v", name, text, err)
		}
		for _, missing := range []string{"secret_key", "none"} {
			_, err := v.Text(missing)
			if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "the vault of west") || strings.Contains(err.Error(), shy) {
				t.Errorf("%s: Text(%s) = %v", name, missing, err)
			}
		}
		secret := credential.NewSecret(shy)
		for what, shown := range map[string]string{
			"values": show(t, v), "pointer": show(t, &v), "secret": show(t, secret), "secrets": show(t, []credential.Secret{secret}),
			"wrapped": show(t, struct {
				S credential.Secret
				s credential.Secret
				m map[string]credential.Secret
			}{secret, secret, map[string]credential.Secret{"k": secret}}),
		} {
			if strings.Contains(shown, shy) || strings.Contains(shown, fmt.Sprintf("%x", shy)) {
				t.Errorf("%s: %s shows the secret: %s", name, what, shown)
			}
		}
	}
	if credential.NewSecret(shy).Reveal() != shy || (credential.Secret{}).Reveal() != "" {
		t.Error("Reveal must give the text")
	}
}

// show prints a value in every way that a program prints values.
func show(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(text)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	return b.String()
}
