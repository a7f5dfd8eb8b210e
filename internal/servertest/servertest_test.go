package servertest

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBinary(t *testing.T) {
	root := t.TempDir()
	bin, below := filepath.Join(root, ".cache", "bin"), filepath.Join(root, "a", "b")
	for _, dir := range []string{bin, below} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "server"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BREAKWATER_BIN", "")
	t.Chdir(below)
	if got, err := Binary("server"); err != nil || !strings.HasSuffix(got, "/.cache/bin/server") {
		t.Errorf("Binary = %s, %v; want the one two folders up", got, err)
	}
	if _, err := Binary("another"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make tools") {
		t.Errorf("Binary of what is not there = %v", err)
	}
	t.Setenv("BREAKWATER_BIN", below)
	if _, err := Binary("server"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Binary = %v; the folder that BREAKWATER_BIN names has none", err)
	}
}

func TestRunSaysWhyAServerEnded(t *testing.T) {
	p := &Process{Bin: "/bin/sh", Args: []string{"-c", "echo no room; exit 1"}, Ready: func(context.Context) error { return fs.ErrNotExist }}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("Run = %v, want what the server said", err)
	}
}

func TestOnFreePorts(t *testing.T) {
	tries := 0
	err := OnFreePorts(t.Context(), 3, func(first int) error {
		if tries++; tries == 1 {
			return fs.ErrExist // taken meanwhile
		}
		for p := first; p < first+3; p++ {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", Address(p))
			if err != nil {
				return err
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	})
	if err != nil || tries != 2 {
		t.Errorf("%d tries, %v", tries, err)
	}
}
