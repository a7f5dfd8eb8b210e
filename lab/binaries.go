package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// BinEnv names the folder of the server binaries when they are not in the cache.
const BinEnv = "BREAKWATER_BIN"

// binaries finds the folder of the server binaries: $BREAKWATER_BIN, else
// .cache/bin in the working folder or the nearest folder above it.
func binaries() (string, error) {
	names := []string{"temporal-lab", "minio", "bao-lab"}
	complete := func(dir string) bool {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				return false
			}
		}
		return true
	}
	if dir := os.Getenv(BinEnv); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("%s is %s, which lacks one of %s: run make tools: %w", BinEnv, dir, strings.Join(names, ", "), fs.ErrNotExist)
		}
		return filepath.Abs(dir)
	}
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the laboratory's servers: %w", err)
	}
	for {
		if dir := filepath.Join(at, ".cache", "bin"); complete(dir) {
			return dir, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", fmt.Errorf("the laboratory's servers (%s) are not built: run make tools: %w", strings.Join(names, ", "), fs.ErrNotExist)
		}
		at = up
	}
}
