// Package clip shortens texts for people, between two characters and never within
// one, and makes foreign ones safe to print.
package clip

import "unicode/utf8"

// Bytes is the longest beginning of s that has at most n bytes.
func Bytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Text is s if it has at most n characters, and otherwise its first n and "…".
func Text(s string, n int) string {
	for at := range s {
		if n == 0 {
			return s[:at] + "…"
		}
		n--
	}
	return s
}
