package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"breakwater/internal/strictjson"
)

// Show writes what a plan keeps for Apply and for Undo, for who approves it. What Apply
// would not read as it stands is an error: nobody approves what they did not see.
type Show func(Change) ([]string, error)

// Worded is data of which people cannot read a part as it is kept: they are shown what
// it gives in place of itself, which must say all of it.
type Worded interface{ Words() (any, error) }

// Shows is the [Show] of a plan whose Data and Undo are of these types. Every value in
// them is shown, and what the types do not know is refused.
func Shows[Data, Undo any]() Show {
	return func(ch Change) ([]string, error) { return shown(ch, asRead[Data], asRead[Undo]) }
}

// showAll is the [Show] of an action that does not say its types.
func showAll(ch Change) ([]string, error) { return shown(ch, asWritten, asWritten) }

// reading is how a plan's data is read.
type reading func(json.RawMessage) (json.RawMessage, error)

func shown(ch Change, data, undo reading) ([]string, error) {
	read, err := part("Apply reads", ch.Data, data)
	if err != nil {
		return nil, err
	}
	back, err := part("Undo will read", ch.Undo, undo)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(read, back)
	for i, digest := range ch.Parts {
		all = append(all, fmt.Sprintf("Part %d of the plan, kept beside it: %s", i+1, digest))
	}
	return all, nil
}

func part(title string, raw json.RawMessage, read reading) ([]string, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	raw, err := read(raw)
	var lines []string
	if err == nil {
		lines, err = Lines(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("show what %s: %w; do not approve it: have it planned again", strings.ToLower(title[:1])+title[1:], err)
	}
	all := []string{title + ":"}
	for _, l := range lines {
		all = append(all, "  "+l)
	}
	return all, nil
}

// asWritten holds that data means the same to every reader.
func asWritten(raw json.RawMessage) (json.RawMessage, error) {
	var v any
	return raw, strictjson.Unmarshal(raw, &v)
}

// asRead reads data as Apply does, and gives what it makes of it.
func asRead[T any](raw json.RawMessage) (json.RawMessage, error) {
	if _, err := asWritten(raw); err != nil {
		return nil, err
	}
	v, err := Decode[T](raw)
	if err != nil {
		return nil, err
	}
	if w, ok := any(v).(Worded); ok {
		words, err := w.Words()
		if err != nil {
			return nil, err
		}
		return Encode(words)
	}
	return Encode(v)
}

// Lines writes a JSON value for people, with every value that is in it. What could be
// taken for more than one value, or for none, is quoted.
func Lines(raw json.RawMessage) ([]string, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	n, err := readNode(d)
	if err != nil {
		return nil, err
	}
	return n.under(""), nil
}

// node is a JSON value whose names are in their order.
type node struct {
	kind  byte // '{', '[', or 0 for what has no items
	names []string
	items []node
	text  string // without items
}

func readNode(d *json.Decoder) (node, error) {
	tok, err := d.Token()
	if err != nil {
		return node{}, err
	}
	switch v := tok.(type) {
	case json.Delim:
		n := node{kind: byte(v)}
		for d.More() {
			name := strconv.Itoa(len(n.items) + 1)
			if n.kind == '{' {
				key, err := d.Token()
				if err != nil {
					return n, err
				}
				name = quoted(strings.ReplaceAll(fmt.Sprint(key), "_", " "), ":;,")
			}
			item, err := readNode(d)
			if err != nil {
				return n, err
			}
			n.names, n.items = append(n.names, name), append(n.items, item)
		}
		_, err := d.Token() // its end
		return n, err
	case string:
		return node{text: v}, nil
	case nil:
		return node{text: "none"}, nil
	}
	return node{text: fmt.Sprint(tok)}, nil
}

// quoted is a text that stands for itself: without what nobody sees, and without what
// ends it where it stands.
func quoted(s, ends string) string {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	if s == "" || s != strings.TrimSpace(s) || s[0] == '"' || strings.ContainsFunc(s, hidden) || strings.ContainsAny(s, ends) {
		return strconv.Quote(s)
	}
	return s
}

// flat is a node that fits into a line: without items, or a list or an object of such.
func (n node) flat(depth int) bool {
	return n.kind == 0 || depth > 0 && !slices.ContainsFunc(n.items, func(i node) bool { return !i.flat(depth - 1) })
}

// inline is a flat node as part of a line.
func (n node) inline(ends string) string {
	if n.kind == 0 {
		return quoted(n.text, ends)
	}
	all := make([]string, len(n.items))
	for i, item := range n.items {
		if all[i] = item.inline(",;()"); n.kind == '{' {
			all[i] = n.names[i] + " " + all[i]
		}
	}
	switch {
	case len(all) == 0:
		return "none"
	case n.kind == '{':
		return strings.Join(all, "; ")
	}
	return strings.Join(all, ", ")
}

// under is a node below its name.
func (n node) under(name string) []string {
	begin, indent := name+": ", "  "
	if name == "" {
		begin, indent = "", ""
	}
	switch {
	case n.kind == 0, len(n.items) == 0, n.kind == '[' && n.flat(1) && !strings.Contains(n.inline(""), `"`) && len(n.inline("")) < 100:
		return []string{begin + n.inline("")}
	case n.kind == '{' && name != "" && n.flat(1):
		return []string{begin + n.inline("")}
	}
	var all []string
	if name != "" {
		all = append(all, name+":")
	}
	for i, item := range n.items {
		for _, l := range item.under(n.names[i]) {
			all = append(all, indent+l)
		}
	}
	return all
}
