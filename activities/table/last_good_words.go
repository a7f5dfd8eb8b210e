package table

import (
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"
)

// dated is a version with its time.
func dated(v table.Version) string {
	if v.From == table.None {
		return fmt.Sprint(v.Number)
	}
	return fmt.Sprintf("%d of %s", v.Number, v.Time.UTC().Format(time.RFC3339))
}

// foundWords is the finding in one sentence.
func foundWords(f lastgood.Found) string {
	words := fmt.Sprintf("%s was last good at version %s: ", f.Table, dated(f.Good))
	if !f.Proven() {
		return words + fmt.Sprintf("version %d, %s, is named bad (%s); no query was asked", f.Bad.Number, f.Wrote.Words(), f.Named)
	}
	verb := "passes"
	if len(f.Asked) > 1 {
		verb = "pass"
	}
	words += fmt.Sprintf("%s %s there, and not at version %d, %s", f.By, verb, f.Bad.Number, f.Wrote.Words())
	if f.Broken != "" {
		words += fmt.Sprintf(", whose rows cannot be read (%s)", f.Broken)
	}
	if f.Named != "" {
		words += "; named was " + f.Named
	}
	if len(f.Islands) > 0 {
		words += "; " + islandWords(f)
	}
	return words
}

// islandWords says which versions do not fit.
func islandWords(f lastgood.Found) string {
	var before, after []string
	for _, i := range f.Islands {
		if i.Good {
			after = append(after, i.Words())
		} else {
			before = append(before, i.Words())
		}
	}
	var parts []string
	if before != nil {
		parts = append(parts, "it was bad before, at "+plural.Few(before))
	}
	if after != nil {
		parts = append(parts, "it was good again later, at "+plural.Few(after))
	}
	return strings.Join(parts, ", and ")
}

// foundEffects say what is recorded: both ends, what was asked, how far was scanned, and
// what does not fit.
func foundEffects(f lastgood.Found) []action.EffectLine {
	lines := []action.EffectLine{{
		On: f.Table, Do: "record its last good version, by " + f.By, From: "version " + dated(f.Head) + ", its head", To: "version " + dated(f.Good),
	}, {
		On: f.Table, Do: fmt.Sprintf("record that version %d after it holds the fault: %s", f.Bad.Number, f.Wrote.Words()),
	}}
	if f.Proven() {
		line := fmt.Sprintf("record that %s of %d that can be read, %d to %d, were asked", plural.Of(f.Times, "version"), f.Of, f.Oldest, f.Head.Number)
		lines = append(lines, action.EffectLine{On: f.Table, Do: line, To: scanWords(f)})
	}
	for _, i := range f.Islands {
		what := "fail, before the last good version"
		if i.Good {
			what = "pass, after the version that holds the fault"
		}
		lines = append(lines, action.EffectLine{On: f.Table, Do: fmt.Sprintf("record that of those that were asked %s %s", i.Words(), what)})
	}
	if len(f.Lost) > 0 {
		var lost []string
		for _, r := range f.Lost {
			lost = append(lost, r.String())
		}
		lines = append(lines, action.EffectLine{On: f.Table, Do: "note the versions that cannot be read, of which nothing is known", To: plural.Few(lost)})
	}
	return lines
}

// clock says by which times a time chose, where they are not those of the commits.
func (r readings) clock() []action.EffectLine {
	var lines []action.EffectLine
	for _, v := range r.times.Versions {
		if v.From != table.InCommit {
			lines = append(lines, action.EffectLine{On: r.t.Name, Do: "note that times are those of its log's objects, which a copy changes", To: strings.Join(r.times.Warnings, "; ")})
			break
		}
	}
	return lines
}

// scanWords say how far every version was asked.
func scanWords(f lastgood.Found) string {
	var parts []string
	for _, r := range f.Scanned {
		parts = append(parts, r.String())
	}
	words := "each one of " + strings.Join(parts, " and of ")
	if len(f.Scanned) == 1 && f.Scanned[0].First <= f.Oldest && f.Scanned[0].Last >= f.Head.Number {
		return words + ", which are all"
	}
	return words + "; the others by bisection alone, so that one of them may differ"
}

// foundAccepts are what only people can decide.
func foundAccepts(f lastgood.Found) (all []action.Acceptance) {
	accept := func(id, format string, args ...any) {
		all = append(all, action.Acceptance{ID: id + " " + f.Table, Sentence: fmt.Sprintf(format, args...)})
	}
	if !f.Proven() {
		accept("unproven", "That version %d of table %s is good, and the fault came with version %d, rests on what commits record and people named (%s): no quality query was asked at either.",
			f.Good.Number, f.Table, f.Bad.Number, f.Named)
	}
	if len(f.Islands) > 0 {
		accept("islands", "Table %s did not go from good to bad once: %s. Version %d is taken all the same; look at both with breakwater table diff, and name a version or a time if another one is meant.",
			f.Table, islandWords(f), f.Good.Number)
	}
	if f.Bad.Number > f.Good.Number+1 {
		gap := table.Range{First: f.Good.Number + 1, Last: f.Bad.Number - 1}
		verb := "cannot be read, and nothing says whether they hold the fault"
		if gap.First == gap.Last {
			verb = "cannot be read, and nothing says whether it holds the fault"
		}
		accept("unread", "Between the last good version %d of table %s and version %d, %s %s: what was written there is not kept.", f.Good.Number, f.Table, f.Bad.Number, gap.Words(), verb)
	}
	return all
}
