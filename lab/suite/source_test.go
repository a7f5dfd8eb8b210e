package suite

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// root is the module's folder, from this package's.
const root = "../.."

// function is a function or method of the module, as far as these tests ask.
type function struct {
	dir, name string // ./lab/suite, TestX
	file      string // ./lab/suite/x_test.go
	body      *ast.FuncDecl
	imports   map[string]string // name in the file to folder, of the module's own packages
	synctest  bool              // the file's tests run in bubbles where time passes at once
}

func (f function) isTest() bool {
	return strings.HasSuffix(f.file, "_test.go") && strings.HasPrefix(f.name, "Test") && f.body.Recv == nil && f.name != "TestMain"
}

// functions reads every Go file of the module.
func functions(t *testing.T) []function {
	t.Helper()
	var all []function
	err := fs.WalkDir(os.DirFS(root), ".", func(file string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && file != "." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" || e.Name() == "tools" || e.Name() == "out" || e.Name() == "bin"):
			return fs.SkipDir
		case !strings.HasSuffix(file, ".go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, 0)
		if err != nil {
			return err
		}
		imports, synctest := map[string]string{}, false
		for _, i := range parsed.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			synctest = synctest || p == "testing/synctest"
			if dir, ok := strings.CutPrefix(p, "breakwater/"); ok {
				name := path.Base(dir)
				if i.Name != nil {
					name = i.Name.Name
				}
				imports[name] = "./" + dir
			}
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				all = append(all, function{"./" + path.Dir(file), f.Name.Name, "./" + file, f, imports, synctest})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 1000 {
		t.Fatalf("only %d functions were found", len(all))
	}
	return all
}

// that returns the functions which look at an environment variable, themselves or
// through functions of the module that they call.
func that(all []function, variable string) map[string]function {
	found := map[string]function{}
	key := func(dir, name string) string { return dir + "." + name }
	for more := true; more; {
		more = false
		for _, f := range all {
			if _, known := found[key(f.dir, f.name)]; known {
				continue
			}
			looks := false
			ast.Inspect(f.body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BasicLit:
					looks = looks || n.Value == strconv.Quote(variable)
				case *ast.CallExpr:
					switch called := n.Fun.(type) {
					case *ast.Ident:
						_, known := found[key(f.dir, called.Name)]
						looks = looks || known
					case *ast.SelectorExpr:
						if pkg, ok := called.X.(*ast.Ident); ok {
							_, known := found[key(f.imports[pkg.Name], called.Sel.Name)]
							looks = looks || known
						}
					}
				}
				return true
			})
			if looks {
				found[key(f.dir, f.name)] = f
				more = true
			}
		}
	}
	return found
}
