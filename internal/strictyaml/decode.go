package strictyaml

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"breakwater/internal/mistake"
)

// Decode fills the struct that into points to, field by field by its `yaml` tags,
// and reports everything that does not fit. A field without omitempty must be
// given and, if a text, not be empty. A key close to that of an absent field is
// reported and then read as that field, so that one slip is one mistake.
//
// Fields may be texts, whole numbers, numbers, truth values, types with
// UnmarshalText, pointers, lists, structs and maps from texts, and *[Node] where
// the caller decodes a part itself.
func Decode(n *Node, into any) []mistake.Mistake {
	d := &decoder{}
	d.value(n, reflect.ValueOf(into).Elem())
	return d.mistakes
}

type decoder struct{ mistakes []mistake.Mistake }

func (d *decoder) bad(at mistake.Position, format string, args ...any) {
	d.mistakes = append(d.mistakes, mistake.Mistake{At: at, Text: fmt.Sprintf(format, args...)})
}

// mistakef says something about the node: `KEY must be …, found …`.
func (n *Node) mistakef(format string, args ...any) mistake.Mistake {
	return mistake.Mistake{At: n.At, Text: n.label + " " + fmt.Sprintf(format, args...)}
}

func (d *decoder) want(n *Node, kind Kind, what string) bool {
	if n.Kind == kind {
		return true
	}
	if n.tag == "!!null" {
		d.mistakes = append(d.mistakes, n.mistakef("is empty: give it %s", what))
	} else if n.tag != unread {
		d.mistakes = append(d.mistakes, n.mistakef("must be %s, found %s", what, n.describe()))
	}
	return false
}

var nodeType = reflect.TypeFor[*Node]()

func (d *decoder) value(n *Node, v reflect.Value) {
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(n))
		return
	}
	if v.CanAddr() {
		if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			d.textual(n, u)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem())
	case reflect.Struct:
		if d.want(n, Map, "a map") {
			d.fields(n, v)
		}
	case reflect.Slice:
		if d.want(n, List, "a list") {
			v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
			for i, item := range n.Items {
				d.value(item, v.Index(i))
			}
		}
	case reflect.Map:
		if d.want(n, Map, "a map") {
			v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Entries)))
			for _, e := range n.Entries {
				elem := reflect.New(v.Type().Elem()).Elem()
				d.value(e.Value, elem)
				v.SetMapIndex(reflect.ValueOf(e.Key).Convert(v.Type().Key()), elem)
			}
		}
	default:
		d.scalar(n, v)
	}
}

func (d *decoder) textual(n *Node, into encoding.TextUnmarshaler) {
	if !d.want(n, Scalar, "a text") || n.tag == unread {
		return
	}
	if n.tag == "!!null" {
		d.mistakes = append(d.mistakes, n.mistakef("is empty: give it a value"))
	} else if err := into.UnmarshalText([]byte(n.text)); err != nil {
		d.bad(n.At, "%s: %v", n.label, err)
	}
}

var whole = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func (d *decoder) scalar(n *Node, v reflect.Value) {
	what := map[reflect.Kind]string{
		reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Float64: "a number",
	}[v.Kind()]
	if !d.want(n, Scalar, what) || n.tag == unread {
		return
	}
	ok := false
	switch v.Kind() {
	case reflect.String:
		if ok = n.isText(); ok {
			v.SetString(n.text)
		} else if n.tag == "!!int" || n.tag == "!!float" || n.tag == "!!bool" {
			d.mistakes = append(d.mistakes, n.mistakef("must be a text, found %s: put it in quotes", n.describe()))
			return
		}
	case reflect.Bool:
		if ok = n.plain && (n.text == "true" || n.text == "false"); ok {
			v.SetBool(n.text == "true")
		}
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.text, 10, 64)
		if ok = n.plain && err == nil && whole.MatchString(n.text); ok {
			v.SetInt(i)
		}
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.text, 64)
		if ok = n.plain && err == nil && json.Valid([]byte(n.text)) && !math.IsInf(f, 0); ok {
			v.SetFloat(f)
		}
	}
	if ok {
		return
	}
	if n.tag == "!!null" {
		d.mistakes = append(d.mistakes, n.mistakef("is empty: give it %s", what))
		return
	}
	d.mistakes = append(d.mistakes, n.mistakef("must be %s, found %s", what, n.describe()))
}

// isText reports whether a scalar is a text: in quotes, or such that no YAML
// takes it for something else. A date is one to us.
func (n *Node) isText() bool {
	return n.Kind == Scalar && (!n.plain || n.tag == "!!str" || n.tag == "!!timestamp")
}

func (d *decoder) fields(n *Node, v reflect.Value) {
	type field struct {
		value    reflect.Value
		required bool
		given    bool
	}
	fields, names := map[string]*field{}, []string{}
	for i := range v.NumField() {
		name, opts, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		_, given := n.Get(name)
		fields[name] = &field{value: v.Field(i), required: !strings.Contains(opts, "omitempty"), given: given}
		names = append(names, name)
	}
	for _, e := range n.Entries {
		f, known := fields[e.Key]
		if !known {
			d.bad(e.At, "unknown key %q in %s: allowed are %s%s", brief(e.Key), n.label, strings.Join(names, ", "), mistake.DidYouMean(e.Key, names))
			meant, near := mistake.Nearest(e.Key, names)
			if f = fields[meant]; !near || f.given {
				continue
			}
			f.given = true
		}
		before := len(d.mistakes)
		d.value(e.Value, f.value)
		if f.required && f.value.Kind() == reflect.String && strings.TrimSpace(f.value.String()) == "" && e.Value.isText() && before == len(d.mistakes) {
			d.bad(e.Value.At, "%s must not be empty", e.Key)
		}
	}
	for _, name := range names {
		if f := fields[name]; f.required && !f.given {
			d.bad(n.At, "%s has no %q", n.label, name)
		}
	}
}

// Locate finds the place of a part by its JSON Pointer (RFC 6901), such as
// "/groups/0/tier". Where the file does not have the part, it is the place of
// the innermost part around it.
func (n *Node) Locate(pointer string) mistake.Position {
	at := n
	for _, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		next := at.child(part)
		if next == nil {
			break
		}
		at = next
	}
	return at.At
}

func (n *Node) child(part string) *Node {
	switch n.Kind {
	case Map:
		if e, ok := n.Get(part); ok {
			return e.Value
		}
	case List:
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(n.Items) {
			return n.Items[i]
		}
	}
	return nil
}

// JSON gives a part as JSON, for a typed decoder further in. Numbers keep their
// digits; only those that JSON has too are taken.
func (n *Node) JSON() (json.RawMessage, []mistake.Mistake) {
	d := &decoder{}
	raw, err := json.Marshal(d.any(n))
	if err != nil {
		d.bad(n.At, "%s cannot be read: %v", n.label, err)
	}
	return raw, d.mistakes
}

func (d *decoder) any(n *Node) any {
	switch n.Kind {
	case List:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = d.any(item)
		}
		return list
	case Map:
		m := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			m[e.Key] = d.any(e.Value)
		}
		return m
	}
	switch {
	case n.tag == unread:
		return nil
	case n.isText():
		return n.text
	case n.tag == "!!bool" && (n.text == "true" || n.text == "false"):
		return n.text == "true"
	case (n.tag == "!!int" || n.tag == "!!float") && json.Valid([]byte(n.text)):
		return json.Number(n.text)
	case n.tag == "!!null":
		d.mistakes = append(d.mistakes, n.mistakef("is empty: give it a value"))
	default:
		d.mistakes = append(d.mistakes, n.mistakef("must be a text, true, false or a decimal number, found %s", n.describe()))
	}
	return nil
}

// Words gives a map of texts, in which a plain number or truth value counts as
// the text that it is written as: {tier: 1}.
func (n *Node) Words() (map[string]string, []mistake.Mistake) {
	d := &decoder{}
	words := map[string]string{}
	if d.want(n, Map, "a map") {
		for _, e := range n.Entries {
			if d.want(e.Value, Scalar, "a text") && e.Value.tag != unread {
				words[e.Key] = e.Value.text
			}
			if e.Value.tag == "!!null" {
				d.mistakes = append(d.mistakes, e.Value.mistakef("is empty: give it a value"))
			}
		}
	}
	return words, d.mistakes
}
