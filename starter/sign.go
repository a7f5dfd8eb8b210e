package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"breakwater/internal/estate"
	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// signer finds the key to sign with and the member whose key it is. The path is
// that of a private key, or of a public one whose private half is in the agent;
// without a path, the agent's first key that the role knows. as, if given, is
// the member that it must be.
func signer(ctx context.Context, path, as string, role estate.Role) (ssh.Signer, string, error) {
	if _, is := role.Member(as); as != "" && !is {
		return nil, "", wrong(errRefused, "", "%s", role.NoMember(as))
	}
	candidates, err := keys(ctx, path)
	if err != nil {
		return nil, "", err
	}
	var seen []string
	for _, c := range candidates {
		public := sshsig.Public(c)
		seen = append(seen, public.Fingerprint())
		for _, m := range role.Members {
			if k, err := sshsig.ParseKey(m.Key); err == nil && k.Equal(public) && (as == "" || estate.SameName(as, m.Name)) {
				return c, m.Name, nil
			}
		}
	}
	whose := "any member of role " + role.Role + " (" + members(role) + ")"
	if as != "" {
		whose = as
	}
	return nil, "", wrong(errRefused, "", "sign as a member of role %s: key %s is not the key of %s in the estate", role.Role, strings.Join(seen, ", "), whose)
}

func members(r estate.Role) string {
	var names []string
	for _, m := range r.Members {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

// keys are the keys that a path leads to, or those of the agent.
func keys(ctx context.Context, path string) ([]ssh.Signer, error) {
	if path == "" {
		all, err := agentKeys(ctx)
		if err != nil || len(all) == 0 {
			return nil, wrong(errUsage, "breakwater approve RUN --key ~/.ssh/id_ed25519", "with which key? Give --key FILE, or add a key to the agent (%w)", errors.Join(err, errNoKey))
		}
		return all, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, wrong(errUsage, "", "read the key: %w", err)
	}
	private, err := ssh.ParsePrivateKey(text)
	if err == nil {
		return []ssh.Signer{private}, nil
	}
	var locked *ssh.PassphraseMissingError
	var public ssh.PublicKey
	if errors.As(err, &locked) {
		public = locked.PublicKey
		if public == nil { // an old format keeps it in a file of its own
			if text, err = os.ReadFile(path + ".pub"); err != nil {
				return nil, wrong(errUsage, "ssh-add "+path, "read the key %s: it has a passphrase; put it into the agent", path)
			}
		}
	}
	if public == nil {
		if public, _, _, _, err = ssh.ParseAuthorizedKey(text); err != nil {
			return nil, wrong(errUsage, "", "read the key %s: it is neither an OpenSSH private key nor a public one", path)
		}
	}
	all, err := agentKeys(ctx)
	for _, k := range all {
		if string(k.PublicKey().Marshal()) == string(public.Marshal()) {
			return []ssh.Signer{k}, nil
		}
	}
	return nil, wrong(errUsage, "ssh-add "+strings.TrimSuffix(path, ".pub"), "the key %s needs the agent, and is not in it (%w)", path, errors.Join(err, errNoKey))
}

var errNoKey = errors.New("the agent has no such key")

// agentKeys lists the keys of the SSH agent. The connection lives as long as the
// process: signing goes through it.
func agentKeys(ctx context.Context) ([]ssh.Signer, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, errors.New("no agent runs: SSH_AUTH_SOCK is not set")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reach the agent at %s: %w", socket, err)
	}
	return agent.NewClient(conn).Signers()
}
