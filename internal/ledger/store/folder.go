package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// Folder keeps ledgers in a folder of a file system that has hard links. Keys
// are paths; nothing outside the folder is reachable through them, not by ".."
// and not by a symbolic link. A write is whole or not there, also after a crash.
// Names that begin with a dot are its own.
type Folder struct {
	root  *os.Root
	mutex *lockedfile.Mutex // for Swap, across processes
}

var _ Store = (*Folder)(nil)

// OpenFolder opens a folder that exists.
func OpenFolder(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open ledger folder: %w", err)
	}
	return &Folder{root, lockedfile.MutexAt(filepath.Join(dir, ".swap"))}, nil
}

// Close lets go of the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Get is that of ledger.Reader.
func (f *Folder) Get(_ context.Context, key string) ([]byte, error) {
	if err := proper(key); err != nil {
		return nil, err
	}
	data, err := f.root.ReadFile(key)
	if err != nil {
		return nil, fmt.Errorf("read %s from ledger folder %s: %w", key, f.root.Name(), err)
	}
	return data, nil
}

// List is that of ledger.Reader. It reads the names into memory first: the
// order of a walk is not the order of the keys.
func (f *Folder) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		start, _ := path.Split(prefix)
		if start = path.Clean(start); !fs.ValidPath(start) {
			yield("", fmt.Errorf("list ledger folder %s: %q is no prefix of keys", f.root.Name(), prefix))
			return
		}
		var keys []string
		err := fs.WalkDir(f.root.FS(), start, func(name string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist) && name == start:
				return nil // no such keys yet
			case err != nil:
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case !d.IsDir() && !strings.HasPrefix(d.Name(), ".") && strings.HasPrefix(name, prefix):
				keys = append(keys, name)
			}
			return nil
		})
		if err != nil {
			yield("", fmt.Errorf("list ledger folder %s: %w", f.root.Name(), err))
			return
		}
		slices.Sort(keys)
		for _, key := range keys {
			if !yield(key, nil) {
				return
			}
		}
	}
}

// PutIfAbsent is that of [Store]: a hard link to a file that is already whole.
func (f *Folder) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	err := f.write(key, data, f.root.Link)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	there, readErr := f.Get(ctx, key)
	switch {
	case readErr != nil:
		return readErr
	case bytes.Equal(there, data):
		return nil
	}
	return err
}

// Swap is that of [Store], under a lock of the whole folder.
func (f *Folder) Swap(ctx context.Context, key string, old, fresh []byte) error {
	unlock, err := f.mutex.Lock()
	if err != nil {
		return fmt.Errorf("lock ledger folder %s: %w", f.root.Name(), err)
	}
	defer unlock()
	there, err := f.Get(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		there = nil
	case err != nil:
		return err
	case bytes.Equal(there, fresh):
		return nil
	}
	if (there == nil) != (old == nil) || !bytes.Equal(there, old) {
		return fmt.Errorf("replace %s in ledger folder %s: %w", key, f.root.Name(), ErrMoved)
	}
	return f.write(key, fresh, f.root.Rename)
}

// write makes a whole and durable file, and lets place give it its name.
func (f *Folder) write(key string, data []byte, place func(from, to string) error) (err error) {
	if err := proper(key); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s to ledger folder %s: %w", key, f.root.Name(), err)
		}
	}()
	dir := path.Dir(key)
	if err := f.root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp := path.Join(dir, ".new-"+rand.Text())
	file, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = place(temp, key)
	}
	if gone := f.root.Remove(temp); gone != nil && !errors.Is(gone, fs.ErrNotExist) { // a rename took it
		err = errors.Join(err, gone)
	}
	if err != nil {
		return err
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// proper refuses what is not a key, before the file system makes a path of it.
func proper(key string) error {
	if !fs.ValidPath(key) || key == "." || strings.HasPrefix(key, ".") || strings.Contains(key, "/.") || strings.Contains(key, `\`) {
		return fmt.Errorf("%q is no key of a ledger", key)
	}
	return nil
}
