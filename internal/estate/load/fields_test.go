package load_test

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/estate"
	"breakwater/internal/estate/load"
	"breakwater/internal/mistake"
)

// slip is a value that a field must not have, and a part of what is said about it. The
// value null takes the field away.
type slip struct {
	Value json.RawMessage `json:"value"`
	Want  string          `json:"want"`
}

// slips are bad values by the path of a field: those of one field alone, which
// testdata/slips.json has, and those of every field of its type.
func slips(t *testing.T) map[string][]slip {
	t.Helper()
	text, err := os.ReadFile("testdata/slips.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]slip{}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// ofType are bad values of a field by its type alone.
func ofType(t reflect.Type, key string) []slip {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	switch t.Kind() {
	case reflect.String:
		return []slip{{raw("7"), key + " must be a text, found the number 7"}, {raw(`[]`), key + " must be a text, found"}}
	case reflect.Int, reflect.Int64:
		if t == reflect.TypeFor[estate.Duration]() {
			return []slip{{raw(`"-1s"`), key + `: "-1s" is negative`}, {raw(`"soon"`), key + `: "soon" is not a duration such as 90s or 4h`}}
		}
		return []slip{{raw("-1"), ""}, {raw("1.5"), key + " must be a whole number, found"}, {raw(`"1"`), key + " must be a whole number, found"}}
	case reflect.Float64:
		return []slip{{raw("-1"), ""}, {raw(`"1"`), key + " must be a number, found"}, {raw("1e999"), key + " must be a number, found"}}
	case reflect.Bool:
		return []slip{{raw(`"yes"`), key + " must be true or false, found"}}
	case reflect.Slice:
		return []slip{{raw(`"a"`), key + " must be a list, found"}}
	case reflect.Map, reflect.Struct:
		return []slip{{raw(`"a"`), key + " must be a map, found"}}
	case reflect.Pointer:
		return ofType(t.Elem(), key)
	}
	return nil
}

// freely are the texts whose form is somebody else's: SQL, keys, what clients read.
var freely = []string{"golden", "quality", "answer", "key", "signers", "values", "contact"}

// Each field of an estate is refused a value that it cannot have, with a word about the
// field and its place; and the estate that has every field is taken.
func TestEveryField(t *testing.T) {
	text, err := os.ReadFile("testdata/every.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e, ms := load.Bytes(text, "every.yaml")
	if err := mistake.Error(ms); err != nil {
		t.Fatal(err)
	}
	own, tried := slips(t), 0
	var walk func(typ reflect.Type, at string)
	walk = func(typ reflect.Type, at string) {
		switch typ.Kind() {
		case reflect.Pointer:
			walk(typ.Elem(), at)
		case reflect.Slice:
			walk(typ.Elem(), at+"[]")
		case reflect.Struct:
			for f := range typ.Fields() {
				key, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
				path := strings.TrimPrefix(at+"."+key, ".")
				all := slices.Concat(ofType(f.Type, key), own[path])
				delete(own, path)
				text := f.Type.Kind() == reflect.String && !slices.Contains(freely, key)
				if text {
					about := key
					if f.Type == reflect.TypeFor[estate.Ref]() {
						about = "must be vault:mount/path#field, env:NAME or file:path"
					}
					all = append(all, slip{json.RawMessage(`"a\u0007b"`), about}, slip{json.RawMessage(`" ab"`), about})
				}
				if !strings.Contains(opts, "omitempty") {
					all = append(all, slip{json.RawMessage("null"), `has no "` + key + `"`})
					if text {
						all = append(all, slip{json.RawMessage(`""`), key + " must not be empty"})
					}
				}
				for _, s := range all {
					tried++
					refused(t, e, path, key, s)
				}
				walk(f.Type, path)
			}
		}
	}
	walk(reflect.TypeFor[estate.Estate](), "")
	for _, path := range slices.Sorted(maps.Keys(own)) {
		t.Errorf("slips.json has %s, which is no field of an estate", path)
	}
	if tried < 400 {
		t.Errorf("only %d slips were tried", tried)
	}
}

// refused sets a field of the estate, wherever it is given first, and wants to read about it.
func refused(t *testing.T, e *estate.Estate, path, key string, s slip) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if !set(doc, strings.Split(path, "."), s.Value) {
		t.Errorf("testdata/every.yaml does not give %s", path)
		return
	}
	if text, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	read, ms := load.Bytes(text, "f")
	if read != nil {
		t.Errorf("%s: %s is taken", path, s.Value)
		return
	}
	said := mistake.Error(ms).Error()
	want := s.Want
	if want == "" {
		want = key
	}
	if !slices.ContainsFunc(ms, func(m mistake.Mistake) bool { return strings.Contains(m.Text, want) }) {
		t.Errorf("%s: %s: want %q, got\n%s", path, s.Value, want, said)
	}
}

// set gives the first field of that path another value.
func set(in any, path []string, value json.RawMessage) bool {
	m, ok := in.(map[string]any)
	if !ok {
		return false
	}
	key, list := strings.CutSuffix(path[0], "[]")
	v, given := m[key]
	switch {
	case !given:
		return false
	case len(path) == 1 && string(value) == "null":
		delete(m, key)
		return true
	case len(path) == 1:
		m[key] = value
		return true
	case !list:
		return set(v, path[1:], value)
	}
	all, ok := v.([]any)
	return ok && slices.ContainsFunc(all, func(v any) bool { return set(v, path[1:], value) })
}
