package lineage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Mention is something of the estate that a commit names as where its rows come from.
type Mention struct {
	Node
	Version *int64 // that it names beside; nil where it names none
}

// sources are the keys under which writers put a table by its name alone.
var sources = []string{"source", "sourceTable", "sourceTableName", "source_table", "sourceName"}

// versions are the keys under which they put the version that they read of it.
var versions = []string{"sourceVersion", "sourceTableVersion", "source_version", "versionAsOf", "readVersion", "tableVersion", "version"}

// Mentions finds what a commit's own words name of the estate, wherever it stands in
// them: by its address, or by a table's name under a key that means a source. The version
// is the one that stands beside it, or around it. A commit's own readVersion is of its
// own table, and means nothing here. Words that are no JSON name nothing.
func Mentions(words json.RawMessage, places Places, table func(name string) (Node, bool)) []Mention {
	d := json.NewDecoder(bytes.NewReader(words))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil
	}
	if top, ok := tree.(map[string]any); ok {
		delete(top, "readVersion")
		delete(top, "version")
	}
	m := mentions{places: places, table: table}
	m.walk("", tree, nil)
	slices.SortFunc(m.all, func(a, b Mention) int { return cmp.Or(a.Compare(b.Node), cmp.Compare(a.number(), b.number())) })
	return m.all
}

// number is the version, or -1.
func (m Mention) number() int64 {
	if m.Version == nil {
		return -1
	}
	return *m.Version
}

type mentions struct {
	places Places
	table  func(string) (Node, bool)
	all    []Mention
}

func (m *mentions) walk(key string, v any, version *int64) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range versions {
			if n := wholeNumber(v[k]); n != nil {
				version = n
				break
			}
		}
		for k, inner := range v {
			m.walk(k, inner, version)
		}
	case []any:
		for _, inner := range v {
			m.walk(key, inner, version)
		}
	case string:
		m.text(key, v, version)
	}
}

func wholeNumber(v any) *int64 {
	text := ""
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

func (m *mentions) text(key, text string, version *int64) {
	if inner := strings.TrimSpace(text); strings.HasPrefix(inner, "{") || strings.HasPrefix(inner, "[") {
		d := json.NewDecoder(strings.NewReader(inner))
		d.UseNumber()
		var tree any
		if d.Decode(&tree) == nil {
			m.walk(key, tree, version)
			return
		}
	}
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune("`'\"(),;<> \t\r\n", c) }) {
		scheme, rest, ok := strings.Cut(word, "://")
		if i := strings.LastIndexFunc(scheme, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }); i >= 0 {
			scheme = scheme[i+1:] // as in path=s3://…
		}
		if n, there := m.places.At("", scheme+"://"+rest); ok && there {
			m.add(n, version)
		}
	}
	if slices.Contains(sources, key) {
		name := strings.ReplaceAll(text, "`", "")
		for name != "" {
			if n, ok := m.table(name); ok {
				m.add(n, version)
				return
			}
			_, name, _ = strings.Cut(name, ".") // a catalog or a schema before it
		}
	}
}

func (m *mentions) add(n Node, version *int64) {
	one := Mention{n, version}
	if !slices.ContainsFunc(m.all, func(o Mention) bool { return o.Node == n && o.number() == one.number() }) {
		m.all = append(m.all, one)
	}
}
