package mistake_test

import (
	"errors"
	"strings"
	"testing"

	"breakwater/internal/mistake"
)

func TestNearest(t *testing.T) {
	allowed := []string{"do", "check", "table", "consumer-group", "us-east-1", "us-west-2"}
	for found, want := range map[string]string{
		"tabel":           "table",
		"chek":            "check",
		"consumer_groups": "consumer-group",
		"us-east1":        "us-east-1",
		"dog":             "do",
		"x":               "",
		"":                "",
		"pipeline":        "",
		"Table":           "table",
	} {
		got, ok := mistake.Nearest(found, allowed)
		if ok != (want != "") || (ok && got != want) {
			t.Errorf("Nearest(%q) = %q, %v; want %q", found, got, ok, want)
		}
	}
	if _, ok := mistake.Nearest(strings.Repeat("x", 1<<20), allowed); ok {
		t.Error("a megabyte is near to nothing")
	}
	if _, ok := mistake.Nearest("x", nil); ok {
		t.Error("nothing is allowed, and something is near")
	}
}

func TestSortAndError(t *testing.T) {
	at := func(file string, line, column int, text string) mistake.Mistake {
		return mistake.Mistake{At: mistake.Position{File: file, Line: line, Column: column}, Text: text}
	}
	ms := mistake.Sort([]mistake.Mistake{
		at("b", 1, 1, "v"), at("a", 10, 1, "iv"), at("a", 2, 9, "iii"), at("a", 2, 1, "i"), at("a", 2, 1, "i"), at("a", 2, 1, "ii"),
	})
	err := mistake.Error(ms)
	want := "a:2:1: i\na:2:1: ii\na:2:9: iii\na:10:1: iv\nb:1:1: v"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var m mistake.Mistake
	if !errors.As(err, &m) || m.Text != "i" {
		t.Errorf("errors.As found %+v", m)
	}
	if mistake.Error(nil) != nil {
		t.Error("no mistakes are an error")
	}
}
