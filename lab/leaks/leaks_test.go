package leaks

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/poll"
)

const shy = `s3cr3t/with+odd="signs"&more`

func search(t *testing.T) *Search {
	t.Helper()
	s, err := New([]Secret{{Name: "the password", Text: shy}, {Name: "the token", Text: "hvs.CAESIJ0123456789"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEveryForm looks for a secret in whatever it may stand in.
func TestEveryForm(t *testing.T) {
	s := search(t)
	quoted, err := json.Marshal(map[string]string{"password": shy})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"as it is": "user:" + shy + "@host", "escaped for a URL": "?p=" + url.QueryEscape(shy), "escaped for JSON": string(quoted),
		"in hex": hex.EncodeToString([]byte("x" + shy + "x")), "escaped for HTML": "<td>s3cr3t/with+odd=&#34;signs&#34;&amp;more</td>",
	}
	for form, text := range texts {
		found := s.In("log", "a.log", []byte(text))
		if len(found) != 1 || found[0] != (Finding{"the password", "log", "a.log", form}) {
			t.Errorf("%s: found %v", form, found)
		}
		if strings.Contains(found[0].String(), shy) {
			t.Errorf("a finding shows what it found: %s", found[0])
		}
	}
	for before := range 7 {
		for after := range 4 {
			text := strings.Repeat("b", before) + shy + strings.Repeat("a", after)
			for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
				if found := s.In("log", "a.log", []byte(e.EncodeToString([]byte(text)))); len(found) != 1 || found[0].Form != "in base64" {
					t.Errorf("%d characters before and %d after: found %v", before, after, found)
				}
			}
		}
	}
	for _, text := range []string{"", "s3cr3t", shy[1:], strings.ToUpper(shy), "hvs.CAESIJ012345678"} {
		if found := s.In("log", "a.log", []byte(text)); len(found) > 0 {
			t.Errorf("%q: found %v", text, found)
		}
	}
	if found := s.In("log", "a.log", []byte(shy+" hvs.CAESIJ0123456789 "+shy)); len(found) != 2 {
		t.Errorf("of two secrets in one text %v were found", found)
	}
}

func TestWhatCannotBeLookedFor(t *testing.T) {
	for _, secrets := range [][]Secret{nil, {{Name: "a pin", Text: "1234"}}} {
		if _, err := New(secrets); err == nil || strings.Contains(err.Error(), "1234") {
			t.Errorf("New(%d secrets) = %v", len(secrets), err)
		}
	}
}

func TestFiles(t *testing.T) {
	s, dir := search(t), t.TempDir()
	for name, text := range map[string]string{"a/b.log": "x " + shy, "a/c.txt": shy, "d.log": "nothing"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, read, err := s.Files("log", dir, func(path string) bool { return strings.HasSuffix(path, ".log") })
	if err != nil || read != 2 || len(found) != 1 || found[0].Where != filepath.Join(dir, "a/b.log") {
		t.Errorf("found %v in %d files, %v", found, read, err)
	}
	if _, _, err := s.Files("log", filepath.Join(dir, "gone"), nil); err == nil {
		t.Error("a folder that is not there has no secrets")
	}
}

// TestProcesses: what processes show of themselves is seen, but for the one that may.
func TestProcesses(t *testing.T) {
	s, err := New([]Secret{{Name: "the password", Text: shy}, {Name: "the root", Text: "the password of the server", Env: "server"}})
	if err != nil {
		t.Fatal(err)
	}
	start := func(env string, args ...string) int {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "cat", args...)
		in, err := cmd.StdinPipe() // it lives until this is closed
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = []string{env}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			cmd.Wait() //nolint:errcheck // how it ended does not matter
		})
		return cmd.Process.Pid
	}
	own := start("ROOT=the password of the server")
	p := s.Watch(t.Context(), func(pid int) string {
		if pid == own {
			return "server"
		}
		return ""
	})
	start("PASSWORD="+shy, "-")
	start("NONE=", "-", "--", "-", "/dev/stdin", "/proc/self/"+url.PathEscape(shy))
	start("ROOT=the password of the server", "-", "-")
	var found []Finding
	err = poll.Until(t.Context(), often, func(ctx context.Context) (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		found = slices.Clone(p.found)
		return len(found) >= 3, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found, looked, err := p.Stop()
	if err != nil || len(found) != 3 || looked < 4 {
		t.Errorf("found %v at %d processes, %v", found, looked, err)
	}
	for _, place := range []string{"arguments", "environment"} {
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Place == place && f.Secret == "the password" }) {
			t.Errorf("nothing was found in the %s of a process: %v", place, found)
		}
	}
}
