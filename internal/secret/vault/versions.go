package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"breakwater/internal/reach"
	"breakwater/internal/secret"
	"breakwater/internal/shell"
)

// versioned is nil if the mount is one of a KV version 2 engine. Every token that may do
// anything in a mount may ask for this: the server's own command line does.
func (s *Store) versioned(ctx context.Context) error {
	res, err := s.client.api.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+s.mount)
	var r *api.ResponseError
	switch {
	case errors.As(err, &r) && r.StatusCode == http.StatusForbidden:
		// Who may ask for a secret, and not for its mount, asks for a mount that is none.
		return s.misfit("there is no mount " + s.mount + " where the token may do anything; correct the estate's mount")
	case err != nil:
		return err
	case res == nil, res.Data["type"] == nil:
		return s.misfit("the server knows nothing of mounts; is it a Vault?")
	}
	kind, _ := res.Data["type"].(string)
	at, _ := res.Data["path"].(string)
	options, _ := res.Data["options"].(map[string]any)
	version, _ := options["version"].(string)
	switch {
	case at != s.mount+"/":
		return s.misfit(fmt.Sprintf("the mount there is %s; correct the estate's mount, and the paths of its secrets", at))
	case kind != "kv" && kind != "generic":
		return s.misfit(fmt.Sprintf("%s is a mount of kind %s, and no KV version 2; correct the estate's mount", s.mount, kind))
	case version != "2":
		return s.misfit(fmt.Sprintf("%s is a mount of KV version 1, which keeps no versions: nothing there can be written by check-and-set, nor taken back; "+
			"use a mount of KV version 2, or make it one: %s", s.mount, shell.Command("vault", "kv", "enable-versioning", s.mount)))
	}
	return nil
}

// misfit is an answer by which the server shows that the estate is wrong about it.
func (s *Store) misfit(text string) error {
	return &refusal{text: "misconfigured: " + text, kinds: []error{secret.ErrMount, reach.ErrMisconfigured}}
}

// Version reads a version by its number.
func (s *Store) Version(ctx context.Context, path string, version int) (secret.Secret, error) {
	n := strconv.Itoa(version)
	return s.read(ctx, "read version "+n+" of", path, map[string][]string{"version": {n}})
}

// mostKept is how many versions a KV engine keeps unless it was told otherwise.
const mostKept = 10

// skew is how far the server's clock may be ahead of ours.
const skew = time.Minute

// Book reads the secret's metadata, which the token must be allowed to.
func (s *Store) Book(ctx context.Context, path string) (secret.Book, error) {
	m, err := s.client.api.KVv2(s.mount).GetMetadata(ctx, path)
	none := errors.Is(err, api.ErrSecretNotFound)
	if none || err == nil && m.CurrentVersion == 0 {
		err = s.versioned(ctx) // another kind of mount, or of server, has no book at all
	}
	if err != nil {
		return secret.Book{}, s.fail(ctx, "read the metadata of", path, err)
	}
	if none {
		return secret.Book{}, nil
	}
	b := secret.Book{Current: m.CurrentVersion, Most: m.MaxVersions, States: map[int]secret.State{}}
	for _, v := range m.Versions {
		switch {
		case v.Destroyed:
			b.States[v.Version] = secret.Destroyed
		case !v.DeletionTime.IsZero() && time.Until(v.DeletionTime) < skew: // a later one is planned, by delete_version_after
			b.States[v.Version] = secret.Deleted
		default:
			b.States[v.Version] = secret.Kept
		}
	}
	if b.Most == 0 {
		b.Most = s.mostKept(ctx)
	}
	return b, nil
}

// mostKept is what the mount says of all its secrets; 0 where the token may not know.
func (s *Store) mostKept(ctx context.Context) int {
	res, err := s.client.api.Logical().ReadWithContext(ctx, s.mount+"/config")
	if err != nil || res == nil {
		return 0
	}
	number, _ := res.Data["max_versions"].(interface{ Int64() (int64, error) })
	if number == nil {
		return 0
	}
	n, err := number.Int64()
	switch {
	case err != nil:
		return 0
	case n == 0:
		return mostKept
	}
	return int(n)
}

// Delete deletes one version by its number. The server's other way, which deletes the
// newest one, would take somebody else's.
func (s *Store) Delete(ctx context.Context, path string, version int) error {
	if err := s.client.api.KVv2(s.mount).DeleteVersions(ctx, path, []int{version}); err != nil {
		return s.fail(ctx, "delete version "+strconv.Itoa(version)+" of", path, err)
	}
	return nil
}

// MayDelete asks the server for the token's capabilities.
func (s *Store) MayDelete(ctx context.Context, path string) error {
	at := s.mount + "/delete/" + path
	// A list, since the server would split a text with a comma in it.
	res, err := s.client.api.Logical().WriteWithContext(ctx, "sys/capabilities-self", map[string]any{"paths": []string{at}})
	if r := (*api.ResponseError)(nil); errors.As(err, &r) || err == nil && (res == nil || res.Data[at] == nil) { // it does not tell
		return nil
	}
	if err != nil {
		return s.fail(ctx, "ask who may delete", path, err)
	}
	if can := fmt.Sprint(res.Data[at]); strings.Contains(can, "update") || strings.Contains(can, "root") {
		return nil
	}
	return s.fail(ctx, "delete a version of", path, &refusal{
		text: fmt.Sprintf("the token may not: its policy has no capability update at %s", at), kinds: []error{fs.ErrPermission},
	})
}

// BringBack is the command that writes an older version as a new one.
func (s *Store) BringBack(path string, version int, is secret.State) string {
	n := strconv.Itoa(version)
	back := shell.Command("vault", "kv", "rollback", "-mount="+s.mount, "-version="+n, path)
	if is == secret.Deleted {
		return shell.Command("vault", "kv", "undelete", "-mount="+s.mount, "-versions="+n, path) + " && " + back
	}
	return back
}

// Remove is the command that deletes the current version.
func (s *Store) Remove(path string) string {
	return shell.Command("vault", "kv", "delete", "-mount="+s.mount, path)
}

// Fill is the command that writes a new version.
func (s *Store) Fill(path string) string {
	return shell.Command("vault", "kv", "put", "-mount="+s.mount, path) + " KEY=VALUE"
}
