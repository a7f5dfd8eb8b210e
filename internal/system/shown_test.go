package system

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/internal/estate"
	"breakwater/lab/leaks"
)

// odd are credentials as nobody would choose them, and as they come about: with what a
// URL, a header, JSON or a format would read as something else, or with a line too many.
var odd = map[string]string{
	"signs of a URL":     "hunter2:p@ss/w?rd#1&x=%zz",
	"verbs of a format":  "hunter2%s%v%[1]d%!100",
	"quotes":             `hunter2"'\` + "`" + `<b>&amp;`,
	"a line too many":    "hunter2-first\nhunter2-second",
	"a control sign":     "hunter2\x1b[31m-hunter2\x00",
	"spaces at its ends": "  hunter2 hunter2  ",
	"other letters":      "hunter2-пароль-密碼-é",
	"very long":          strings.Repeat("hunter2hunter", 700),
}

// TestErrorsShowNoCredential asks servers that are gone, that are others, and that say
// again all that they were told, with credentials that look odd. What went wrong is said
// without them.
func TestErrorsShowNoCredential(t *testing.T) {
	// It repeats what it was asked with, in the form of each API.
	repeater := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told := []string{r.URL.String()}
		for name, values := range r.Header {
			for _, v := range values {
				told = append(told, name+": "+v)
				if plain, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(v, "Basic ")); err == nil {
					told = append(told, string(plain))
				}
			}
		}
		said := strings.Join(told, "; ")
		switch {
		case r.Header.Get("X-Vault-Token") != "":
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]any{"errors": []string{"no: " + r.Header.Get("X-Vault-Token")}}) //nolint:errcheck // a test's
		case strings.HasPrefix(r.URL.Path, "/connectors"):
			w.WriteHeader(http.StatusForbidden)
			json.NewEncoder(w).Encode(map[string]any{"message": "no: " + said}) //nolint:errcheck // a test's
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>no: %s</Message></Error>", strings.NewReplacer("<", "&lt;", "&", "&amp;").Replace(said))
		}
	}))
	t.Cleanup(repeater.Close)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Addr().String()
	gone.Close() //nolint:errcheck // nobody is there from now on

	for name, shy := range odd {
		var secrets []leaks.Secret
		for i, line := range strings.Split(shy, "\n") {
			secrets = append(secrets, leaks.Secret{Name: fmt.Sprintf("line %d of the credential", i), Text: line})
		}
		search, err := leaks.New(secrets)
		if err != nil {
			t.Fatal(err)
		}
		for where, host := range map[string]string{"nobody": nobody, "who repeats all": strings.TrimPrefix(repeater.URL, "http://")} {
			t.Run(name+", "+where, func(t *testing.T) {
				t.Parallel() // who is gone is waited for
				s := &Systems{Folder: t.TempDir()}
				t.Cleanup(s.Close)
				e := shyEstate(t, s.Folder, host, shy)
				ctx := t.Context()
				shown := func(doing string, err error) {
					t.Helper()
					if err == nil {
						t.Errorf("%s: no error", doing)
						return
					}
					for _, text := range []string{err.Error(), fmt.Sprintf("%v %+v %q", err, err, err)} {
						for _, f := range search.In("error", doing, []byte(text)) {
							t.Errorf("%s: %.600s", f, text)
						}
						if strings.Contains(text, "hunter2") {
							t.Errorf("%s: a part of the credential is in %.600s", doing, text)
						}
					}
				}
				store, err := s.Storage(ctx, e, "east")
				if err == nil {
					_, _, err = store.Get(ctx, "lake-east", "key")
				}
				shown("storage", err)
				users, err := s.Granter(ctx, e, "east")
				if err == nil {
					_, err = users.User(ctx, "writer")
				}
				shown("admin", err)
				l, err := s.Ledger(ctx, e)
				if err == nil {
					_, err = l.Get(ctx, "key")
				}
				shown("ledger", err)
				d, err := s.Depot(ctx, e)
				if err == nil {
					_, _, err = d.Reader.Get(ctx, "backups", "key")
				}
				shown("depot", err)
				v, err := s.Secrets(ctx, e, "east")
				if err == nil {
					_, err = v.Read(ctx, "path")
				}
				shown("vault", err)
				m, err := s.Mirror(ctx, e, "west", "east")
				if err == nil {
					_, err = m.Known(ctx)
				}
				shown("connect", err)
				k, err := s.Kafka(ctx, e, "east")
				if err == nil {
					_, err = k.ClusterID(ctx)
				}
				shown("kafka", err)
				_, err = s.Signer(ctx, e)
				shown("signing key", err)
			})
		}
	}
}

// shyEstate has everything at one host, and every credential is the odd one.
func shyEstate(t *testing.T, folder, host, shy string) *estate.Estate {
	t.Helper()
	write := func(name string, fields map[string]string) estate.Ref {
		t.Helper()
		text, err := json.Marshal(fields)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return estate.Ref("file:" + name)
	}
	key := write("s3", map[string]string{"access_key": "recovery", "secret_key": shy})
	login := write("login", map[string]string{"username": "recovery", "password": shy})
	return &estate.Estate{
		Estate: "shy",
		Ledger: estate.Ledger{Endpoint: "http://" + host, Region: "us-east-1", Bucket: "ledger", Credentials: key, SigningKey: write("key", map[string]string{"key": shy})},
		Backup: &estate.Backup{Endpoint: "http://" + host, Bucket: "backups", Credentials: key, Restore: key},
		Regions: []estate.Region{{
			Region:  "east",
			Storage: estate.Storage{Provider: "minio", Endpoint: "http://" + host, Credentials: key, Admin: key},
			Kafka:   &estate.Kafka{Brokers: []string{host}, Credentials: login},
			Connect: &estate.Connect{URL: "http://" + host, Source: "source", Credentials: login},
			Vault:   &estate.Vault{Address: "http://" + host, Credentials: write("vault", map[string]string{"token": shy}), Mount: "secret"},
		}, {Region: "west"}},
	}
}
