// Package strictyaml reads YAML files that people write and recovery depends on.
// It is the one package that knows the YAML library.
//
// YAML guesses, and a guess in a recovery file is a wrong region at three in the
// morning. So this reader takes a small part of YAML and refuses the rest with a
// position and a sentence: anchors, aliases, merge keys and tags, a second
// document, a key given twice or not known, numbers with leading zeros (010 is
// eight in YAML 1.1), numbers where a text is meant, tabs, control characters
// and bytes that are not UTF-8. It reports every mistake and not the first alone.
// Only where the text is no YAML at all does it stop there, since what follows a
// broken bracket means nothing.
//
// Hostile files cost bounded time and memory: size and depth are limited, and
// without aliases nothing expands.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"breakwater/internal/clip"
	"breakwater/internal/mistake"
	"breakwater/internal/plural"
)

// maxDepth is how deep lists and maps may nest. The deepest honest file uses ten
// levels.
const maxDepth = 24

// Kind is what a [Node] is.
type Kind int

// The kinds of node.
const (
	Scalar Kind = iota
	List
	Map
)

// Node is a part of a file, with its place. Its zero value is an empty scalar.
type Node struct {
	At      mistake.Position
	Kind    Kind
	Items   []*Node // of a List
	Entries []Entry // of a Map, in file order

	text  string // of a Scalar, unescaped
	tag   string // what YAML takes the scalar for: "!!str", "!!int", …
	plain bool   // written without quotes and not as a block
	label string // how messages name the part
}

// Entry is one key of a map with its value.
type Entry struct {
	Key   string
	At    mistake.Position
	Value *Node
}

// Get returns the entry of that key.
func (n *Node) Get(key string) (Entry, bool) {
	for _, e := range n.Entries {
		if e.Key == key {
			return e, true
		}
	}
	return Entry{}, false
}

// Parse reads the one document of a file. The name is for positions; maxBytes
// bounds the size. The node is nil where the text is not YAML or not one map;
// where it is not nil, it may be decoded although there are mistakes.
func Parse(name string, data []byte, maxBytes int) (*Node, []mistake.Mistake) {
	p := &parser{file: name}
	if len(data) > maxBytes {
		p.bad(1, 1, "the file has %s: at most %d are read", plural.Of(len(data), "byte"), maxBytes)
		return nil, p.mistakes
	}
	if p.characters(data); len(p.mistakes) > 0 {
		return nil, p.mistakes
	}
	var docs []yaml.Node
	err := yaml.Load(data, &docs, yaml.WithAllDocuments(), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(2*maxDepth))))
	if err != nil {
		p.syntax(data, err)
		return nil, p.mistakes
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 || isNull(docs[0].Content[0]) {
		p.bad(1, 1, "the file is empty")
		return nil, p.mistakes
	}
	root := p.convert(docs[0].Content[0], "the file", 0)
	for _, d := range docs[1:] {
		p.bad(d.Line, d.Column, "a second document starts here: a file holds one, so remove the --- line or split the file")
	}
	if root.Kind != Map {
		p.bad(root.At.Line, root.At.Column, "the file must be a map of keys to values, found %s", root.describe())
		return nil, p.mistakes
	}
	p.clamp(data)
	return root, p.mistakes
}

// Merge makes one map of the maps of several files: a list that stands in more
// than one is joined in the order of the files, anything else may stand in one
// alone. Places stay those of the files.
func Merge(label string, roots ...*Node) (*Node, []mistake.Mistake) {
	d := &decoder{}
	merged := &Node{Kind: Map, label: label}
	index := map[string]int{}
	for _, root := range roots {
		if merged.At.IsZero() {
			merged.At = root.At
		}
		for _, e := range root.Entries {
			i, twice := index[e.Key]
			if !twice {
				index[e.Key] = len(merged.Entries)
				merged.Entries = append(merged.Entries, e)
				continue
			}
			first := &merged.Entries[i]
			if first.Value.Kind != List || e.Value.Kind != List {
				d.bad(e.At, "key %q is given twice: it stands at %s already", brief(e.Key), first.At)
				continue
			}
			joined := *first.Value
			joined.Items = append(slices.Clip(joined.Items), e.Value.Items...)
			first.Value = &joined
		}
	}
	return merged, d.mistakes
}

type parser struct {
	file     string
	mistakes []mistake.Mistake
}

func (p *parser) at(line, column int) mistake.Position {
	return mistake.Position{File: p.file, Line: line, Column: column}
}

func (p *parser) bad(line, column int, format string, args ...any) {
	p.mistakes = append(p.mistakes, mistake.Mistake{At: p.at(line, column), Text: fmt.Sprintf(format, args...)})
}

// characters refuses what no editor shows: bytes that are not UTF-8, control
// characters, exotic line ends, and tabs that indent.
func (p *parser) characters(data []byte) {
	for i, line := range bytes.Split(data, []byte("\n")) {
		indent := true
		column := 0
		line = bytes.TrimSuffix(line, []byte("\r"))
		for len(line) > 0 {
			r, size := utf8.DecodeRune(line)
			column++
			switch {
			case r == utf8.RuneError && size == 1:
				p.bad(i+1, column, "byte 0x%02x is not UTF-8: save the file as UTF-8", line[0])
				return // the rest of another encoding would be one mistake per letter
			case r == '\t' && indent:
				p.bad(i+1, column, "a tab in the indentation: indent with spaces")
				line = nil
				continue
			case r == '\ufeff' && i == 0 && column == 1:
				column = 0 // a byte order mark takes no column
			case r == '\u2028', r == '\u2029', r == '\ufeff', r != '\t' && unicode.IsControl(r):
				p.bad(i+1, column, "the invisible character %U: remove it", r)
			}
			indent = indent && r == ' '
			line = line[size:]
		}
	}
}

// syntax reports that the text is not YAML, where the reader noticed.
func (p *parser) syntax(data []byte, err error) {
	text, line, column := err.Error(), 1, 1
	var load *yaml.LoadError
	if errors.As(err, &load) {
		text = load.Message
		if load.ContextMsg != "" {
			text += " " + load.ContextMsg
			if l := load.ContextMark; l.Line > 0 && l.Line < min(load.Mark.Line, bytes.Count(data, []byte("\n"))+1) {
				text += fmt.Sprintf(" that starts in line %d", l.Line)
			}
		}
		if load.Mark.Line > 0 {
			line, column = load.Mark.Line, max(load.Mark.Column, 1)
		}
	}
	p.bad(line, column, "not YAML: %s", strings.Join(strings.Fields(text), " "))
	p.clamp(data)
}

// clamp moves what the library reports behind the end of a line or of the file
// to the end itself, where an editor can go.
func (p *parser) clamp(data []byte) {
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	ends := map[int]int{} // counted once: many mistakes may stand in one long line
	end := func(line int) int {
		if _, counted := ends[line]; !counted {
			ends[line] = utf8.RuneCount(lines[line-1]) + 1
		}
		return ends[line]
	}
	for i := range p.mistakes {
		at := &p.mistakes[i].At
		if at.Line > len(lines) {
			at.Line, at.Column = len(lines), end(len(lines))
		}
		at.Column = min(at.Column, end(at.Line))
	}
}

var leadingZero = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

// convert turns the library's node into ours and refuses what we do not take.
func (p *parser) convert(y *yaml.Node, label string, depth int) *Node {
	n := &Node{At: p.at(max(y.Line, 1), max(y.Column, 1)), label: label, text: y.Value, tag: y.ShortTag()}
	if depth > maxDepth {
		p.bad(y.Line, y.Column, "nested more than %d levels deep", maxDepth)
		n.tag = unread
		return n
	}
	if y.Anchor != "" {
		p.bad(y.Line, y.Column, "the anchor &%s: anchors are not allowed, write the value where it is meant", y.Anchor)
	}
	if y.Style&yaml.TaggedStyle != 0 {
		p.bad(y.Line, y.Column, "the tag %s: tags are not allowed", y.Tag)
		n.tag = unread
	}
	switch y.Kind {
	case yaml.AliasNode:
		p.bad(y.Line, y.Column, "the alias *%s: aliases are not allowed, write the value where it is meant", y.Value)
		n.tag = unread
	case yaml.SequenceNode:
		n.Kind = List
		for _, c := range y.Content {
			n.Items = append(n.Items, p.convert(c, "an entry of "+label, depth+1))
		}
	case yaml.MappingNode:
		n.Kind = Map
		p.entries(n, y, depth)
	default:
		n.plain = y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
		if n.plain && leadingZero.MatchString(y.Value) {
			p.bad(y.Line, y.Column, "%s starts with a zero: write it without, or in quotes if it is a text", brief(y.Value))
			n.tag = unread
		}
	}
	return n
}

func (p *parser) entries(n *Node, y *yaml.Node, depth int) {
	seen := map[string]int{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			p.bad(k.Line, k.Column, "a key must be a plain text")
			continue
		case k.ShortTag() == "!!merge":
			p.bad(k.Line, k.Column, "the merge key <<: merging is not allowed, write the values where they are meant")
			continue
		case k.ShortTag() != "!!str" || k.Value == "":
			p.bad(k.Line, k.Column, "a key must be a text, found %s: put it in quotes if it is one", describe(k.ShortTag(), k.Value))
			continue
		case k.Anchor != "" || k.Style&yaml.TaggedStyle != 0:
			p.bad(k.Line, k.Column, "key %q has an anchor or a tag: neither is allowed", brief(k.Value))
		}
		if line, twice := seen[k.Value]; twice {
			p.bad(k.Line, k.Column, "key %q is given twice in %s: it stands in line %d already", brief(k.Value), n.label, line)
			continue
		}
		seen[k.Value] = k.Line
		n.Entries = append(n.Entries, Entry{Key: k.Value, At: p.at(k.Line, k.Column), Value: p.convert(v, brief(k.Value), depth+1)})
	}
}

// unread is the tag of a scalar that was refused already: no further mistake is
// made of it.
const unread = "unread"

func isNull(y *yaml.Node) bool { return y.Kind == yaml.ScalarNode && y.ShortTag() == "!!null" }

func (n *Node) describe() string {
	switch n.Kind {
	case List:
		return "a list"
	case Map:
		return "a map"
	default:
		return describe(n.tag, n.text)
	}
}

func describe(tag, text string) string {
	switch tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + brief(text)
	case "!!bool":
		return "the truth value " + brief(text)
	default:
		return fmt.Sprintf("%q", brief(text))
	}
}

// brief keeps messages to a line that a person can read.
func brief(text string) string { return clip.Text(text, 60) }
