package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"breakwater/internal/config"
	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"github.com/spf13/cobra"
)

func TestExitCode(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"nothing wrong":           {nil, 0},
		"unclassified":            {errors.New("x"), 1},
		"failed":                  {wrong(errFailed, "", "x"), 1},
		"usage":                   {wrong(errUsage, "", "x"), 2},
		"bad setting":             {fmt.Errorf("x: %w", config.ErrBad), 2},
		"unknown":                 {wrong(errUnknown, "", "x"), 3},
		"unreachable":             {fmt.Errorf("x: %w", reach.ErrUnreachable), 3},
		"deadline":                {context.DeadlineExceeded, 3},
		"refused":                 {wrong(errRefused, "", "x"), 4},
		"denied":                  {fmt.Errorf("x: %w", fs.ErrPermission), 4},
		"not let in":              {fmt.Errorf("x: %w: %w", fs.ErrPermission, reach.ErrUnseen), 3},
		"no such bucket":          {fmt.Errorf("x: %w", objectstore.ErrNoBucket), 3},
		"refused and unreachable": {wrong(errRefused, "", "x: %w", reach.ErrUnreachable), 4},
		"undo failed":             {wrong(errUndoFailed, "", "x: %w", errRefused), 5},
		"interrupted":             {wrong(errInterrupted, "", "x"), 130},
		"cancelled":               {context.Canceled, 130},
		"hinted":                  {hint(wrong(errRefused, "", "x"), "y"), 4},
	} {
		if got := exitCode(tc.err); got != tc.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tc.want)
		}
	}
}

func TestHowARunEnded(t *testing.T) {
	for _, tc := range []struct {
		verdict verdict.Verdict
		how     string
		want    int
	}{
		{verdict.Pass, "proven", 0},
		{verdict.Pass, "planned", 0},
		{verdict.Nothing, wire.NothingToDo, 0},
		{verdict.Unknown, wire.ErrTypeNotProven, 3},
		{verdict.Unknown, wire.ErrTypeAborted, 3},
		{verdict.Unknown, wire.ErrTypeUndone, 3},
		{verdict.Fail, wire.ErrTypeNotProven, 1},
		{verdict.Fail, wire.ErrTypeAborted, 1},
		{verdict.Fail, wire.ErrTypeUndone, 1},
		{verdict.Fail, wire.ErrTypeBadInput, 2},
		{verdict.Unknown, "Terminated", 3},
		{verdict.Fail, wire.ErrTypeRejected, 4},
		{verdict.Fail, wire.ErrTypeHeld, 4},
		{verdict.Fail, wire.ErrTypeUndoFailed, 5},
		{verdict.Unknown, wire.ErrTypeUndoFailed, 5},
	} {
		if got := exitCode(ended("r", tc.verdict, tc.how, "why")); got != tc.want {
			t.Errorf("%v, %s: exit code %d, want %d", tc.verdict, tc.how, got, tc.want)
		}
	}
}

// Every command teaches: what it does, an example with real words, and no line
// is wider than a terminal at three in the morning.
func TestHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "help" {
			return
		}
		t.Run(c.CommandPath(), func(t *testing.T) {
			if c.Short == "" || !c.HasSubCommands() && !strings.Contains(c.Example, "breakwater ") {
				t.Error("it has no short description, or no example")
			}
			for line := range strings.Lines(c.UsageString() + c.Long) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 && !strings.HasPrefix(line, "  breakwater ") {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		})
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	a := &app{}
	walk(a.root())
	for _, code := range []string{"0 proven", "1 failed", "2 usage", "3 unknown", "4 refused", "5 an undo failed", "130 interrupted"} {
		if !strings.Contains(strings.ReplaceAll(long, "\n", " "), code) {
			t.Errorf("the help does not say %q", code)
		}
	}
}

func TestParseName(t *testing.T) {
	const id = "0192f0aa-0000-7000-8000-000000000001"
	for text, want := range map[string]name{
		"a": {"a", ""}, "a/b": {"a/b", ""}, "a/" + id: {"a", id}, "a/b/" + id: {"a/b", id}, id: {id, ""},
	} {
		if got := parseName(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"one two three four", "one two|- three|- four"},
		{"  one two three", "  one two|- three"},
		{"a    b c d", "a    b c|- d"},
		{"unbreakable-word-here x", "unbreakable-word-here|- x"},
		{"", ""},
	} {
		if got := strings.Join(wrap(tc.text, 9, "- "), "|"); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.text, got, tc.want)
		}
	}
}

// A picture fits its screen, whatever the run holds.
func TestPictureFits(t *testing.T) {
	finish := time.Date(2026, 11, 21, 3, 20, 0, 0, time.UTC)
	s := wire.Status{State: wire.StateGate, Estate: "lab", Finish: &finish, Current: 9, Head: strings.Repeat("9", 80), Proven: []string{strings.Repeat("long ", 40)}}
	s.Run.Workflow, s.Run.Runbook, s.Run.Mode = strings.Repeat("Run-", 30), "RegionalFailover", "live"
	for i := range 20 {
		st := wire.StageStatus{Title: fmt.Sprintf("Stage %d with a title that goes on and on and on", i)}
		for range 5 {
			st.Steps = append(st.Steps, wire.StepStatus{Title: strings.Repeat("step ", 20), Items: 3, State: "running"})
		}
		s.Stages = append(s.Stages, st)
	}
	s.Gate = &wire.GateStatus{ID: "g", Stage: "Stage 9", Attempt: 1, Quorum: 2, Role: "incident-commander", Members: []string{"ana", "ben"}}
	text := picture(s, "no worker answered "+strings.Repeat("x ", 50), finish, 80, 40, plainStyles())
	lines := strings.Split(text, "\n")
	if len(lines) > 40 {
		t.Errorf("%d lines, and the screen has 40:\n%s", len(lines), text)
	}
	for _, l := range lines {
		if n := len([]rune(l)); n > 80 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	if !strings.Contains(text, "> Stage 9") || !strings.Contains(text, "breakwater approve") {
		t.Errorf("what matters is not on the screen:\n%s", text)
	}
}
