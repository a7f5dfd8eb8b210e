package suite

import (
	"go/ast"
	"strings"
	"testing"
)

// TestNoTextNamesOurTypes looks for texts with the name of a Go type in them: people who
// read an error know the words of the documentation, and not those of the source.
func TestNoTextNamesOurTypes(t *testing.T) {
	looked := 0
	for _, f := range functions(t) {
		if strings.HasSuffix(f.file, "_test.go") || strings.HasPrefix(f.dir, "./lab/") || strings.HasSuffix(f.dir, "test") {
			continue
		}
		looked++
		ast.Inspect(f.body, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && strings.Contains(s.Value, "%T") {
				t.Errorf("%s of %s says %s: name the thing in the words of docs/design.md", f.name, f.file, s.Value)
			}
			return true
		})
	}
	if looked < 1000 {
		t.Errorf("only %d functions were looked at", looked)
	}
}
