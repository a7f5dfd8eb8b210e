package shell_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/shell"
)

// A real shell must hand on the words that were meant.
func TestCommand(t *testing.T) {
	words := []string{
		"plain", "RegionalFailover-lab-20261121-031205", "a=b", "-mount=secret", `drill of "march" 1`, "it's", "''", "", "$HOME", "`id`", "a\\b", "a;b", "a&b", "*", "~",
		"münchen", "a\nb", "!x", "#x", "(x)", "a\tb", "-", "x'\"y",
	}
	said, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '%s\\0' "+shell.Command(words...)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(said), "\x00"), "\x00"); !slices.Equal(got, words) {
		t.Errorf("a shell reads %q, want %q", got, words)
	}
	if got := shell.Command("breakwater", "watch", "run-1", "id@sha256:ab,c/d.e%f+g"); got != "breakwater watch run-1 id@sha256:ab,c/d.e%f+g" {
		t.Errorf("plain words are quoted: %s", got)
	}
}
