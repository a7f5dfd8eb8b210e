// Package shell writes commands for a person to copy. A name with a space, a quote or a
// letter that a POSIX shell would take for its own stands in it as one word.
package shell

import (
	"regexp"
	"strings"
)

// plain is a word that no shell reads otherwise than it stands.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./=-]+$`)

// Word is one word of a command line.
func Word(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// Command is a command line of these words.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Word(w)
	}
	return strings.Join(quoted, " ")
}
