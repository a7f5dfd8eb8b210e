package server

import (
	"fmt"
	"os"
	"path/filepath"
)

// BinEnv names the folder of the servers' binaries when they are not in the cache.
const BinEnv = "BREAKWATER_BIN"

// Binary is the path of a server's binary, in the folder that [BinEnv] names, or in
// .cache/bin of the working folder or the nearest folder above it; `make tools`
// builds it. A missing one wraps fs.ErrNotExist and says how to get it.
func Binary(name string) (string, error) {
	if dir := os.Getenv(BinEnv); dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("find the server %s: %w", name, err)
		}
		return found(filepath.Join(dir, name))
	}
	return above(filepath.Join(".cache", "bin", name))
}

// above is the path of a file of the cache, which is looked for in the working
// folder and in those above it.
func above(file string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", file, err)
	}
	for {
		path, err := found(filepath.Join(dir, file))
		if err == nil || dir == filepath.Dir(dir) {
			return path, err
		}
		dir = filepath.Dir(dir)
	}
}

func found(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find the server %s: %w; run make tools", filepath.Base(path), err)
	}
	return path, nil
}
