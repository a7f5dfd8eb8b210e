// Package load reads an estate from one strict YAML file or from a folder of
// them, and says where each mistake stands.
//
// A folder is read as if its *.yaml files, sorted by name, were one: lists such
// as groups are joined, so that each team may keep a file of its own. What is
// right by itself and wrong together is [estate.Estate.Validate]'s to find.
package load

import (
	"fmt"
	"os"
	"path/filepath"

	"breakwater/internal/estate"
	"breakwater/internal/mistake"
	"breakwater/internal/strictyaml"
)

// maxBytes bounds the size of one file: a hundred thousand tables take a tenth
// of it.
const maxBytes = 128 << 20

// File reads the estate at path, a file or a folder, and validates it. The
// estate is nil if there is any mistake. A path that cannot be read is a mistake
// at its beginning.
func File(path string) (*estate.Estate, []mistake.Mistake) {
	unreadable := func(err error) []mistake.Mistake {
		return []mistake.Mistake{{At: mistake.Position{File: path, Line: 1, Column: 1}, Text: fmt.Sprintf("the estate cannot be read: %v", err)}}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(err)
	}
	paths := []string{path}
	if info.IsDir() {
		paths, err = filepath.Glob(filepath.Join(globQuote(path), "*.yaml"))
		if err == nil && len(paths) == 0 {
			err = fmt.Errorf("the folder holds no *.yaml file")
		}
		if err != nil {
			return nil, unreadable(err)
		}
	}
	var parts []*strictyaml.Node
	var ms []mistake.Mistake
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, unreadable(err)
		}
		root, found := strictyaml.Parse(p, data, maxBytes)
		ms = append(ms, found...)
		if root != nil {
			parts = append(parts, root)
		}
	}
	if len(parts) < len(paths) {
		return nil, mistake.Sort(ms) // the missing part would be blamed on the others
	}
	root := parts[0]
	if info.IsDir() {
		var found []mistake.Mistake
		root, found = strictyaml.Merge("the estate", parts...)
		ms = append(ms, found...)
	}
	return decode(root, ms)
}

// Bytes reads an estate from the bytes of one file, as [File] does; the name is
// for positions.
func Bytes(data []byte, name string) (*estate.Estate, []mistake.Mistake) {
	root, ms := strictyaml.Parse(name, data, maxBytes)
	if root == nil {
		return nil, mistake.Sort(ms)
	}
	return decode(root, ms)
}

func decode(root *strictyaml.Node, ms []mistake.Mistake) (*estate.Estate, []mistake.Mistake) {
	var e estate.Estate
	form := strictyaml.Decode(root, &e)
	unread := map[mistake.Position]bool{}
	for _, m := range append(ms, form...) {
		unread[m.At] = true
	}
	ms = append(ms, form...)
	for _, p := range e.Validate() {
		at := root.Locate(p.At)
		if unread[at] {
			continue // what could not be read is not judged a second time
		}
		text := p.Text
		if p.First != "" {
			text += fmt.Sprintf(": it stands at %s already", root.Locate(p.First))
		}
		ms = append(ms, mistake.Mistake{At: at, Text: text})
	}
	if len(ms) > 0 {
		return nil, mistake.Sort(ms)
	}
	return &e, nil
}

// globQuote keeps a folder's own name from being read as a pattern.
func globQuote(path string) string {
	quoted := make([]rune, 0, len(path))
	for _, r := range path {
		switch r {
		case '*', '?', '[', '\\':
			quoted = append(quoted, '\\')
		}
		quoted = append(quoted, r)
	}
	return string(quoted)
}
