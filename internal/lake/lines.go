package lake

import (
	"fmt"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/plural"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
)

// LineRules are what follows from the lines of a plan that brings versions back, as
// [LineEffect] and its totals say them.
func LineRules() []action.Rule {
	return []action.Rule{
		{Do: "put an earlier version over it", Says: "an earlier version of the key, or of the key that it stands for, is copied over it", Sends: []string{"put {on}"}},
		{Do: "remove * delete marker", Says: "these delete markers, each by its version, are removed for good", Sends: []string{"destroy {on}"}},
		{Do: "add a delete marker", Says: "the key is hidden", Sends: []string{"delete {on}"}},
		{Do: "and ", Says: "the same is done to the keys that have no line of their own: those of the data and of the parts, whose digest a line names", Sends: []string{"put {on}*", "destroy {on}*", "delete {on}*"}},
		{Do: "change ", Says: "the total of these lines"},
		{Do: "bring * back", Says: "the total of these lines"},
		{Do: "ask the store at least ", Says: "what the total costs"},
	}
}

// LineWords are lines of a plan, as package rewind encodes them, in words that have all
// of each.
func LineWords(encoded []byte) ([]string, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	lines, err := rewind.Decode(encoded)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(lines))
	for i, l := range lines {
		words[i] = lineWords(l)
	}
	return words, nil
}

func lineWords(l rewind.Line) string {
	text := map[rewind.Do]string{
		rewind.Keep: "keep", rewind.Copy: "put an earlier version over", rewind.Unmark: "remove delete markers of", rewind.Mark: "add a delete marker to",
	}[l.Do]
	text = fmt.Sprintf("%s %q: now %s", text, l.Key, versionWords(l.Now))
	if l.Do == rewind.Copy || l.Do == rewind.Unmark {
		text += ", then " + versionWords(l.Then)
	}
	if len(l.Markers) > 0 {
		text += fmt.Sprintf(", markers %q", strings.Join(l.Markers, " "))
	}
	return text
}

func versionWords(v rewind.Version) string {
	if !v.There() {
		return perform.OrNone(v)
	}
	return strings.TrimSpace(fmt.Sprintf("%s of %s, ETag %s %s", v.ID, plural.Of(v.Size, "byte"), v.ETag, v.Class))
}

// ShowLines is the [action.Action.ShowPart] of plans whose parts are such lines.
func ShowLines(part []byte) ([]string, error) { return LineWords(part) }
