package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"breakwater/internal/wire"
)

// A command to paste is made by cmd or by shell.Command, which quote what a name may
// hold; never by joining texts or by a format.
func TestHintsAreQuoted(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	command := func(e ast.Expr) (string, bool) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(lit.Value)
		return text, err == nil && slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
			line = strings.TrimSpace(line)
			return strings.HasPrefix(line, "breakwater ") || strings.HasPrefix(line, "ls ") || strings.HasPrefix(line, "vault ")
		})
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if text, is := command(n.X); is && n.Op == token.ADD && !strings.HasSuffix(text, "\n") {
					t.Errorf("%s: %q is joined with what may hold a quote; use cmd", set.Position(n.Pos()), text)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "cmd" {
					seen++
				}
				for _, arg := range n.Args {
					if text, is := command(arg); is && strings.Contains(text, "breakwater") && strings.Contains(text, "%s") && strings.Contains(text[strings.Index(text, "breakwater "):], "%s") {
						t.Errorf("%s: %q puts what may hold a quote into a command; use cmd", set.Position(n.Pos()), text)
					}
				}
			}
			return true
		})
	}
	if seen < 10 {
		t.Errorf("only %d hints are made by cmd: the test looks at the wrong place", seen)
	}
}

// The hints of a run whose id a shell would split are copied into one.
func TestHintsAreCopied(t *testing.T) {
	const id = `drill of "march" 1's $HOME`
	for _, hint := range []string{cmd("watch", id), cmd("approve", id) + " --key FILE", reportHint(name{workflow: id}, wire.Status{})} {
		said, err := exec.CommandContext(t.Context(), "sh", "-c", `breakwater() { printf '%s\n' "$2"; }; `+hint).Output()
		if err != nil || strings.TrimSuffix(string(said), "\n") != id {
			t.Errorf("%s names %q to a shell, %v; want %q", hint, said, err, id)
		}
	}
}
