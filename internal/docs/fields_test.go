package docs

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/estate"
)

// field is one that an estate can have.
type field struct {
	path   string   // "regions[].kafka.alias"
	name   string   // "Kafka.Alias"
	within []string // the fields on the way, as names
	typ    reflect.Type
	need   bool
}

// estateFields walks the estate's types.
func estateFields() []field {
	var all []field
	var walk func(t reflect.Type, at string, within []string)
	walk = func(t reflect.Type, at string, within []string) {
		switch t.Kind() {
		case reflect.Pointer:
			walk(t.Elem(), at, within)
		case reflect.Slice:
			walk(t.Elem(), at+"[]", within)
		case reflect.Struct:
			for f := range t.Fields() {
				key, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
				name := t.Name() + "." + f.Name
				all = append(all, field{strings.TrimPrefix(at+"."+key, "."), name, within, f.Type, !strings.Contains(opts, "omitempty")})
				walk(f.Type, strings.TrimPrefix(at+"."+key, "."), append(slices.Clone(within), name))
			}
		}
	}
	walk(reflect.TypeFor[estate.Estate](), "", nil)
	return all
}

func TestX(t *testing.T) {
	by := loadCode(t).readers()
	all := estateFields()
	times := map[string]int{}
	for _, f := range all {
		times[f.name]++
	}
	for _, f := range all {
		var w []string
		for who := range by[f.name] {
			if times[f.name] == 1 || by[f.within[len(f.within)-1]][who] {
				w = append(w, who)
			}
		}
		slices.Sort(w)
		t.Log(f.path, len(w), w[:min(len(w), 12)])
	}
}
func TestY(t *testing.T) {
	c := loadCode(t)
	for _, f := range estateFields() {
		t.Logf("%s | %s | %s", f.path, f.name, c.says[f.name])
	}
}
