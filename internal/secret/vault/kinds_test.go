package vault_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"breakwater/internal/reach"
	"breakwater/internal/secret"
	"breakwater/internal/secret/vault"
	"breakwater/lab/server/baotest"
)

// every way in which asking can end without what was asked for.
var classes = []error{reach.ErrUnreachable, reach.ErrMisconfigured, reach.ErrThrottled, fs.ErrPermission, fs.ErrNotExist, secret.ErrSealed, secret.ErrNotServing}

// is demands one class of an error, and no other.
func is(t *testing.T, doing string, err, want error) {
	t.Helper()
	for _, c := range classes {
		if got := errors.Is(err, c); got != errors.Is(want, c) {
			t.Errorf("%s = %v: it is %q: %t", doing, err, c, got)
		}
	}
	if reach.Unreachable(err) != reach.Unreachable(want) {
		t.Errorf("%s = %v: unreachable is %t", doing, err, reach.Unreachable(err))
	}
}

// What real servers, and those who stand before them, answer in place of a secret. Each
// is named in their own words, and none reads as a secret that is not there.
func TestAnswersThatAreNone(t *testing.T) {
	for name, tc := range map[string]struct {
		status, health int // of a read, and of the health
		body, state    string
		read, asked    error // nil for a health that is one
		says           string
	}{
		"no leader": {status: 500, body: `{"errors":["local node not active but active cluster node not found"]}`,
			health: 299, state: `{"initialized":true,"sealed":false,"standby":true}`, read: secret.ErrNotServing, says: "active cluster node not found"},
		"no active instance": {status: 503, body: `{"errors":["no active Vault instance found"]}`,
			health: 299, state: `{"initialized":true,"sealed":false,"standby":true}`, read: secret.ErrNotServing, says: "no active Vault instance found"},
		"an unhealthy standby": {status: 500, body: `{"errors":["local node not active but active cluster node not found"]}`,
			health: 474, read: secret.ErrNotServing, asked: secret.ErrNotServing, says: "active cluster node not found"},
		"a secondary for disaster recovery": {status: 400, body: `{"errors":["path disabled in replication DR secondary mode"]}`,
			health: 299, state: `{"initialized":true,"sealed":false,"replication_dr_mode":"secondary"}`, read: secret.ErrNotServing, says: "DR secondary mode"},
		"sealed": {status: 503, body: `{"errors":["Vault is sealed"]}`,
			health: 299, state: `{"initialized":true,"sealed":true}`, read: secret.ErrSealed, says: "Vault is sealed"},
		"a rate limit": {status: 429, body: `{"errors":["request path \"secret/data/x\": rate limit quota exceeded"]}`,
			health: 299, state: `{"initialized":true,"sealed":false}`, read: reach.ErrThrottled, says: "rate limit quota exceeded"},
		"a mount that is being upgraded": {status: 400, body: `{"errors":["Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly."]}`,
			health: 299, state: `{"initialized":true,"sealed":false}`, read: reach.ErrThrottled, says: "Upgrading"},
		"a page of maintenance": {status: 200, body: `<html>back soon</html>`,
			health: 200, state: `<html>back soon</html>`, read: reach.ErrMisconfigured, asked: reach.ErrMisconfigured, says: "no Vault's"},
		"an empty page": {status: 200, health: 200, read: reach.ErrMisconfigured, asked: reach.ErrMisconfigured, says: "misconfigured"},
		"a page that is not found": {status: 404, body: `<html>404</html>`,
			health: 404, state: `<html>404</html>`, read: reach.ErrMisconfigured, asked: reach.ErrMisconfigured, says: "misconfigured"},
		"another server's JSON": {status: 404, body: `{"message":"no route"}`,
			health: 404, state: `{"message":"no route"}`, read: reach.ErrMisconfigured, asked: reach.ErrMisconfigured, says: "misconfigured"},
		"plain HTTP to TLS": {status: 400, body: "Client sent an HTTP request to an HTTPS server.\n",
			health: 400, state: "Client sent an HTTP request to an HTTPS server.\n", read: reach.ErrMisconfigured, asked: reach.ErrMisconfigured, says: "https://"},
		"a gateway": {status: 502, body: `<html>`, health: 502, read: reach.ErrUnreachable, asked: reach.ErrUnreachable, says: "a gateway"},
		"a balancer without servers": {status: 503, body: `<html>503 Service Unavailable`,
			health: 503, read: reach.ErrUnreachable, asked: reach.ErrUnreachable, says: "503"},
		"a token that is denied": {status: 403, body: `{"errors":["permission denied"]}`,
			health: 299, state: `{"initialized":true,"sealed":false}`, read: fs.ErrPermission, says: "has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status, body := tc.status, tc.body
				if r.URL.Path == "/v1/sys/health" {
					status, body = tc.health, tc.state
				}
				w.WriteHeader(status)
				io.WriteString(w, body)
			}))
			defer srv.Close()
			s := client(t, srv.URL, "t").Mount("secret")
			var all sync.WaitGroup // the library asks some of them again
			for doing, ask := range map[string]func() error{
				"Read":  func() error { _, err := s.Read(t.Context(), "x"); return err },
				"Book":  func() error { _, err := s.Book(t.Context(), "x"); return err },
				"Write": func() error { _, err := s.Write(t.Context(), "x", content{"a": "b"}, 0); return err },
				"Delete": func() error {
					if err := s.Delete(t.Context(), "x", 1); err != nil || tc.status != http.StatusOK {
						return err
					}
					return tc.read // an empty page says what an answer to a deletion says
				},
			} {
				all.Go(func() {
					err := ask()
					is(t, doing, err, tc.read)
					if err == nil || doing == "Read" && !strings.Contains(err.Error(), tc.says) {
						t.Errorf("%s = %v, want %q in it", doing, err, tc.says)
					}
				})
			}
			all.Go(func() {
				switch _, err := s.Health(t.Context()); {
				case tc.asked != nil:
					is(t, "Health", err, tc.asked)
				case err != nil:
					t.Errorf("Health = %v", err)
				}
			})
			all.Wait()
		})
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"initialized":true}`) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	c, err := vault.New(vault.Config{Address: srv.URL, Token: "t", CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})})
	must(t, err)
	if _, err := c.Mount("secret").Health(t.Context()); err != nil { // the positive control
		t.Fatalf("Health with the right authority = %v", err)
	}
	for name, address := range map[string]string{"an unknown authority": srv.URL, "plain HTTP": strings.Replace(srv.URL, "https", "http", 1)} {
		_, err := client(t, address, "t").Mount("secret").Read(t.Context(), "x")
		is(t, name, err, reach.ErrMisconfigured)
	}
}

// A mount that keeps no versions, or is none, has no secrets of this store. It took the
// write of a new secret, as one with another path, which no reader found.
func TestOtherMounts(t *testing.T) {
	s := baotest.Start(t)
	raw := s.API(t)
	mount := func(at string, in *api.MountInput) {
		t.Helper()
		must(t, raw.Sys().MountWithContext(t.Context(), at, in))
	}
	mount("legacy", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}})
	mount("plain", &api.MountInput{Type: "kv"})
	mount("transit", &api.MountInput{Type: "transit"})
	must(t, raw.KVv1("legacy").Put(t.Context(), "orders", content{"bootstrap": "east:9092"}))
	must(t, raw.KVv1("legacy").Put(t.Context(), "data/wrote", content{"bootstrap": "east:9092"})) // where a write went
	c := client(t, s.Address, s.RootToken)
	for at, says := range map[string]string{
		"legacy": "vault kv enable-versioning legacy", "plain": "KV version 1", "transit": "kind transit",
		"nowhere": "no mount nowhere", "secret/team": "the mount there is secret/",
	} {
		for _, path := range []string{"orders", "wrote", "never"} {
			store := c.Mount(at)
			_, read := store.Read(t.Context(), path)
			_, book := store.Book(t.Context(), path)
			_, write := store.Write(t.Context(), path, content{"bootstrap": "west:9092"}, 0)
			for doing, err := range map[string]error{"Read": read, "Book": book, "Write": write, "Readable": secret.Readable(t.Context(), store, path)} {
				is(t, doing+" "+at+"/"+path, err, reach.ErrMisconfigured)
				if err != nil && !strings.Contains(err.Error(), says) {
					t.Errorf("%s %s/%s = %v, want %q in it", doing, at, path, err, says)
				}
			}
		}
	}
	if kept, err := raw.KVv1("legacy").Get(t.Context(), "data/orders"); err == nil {
		t.Errorf("something was written into the mount of version 1: %v", kept.Data)
	}
}

// A token that has ended is told from one whose policies are too narrow.
func TestDenied(t *testing.T) {
	s := baotest.Start(t)
	raw := s.API(t)
	token, err := raw.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h"})
	must(t, err)
	store := s.As(t, token.Auth.ClientToken)
	_, err = store.Read(t.Context(), "orders")
	is(t, "Read with a narrow policy", err, fs.ErrPermission)
	end := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15")
	if err == nil || !strings.Contains(err.Error(), "the server knows it, and it ends at "+end) {
		t.Errorf("Read with a narrow policy = %v, want when the token ends", err)
	}
	is(t, "MayDelete", store.MayDelete(t.Context(), "orders"), fs.ErrPermission)
	must(t, raw.Auth().Token().RevokeTreeWithContext(t.Context(), token.Auth.ClientToken))
	_, err = store.Read(t.Context(), "orders")
	is(t, "Read with a token that has ended", err, fs.ErrPermission)
	if err == nil || !strings.Contains(err.Error(), "expired or was revoked") {
		t.Errorf("Read with a token that has ended = %v", err)
	}
}

// words are those of a command as a POSIX shell reads it, after the name of the program.
func words(t *testing.T, line string) []string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), "sh", "-c", `vault() { printf '%s\0' "$@"; printf '\n\0'; }; `+line).Output()
	if err != nil {
		t.Fatalf("a shell does not read %s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(said), "\x00"), "\x00")
}

// does what a hint says, by the server's own client.
func does(t *testing.T, c *api.Client, line string) {
	t.Helper()
	var args []string
	for _, w := range words(t, line) {
		if w != "\n" {
			args = append(args, w)
			continue
		}
		flags := map[string]string{}
		var rest []string
		for _, a := range args[2:] { // kv, and what to do
			if k, v, ok := strings.Cut(a, "="); ok && strings.HasPrefix(k, "-") {
				flags[k] = v
				continue
			}
			rest = append(rest, a)
		}
		kv, path := c.KVv2(flags["-mount"]), rest[0]
		var err error
		switch args[1] {
		case "rollback":
			var n int
			if n, err = strconv.Atoi(flags["-version"]); err == nil {
				_, err = kv.Rollback(t.Context(), path, n)
			}
		case "undelete":
			var n int
			if n, err = strconv.Atoi(flags["-versions"]); err == nil {
				err = kv.Undelete(t.Context(), path, []int{n})
			}
		case "delete":
			err = kv.Delete(t.Context(), path)
		case "put":
			key, value, _ := strings.Cut(rest[1], "=")
			_, err = kv.Put(t.Context(), path, content{key: value})
		default:
			err = fmt.Errorf("no command %q", args[1])
		}
		must(t, err)
		args = nil
	}
}

// Each hint is done by a person's hand, on a path that a shell would split.
func TestHints(t *testing.T) {
	s := baotest.Start(t)
	raw, store := s.API(t), s.Store(t)
	const path = "lakehouse/it's orders"
	read := func(want string, version int) {
		t.Helper()
		now, err := store.Read(t.Context(), path)
		if want == "" && errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil || now.Version != version || now.Data["KEY"] != want {
			t.Errorf("Read = version %d, %v, %v; want version %d with %q", now.Version, now.Data, err, version, want)
		}
	}
	does(t, raw, store.Fill(path))
	read("VALUE", 1)
	_, err := store.Write(t.Context(), path, content{"KEY": "two"}, 1)
	must(t, err)
	does(t, raw, store.BringBack(path, 1, secret.Kept))
	read("VALUE", 3)
	must(t, store.Delete(t.Context(), path, 2))
	does(t, raw, store.BringBack(path, 2, secret.Deleted))
	read("two", 4)
	does(t, raw, store.Remove(path))
	read("", 4)
}

// What the server keeps is read from its book, with what it will keep.
func TestBook(t *testing.T) {
	s := baotest.Start(t)
	raw, store := s.API(t), s.Store(t)
	kv := raw.KVv2(baotest.Mount)
	write := func(path string, times int) {
		t.Helper()
		for seen := range times {
			_, err := store.Write(t.Context(), path, content{"n": strconv.Itoa(seen)}, seen)
			must(t, err)
		}
	}
	book := func(path string, current, most int, states ...secret.State) {
		t.Helper()
		b, err := store.Book(t.Context(), path)
		must(t, err)
		if b.Current != current || b.Most != most {
			t.Errorf("Book of %s = %+v, want version %d of at most %d", path, b, current, most)
		}
		for i, want := range states {
			if got := b.State(i + 1); got != want {
				t.Errorf("Book of %s: version %d is %s, want %s", path, i+1, got, want)
			}
		}
	}
	must(t, kv.PutMetadata(t.Context(), "one", api.KVMetadataPutInput{MaxVersions: 1, CASRequired: true}))
	book("one", 0, 1, secret.Gone)
	write("one", 2)
	book("one", 2, 1, secret.Gone, secret.Kept, secret.Gone)
	write("usual", 4)
	must(t, kv.DeleteVersions(t.Context(), "usual", []int{1}))
	must(t, kv.Destroy(t.Context(), "usual", []int{2}))
	book("usual", 4, 10, secret.Deleted, secret.Destroyed, secret.Kept, secret.Kept)
	// What will be deleted one day is there until then.
	must(t, kv.PutMetadata(t.Context(), "later", api.KVMetadataPutInput{DeleteVersionAfter: 24 * time.Hour}))
	write("later", 1)
	book("later", 1, 10, secret.Kept)
	_, err := raw.Logical().WriteWithContext(t.Context(), baotest.Mount+"/config", map[string]any{"max_versions": 2})
	must(t, err)
	book("usual", 4, 2)
	must(t, raw.Sys().PutPolicyWithContext(t.Context(), "reader", `path "secret/metadata/*" { capabilities = ["read"] }`))
	token, err := raw.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"reader"}})
	must(t, err)
	if b, err := s.As(t, token.Auth.ClientToken).Book(t.Context(), "usual"); err != nil || b.Most != 0 {
		t.Errorf("Book for who may not read the mount's configuration = %+v, %v; want that it is not known how many are kept", b, err)
	}
}
