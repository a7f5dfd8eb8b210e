package permit

import (
	"reflect"
	"slices"
	"strings"

	"breakwater/internal/estate"
)

// references adds what a region's token must read for the credentials that lie in the
// region's own vault, and gives a policy of its own where there was none.
func references(e *estate.Estate, r estate.Region, all []Policy) (Policy, bool) {
	if r.Vault == nil {
		return Policy{}, false
	}
	var paths []Path
	refs := refsIn(reflect.ValueOf(r))
	for _, g := range e.Groups {
		readers, writers := g.AccessIn(r.Region)
		for _, p := range slices.Concat(readers, writers) {
			refs = append(refs, p.Credentials)
		}
	}
	for _, ref := range refs {
		rest, ok := strings.CutPrefix(string(ref), "vault:")
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, "#")
		mount, path, ok := strings.Cut(rest, "/")
		if one := (Path{mount + "/data/" + path, []string{"read"}}); ok && !slices.ContainsFunc(paths, func(p Path) bool { return p.Path == one.Path }) {
			paths = append(paths, one)
		}
	}
	slices.SortFunc(paths, func(a, b Path) int { return strings.Compare(a.Path, b.Path) })
	if len(paths) == 0 {
		return Policy{}, false
	}
	for i := range all {
		if all[i].Holder == Vault && all[i].Region == r.Region {
			for _, p := range paths {
				if !slices.ContainsFunc(all[i].Paths, func(o Path) bool { return o.Path == p.Path && slices.Contains(o.Capabilities, "read") }) {
					all[i].Paths = append(all[i].Paths, p)
				}
			}
			return Policy{}, false
		}
	}
	return Policy{Holder: Vault, Region: r.Region, Reference: r.Vault.Credentials, System: "kv", Paths: paths}, true
}

// refsIn are the credentials that a part of an estate names.
func refsIn(part reflect.Value) (refs []estate.Ref) {
	if ref, ok := part.Interface().(estate.Ref); ok {
		return []estate.Ref{ref}
	}
	switch part.Kind() {
	case reflect.Pointer:
		if !part.IsNil() {
			return refsIn(part.Elem())
		}
	case reflect.Struct:
		for i := range part.NumField() {
			refs = append(refs, refsIn(part.Field(i))...)
		}
	case reflect.Slice:
		for i := range part.Len() {
			refs = append(refs, refsIn(part.Index(i))...)
		}
	}
	return refs
}
