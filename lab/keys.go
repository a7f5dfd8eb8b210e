package lab

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

const workerKey = "worker"

// makeKeys makes an SSH key for every person and for the worker, once.
func (l *Lab) makeKeys() error {
	names := []string{workerKey}
	for _, r := range people() {
		names = append(names, r.members...)
	}
	for _, name := range names {
		if _, err := os.Stat(l.Key(name)); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for the key of %s: %w", name, err)
		}
		if err := makeKey(l.Key(name), name+"@lab"); err != nil {
			return fmt.Errorf("make the key of %s: %w", name, err)
		}
	}
	return nil
}

// makeKey writes an ed25519 key pair as ssh-keygen does, without a passphrase.
func makeKey(path, comment string) error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " " + comment + "\n"
	if err := replace(path+".pub", []byte(line), 0o644); err != nil {
		return err
	}
	return replace(path, pem.EncodeToMemory(block), 0o600)
}

// publicKey is the authorized_keys line of a person.
func (l *Lab) publicKey(name string) (string, error) {
	text, err := os.ReadFile(l.Key(name) + ".pub")
	if err != nil {
		return "", fmt.Errorf("read the public key of %s: %w", name, err)
	}
	return strings.TrimSpace(string(text)), nil
}
