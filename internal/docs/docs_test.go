package docs

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"breakwater/activities"
	"breakwater/internal/estate"
	estateload "breakwater/internal/estate/load"
	"breakwater/internal/mistake"
	runbookload "breakwater/internal/runbook/load"
	"breakwater/internal/system"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the generated pages of docs/")

const root = "../.."

// The generated pages say what the code says.
func TestGeneratedPages(t *testing.T) {
	cat := activities.Catalogue(&system.Systems{})
	if err := cat.Err(); err != nil {
		t.Fatal(err)
	}
	policies, err := Policies(cat, system.GivesAccess()[0], system.Speaks)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"actions.md": Actions(cat), "mistakes.md": Mistakes(), "policies.md": policies} {
		path := filepath.Join(root, "docs", name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(string(read(t, path)), want); diff != "" {
			t.Errorf("docs/%s is not what the code says: run make docs\n%s", name, diff)
		}
	}
}

// The example of an estate is one that the loader accepts, and every key that
// an estate can have is explained.
func TestEstatePage(t *testing.T) {
	page := string(read(t, filepath.Join(root, "docs", "estate.md")))
	found := 0
	for _, block := range yamlBlocks(page) {
		if !strings.Contains(block, "\nestate: ") {
			continue
		}
		found++
		if _, ms := estateload.Bytes([]byte(block), "docs/estate.md"); len(ms) > 0 {
			t.Errorf("the example is refused:\n%v", mistake.Error(ms))
		}
	}
	if found == 0 {
		t.Error("docs/estate.md has no example that starts an estate")
	}
	keys := map[string]bool{}
	yamlKeys(reflect.TypeFor[estate.Estate](), keys)
	if len(keys) < 40 {
		t.Fatalf("only %d keys were found in the types", len(keys))
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !regexp.MustCompile("`" + k + "`").MatchString(page) {
			t.Errorf("docs/estate.md does not explain the key `%s`", k)
		}
	}
}

// Every runbook shown in the pages is one that the linter accepts.
func TestRunbookExamples(t *testing.T) {
	cat := activities.Catalogue(&system.Systems{})
	found := 0
	for _, path := range pages(t) {
		for i, block := range yamlBlocks(string(read(t, path))) {
			if !strings.Contains("\n"+block, "\nrunbook: ") {
				continue
			}
			found++
			name := fmt.Sprintf("%s-%d.yaml", filepath.Base(path), i)
			if _, ms := runbookload.Lint(oneFile(t, name, block), cat, nil); len(ms) > 0 {
				t.Errorf("%s shows a runbook that is refused:\n%v", path, mistake.Error(ms))
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a runbook")
	}
}

var (
	link   = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	target = regexp.MustCompile("`make ([a-z-]+)")
	listed = regexp.MustCompile(`(?m)^([a-z-]+):.*## `)
)

// Links between pages lead somewhere, and every make target that a page names
// is one that `make help` lists.
func TestLinksAndTargets(t *testing.T) {
	targets := map[string]bool{}
	for _, file := range []string{"Makefile", "lab/tools/tools.mk"} {
		for _, m := range listed.FindAllStringSubmatch(string(read(t, filepath.Join(root, file))), -1) {
			targets[m[1]] = true
		}
	}
	for _, path := range pages(t) {
		text := string(read(t, path))
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			if !targets[m[1]] {
				t.Errorf("%s names make %s, which the Makefile does not list", path, m[1])
			}
		}
	}
}

// Decisions are numbered one after the other, in their names as in their titles.
func TestDecisionsAreNumbered(t *testing.T) {
	all, err := filepath.Glob(filepath.Join(root, "docs/decisions/*.md"))
	if err != nil || len(all) == 0 {
		t.Fatal(err, all)
	}
	for i, path := range all {
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(filepath.Base(path), want) {
			t.Errorf("%s is the decision after %d", path, i)
		}
		if want := fmt.Sprintf("# %d. ", i+1); !strings.HasPrefix(string(read(t, path)), want) {
			t.Errorf("the title of %s does not begin with %q", path, want)
		}
	}
}

// pages lists every page written in Markdown at the top and under docs/.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

func yamlBlocks(page string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// yamlKeys collects the keys that a type takes, and those of what it holds.
func yamlKeys(t reflect.Type, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		yamlKeys(t.Elem(), into)
	case reflect.Struct:
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
				into[name] = true
				yamlKeys(f.Type, into)
			}
		}
	}
}

func oneFile(t *testing.T, name, text string) fs.FS {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return os.DirFS(dir)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
