package sshsig_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
)

const namespace = "breakwater-test"

var message = []byte("approve the fence\n")

func signer(t *testing.T, n byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t *testing.T, s ssh.Signer, namespace string) string {
	t.Helper()
	sig, err := sshsig.Sign(s, namespace, message)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestVerify(t *testing.T) {
	one, two := signer(t, 1), signer(t, 2)
	good := sign(t, one, namespace)
	body := strings.Split(strings.TrimSpace(good), "\n")
	trusted := []sshsig.Key{sshsig.Public(two), sshsig.Public(one)}
	for name, tc := range map[string]struct {
		sig  string
		want error
	}{
		"good":                {good, nil},
		"in one line":         {strings.ReplaceAll(good, "\n", ""), nil},
		"spaces for newlines": {strings.ReplaceAll(good, "\n", " "), nil},
		"newlines spelt out":  {strings.ReplaceAll(good, "\n", `\n`), nil},
		"carriage returns":    {strings.ReplaceAll(good, "\n", "\r\n"), nil},
		"words around it":     {"here: " + good + "thanks", nil},
		"other namespace":     {sign(t, one, "breakwater-other"), sshsig.ErrInvalid},
		"a stranger's":        {sign(t, signer(t, 3), namespace), sshsig.ErrUnknownSigner},
		"empty":               {"", sshsig.ErrMalformed},
		"cut off":             {good[:len(good)/2], sshsig.ErrMalformed},
		"a line missing":      {strings.Join(append(body[:1:1], body[2:]...), "\n"), sshsig.ErrMalformed},
		"not base64":          {body[0] + "\n!!!\n" + body[len(body)-1], sshsig.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := sshsig.Verify(tc.sig, namespace, message, trusted)
			if !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
				t.Fatalf("error is %v, want %v", err, tc.want)
			}
			if err == nil && !key.Equal(sshsig.Public(one)) {
				t.Errorf("signed by %s", key)
			}
		})
	}
	if _, err := sshsig.Verify(good, namespace, []byte("approve all"), trusted); !errors.Is(err, sshsig.ErrInvalid) {
		t.Errorf("a signature of another text: %v", err)
	}
	if _, err := sshsig.Verify(good, namespace, message, nil); !errors.Is(err, sshsig.ErrUnknownSigner) {
		t.Errorf("nobody is trusted: %v", err)
	}
}

func TestParseKey(t *testing.T) {
	line := sshsig.Public(signer(t, 1)).String()
	for _, good := range []string{line, line + " alice@laptop", "  " + line + "\n"} {
		if key, err := sshsig.ParseKey(good); err != nil || key.String() != line {
			t.Errorf("%q is read as %s, %v", good, key, err)
		}
	}
	for _, bad := range []string{"", "ssh-ed25519", "ssh-ed25519 AAAA", "alice " + line[:20], `no-pty ` + line, line + "\n" + line} {
		if key, err := sshsig.ParseKey(bad); err == nil {
			t.Errorf("%q is read as %s", bad, key)
		}
	}
	if (sshsig.Key{}).Equal(sshsig.Key{}) {
		t.Error("no key equals no key")
	}
}

// keygen runs the real ssh-keygen.
func keygen(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Fatal("this test needs ssh-keygen (OpenSSH 8.2 or later) on the PATH: signatures are made with it")
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
	return out
}

// Both sides accept what the other signed, for each type of key.
func TestAgreesWithOpenSSH(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "key")
			keygen(t, nil, "-q", "-t", kind, "-N", "", "-C", "alice@laptop", "-f", path)
			public, err := os.ReadFile(path + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			key, err := sshsig.ParseKey(string(public))
			if err != nil {
				t.Fatal(err)
			}
			if out := keygen(t, nil, "-l", "-f", path); !strings.Contains(string(out), key.Fingerprint()) {
				t.Errorf("ssh-keygen -l says %s, Fingerprint %s", out, key.Fingerprint())
			}

			text := filepath.Join(dir, "text")
			if err := os.WriteFile(text, message, 0o600); err != nil {
				t.Fatal(err)
			}
			keygen(t, nil, "-Y", "sign", "-q", "-f", path, "-n", namespace, text)
			theirs, err := os.ReadFile(text + ".sig")
			if err != nil {
				t.Fatal(err)
			}
			if by, err := sshsig.Verify(string(theirs), namespace, message, []sshsig.Key{key}); err != nil || !by.Equal(key) {
				t.Errorf("ssh-keygen's signature: %v", err)
			}

			private, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			own, err := ssh.ParsePrivateKey(private)
			if err != nil {
				t.Fatal(err)
			}
			allowed, sig := filepath.Join(dir, "allowed_signers"), filepath.Join(dir, "ours.sig")
			if err := os.WriteFile(allowed, fmt.Appendf(nil, "alice namespaces=%q %s\n", namespace, key), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(sig, []byte(sign(t, own, namespace)), 0o600); err != nil {
				t.Fatal(err)
			}
			keygen(t, message, "-Y", "verify", "-f", allowed, "-I", "alice", "-n", namespace, "-s", sig)
		})
	}
}
