package estate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Matter is what a difference between two estates is about.
type Matter string

// The matters, the most dangerous first: who may decide comes before what is written
// down, that before which servers are acted on, and that before how they are entered.
const (
	AboutPeople      Matter = "people"      // roles, their members and keys
	AboutLedger      Matter = "ledger"      // where evidence lies and who may sign it
	AboutPlaces      Matter = "places"      // endpoints, brokers, real buckets, principals
	AboutCredentials Matter = "credentials" // which credentials are taken
	AboutGroups      Matter = "groups"      // what comes back together
	AboutElse        Matter = "else"        // objectives, skew, backups
)

// Matters lists them, the most dangerous first.
func Matters() []Matter {
	return []Matter{AboutPeople, AboutLedger, AboutPlaces, AboutCredentials, AboutGroups, AboutElse}
}

// Difference is one field in which two estates differ.
type Difference struct {
	Matter Matter `json:"matter"`
	Where  string `json:"where"` // "role incident-commander, member ana, key"
	A      string `json:"a"`     // what the one has; empty where it has none
	B      string `json:"b"`     // what the other has
}

// Compare says by field how two estates differ, the most dangerous first. It finds
// something whenever their digests differ.
func Compare(a, b *Estate) []Difference {
	c := &comparison{}
	c.fields(nil, AboutElse, reflect.ValueOf(*a), reflect.ValueOf(*b))
	rank := func(d Difference) int { return slices.Index(Matters(), d.Matter) }
	slices.SortStableFunc(c.found, func(x, y Difference) int { return cmp.Compare(rank(x), rank(y)) })
	return c.found
}

// comparison is two estates being walked side by side.
type comparison struct{ found []Difference }

func (c *comparison) differ(path []string, about Matter, a, b string) {
	c.found = append(c.found, Difference{Matter: about, Where: strings.Join(path, ", "), A: a, B: b})
}

// tag is a field's name in the file.
func tag(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// matterOf is what a field is about, in something that is about the given matter.
func matterOf(path []string, about Matter, f reflect.StructField) Matter {
	if len(path) == 0 { // a field of the estate itself
		switch tag(f) {
		case "roles":
			return AboutPeople
		case "ledger":
			return AboutLedger
		case "regions", "buckets", "witness", "lineage":
			return AboutPlaces
		case "groups":
			return AboutGroups
		}
		return AboutElse
	}
	if f.Type == reflect.TypeFor[Ref]() && about != AboutLedger {
		return AboutCredentials
	}
	return about
}

func (c *comparison) fields(path []string, about Matter, a, b reflect.Value) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		c.values(append(slices.Clip(path), tag(f)), matterOf(path, about, f), a.Field(i), b.Field(i))
	}
}

// values compares two values of one type.
func (c *comparison) values(path []string, about Matter, a, b reflect.Value) {
	switch {
	case a.Kind() == reflect.Pointer:
		if a.IsNil() != b.IsNil() {
			c.differ(path, about, there(!a.IsNil()), there(!b.IsNil()))
		} else if !a.IsNil() {
			c.values(path, about, a.Elem(), b.Elem())
		}
	case a.Kind() == reflect.Struct:
		c.fields(path, about, a, b)
	case a.Kind() == reflect.Map:
		c.maps(path, about, a, b)
	case a.Kind() == reflect.Slice && a.Type().Elem().Kind() == reflect.Struct:
		c.elements(path, about, a, b)
	case a.Kind() == reflect.Slice:
		c.texts(path, about, a, b)
	default:
		if text(a) != text(b) {
			c.differ(path, about, text(a), text(b))
		}
	}
}

func there(is bool) string {
	if is {
		return "declared"
	}
	return ""
}

// text is a plain value as the file has it, but an empty one.
func text(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	if t, ok := v.Interface().(interface{ MarshalText() ([]byte, error) }); ok {
		if raw, err := t.MarshalText(); err == nil {
			return string(raw)
		}
	}
	return fmt.Sprint(v.Interface())
}

func (c *comparison) maps(path []string, about Matter, a, b reflect.Value) {
	var keys []string
	for _, k := range append(a.MapKeys(), b.MapKeys()...) {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		at := append(slices.Clip(path), k)
		x, y := a.MapIndex(reflect.ValueOf(k)), b.MapIndex(reflect.ValueOf(k))
		switch {
		case x.IsValid() && y.IsValid():
			c.values(at, about, x, y)
		case x.IsValid():
			c.differ(at, about, whole(x), "")
		default:
			c.differ(at, about, "", whole(y))
		}
	}
}

// whole is a value of any kind in one line.
func whole(v reflect.Value) string {
	if v.Kind() == reflect.String {
		return v.String()
	}
	raw, err := json.Marshal(v.Interface())
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// texts compares lists of plain values: what only one of them holds, or their order.
func (c *comparison) texts(path []string, about Matter, a, b reflect.Value) {
	list := func(v reflect.Value) []string {
		var all []string
		for i := range v.Len() {
			all = append(all, text(v.Index(i)))
		}
		return all
	}
	x, y := list(a), list(b)
	before := len(c.found)
	for _, s := range x {
		if !slices.Contains(y, s) {
			c.differ(path, about, s, "")
		}
	}
	for _, s := range y {
		if !slices.Contains(x, s) {
			c.differ(path, about, "", s)
		}
	}
	if len(c.found) == before && !slices.Equal(x, y) {
		c.differ(path, about, strings.Join(x, ", "), strings.Join(y, ", "))
	}
}

// elements compares lists of things with names: those of one name with each other.
func (c *comparison) elements(path []string, about Matter, a, b reflect.Value) {
	kind := singular(path[len(path)-1])
	names := func(v reflect.Value) (all []string, at map[string]reflect.Value) {
		at = map[string]reflect.Value{}
		for i := range v.Len() {
			n := nameOf(v.Index(i))
			all, at[n] = append(all, n), v.Index(i)
		}
		return all, at
	}
	x, inA := names(a)
	y, inB := names(b)
	before := len(c.found)
	both := slices.Clone(x)
	for _, n := range y {
		if _, ok := inA[n]; !ok {
			both = append(both, n)
		}
	}
	for _, n := range both {
		at := append(slices.Clip(path[:len(path)-1]), kind+" "+n)
		u, isA := inA[n]
		v, isB := inB[n]
		switch {
		case isA && isB:
			c.values(at, about, u, v)
		case isA:
			c.differ(at, about, brief(u), "")
		default:
			c.differ(at, about, "", brief(v))
		}
	}
	if len(c.found) == before && !slices.Equal(x, y) {
		c.differ(path, about, "the order "+strings.Join(x, ", "), "the order "+strings.Join(y, ", "))
	}
}

// nameOf is by what a thing of a list is told from the others: its first field, and
// its name where that is another one.
func nameOf(v reflect.Value) string {
	n := text(v.Field(0))
	if second := v.FieldByName("Name"); second.IsValid() && v.Type().Field(0).Name != "Name" {
		n += " " + second.String()
	}
	return n
}

// brief is a thing that only one of two estates has: of a role who is in it, of a
// member the key that would count.
func brief(v reflect.Value) string {
	switch e := v.Interface().(type) {
	case Member:
		if e.Key != "" {
			return e.Key
		}
	case Role:
		var who []string
		for _, m := range e.Members {
			who = append(who, m.Name)
		}
		return strings.Join(who, ", ")
	}
	return there(true)
}

// singular is one of what a list of the file holds.
func singular(list string) string {
	list = strings.ReplaceAll(list, "_", " ")
	if stem, ok := strings.CutSuffix(list, "ies"); ok {
		return stem + "y"
	}
	return strings.TrimSuffix(list, "s")
}
