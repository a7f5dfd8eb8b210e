package review

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"breakwater/internal/clip"
)

// blend is many texts that say the same of different things: "quarantine 3 files of
// s3://lake/a" and "quarantine 17 files of s3://lake/b" are "quarantine 3..17 files of
// …". What all of them say alike stays as it is.
type blend struct {
	words []string  // of the first text
	least []float64 // by place, where it is a number
	most  []float64
	same  []bool // by place: all texts have the same word there
}

var number = regexp.MustCompile(`^-?[0-9][0-9,]*(\.[0-9]+)?$`)

// around is what may stand at either side of a word.
const around = `,;:.()"'`

// shape is what texts of one blend have in common: numbers, names and places are left
// out, and one file is as good as two. name is whose text it is.
func shape(text, name string) string {
	var out []string
	counted := false
	for _, w := range strings.Fields(text) {
		core := strings.Trim(w, around)
		class := strings.ToLower(core)
		switch {
		case number.MatchString(core):
			class = "#"
		case core == name && name != "", varies(core):
			class = "…"
		case class == "is" || class == "was":
			class = map[string]string{"is": "are", "was": "were"}[class]
		case counted:
			class = one(class)
		}
		counted = class == "#"
		out = append(out, class)
	}
	return strings.Join(out, " ")
}

// varies reports whether a word is likely another one for each item: an address, a
// path, a digest, a time.
func varies(word string) bool {
	return strings.ContainsAny(word, "/=@…") || strings.ContainsFunc(word, unicode.IsDigit) ||
		strings.Contains(word, ".") || len(word) > 24
}

// one is a counted noun in the singular, well enough to compare by.
func one(noun string) string {
	if stem, ok := strings.CutSuffix(noun, "ies"); ok {
		return stem + "y"
	}
	return strings.TrimSuffix(noun, "s")
}

// add takes a text of the same shape as those before.
func (b *blend) add(text string) {
	words := strings.Fields(text)
	first := b.words == nil
	if first {
		b.words, b.least, b.most, b.same = words, make([]float64, len(words)), make([]float64, len(words)), make([]bool, len(words))
	}
	for i, w := range words {
		n, err := strconv.ParseFloat(strings.ReplaceAll(strings.Trim(w, around), ",", ""), 64)
		if err != nil {
			n = 0
		}
		if first {
			b.least[i], b.most[i], b.same[i] = n, n, true
			continue
		}
		b.least[i], b.most[i] = min(b.least[i], n), max(b.most[i], n)
		b.same[i] = b.same[i] && b.words[i] == w
	}
}

// String is the blend for people.
func (b *blend) String() string {
	var out []string
	for i, w := range b.words {
		core := strings.Trim(w, around)
		lead, trail, _ := strings.Cut(w, core)
		switch {
		case b.same[i]:
			out = append(out, w)
		case number.MatchString(core):
			out = append(out, lead+span(b.least[i], b.most[i])+trail)
		case i > 0 && number.MatchString(strings.Trim(b.words[i-1], around)) && !varies(core):
			out = append(out, lead+one(core)+"s"+trail)
		case !varies(core) && shape(core, "") != strings.ToLower(core): // is, was
			out = append(out, shape(core, ""))
		default:
			out = append(out, lead+"…"+trail)
		}
	}
	return strings.Join(out, " ")
}

// span is an interval of numbers, or the one number that it is.
func span(least, most float64) string {
	text := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
	if least == most {
		return text(least)
	}
	return text(least) + ".." + text(most)
}

// state is what something is before or after, if it is said in a few plain words, such
// as "running"; anything longer is told by --item alone.
func state(text string) string {
	text = clip.Clean(text)
	words := strings.Fields(text)
	for _, w := range words {
		if varies(strings.Trim(w, around)) {
			return "…"
		}
	}
	switch {
	case len(words) == 0:
		return "nothing"
	case len(words) > 4:
		return "…"
	}
	return text
}
