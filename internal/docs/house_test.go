package docs

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"breakwater/activities"
)

// sources yields the Go files of the tree that belong to the product: no test, no
// laboratory.
func sources(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(filepath.ToSlash(path), root+"/")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path != root && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || rel == "lab" || rel == "bin" || rel == "out"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !ofTests(rel):
			files = append(files, rel)
		}
		return nil
	})
	if err != nil || len(files) < 200 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

// ofTests reports whether a file is of a package that only tests import: a suite, or
// what starts a server.
func ofTests(rel string) bool {
	return slices.ContainsFunc(strings.Split(filepath.Dir(rel), "/"), func(dir string) bool { return strings.HasSuffix(dir, "test") })
}

// literals are the texts in a file's code, without its comments.
func literals(t *testing.T, rel string) []string {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, rel))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	if _, err := parser.ParseFile(set, rel, src, parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, m := range regexp.MustCompile("(?m)\"(?:[^\"\\\\\n]|\\\\.)*\"").FindAllString(withoutComments(string(src)), -1) {
		if s, err := strconv.Unquote(m); err == nil {
			texts = append(texts, s)
		}
	}
	return texts
}

func withoutComments(src string) string {
	return regexp.MustCompile(`(?m)^\s*//.*$|[^:"]//[^"\n]*$`).ReplaceAllString(src, "")
}

func within(rel string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(rel, f+"/") })
}

// The layout of a format's files is that format's own business.
func TestOnlyDeltaSpellsItsLog(t *testing.T) {
	found := 0
	for _, rel := range sources(t) {
		for _, s := range literals(t, rel) {
			if !strings.Contains(s, "_delta_log") && !strings.Contains(s, "_last_checkpoint") {
				continue
			}
			if within(rel, "internal/table/delta") {
				found++
				continue
			}
			t.Errorf("%s spells %q: ask internal/table/delta, or the port for the table's layout", rel, s)
		}
	}
	if found == 0 {
		t.Error("not even the Delta package spells its log: the search is blind")
	}
}

// provider is a provider's name as the estate writes it, alone in a literal: it is
// there to be compared, or chosen by.
var provider = regexp.MustCompile(`^(minio|aws|mm2|temporal-schedule|duckdb|vault|delta)$`)

// Callers ask a port for an ability, and never compare a provider's name.
func TestOnlyTheSystemNamesProviders(t *testing.T) {
	found := 0
	for _, rel := range sources(t) {
		for _, s := range literals(t, rel) {
			if !provider.MatchString(s) {
				continue
			}
			switch {
			case within(rel, "internal/system", "internal/objectstore/s3", "internal/mirror/mm2", "internal/pipeline/temporal", "internal/query/duckdb", "internal/secret/vault", "internal/table/delta"):
			case within(rel, "internal/estate"):
				found++
			case rel == "internal/credential/credential.go" && s == "vault": // the scheme of a reference
			case rel == "internal/arn/arn.go" && s == "aws": // the partition of an ARN
			default:
				t.Errorf("%s names the provider %q: ask for the ability", rel, s)
			}
		}
	}
	if found == 0 {
		t.Error("not even the estate's schema names a provider: the search is blind")
	}
}

// Rooms stay thin: what is longer is an algorithm, which lives below internal/.
func TestRoomsAreThin(t *testing.T) {
	for _, rel := range sources(t) {
		most := 500
		if within(rel, "activities") && !within(rel, "activities/host") {
			most = 300
		}
		if n := strings.Count(string(read(t, filepath.Join(root, rel))), "\n"); n > most {
			t.Errorf("%s has %d lines, and %d are the most", rel, n, most)
		}
	}
}

// alone are the packages of outside systems, with all below them: each is usable and
// testable without the contract and without Temporal.
var alone = []string{
	"internal/backup/depot", "internal/credential", "internal/kafka", "internal/ledger/store", "internal/mirror", "internal/objectstore",
	"internal/pipeline", "internal/query", "internal/rewind/perform", "internal/secret", "internal/table", "internal/witness",
}

func TestOutsideSystemsStandAlone(t *testing.T) {
	for _, folder := range alone {
		if _, err := os.Stat(filepath.Join(root, folder)); err != nil {
			t.Errorf("%s is not there: %v", folder, err)
			continue
		}
		cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}: {{join .Deps " "}}`, "./"+folder+"/...")
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list %s: %v", folder, err)
		}
		for line := range strings.Lines(string(out)) {
			pkg, deps, _ := strings.Cut(strings.TrimSpace(line), ": ")
			for dep := range strings.FieldsSeq(deps) {
				switch {
				case dep == "breakwater/internal/action":
					t.Errorf("%s needs the contract", pkg)
				case strings.HasPrefix(dep, "go.temporal.io/") && pkg != "breakwater/internal/pipeline/temporal":
					t.Errorf("%s needs Temporal: %s", pkg, dep)
				}
			}
		}
	}
}

var (
	addingRow = regexp.MustCompile(`(?m)^\| (an? [^|]+|what [^|]+) \|.*\|$`)
	addingDir = regexp.MustCompile("`([a-z][a-zA-Z/]+/)`")
)

// pathOf is a folder of the page as a pattern: a word in capitals stands for any name.
func pathOf(dir string) *regexp.Regexp {
	return regexp.MustCompile("^" + regexp.MustCompile(`[A-Z]{2,}`).ReplaceAllString(regexp.QuoteMeta(strings.TrimSuffix(dir, "/")), `[a-z0-9]+`) + "$")
}

// docs/adding.md names folders that are there; every room, port and suite of the tree
// has its row; and each example touched only the folders of its row.
func TestAddingPage(t *testing.T) {
	page := string(read(t, filepath.Join(root, "docs", "adding.md")))
	var folders []string // of the tree
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir():
			folders = append(folders, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := addingRow.FindAllString(page, -1)
	if len(rows) < 12 {
		t.Fatalf("only %d rows were found in the page", len(rows))
	}
	var named []*regexp.Regexp
	for _, row := range rows {
		var allowed []*regexp.Regexp
		example := ""
		for _, m := range addingDir.FindAllStringSubmatch(row, -1) {
			p := pathOf(m[1])
			if !slices.ContainsFunc(folders, p.MatchString) {
				t.Errorf("the page names %s, which is not in the tree", m[1])
			}
			if strings.HasPrefix(m[1], "lab/adding/") || m[1] == toy {
				example = strings.TrimSuffix(m[1], "/")
				continue
			}
			allowed = append(allowed, p)
		}
		named = append(named, allowed...)
		if example != "" {
			touchedOnly(t, example, allowed)
		}
	}
	for _, r := range activities.Rooms() {
		if !slices.ContainsFunc(named, func(p *regexp.Regexp) bool { return p.MatchString("activities/" + r.Name) }) {
			t.Errorf("no row is about room %s", r.Name)
		}
	}
	suites := 0
	for _, f := range folders {
		port, suite := filepath.Split(f)
		if !strings.HasPrefix(f, "internal/") || !regexp.MustCompile(`^(store|table|mirror|pipeline|secret|query)test$`).MatchString(suite) {
			continue
		}
		suites++
		for _, want := range []string{f, port + "another"} {
			if !slices.ContainsFunc(named, func(p *regexp.Regexp) bool { return p.MatchString(want) }) {
				t.Errorf("no row is about %s", want)
			}
		}
	}
	if suites != 6 {
		t.Errorf("%d suites of ports were found, want 6", suites)
	}
}

// toy is the example of a table format.
const toy = "internal/table/toy/"

// touchedOnly holds an example's own tree against the folders that its row names.
func touchedOnly(t *testing.T, example string, allowed []*regexp.Regexp) {
	t.Helper()
	files, under := 0, filepath.Join(root, example)
	if example+"/" == toy { // it lies where a real one would
		under = root
	}
	err := filepath.WalkDir(filepath.Join(root, example), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		rel, err := filepath.Rel(under, filepath.Dir(path))
		if err == nil && !slices.ContainsFunc(allowed, func(p *regexp.Regexp) bool { return p.MatchString(filepath.ToSlash(rel)) }) {
			t.Errorf("the example %s touches %s, which its row does not name", example, rel)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("the example %s: %d files, %v", example, files, err)
	}
}
