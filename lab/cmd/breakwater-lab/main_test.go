package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// What a person can type wrong is said in one line, before anything is touched.
func TestWrongUsage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"frob", 2, `unknown command "frob"`},
		{"--frob", 2, "unknown flag"},
		{"up now", 2, "up takes no argument"},
		{"kill", 2, "kill takes one argument"},
		{"kill mars", 2, `unknown region "mars": the laboratory's are us-east-1 and us-west-2`},
		{"heal mars", 2, "unknown region"},
		{"heal us-east-1 us-west-2", 2, "at most one region"},
		{"traffic --region mars", 2, "unknown region"},
		{"kill us-east-1", 1, "start one with breakwater-lab up"},
		{"seed", 1, "start one with breakwater-lab up"},
		{"traffic", 1, "start one with breakwater-lab up"},
		{"status", 1, "start one with breakwater-lab up"},
		{"loss", 1, "start one with breakwater-lab up"},
		{"down", 0, ""},
		{"--help", 0, ""},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"--dir", dir}, strings.Fields(tc.args)...), &stdout, &stderr)
		text := stderr.String()
		if code != tc.code || !strings.Contains(text, tc.says) || strings.Count(text, "\n") > 1 {
			t.Errorf("%s: exit %d, %q; want exit %d and one line with %q", tc.args, code, text, tc.code, tc.says)
		}
	}
	if found, err := filepath.Glob(dir + "*"); err != nil || len(found) > 0 {
		t.Errorf("the laboratory's folder was touched: %q, %v", found, err)
	}
}
