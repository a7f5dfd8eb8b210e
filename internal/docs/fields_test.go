package docs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"breakwater/activities"
	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/system"

	gocmp "github.com/google/go-cmp/cmp"
)

// field is one that an estate can have.
type field struct {
	path   string // "regions[].kafka.alias"
	name   string // "Kafka.Alias"
	parent string // the field whose type it is in; empty at the top
	typ    reflect.Type
	shared bool // other paths lead to it as well
}

// estateFields walks the estate's types.
func estateFields() []field {
	var all []field
	times := map[string]int{}
	var walk func(t reflect.Type, at, parent string)
	walk = func(t reflect.Type, at, parent string) {
		switch t.Kind() {
		case reflect.Pointer:
			walk(t.Elem(), at, parent)
		case reflect.Slice:
			walk(t.Elem(), at+"[]", parent)
		case reflect.Struct:
			for f := range t.Fields() {
				key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
				name, path := t.Name()+"."+f.Name, strings.TrimPrefix(at+"."+key, ".")
				all = append(all, field{path: path, name: name, parent: parent, typ: f.Type})
				times[name]++
				walk(f.Type, path, name)
			}
		}
	}
	walk(reflect.TypeFor[estate.Estate](), "", "")
	for i := range all {
		all[i].shared = times[all[i].name] > 1
	}
	return all
}

// holds reports whether a field only holds others.
func (f field) holds() bool { return f.kind() == "part" || f.kind() == "list of parts" }

// kind is the field's type in words.
func (f field) kind() string {
	t := f.typ
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[estate.Duration]():
		return "duration"
	case reflect.TypeFor[estate.Ref]():
		return "credential"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int64:
		return "whole number"
	case reflect.Map:
		return "map by region"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "list of parts"
		}
		return "list of texts"
	case reflect.Struct:
		return "part"
	}
	return "text"
}

// readBy lists who reads a field. Of a type that stands at several places, each of these
// must be read as well by whom it is said to be read.
func (f field) readBy(by map[string]map[string]bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(by[f.name])), func(who string) bool { return f.shared && !by[f.parent][who] })
}

// refusals are the fields of which a bad value is tried that only this field refuses.
func refusals(t *testing.T) map[string]any {
	t.Helper()
	all := map[string]any{}
	if err := json.Unmarshal(read(t, filepath.Join(root, "internal/estate/load/testdata/slips.json")), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// Each field that an estate can have says what it is, is read by somebody or refused, and
// what can contradict it is asked by an action that was seen red. docs/estate.md says it.
func TestEveryFieldIsRead(t *testing.T) {
	cat := activities.Catalogue(&system.Systems{})
	c := loadCode(t)
	by, refused := c.readers(), refusals(t)
	b := &strings.Builder{}
	b.WriteString("| field | type | is | what becomes of it | read by |\n|---|---|---|---|---|\n")
	left := maps.Clone(uses)
	for _, f := range estateFields() {
		who := f.readBy(by)
		u, said := uses[f.path]
		delete(left, f.path)
		_, refuses := refused[f.path]
		switch {
		case c.says[f.name] == "":
			t.Errorf("%s (estate.%s) has no comment that says what it is", f.path, f.name)
		case f.holds() && said:
			t.Errorf("%s only holds other fields: what becomes of it is said of them", f.path)
		case f.holds() && len(who) == 0:
			t.Errorf("nobody reads %s (estate.%s): use it, hold it against the real system, or take it out of the format", f.path, f.name)
		case f.holds():
		case len(who) == 0:
			t.Errorf("nobody reads %s (estate.%s): use it, hold it against the real system, or take it out of the format", f.path, f.name)
		case !said:
			t.Errorf("it is not said what becomes of %s: say in uses what it decides, or what it is held against", f.path)
		default:
			u.check(t, cat, f.path, who)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", f.path, f.kind(), escaped(c.says[f.name]), u.words(refuses), readersWords(who))
	}
	for _, path := range slices.Sorted(maps.Keys(left)) {
		t.Errorf("uses has %s, which is no field of an estate", path)
	}
	between(t, filepath.Join(root, "docs", "estate.md"), b.String())
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// check holds what is said of a field against the code.
func (u use) check(t *testing.T, cat *action.Catalogue, path string, who []string) {
	t.Helper()
	if u.decides == "" && u.against == "" {
		t.Errorf("%s: neither what it decides nor what it is held against is said", path)
	}
	if u.against == "" {
		return
	}
	if !slices.Contains(who, u.by) {
		t.Errorf("%s is said to be held against the system by %q, which does not read it: %v do", path, u.by, who)
	}
	if !strings.HasPrefix(u.proof, "Test") {
		d, ok := cat.Get(u.by)
		if !ok || !slices.ContainsFunc(d.RedWhen, func(r action.Red) bool { return string(r.Fault) == u.proof }) {
			t.Errorf("%s: %q is no fault of %s", path, u.proof, u.by)
		}
	} else if !testsThere(t)[u.proof] {
		t.Errorf("%s: there is no test %s", path, u.proof)
	}
}

var testNames map[string]bool

// testsThere are the tests of the tree.
func testsThere(t *testing.T) map[string]bool {
	t.Helper()
	if testNames != nil {
		return testNames
	}
	testNames = map[string]bool{}
	for _, pattern := range []string{"activities/*/*_test.go", "internal/*/*_test.go", "internal/*/*/*_test.go", "starter/*_test.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			for _, m := range testFunc.FindAllStringSubmatch(string(read(t, f)), -1) {
				testNames[m[1]] = true
			}
		}
	}
	return testNames
}

// words say what becomes of a field.
func (u use) words(refused bool) string {
	var all []string
	if u.decides != "" {
		all = append(all, "**used**: "+u.decides)
	}
	if u.against != "" {
		red := "`" + u.by + "` is red"
		if u.by == "every run" {
			red = "no run begins"
		}
		all = append(all, fmt.Sprintf("**compared** with %s: else %s", u.against, red))
	}
	if refused {
		all = append(all, "**refused** where malformed")
	}
	return cmp.Or(strings.Join(all, "; "), "by its parts")
}

// readersWords names few readers, and counts many.
func readersWords(who []string) string {
	const most = 6
	var words []string
	for _, w := range who[:min(len(who), most)] {
		if w != "every run" {
			w = "`" + w + "`"
		}
		words = append(words, w)
	}
	if more := len(who) - most; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return cmp.Or(strings.Join(words, ", "), "the loader alone")
}

func escaped(cell string) string { return strings.ReplaceAll(cell, "|", `\|`) }

const fieldsBegin, fieldsEnd = "<!-- Generated by `make docs`: every field, and who reads it. Do not edit. -->\n\n", "\n<!-- The end of what is generated. -->\n"

// between holds the part of a page that is made from code against the code.
func between(t *testing.T, path, want string) {
	t.Helper()
	page := string(read(t, path))
	head, rest, ok := strings.Cut(page, fieldsBegin)
	is, tail, ends := strings.Cut(rest, fieldsEnd)
	if !ok || !ends {
		t.Fatalf("%s has no place for the table: the lines %q and %q", path, fieldsBegin, fieldsEnd)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+fieldsBegin+want+fieldsEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(is, want); diff != "" {
		t.Errorf("%s is not what the code says: run make docs\n%s", path, diff)
	}
}
