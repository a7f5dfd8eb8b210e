package suite

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goTest is a line of the Makefile that tests some packages.
type goTest struct {
	line     string
	packages []string // ./lab/torture, ./activities/...
	run      *regexp.Regexp
}

// takes reports whether the line runs a function as a test.
func (g goTest) takes(f function) bool {
	return g.over(f.dir) && (g.run == nil || g.run.MatchString(f.name))
}

func (g goTest) over(dir string) bool {
	return slices.ContainsFunc(g.packages, func(p string) bool {
		below, all := strings.CutSuffix(p, "/...")
		return dir == p || all && (dir == below || strings.HasPrefix(dir, below+"/"))
	})
}

var (
	word  = regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`)
	tests = regexp.MustCompile(`(?m)^.*\$\(GO\) test .*$`)
)

// recipe is the lines of a target that run go test.
func recipe(t *testing.T, target string) []goTest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	makefile := strings.ReplaceAll(string(text), "\\\n", " ")
	_, body, ok := strings.Cut(makefile, "\n"+target+":")
	if !ok {
		t.Fatalf("the Makefile has no target %s", target)
	}
	body, _, _ = strings.Cut(body, "\n\n")
	var all []goTest
	for _, line := range tests.FindAllString(body, -1) {
		g := goTest{line: strings.TrimSpace(line)}
		words := word.FindAllString(line, -1)
		for i, w := range words {
			if strings.HasPrefix(w, "./") {
				g.packages = append(g.packages, w)
			}
			if w == "-run" {
				g.run = regexp.MustCompile(strings.Trim(words[i+1], `"'`))
			}
		}
		all = append(all, g)
	}
	if len(all) == 0 {
		t.Fatalf("the target %s tests nothing", target)
	}
	return all
}

// TestNothingFallsBetween holds every test that does more, or anything at all, only
// when a variable asks for it, against the target that sets the variable.
func TestNothingFallsBetween(t *testing.T) {
	all := functions(t)
	for target, variable := range map[string]string{"torture": "BREAKWATER_TORTURE", "bench": "BREAKWATER_BENCH", "verify-spark": "BREAKWATER_SPARK"} {
		t.Run(target, func(t *testing.T) {
			lines := recipe(t, target)
			asks := that(all, variable)
			n := 0
			for _, name := range slices.Sorted(maps.Keys(asks)) {
				f := asks[name]
				if !f.isTest() || f.dir == "./lab/suite" {
					continue
				}
				n++
				if !slices.ContainsFunc(lines, func(g goTest) bool { return strings.Contains(g.line, variable+"=") && g.takes(f) }) {
					t.Errorf("%s in %s asks for %s, and make %s does not run it with that: mend its packages or its -run", f.name, f.file, variable, target)
				}
			}
			if n == 0 {
				t.Errorf("no test asks for %s", variable)
			}
		})
	}
}

// TestTargetsNameWhatIsThere holds the packages and the patterns of every target
// against the tree: one that was moved or renamed is not passed over in silence.
func TestTargetsNameWhatIsThere(t *testing.T) {
	all := functions(t)
	for _, target := range []string{"test-fast", "torture", "bench", "verify-spark", "replay", "docs"} {
		for _, g := range recipe(t, target) {
			for _, p := range g.packages {
				one := goTest{packages: []string{p}, run: g.run}
				if !slices.ContainsFunc(all, func(f function) bool {
					return strings.HasSuffix(f.file, "_test.go") && one.over(f.dir) && (f.isTest() && one.takes(f) || strings.HasPrefix(f.name, "Benchmark") && strings.Contains(g.line, "-bench"))
				}) {
					t.Errorf("make %s runs nothing in %s: %s", target, p, g.line)
				}
			}
			if g.run == nil {
				continue
			}
			for _, pattern := range alternatives(g.run.String()) {
				one := goTest{packages: g.packages, run: regexp.MustCompile(pattern)}
				if pattern != "xxx" && !slices.ContainsFunc(all, func(f function) bool { return f.isTest() && one.takes(f) }) {
					t.Errorf("make %s runs no test of the pattern %s: %s", target, pattern, g.line)
				}
			}
		}
	}
}

// alternatives splits a pattern at each bar that is in no parentheses.
func alternatives(pattern string) []string {
	var all []string
	depth, from := 0, 0
	for i, c := range pattern {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				all, from = append(all, pattern[from:i]), i+1
			}
		}
	}
	return append(all, pattern[from:])
}
