package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/clip"
)

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a package that is built, instead of Package
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

// result is how a package's tests ended.
type result struct {
	name    string
	seconds float64
}

// show reads what go test -json says, and writes a line for each package that has
// tests, the output of what failed, and at the end the slowest packages and once more
// what the failed tests said last: their output may stand far above by then.
func show(events io.Reader, out io.Writer) error {
	said := map[string]*strings.Builder{} // by package and test, until it has ended
	var done []result
	var red []string
	failed := 0
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintf(out, "%s\n", lines.Bytes()) // not a test's: go itself says something
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			if said[key] == nil {
				said[key] = &strings.Builder{}
			}
			said[key].WriteString(e.Output)
		case "pass", "fail", "skip":
			if e.Test == "" && e.Action == "fail" {
				failed++
				for _, test := range slices.Sorted(maps.Keys(said)) { // those in which it died
					if strings.HasPrefix(test, key) && test != key {
						fmt.Fprint(out, said[test])
						delete(said, test)
					}
				}
			}
			if e.Action == "fail" && said[key] != nil {
				fmt.Fprint(out, said[key])
				red = append(red, complaints(e, said[key].String())...)
			}
			if e.Test == "" && e.Action == "pass" {
				fmt.Fprintln(out, last(said[key]))
			}
			if e.Test == "" && e.Action != "skip" {
				done = append(done, result{e.Package, e.Elapsed})
			}
			delete(said, key)
		}
	}
	slices.SortFunc(done, func(a, b result) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Fprintf(out, "%d packages, %d of them red; the slowest:\n", len(done), failed)
	for _, r := range done[:min(10, len(done))] {
		fmt.Fprintf(out, "%7.1f s  %s\n", r.seconds, r.name)
	}
	for _, line := range red {
		fmt.Fprintln(out, line)
	}
	return lines.Err()
}

// complaints are the name of a failed test and the last lines that it said of its own
// file, none if it says nothing itself: a test whose subtests fail, a package.
func complaints(e event, said string) []string {
	var lines []string
	for line := range strings.Lines(said) {
		if at, _, ok := strings.Cut(line, "_test.go:"); ok && strings.HasPrefix(at, "    ") && !strings.ContainsRune(strings.TrimSpace(at), ' ') {
			lines = append(lines, clip.Text(strings.TrimRight(line, "\n"), 300))
		}
	}
	if e.Test == "" || len(lines) == 0 {
		return nil
	}
	return slices.Insert(lines[max(0, len(lines)-5):], 0, fmt.Sprintf("red: %s in %s", e.Test, e.Package))
}

// last is the last line that a package said: ok, its name and its time.
func last(said *strings.Builder) string {
	if said == nil {
		return ""
	}
	text := strings.TrimSpace(said.String())
	return text[strings.LastIndexByte(text, '\n')+1:]
}
