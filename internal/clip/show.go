package clip

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Middle is s if it has at most n characters, and otherwise its beginning and its end
// with "…" between: names that differ in their last part stay apart.
func Middle(s string, n int) string {
	length := utf8.RuneCountInString(s)
	if length <= n {
		return s
	}
	rs := []rune(s)
	if n < 3 {
		return string(rs[:max(0, n-1)]) + "…"
	}
	end := (n - 1) / 2
	return string(rs[:n-1-end]) + "…" + string(rs[length-end:])
}

// Clean makes text that came from outside safe to print: no control character,
// nothing that turns the direction of writing or hides itself, one line.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return '\uFFFD'
		}
		return r
	}, s)
}
