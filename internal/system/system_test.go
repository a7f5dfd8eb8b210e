package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file under another name than its estate's would be found by neither.
func TestLoadByName(t *testing.T) {
	text, err := os.ReadFile("../estate/load/testdata/every.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := &Systems{Folder: t.TempDir()}
	for _, name := range []string{"example", "other"} {
		if err := os.WriteFile(filepath.Join(s.Folder, name+".yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := s.Load(t.Context(), "example"); err != nil || e.Estate != "example" {
		t.Errorf("Load = %v, %v", e, err)
	}
	if _, err := s.Load(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), `names itself estate "example": rename the file or the estate`) {
		t.Errorf("Load of another's file = %v", err)
	}
}
