package main

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

// What a scratch file was given it gives back, and it leaves nothing behind.
func TestScratch(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s, err := scratch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("rows of a version")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := s.ReadAt(got, 10); err != nil || string(got) != "version" {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	t.Setenv("TMPDIR", dir+"/nowhere")
	if _, err := scratch(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
}
