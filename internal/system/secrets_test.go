package system

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"breakwater/internal/estate"
	"breakwater/lab/server/baotest"
)

// The estate's mount is bound to the store that it opens; a reference names its own.
func TestSecrets(t *testing.T) {
	server := baotest.Start(t)
	s := &Systems{Folder: t.TempDir()}
	if err := os.WriteFile(filepath.Join(s.Folder, "token"), []byte(server.RootToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &estate.Estate{Estate: "lab", Regions: []estate.Region{
		{Region: "east", Vault: &estate.Vault{Address: server.Address, Credentials: "file:token", Mount: "recovery", Sentinel: "sentinel"}},
		{Region: "west"},
	}}
	store, err := s.Secrets(t.Context(), e, "east")
	if err != nil {
		t.Fatal(err)
	}
	if got := store.Name("sentinel"); got != "recovery/sentinel" {
		t.Errorf("the sentinel is %s", got)
	}
	if _, err := server.Store(t).Write(t.Context(), "east/kafka", map[string]any{"username": "recovery", "password": "p"}, 0); err != nil {
		t.Fatal(err)
	}
	v, err := s.Credentials(t.Context(), e, "east", "vault:secret/east/kafka", "the kafka of east")
	if err != nil {
		t.Fatal(err)
	}
	if name, err := v.Text("username"); err != nil || name != "recovery" {
		t.Errorf("username is %q, %v", name, err)
	}
	_, err = s.Credentials(t.Context(), e, "east", "vault:secret/east/gone", "the kafka of east")
	want := "credential vault:secret/east/gone for the kafka of east: read secret/east/gone at " + server.Address +
		": file does not exist: there is no such secret; write it there, or correct the reference in the estate"
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != want {
		t.Errorf("Credentials = %v, want %s", err, want)
	}
	_, err = s.Secrets(t.Context(), e, "west")
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "region west has no vault in estate lab: file does not exist" {
		t.Errorf("Secrets of a region without any = %v", err)
	}
}
