package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// reported is a table that reproduces what a user of some engine reported, and the
// right answer to it.
type reported struct {
	Name      string `json:"name"`
	Folder    string `json:"folder"`
	Source    string `json:"source"` // the public thread
	Situation string `json:"situation"`
	Why       string `json:"why"` // the answer is right, and who says so
	Expect    struct {
		Readable  bool            `json:"readable"` // the newest version is read, and is as follows
		Refused   bool            `json:"refused"`  // or a query of it is refused
		Either    bool            `json:"or_refused"`
		Version   *int64          `json:"version"`
		Rows      *int64          `json:"rows"`
		KeyColumn string          `json:"key_column"`
		Sum       json.RawMessage `json:"sum"` // of the key column
		Answers   []answered      `json:"answers"`
		// Newest is what show takes; null where it must refuse.
		Newest *json.RawMessage `json:"newest_complete"`
		Older  []struct {
			Version  int64  `json:"version"`
			Readable bool   `json:"readable"`
			Rows     *int64 `json:"rows"`
		} `json:"older"`
		Check   oneOf `json:"check"`   // sound, problem or refused
		Warning bool  `json:"warning"` // show or check names a doubt
	} `json:"expect"`
}

// answered is a query and its rows.
type answered struct {
	sql  string
	rows json.RawMessage
}

func (a *answered) UnmarshalJSON(raw []byte) error {
	return json.Unmarshal(raw, &[]any{&a.sql, &a.rows})
}

// oneOf is one text or a list of them.
type oneOf []string

func (o *oneOf) UnmarshalJSON(raw []byte) error {
	if raw[0] == '[' {
		return json.Unmarshal(raw, (*[]string)(o))
	}
	*o = oneOf{""}
	return json.Unmarshal(raw, &(*o)[0])
}

// everyReported is every question about a reported table.
func everyReported(t *testing.T) []reported {
	t.Helper()
	text, err := os.ReadFile("testdata/cases/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []reported
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestReportedTables asks of each table what its report was about.
func TestReportedTables(t *testing.T) {
	all := everyReported(t)
	dir := t.TempDir()
	unpackReported(t, dir)
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			e := examination{t, filepath.Join(dir, c.Name, c.Folder), nil, nil}
			e.examine(c)
			for _, w := range e.wrong {
				t.Errorf("%s\n%s\n%s\n%s", w, c.Situation, c.Why, c.Source)
			}
		})
	}
}

// TestAnswerNamesItsVersion: who asks a table without naming a version is told where
// the answer is not from the head of the log, and why.
func TestAnswerNamesItsVersion(t *testing.T) {
	dir := t.TempDir()
	unpackReported(t, dir)
	gap, whole := filepath.Join(dir, "c12_gap/no_checkpoint/no_checkpoint"), filepath.Join(dir, "c23_readd/table/table")
	for name, tc := range map[string]struct {
		args  []string
		wants string // in what is printed; empty: no other version is named
	}{
		"an older one, for people":   {[]string{gap}, "NOT the newest version: the head of the log is 5\n  version 2 is not complete: "},
		"an older one, for programs": {[]string{gap, "--json"}, `{"type":"answered","version":1,"head":5,"above":[{`},
		"an older one, by time":      {[]string{gap, "--json", "--at", "2023-11-14T22:13:21Z"}, `{"type":"answered","version":1,"head":5}`},
		"the one that was named":     {[]string{gap, "--version", "1"}, ""},
		"the newest":                 {[]string{whole}, ""},
		"the newest, for programs":   {[]string{whole, "--json"}, ""},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"table", "query", tc.args[0], "select count(*) as n from t"}, tc.args[1:]...)
		code := run(t.Context(), args, nil, &out, &errs)
		if code != exitProven || !strings.Contains(out.String(), tc.wants) || tc.wants == "" && (strings.Contains(out.String(), "newest") || strings.Contains(out.String(), "answered")) {
			t.Errorf("%s: %d\n%s%s\nwant %q", name, code, out.String(), errs.String(), tc.wants)
		}
	}
}

// unpackReported writes the tables with the times that their logs had.
func unpackReported(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open("testdata/cases/tables.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it is only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, filepath.FromSlash(h.Name))
		write(t, file, body, 0o600)
		if err := os.Chtimes(file, h.ModTime, h.ModTime); err != nil {
			t.Fatal(err)
		}
	}
}

// examination is one table being asked.
type examination struct {
	t      *testing.T
	where  string
	wrong  []string
	doubts []string
}

func (e *examination) bad(format string, args ...any) {
	e.wrong = append(e.wrong, fmt.Sprintf(format, args...))
}

// call is a command's exit code and what it printed. One that does not end by itself
// ends the test.
func (e *examination) call(args ...string) (int, []json.RawMessage) {
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"table"}, append(args, "--json")...), nil, &out, &errs)
	}()
	var code int
	select {
	case code = <-done:
	case <-ctx.Done():
		e.t.Fatalf("%q does not end", args)
	}
	if code != exitProven && code != exitFailed && code != exitRefused {
		e.bad("%s exits with %d: %s", args[0], code, errs.String())
	}
	var lines []json.RawMessage
	for line := range bytes.Lines(out.Bytes()) {
		if !json.Valid(line) {
			e.bad("%s prints what is no JSON: %s", args[0], line)
			continue
		}
		lines = append(lines, line)
	}
	return code, lines
}

// query is a query's rows at a version, nil where it was refused.
func (e *examination) query(sql string, version *int64) json.RawMessage {
	args := []string{"query", e.where, sql}
	if version != nil {
		args = append(args, "--version", strconv.FormatInt(*version, 10))
	}
	code, out := e.call(args...)
	if code != exitProven {
		return nil
	}
	if len(out) != 1 {
		e.bad("%s: answers %s", sql, out)
		return json.RawMessage("[]")
	}
	return out[0]
}

// shown is what show says, of which the test reads this.
type shown struct {
	Version  int64    `json:"version"`
	Complete bool     `json:"complete"`
	Rows     *int64   `json:"rows"`
	Above    []any    `json:"above"`
	Warnings []string `json:"warnings"`
}

// say gives the line of a type that a command printed.
func say[T any](lines []json.RawMessage, kind string) *T {
	for _, line := range lines {
		var typed struct {
			Type string `json:"type"`
		}
		v := new(T)
		if json.Unmarshal(line, &typed) == nil && typed.Type == kind && json.Unmarshal(line, v) == nil {
			return v
		}
	}
	return nil
}

func (e *examination) examine(c reported) {
	x := c.Expect
	code, out := e.call("show", e.where)
	s := say[shown](out, "table")
	if s != nil {
		e.doubts = append(e.doubts, s.Warnings...)
	}
	if code != exitProven {
		s = nil
	}
	switch {
	case x.Refused:
		e.refused(c, s)
	case x.Either: // and nothing in between
		before := e.wrong
		if e.readable(c, s); len(e.wrong) > len(before) {
			read := e.wrong
			if e.wrong = before; !e.refused(c, s) {
				e.wrong = append(e.wrong, read[len(before):]...)
			}
		}
	case x.Readable:
		e.readable(c, s)
	}
	if x.Newest != nil {
		got := "null"
		if s != nil {
			got = fmt.Sprint(s.Version)
		}
		if got != string(*x.Newest) {
			e.bad("show takes version %s, want %s", got, *x.Newest)
		} else if s != nil && len(s.Above) == 0 {
			e.bad("show does not say what the versions above %s lack", got)
		}
	}
	for _, o := range x.Older {
		got := e.query("select count(*) as n from t", &o.Version)
		if o.Readable != (got != nil) {
			e.bad("version %d: readable %v, want %v", o.Version, got != nil, o.Readable)
		} else if got != nil && o.Rows != nil {
			e.same(got, json.RawMessage(fmt.Sprintf(`[{"n":%d}]`, *o.Rows)), "an older version's rows")
		}
	}
	if len(x.Check) > 0 || x.Warning {
		e.check(x.Check)
	}
	if x.Warning && len(e.doubts) == 0 {
		e.bad("neither show nor check names a doubt")
	}
}

// readable holds the newest version against what it holds.
func (e *examination) readable(c reported, s *shown) {
	x := c.Expect
	if s == nil {
		e.bad("show refuses")
		return
	}
	if s.Version != *x.Version || !s.Complete {
		e.bad("show takes version %d, complete %v, want %d", s.Version, s.Complete, *x.Version)
	}
	e.counts(c, s)
	asked := slices.Clone(x.Answers)
	if x.Rows != nil {
		asked = append(asked, answered{"select count(*) as n from t", json.RawMessage(fmt.Sprintf(`[{"n":%d}]`, *x.Rows))})
	}
	if x.Sum != nil {
		asked = append(asked, answered{fmt.Sprintf("select sum(%q) as s from t", x.KeyColumn), json.RawMessage(fmt.Sprintf(`[{"s":%s}]`, x.Sum))})
	}
	for _, q := range asked {
		got := e.query(q.sql, x.Version)
		if got == nil {
			e.bad("%s at version %d is refused", q.sql, *x.Version)
			continue
		}
		e.same(got, q.rows, q.sql)
	}
}

func (e *examination) counts(c reported, s *shown) {
	if want := c.Expect.Rows; want != nil && s.Rows != nil && *s.Rows != -1 && *s.Rows != *want {
		e.bad("show counts %d rows, want %d", *s.Rows, *want)
	}
}

// refused holds that no row is shown of the newest version.
func (e *examination) refused(c reported, s *shown) bool {
	before := len(e.wrong)
	if got := e.query("select * from t", c.Expect.Version); got != nil {
		e.bad("a query of what must be refused answers %s", got)
	}
	if s != nil && c.Expect.Version != nil && s.Version == *c.Expect.Version {
		e.counts(c, s)
	}
	return len(e.wrong) == before
}

func (e *examination) check(want oneOf) {
	code, out := e.call("check", e.where, "--full")
	v := say[struct {
		Sound    bool     `json:"sound"`
		Warnings []string `json:"warnings"`
		Problems []any    `json:"problems"`
	}](out, "check")
	got := "sound"
	switch {
	case v == nil && code != exitProven:
		got = "refused"
	case v == nil:
		got = "nothing"
	case !v.Sound:
		got = "problem"
	}
	if v != nil {
		e.doubts = append(e.doubts, v.Warnings...)
		for _, p := range v.Problems {
			e.doubts = append(e.doubts, fmt.Sprint(p))
		}
		if v.Sound != (code == exitProven) {
			e.bad("check says sound: %v, and exits with %d", v.Sound, code)
		}
	}
	if len(want) > 0 && !slices.Contains(want, got) {
		e.bad("check says %s, want %s: %q", got, want, e.doubts)
	}
}

// same holds two answers against each other; a number may come as its digits.
func (e *examination) same(got, want json.RawMessage, what string) {
	if g, w := plainly(got), plainly(want); g != w {
		e.bad("%s: %s, want %s", what, cmp.Or(g, string(got)), w)
	}
}

// plainly is JSON with all its values as texts.
func plainly(raw json.RawMessage) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return ""
	}
	return fmt.Sprint(v)
}
