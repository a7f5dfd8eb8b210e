package strictyaml_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/mistake"
	"breakwater/internal/strictyaml"
)

const limit = 1 << 20

type form struct {
	Text  string            `yaml:"text"`
	Int   int               `yaml:"int,omitempty"`
	Float float64           `yaml:"float,omitempty"`
	Bool  bool              `yaml:"bool,omitempty"`
	List  []string          `yaml:"list,omitempty"`
	Map   map[string]int    `yaml:"map,omitempty"`
	Part  *form             `yaml:"part,omitempty"`
	When  *time.Time        `yaml:"when,omitempty"`
	Other string            // without a tag there is no key
	Never map[string]string `yaml:"-"`
}

// all gives every mistake of parsing and decoding, without the file's name.
func all(text string, into *form) string {
	n, ms := strictyaml.Parse("f", []byte(text), limit)
	if n != nil {
		ms = append(ms, strictyaml.Decode(n, into)...)
	}
	if err := mistake.Error(mistake.Sort(ms)); err != nil {
		return strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n")[1:]
	}
	return ""
}

func TestDecode(t *testing.T) {
	var got form
	if err := all("text: 2026-11-21\nint: -10\nfloat: 1.5e3\nbool: true\nlist: ['010', \"no\", yes, \"1\"]\nmap: {a: 1, \"7\": 2}\n"+
		"part:\n  text: |\n    two\n    lines\nwhen: 2026-11-21T03:04:05Z\n", &got); err != "" {
		t.Fatal(err)
	}
	when := time.Date(2026, 11, 21, 3, 4, 5, 0, time.UTC)
	want := form{
		Text: "2026-11-21", Int: -10, Float: 1500, Bool: true, List: []string{"010", "no", "yes", "1"},
		Map: map[string]int{"a": 1, "7": 2}, Part: &form{Text: "two\nlines\n"}, When: &when,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "1:1: the file is empty",
		"---\n":                     "1:1: the file is empty",
		"\xef\xbb\xbftext: x":       "",
		"text: x\r\nint: 1\r\n":     "",
		"text: x\rint: 1":           "1:8: the invisible character U+000D: remove it",
		"text: \u2028x":             "1:7: the invisible character U+2028: remove it",
		"text: x # tab\there":       "",
		"text:\n\t x":               "2:1: a tab in the indentation: indent with spaces",
		"text: ~":                   "1:7: text is empty: give it a text",
		"text: ' '":                 "1:7: text must not be empty",
		"text: true":                "1:7: text must be a text, found the truth value true: put it in quotes",
		"text: 1.5":                 "1:7: text must be a text, found the number 1.5: put it in quotes",
		"text: [a]":                 "1:7: text must be a text, found a list",
		"text: x\nint: 1_000":       "2:6: int must be a whole number, found the number 1_000",
		"text: x\nint: 0x1f":        "2:6: int must be a whole number, found the number 0x1f",
		"text: x\nint: 0o17":        "2:6: int must be a whole number, found the number 0o17",
		"text: x\nint: '1'":         `2:6: int must be a whole number, found "1"`,
		"text: x\nint: 1.0":         "2:6: int must be a whole number, found the number 1.0",
		"text: x\nint: 1e30":        "2:6: int must be a whole number, found the number 1e30",
		"text: x\nint: -010":        "2:6: -010 starts with a zero: write it without, or in quotes if it is a text",
		"text: 08":                  "1:7: 08 starts with a zero: write it without, or in quotes if it is a text",
		"text: x\nfloat: .inf":      "2:8: float must be a number, found the number .inf",
		"text: x\nfloat: 1e999":     `2:8: float must be a number, found "1e999"`,
		"text: x\nbool: yes":        `2:7: bool must be true or false, found "yes"`,
		"text: x\nbool: True":       "2:7: bool must be true or false, found the truth value True",
		"text: x\nlist: [a, 7, ~]":  "2:11: an entry of list must be a text, found the number 7: put it in quotes\n2:14: an entry of list is empty: give it a text",
		"text: x\nmap: {a: b}":      `2:10: a must be a whole number, found "b"`,
		"text: x\nwhen: today":      "2:7: when: parsing time \"today\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"today\" as \"2006\"",
		"txt: x":                    `1:1: unknown key "txt" in the file: allowed are text, int, float, bool, list, map, part, when; did you mean "text"?`,
		"txt: x\ntext: y":           `1:1: unknown key "txt" in the file: allowed are text, int, float, bool, list, map, part, when; did you mean "text"?`,
		"txt: 7":                    "1:1: unknown key \"txt\" in the file: allowed are text, int, float, bool, list, map, part, when; did you mean \"text\"?\n1:6: txt must be a text, found the number 7: put it in quotes",
		"text: x\nOther: y":         `2:1: unknown key "Other" in the file: allowed are text, int, float, bool, list, map, part, when`,
		"part: {int: 1}":            "1:1: the file has no \"text\"\n1:7: part has no \"text\"",
		"text: a\ntext: b\ntext: c": "2:1: key \"text\" is given twice in the file: it stands in line 1 already\n3:1: key \"text\" is given twice in the file: it stands in line 1 already",
		"text: x\n? [a]\n: b":       "2:3: a key must be a plain text",
		"text: x\n~: b":             "2:1: a key must be a text, found nothing: put it in quotes if it is one",
		"&a text: x":                `1:1: key "text" has an anchor or a tag: neither is allowed`,
		"text: *x":                  "1:7: not YAML: unknown anchor 'x' referenced",
		"text: x\n--- \n...":        "2:1: a second document starts here: a file holds one, so remove the --- line or split the file",
		"text: 'x":                  "1:9: not YAML: found unexpected end of stream while scanning a quoted scalar",
		"text: x\ntext":             "2:5: not YAML: could not find expected ':' while scanning a simple key",
	} {
		if got := all(text, new(form)); got != want {
			t.Errorf("%q\n got %s\nwant %s", text, got, want)
		}
	}
	if n, ms := strictyaml.Parse("f", []byte("text: x"), 3); n != nil || len(ms) != 1 || ms[0].Text != "the file has 7 bytes: at most 3 are read" {
		t.Errorf("too large: %v, %v", n, ms)
	}
}

// TestHostile: what is made to be slow is not. An honest file takes
// microseconds; these may take a second on a slow machine, where a reader
// without limits takes minutes or all the memory.
func TestHostile(t *testing.T) {
	const size = limit / 4
	fill := func(part string) string { return strings.Repeat(part, size/len(part)) }
	for name, text := range map[string]string{
		"flow lists":     "text: " + fill("["),
		"flow maps":      "text: " + fill("{a: "),
		"block lists":    fill("- "),
		"questions":      fill("? "),
		"block maps":     fill("a:\n "),
		"comments":       fill("# c\n") + "text: x",
		"spaces":         fill(" ") + "text: x",
		"unknown keys":   fill("texd: 1\n"),
		"one long key":   fill("t") + ": x",
		"laughs":         "a: &a [x,x,x,x,x,x,x,x]\n" + strings.Repeat("b: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n", 1000),
		"quotes":         "text: " + fill(`"`),
		"percent":        fill("%"),
		"documents":      fill("---\n"),
		"anchors":        "list: [" + fill("&a x,") + "]",
		"escapes":        `text: "` + fill(`\u0041`) + `"`,
		"folded":         "text: >\n" + fill(" a\n"),
		"mixed brackets": fill("[{"),
		"tabs":           fill("\t\n"),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			got := all(text, new(form))
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if len(got) > 200*size {
				t.Errorf("%d bytes of mistakes", len(got))
			}
			t.Logf("%v, %d bytes of mistakes", time.Since(start), len(got))
		})
	}
}

func TestLocate(t *testing.T) {
	n, ms := strictyaml.Parse("f", []byte("list:\n  - a\n  - b/c: {d~e: 7}\n"), limit)
	if len(ms) > 0 {
		t.Fatal(ms)
	}
	for pointer, want := range map[string]string{
		"":                     "f:1:1",
		"/list":                "f:2:3",
		"/list/1":              "f:3:5",
		"/list/1/b~1c":         "f:3:10",
		"/list/1/b~1c/d~0e":    "f:3:16",
		"/list/1/b~1c/missing": "f:3:10",
		"/list/9":              "f:2:3",
		"/list/-1":             "f:2:3",
		"/none/0/x":            "f:1:1",
	} {
		if got := n.Locate(pointer).String(); got != want {
			t.Errorf("Locate(%q) = %s, want %s", pointer, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	n, _ := strictyaml.Parse("f", []byte("b: [1, 2.50, true, x, '1']\na: {z: 12345678901234567890}\n"), limit)
	raw, ms := n.JSON()
	if want := `{"a":{"z":12345678901234567890},"b":[1,2.50,true,"x","1"]}`; len(ms) > 0 || string(raw) != want {
		t.Errorf("%s, %v; want %s", raw, ms, want)
	}
	n, _ = strictyaml.Parse("f", []byte("a: ~\nb: .nan\nc: TRUE\nd: 0x10\n"), limit)
	if _, ms = n.JSON(); len(ms) != 4 {
		t.Errorf("%v", ms)
	}
}
