package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/temporal"
)

// TestPartsOfAPlan: an action reads back the part that it kept, and one that is another
// is refused for good, by its key.
func TestPartsOfAPlan(t *testing.T) {
	dir := t.TempDir()
	folder, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close() //nolint:errcheck // the test is over
	run := ledger.Run{Workflow: "w", FirstRun: "f"}
	p := parts{&batch{ledger: folder, run: run}}
	digest, err := p.Put(t.Context(), []byte("some lines"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Get(t.Context(), digest); err != nil || string(got) != "some lines" {
		t.Errorf("it reads %q, %v", got, err)
	}
	file := filepath.Join(dir, filepath.FromSlash(ledger.PartKey(run, digest)))
	if err := os.WriteFile(file, []byte("somebody's lines"), 0o600); err != nil {
		t.Fatal(err)
	}
	for doing, do := range map[string]func() error{
		"read": func() error { _, err := p.Get(t.Context(), digest); return err },
		"keep": func() error { _, err := p.Put(t.Context(), []byte("some lines")); return err },
	} {
		var final *temporal.ApplicationError
		if err := classify(do()); !errors.As(err, &final) || !final.NonRetryable() || final.Type() != wire.ErrTypeRefused {
			t.Errorf("%s a part that was changed: %v; want a refusal for good", doing, err)
		}
	}
}
