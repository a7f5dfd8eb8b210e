// Package plural says numbers of things in English: 1 object, 2 objects.
package plural

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize/english"
)

// Of is a number with what it counts, which is given in the singular. Of several words
// the last one is the noun. A verb may follow: as it is for one, and as it is for more.
func Of[N ~int | ~int16 | ~int32 | ~int64 | ~uint32 | ~uint64](n N, one string, verb ...string) string {
	before, noun := "", one
	if i := strings.LastIndexByte(one, ' '); i >= 0 {
		before, noun = one[:i+1], one[i+1:]
	}
	s := fmt.Sprintf("%d %s%s", n, before, english.PluralWord(int(n), noun, ""))
	if len(verb) == 2 {
		s += " " + english.PluralWord(int(n), verb[0], verb[1])
	}
	return s
}

// Few names the first of many.
func Few(names []string) string {
	const few = 3
	if len(names) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	}
	return strings.Join(names, ", ")
}
