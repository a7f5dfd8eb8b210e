package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// hinted finds the commands that an output sends people on to.
var hinted = regexp.MustCompile(`breakwater ((?:table|actions)(?: [^\n]*[^\n):;,])?)`)

// said is what a command prints in all.
func said(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, nil, &out, &errs)
	return code, out.String() + errs.String()
}

// TestHintsLeadOn follows what every command says about every reported table: no hint
// leads back to a command that was given on the way, and each adds something that was not
// said before.
func TestHintsLeadOn(t *testing.T) {
	dir := t.TempDir()
	unpackReported(t, dir)
	all := everyReported(t)
	followed := 0
	for _, c := range all {
		where := filepath.Join(dir, c.Name, c.Folder)
		for _, first := range [][]string{
			{"table", "show", where}, {"table", "show", where, "--version", "1"}, {"table", "check", where},
			{"table", "history", where, "--readable"}, {"table", "query", where, "select * from t limit 0"},
		} {
			var given []string
			var before string
			var follow func(args []string)
			follow = func(args []string) {
				if slices.Contains(given, strings.Join(args, " ")) {
					t.Errorf("%s: %q leads back to %q", c.Name, given, args)
					return
				}
				given = append(given, strings.Join(args, " "))
				code, now := said(t, args...)
				if code == exitUsage {
					t.Errorf("%s: %q is no command that works: %s", c.Name, args, now)
				}
				fresh := false
				for line := range strings.Lines(now) {
					fresh = fresh || !strings.Contains(before, line)
				}
				if !fresh {
					t.Errorf("%s: %q adds nothing to %q", c.Name, args, given)
				}
				before += now
				for _, hint := range hinted.FindAllStringSubmatch(now, -1) {
					followed++
					follow(strings.Fields(hint[1]))
				}
			}
			follow(first)
		}
	}
	if followed < 20 {
		t.Errorf("only %d hints were followed", followed)
	}
}

// TestHintIsACommandToPaste: what a hint names is reached as the command before it reached
// it, whatever the shell thinks of its name.
func TestHintIsACommandToPaste(t *testing.T) {
	dir := t.TempDir()
	unpackReported(t, dir)
	where := filepath.Join(dir, "it's a table", "$HOME")
	if err := os.MkdirAll(filepath.Dir(where), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "c29_commit0_bad/empty0/empty0"), where); err != nil {
		t.Fatal(err)
	}
	m := "s3://primary-lake=" + dir
	code, out := said(t, "table", "show", where, "--version", "2", "--map", m)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	next, ok := strings.CutPrefix(strings.TrimSpace(lines[len(lines)-1]), "breakwater ")
	if code != exitFailed || !ok {
		t.Fatalf("%d: %s", code, out)
	}
	words, err := exec.Command("sh", "-c", `printf '%s\n' `+next).Output()
	want := fmt.Sprintf("table\ncheck\n%s\n--version\n2\n--map\n%s\n", where, m)
	if err != nil || string(words) != want {
		t.Errorf("a shell takes %q as %q, %v; want %q", next, words, err, want)
	}
}

// TestPathsOfFilesAreWhole: a message names a file by its path, from the first slash on.
func TestPathsOfFilesAreWhole(t *testing.T) {
	dir := t.TempDir()
	unpackReported(t, dir)
	gone := filepath.Join(dir, "c23_readd/table/table")
	files, err := filepath.Glob(filepath.Join(gone, "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	all := everyReported(t)
	named := 0
	for _, c := range all {
		where := filepath.Join(dir, c.Name, c.Folder)
		for _, args := range [][]string{{"show", where}, {"check", where}, {"history", where, "--readable"}, {"query", where, "select * from t limit 0"}} {
			_, out := said(t, append([]string{"table"}, args...)...)
			for rest := out; ; named++ {
				i := strings.Index(rest, strings.TrimPrefix(dir, "/"))
				if i < 0 {
					break
				}
				if i == 0 || rest[i-1] != '/' {
					t.Errorf("%s: %s names a path without its first slash: %s", c.Name, args[0], out)
					break
				}
				rest = rest[i+1:]
			}
			if goType.MatchString(out) {
				t.Errorf("%s: %s names a type of ours: %s", c.Name, args[0], out)
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d paths were named", named)
	}
}

// goType is how Go names types and functions, and writes times and errors of formatting.
var goType = regexp.MustCompile(`\*\w+\.[A-Z]|\bmain\.|Go (?:struct|value)|%!|strconv\.|2006-01-02T|\bof type (?:int|string|bool|map)\b`)
