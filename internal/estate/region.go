package estate

import (
	"fmt"
	"slices"
)

// AccessIn is who reads and who writes a group in a region.
func (g *Group) AccessIn(region string) (readers, writers []AccessPrincipal) {
	if g.Access == nil {
		return nil, nil
	}
	elsewhere := func(p AccessPrincipal) bool { return p.Region != region }
	return slices.DeleteFunc(slices.Clone(g.Access.Readers), elsewhere), slices.DeleteFunc(slices.Clone(g.Access.Writers), elsewhere)
}

// RegionNamed is [Estate.Region] with an error that names what is missing.
func (e *Estate) RegionNamed(name string) (*Region, error) {
	r, ok := e.Region(name)
	if !ok {
		return nil, fmt.Errorf("estate %s has no region %q", e.Estate, name)
	}
	return r, nil
}
