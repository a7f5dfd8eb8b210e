package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	trapRow  = regexp.MustCompile(`(?m)^\| (\d+) \|.*\|$`)
	trapName = regexp.MustCompile("`(TestTrap(\\d\\d)\\w+)`")
	trapFunc = regexp.MustCompile(`(?m)^func (TestTrap\d\d\w*)\(`)
)

var anyTest = regexp.MustCompile("`(Test\\w+)`")

// eachTestFile calls f with each file of tests in the tree.
func eachTestFile(t *testing.T, f func(path, text string)) {
	t.Helper()
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		f(path, string(text))
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// Every test that docs/threats.md names is in the tree.
func TestThreatsPage(t *testing.T) {
	named := anyTest.FindAllStringSubmatch(string(read(t, filepath.Join(root, "docs", "threats.md"))), -1)
	if len(named) < 20 {
		t.Fatalf("only %d tests were found in the page", len(named))
	}
	all := strings.Builder{}
	eachTestFile(t, func(_, text string) { all.WriteString(text) })
	for _, m := range named {
		if !strings.Contains(all.String(), "func "+m[1]+"(t *testing.T)") {
			t.Errorf("docs/threats.md names %s, which is not in the tree", m[1])
		}
	}
}

// Every test that docs/traps.md names is in the tree, in the row of its number,
// and every test of a trap is in the page.
func TestTrapsPage(t *testing.T) {
	there := map[string]string{}
	eachTestFile(t, func(path, text string) {
		for _, m := range trapFunc.FindAllStringSubmatch(text, -1) {
			there[m[1]] = path
		}
	})
	named := map[string]bool{}
	rows := trapRow.FindAllStringSubmatch(string(read(t, filepath.Join(root, "docs", "traps.md"))), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d traps were found in the page", len(rows))
	}
	for _, row := range rows {
		tests := trapName.FindAllStringSubmatch(row[0], -1)
		if len(tests) == 0 {
			t.Errorf("trap %s has no test", row[1])
		}
		for _, m := range tests {
			named[m[1]] = true
			if there[m[1]] == "" {
				t.Errorf("trap %s names %s, which is not in the tree", row[1], m[1])
			}
			if strings.TrimPrefix(m[2], "0") != row[1] {
				t.Errorf("%s stands in the row of trap %s", m[1], row[1])
			}
		}
	}
	for name, path := range there {
		if !named[name] {
			t.Errorf("docs/traps.md does not name %s of %s", name, path)
		}
	}
}
