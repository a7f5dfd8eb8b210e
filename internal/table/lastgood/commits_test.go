package lastgood_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"
)

// log is a commit a minute: who, for which job and run, and what; each word may be empty.
func log(lines ...string) []lastgood.Commit {
	var all []lastgood.Commit
	for i, line := range lines {
		words := append(strings.Split(line, " "), "", "", "", "")
		c := lastgood.Commit{Version: table.Version{Number: int64(i), Time: minute(i), From: table.ObjectTime}, Operation: words[3]}
		for j, to := range []*[]string{&c.Author.Users, &c.Author.Jobs, &c.Author.Runs} {
			if words[j] != "" {
				*to = []string{words[j]}
			}
		}
		all = append(all, c)
	}
	return all
}

func minute(i int) time.Time {
	return time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Minute)
}

func TestNamed(t *testing.T) {
	nightly := log("ann load r1 WRITE", "ann load r2 WRITE", "bob  r9 DELETE", "ann load r3 WRITE", "ann load r3 MERGE", "   OPTIMIZE")
	since := func(i int) *time.Time { at := minute(i).Add(-time.Second); return &at }
	for name, tc := range map[string]struct {
		named lastgood.Named
		want  int64
		err   error
		says  string
	}{
		"a version":                  {lastgood.Named{Bad: at(3)}, 3, nil, ""},
		"a time":                     {lastgood.Named{Since: since(2)}, 2, nil, ""},
		"a time at a commit":         {lastgood.Named{Since: func() *time.Time { at := minute(2); return &at }()}, 2, nil, ""},
		"a time and a version":       {lastgood.Named{Since: since(2), Bad: at(4)}, 2, nil, ""},
		"a run":                      {lastgood.Named{Job: "r3"}, 3, nil, ""},
		"a job since":                {lastgood.Named{Job: "load", Since: since(1)}, 1, nil, ""},
		"a job up to a version":      {lastgood.Named{Job: "load", Bad: at(4)}, 3, nil, ""},
		"a user with one commit":     {lastgood.Named{User: "bob"}, 2, nil, ""},
		"an operation, in any case":  {lastgood.Named{Operation: "delete"}, 2, nil, ""},
		"all of them":                {lastgood.Named{Operation: "MERGE", Job: "load", User: "ann"}, 4, nil, ""},
		"a job with many runs":       {lastgood.Named{Job: "load"}, 0, lastgood.ErrAmbiguous, "4 commits are by job \"load\" (version 4, MERGE by ann for load, r3 at 2026-11-01T03:04:00Z; version 3,"},
		"nobody's":                   {lastgood.Named{User: "eve"}, 0, lastgood.ErrNoCommit, `none of 6 commits, versions 0 to 5, is by user "eve"; their log names user ann, bob: name one`},
		"nobody recorded":            {lastgood.Named{Job: "load", Since: since(5)}, 0, lastgood.ErrNoCommit, "their log names no job"},
		"of two kinds, that no has":  {lastgood.Named{Job: "load", User: "bob"}, 0, lastgood.ErrNoCommit, "job load, r3, r9 and 2 more and user ann, bob"},
		"a time after all":           {lastgood.Named{Since: since(9)}, 0, lastgood.ErrNoCommit, "the newest version is 5 of 2026-11-01T03:05:00Z"},
		"a version before that time": {lastgood.Named{Since: since(4), Bad: at(2)}, 0, lastgood.ErrNoCommit, "version 2 was committed before"},
	} {
		t.Run(name, func(t *testing.T) {
			between, _, err := tc.named.Between(nightly)
			var got lastgood.Commit
			if err == nil {
				got, err = tc.named.First(between)
			}
			if !errors.Is(err, tc.err) || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%v, want %v and %q", err, tc.err, tc.says)
			}
			if err == nil && got.Version.Number != tc.want {
				t.Errorf("version %d, want %d", got.Version.Number, tc.want)
			}
		})
	}
	for says, commits := range map[string][]lastgood.Commit{"no commit of version 2, and those from 4 to 5": nightly[4:], "those from 0 to 1": nightly[:2], "no commit is left": nil} {
		if _, _, err := (lastgood.Named{Bad: at(2)}).Between(commits); !errors.Is(err, lastgood.ErrNoCommit) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if _, v, err := (lastgood.Named{Since: since(2)}).Between(nightly); err != nil || v == nil || *v != 1 {
		t.Errorf("the last version before: %v, %v", v, err)
	}
	if _, v, err := (lastgood.Named{Since: since(0)}).Between(nightly); err != nil || v != nil {
		t.Errorf("the last version before all: %v, %v", v, err)
	}
}

func TestBefore(t *testing.T) {
	readable := []int64{3, 4, 8}
	for bad, want := range map[int64]string{4: "3", 8: "4", 6: "4", 9: "8", 3: "no version before 3", 1: "no version before 1"} {
		v, err := lastgood.Before(readable, bad)
		if got := fmt.Sprint(v, err); err == nil && fmt.Sprint(v) != want || err != nil && (!errors.Is(err, lastgood.ErrOutside) || !strings.Contains(err.Error(), want)) {
			t.Errorf("before %d: %s, want %s", bad, got, want)
		}
	}
}
