package objectstore_test

import (
	"strings"
	"testing"

	"breakwater/internal/objectstore"
)

func TestFenceName(t *testing.T) {
	scope := objectstore.FenceScope([]string{"b", "a"}, []string{"c"})
	if scope != objectstore.FenceScope([]string{"a", "b"}, []string{"c"}) || scope == objectstore.FenceScope([]string{"a"}, []string{"b", "c"}) {
		t.Error("the scope must depend on what is covered and not on its order")
	}
	name, err := objectstore.FenceName("RegionalFailover-2026.11-x", scope)
	if err != nil {
		t.Fatal(err)
	}
	if run, ok := objectstore.FenceRun(name, scope); !ok || run != "RegionalFailover-2026.11-x" {
		t.Errorf("FenceRun(%s) = %q, %v", name, run, ok)
	}
	for _, other := range []string{"PublicRead", "", name + "x", "breakwater-", "breakwater-r1-00000000"} {
		if run, ok := objectstore.FenceRun(other, scope); ok {
			t.Errorf("FenceRun(%q) = %q", other, run)
		}
	}
	for _, bad := range []string{"", "a b", "a/b", "-a", "é", strings.Repeat("a", 100), "a\"b"} {
		if name, err := objectstore.FenceName(bad, scope); err == nil {
			t.Errorf("FenceName(%q) = %q", bad, name)
		}
	}
}
