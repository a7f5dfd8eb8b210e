package docs

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// module is the path before every package of the product.
const module = "breakwater/"

// code is the product's code as a graph: what each declaration refers to, and which
// fields of the estate it reads. A call through an interface leads to every type of the
// product that has it. So it shows who may read a field, and shows nobody only where
// there is nobody.
type code struct {
	refers map[types.Object]map[types.Object]bool
	reads  map[types.Object]map[string]bool // declaration → "Kafka.Alias"
	roots  map[string][]types.Object        // who begins: an action, or a command
	says   map[string]string                // field of the estate's types → what its comment says
	adds   map[types.Object][]types.Object  // declaration → the actions that it registers: who lists them performs none
}

// load type-checks the product without its tests and its laboratory.
func loadCode(t *testing.T) *code {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	pkgs, err := packages.Load(&packages.Config{
		Context: t.Context(), Dir: dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports,
	}, "./internal/...", "./activities/...", "./starter/...", "./worker/...", "./workflows/...")
	if err != nil {
		t.Fatal(err)
	}
	c := &code{map[types.Object]map[types.Object]bool{}, map[types.Object]map[string]bool{}, map[string][]types.Object{}, map[string]string{}, map[types.Object][]types.Object{}}
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Fatalf("the product does not compile: %v", e)
		}
		if rel := strings.TrimPrefix(p.PkgPath, module); ofTests(rel+"/x.go") || rel == "internal/estate/load" {
			continue // the loader refuses: it decides about nothing by what it read
		}
		for _, f := range p.Syntax {
			for _, d := range f.Decls {
				c.declaration(p, d)
			}
			if p.PkgPath == estatePkg {
				c.comments(f)
			}
		}
	}
	for from, actions := range c.adds {
		for _, a := range actions {
			maps.Copy(c.refers[a], c.refers[from])
			maps.Copy(c.reads[a], c.reads[from])
		}
	}
	c.implement(pkgs)
	return c
}

// declaration notes what a declaration of a package refers to.
func (c *code) declaration(p *packages.Package, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Body != nil {
			c.body(p, p.TypesInfo.Defs[d.Name], d.Body)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if s, ok := s.(*ast.ValueSpec); ok {
				for _, name := range s.Names {
					for _, v := range s.Values {
						c.body(p, p.TypesInfo.Defs[name], v)
					}
				}
			}
		}
	}
}

func (c *code) body(p *packages.Package, from types.Object, body ast.Node) {
	if from.Name() == "Validate" && p.PkgPath == estatePkg {
		return // it refuses, and decides about nothing else
	}
	if c.refers[from] == nil {
		c.refers[from], c.reads[from] = map[types.Object]bool{}, map[string]bool{}
	}
	group := groupOf(p, body)
	written := map[ast.Expr]bool{}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok == token.ASSIGN {
				for _, l := range n.Lhs {
					written[l] = true
				}
			}
		case *ast.SelectorExpr:
			if s := p.TypesInfo.Selections[n]; s != nil && s.Kind() == types.FieldVal && !written[n] {
				if name := fieldName(s); name != "" {
					c.reads[from][name] = true
				}
			}
		case *ast.Ident:
			if o := p.TypesInfo.Uses[n]; o != nil && ours(o) {
				c.refers[from][origin(o)] = true
			}
		case *ast.CompositeLit:
			return !c.root(p, from, group, n)
		}
		return true
	})
}

// groupOf is the word before the commands of a function, which it puts together as
// group(&cobra.Command{Use: "estate"}, check, …).
func groupOf(p *packages.Package, body ast.Node) (word string) {
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 1 {
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "group" {
				if u, ok := call.Args[0].(*ast.UnaryExpr); ok {
					word = named(p, u.X, "Use") + " "
				}
			}
		}
		return true
	})
	return word
}

const estatePkg = module + "internal/estate"

// fieldName is that of a field of the estate's types, empty for any other.
func fieldName(s *types.Selection) string {
	if s.Obj().Pkg() == nil || s.Obj().Pkg().Path() != estatePkg {
		return ""
	}
	t := s.Recv()
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := types.Unalias(t).(*types.Named); ok {
		if path := s.Index(); len(path) > 1 { // promoted: by the struct in which it stands
			return promoted(n, path) + "." + s.Obj().Name()
		}
		return n.Obj().Name() + "." + s.Obj().Name()
	}
	return ""
}

func promoted(n *types.Named, path []int) string {
	for _, i := range path[:len(path)-1] {
		s, ok := n.Underlying().(*types.Struct)
		if !ok {
			return n.Obj().Name()
		}
		t := s.Field(i).Type()
		if p, ok := t.(*types.Pointer); ok {
			t = p.Elem()
		}
		if n, ok = types.Unalias(t).(*types.Named); !ok {
			return ""
		}
	}
	return n.Obj().Name()
}

func ours(o types.Object) bool {
	switch o.(type) {
	case *types.Func, *types.Var:
	default:
		return false
	}
	return o.Pkg() != nil && strings.HasPrefix(o.Pkg().Path(), module)
}

func origin(o types.Object) types.Object {
	if f, ok := o.(*types.Func); ok {
		return f.Origin()
	}
	return o
}

// begins says what a literal of a type begins, empty for nothing.
func begins(p *packages.Package, lit ast.Expr) string {
	n, ok := types.Unalias(p.TypesInfo.TypeOf(lit)).(*types.Named)
	if !ok || n.Obj().Pkg() == nil {
		return ""
	}
	switch n.Obj().Pkg().Path() + "." + n.Obj().Name() {
	case module + "internal/action.Action":
		return "Name"
	case "github.com/spf13/cobra.Command":
		return "Use"
	}
	return ""
}

// named is the first word of a constant text in a literal.
func named(p *packages.Package, lit ast.Expr, key string) string {
	l, ok := lit.(*ast.CompositeLit)
	if !ok {
		return ""
	}
	for _, e := range l.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if k, ok := kv.Key.(*ast.Ident); ok && k.Name == key {
				if v := p.TypesInfo.Types[kv.Value].Value; v != nil {
					word, _, _ := strings.Cut(constant.StringVal(v), " ")
					return word
				}
			}
		}
	}
	return ""
}

// root notes an action or a command with what it begins with, and reports whether the
// literal is one. Of what else an action's declaration refers to, each of its actions may
// have a part.
func (c *code) root(p *packages.Package, from types.Object, group string, lit *ast.CompositeLit) bool {
	key := begins(p, lit)
	if key == "" {
		return false
	}
	name := named(p, lit, key)
	at := types.NewVar(lit.Pos(), p.Types, name, types.Typ[types.Int])
	if key == "Use" {
		name = "breakwater " + group + name
	} else {
		c.adds[from] = append(c.adds[from], at)
	}
	c.roots[name] = append(c.roots[name], at)
	for _, e := range lit.Elts {
		c.body(p, at, e)
	}
	return true
}

// comments notes what is said of each field, in its line or above it.
func (c *code) comments(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		t, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		s, ok := t.Type.(*ast.StructType)
		if !ok {
			return false
		}
		for _, field := range s.Fields.List {
			text := field.Comment.Text()
			if text == "" {
				text = field.Doc.Text()
			}
			for _, name := range field.Names {
				c.says[t.Name.Name+"."+name.Name] = sentence(text, name.Name)
			}
		}
		return false
	})
}

// sentence is the first of a comment, in one line, as a page says it: without the field's
// name in front, and without links into the code.
func sentence(text, name string) string {
	text = strings.Join(strings.Fields(text), " ")
	text, _, _ = strings.Cut(text, ". ")
	text = strings.TrimSuffix(strings.NewReplacer("[", "", "]", "").Replace(text), ".")
	for _, start := range []string{name + " is ", name + " are ", name + " "} {
		if rest, ok := strings.CutPrefix(text, start); ok {
			return rest
		}
	}
	return text
}

// implement leads from each method of an interface to those of the types that have it.
func (c *code) implement(pkgs []*packages.Package) {
	var named []*types.Named
	for _, p := range pkgs {
		for _, name := range p.Types.Scope().Names() {
			if n, ok := p.Types.Scope().Lookup(name).Type().(*types.Named); ok && n.TypeParams().Len() == 0 {
				named = append(named, n)
			}
		}
	}
	called := map[*types.Func]bool{}
	for _, to := range c.refers {
		for o := range to {
			if f, ok := o.(*types.Func); ok {
				if r := f.Signature().Recv(); r != nil && types.IsInterface(r.Type()) {
					called[f] = true
				}
			}
		}
	}
	for f := range called {
		in, ok := f.Signature().Recv().Type().Underlying().(*types.Interface)
		if !ok {
			continue
		}
		to := map[types.Object]bool{}
		for _, n := range named {
			if types.IsInterface(n) || !types.Implements(types.NewPointer(n), in) {
				continue
			}
			if m, _, _ := types.LookupFieldOrMethod(types.NewPointer(n), true, f.Pkg(), f.Name()); m != nil {
				to[origin(m)] = true
			}
		}
		c.refers[f] = to
	}
}

// reached are the declarations that a beginning leads to.
func (c *code) reached(from []types.Object) map[types.Object]bool {
	seen := map[types.Object]bool{}
	todo := slices.Clone(from)
	for len(todo) > 0 {
		o := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[o] || c.adds[o] != nil {
			continue
		}
		seen[o] = true
		todo = slices.AppendSeq(todo, maps.Keys(c.refers[o]))
	}
	return seen
}

// readers says of each field of the estate's types, such as "Kafka.Alias", who reads it:
// actions, and commands as they are typed. An action that a process serves is the action's
// and not the process's.
func (c *code) readers() map[string]map[string]bool {
	by := map[string]map[string]bool{}
	for who, from := range c.roots {
		if who == "breakwater breakwater-worker" {
			who = "every run"
		}
		for o := range c.reached(from) {
			for f := range c.reads[o] {
				if by[f] == nil {
					by[f] = map[string]bool{}
				}
				by[f][who] = true
			}
		}
	}
	return by
}
