package main

import (
	"path/filepath"
	"testing"

	"breakwater/internal/delta/deltatest"
)

// unpackTables writes the tables of the fixtures as files.
func unpackTables(t testing.TB, dir string) {
	t.Helper()
	s, err := deltatest.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range s.Keys("") {
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, key), body, 0o644)
	}
}
