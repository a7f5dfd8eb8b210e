package clip

import (
	"testing"
	"unicode/utf8"
)

func TestBytes(t *testing.T) {
	for _, tc := range []struct {
		s    string
		n    int
		want string
	}{
		{"", 0, ""},
		{"", 5, ""},
		{"abc", 0, ""},
		{"abc", 2, "ab"},
		{"abc", 3, "abc"},
		{"abc", 4, "abc"},
		{"aé", 2, "a"},
		{"aé", 3, "aé"},
		{"日本", 5, "日"},
		{"日本", 2, ""},
	} {
		if got := Bytes(tc.s, tc.n); got != tc.want {
			t.Errorf("Bytes(%q, %d) = %q, want %q", tc.s, tc.n, got, tc.want)
		}
	}
}

func TestText(t *testing.T) {
	for _, tc := range []struct {
		s    string
		n    int
		want string
	}{
		{"", 0, ""},
		{"", 5, ""},
		{"abc", 0, "…"},
		{"abc", 2, "ab…"},
		{"abc", 3, "abc"},
		{"aé", 1, "a…"},
		{"aé", 2, "aé"},
		{"日本語", 2, "日本…"},
	} {
		if got := Text(tc.s, tc.n); got != tc.want {
			t.Errorf("Text(%q, %d) = %q, want %q", tc.s, tc.n, got, tc.want)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("aé日", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || !utf8.ValidString(s) {
			return
		}
		if b := Bytes(s, n); len(b) > n || !utf8.ValidString(b) {
			t.Errorf("Bytes(%q, %d) = %q", s, n, b)
		}
		if c := Text(s, n); !utf8.ValidString(c) || utf8.RuneCountInString(c) > n+1 {
			t.Errorf("Text(%q, %d) = %q", s, n, c)
		}
	})
}

func TestMiddle(t *testing.T) {
	for _, tc := range []struct {
		s    string
		n    int
		want string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abcdefgh", 7, "abc…fgh"},
		{"abcdefgh", 4, "ab…h"},
		{"abcdefgh", 1, "…"},
		{"日本語日本語", 5, "日本…本語"},
	} {
		if got := Middle(tc.s, tc.n); got != tc.want {
			t.Errorf("Middle(%q, %d) = %q, want %q", tc.s, tc.n, got, tc.want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain é": "plain é", "two\nlines\t": "two lines ", "\x1b[2Jgone": "\uFFFD[2Jgone", "turned \u202e": "turned \uFFFD", "\u200bhidden": "\uFFFDhidden",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}
