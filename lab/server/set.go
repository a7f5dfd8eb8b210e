package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SetEnv names the folder of a set of servers that the tests of all packages share.
// The command lab/cmd/breakwater-tests starts one; without it a test starts its own.
//
// What is in the folder says where the servers are, and not the variable itself: so
// the variable has the same value in every run, and go test knows that it has run a
// package before.
const SetEnv = "BREAKWATER_TEST_SERVERS"

// Hand writes what tests need to know about one part of the set in a folder.
func Hand(set, part string, from any) error {
	text, err := json.Marshal(from)
	if err == nil {
		err = os.WriteFile(partFile(set, part), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("hand on %s: %w", part, err)
	}
	return nil
}

// Handed reads what was handed on about a part of the set, and reports whether
// anything was.
func Handed(part string, into any) (bool, error) {
	set := os.Getenv(SetEnv)
	if set == "" {
		return false, nil
	}
	text, err := os.ReadFile(partFile(set, part))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return false, fmt.Errorf("read what %s hands on about %s: %w", SetEnv, part, err)
	}
	return true, nil
}

func partFile(set, part string) string { return filepath.Join(set, part+".json") }
