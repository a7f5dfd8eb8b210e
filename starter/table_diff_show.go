package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/query"
	"breakwater/internal/table"
	"breakwater/internal/table/difference"

	"github.com/charmbracelet/x/ansi"
)

// showDiff tells people what two versions differ in.
func (a *app) showDiff(t tableAt, from, to table.Version, d difference.Difference, rows sampledRows) {
	a.say("%s", t.root)
	a.text("  ", fmt.Sprintf("from version %s to version %s; the head of the log is %d", ofTime(from), ofTime(to), t.Extent().Head))
	a.text("  ", fmt.Sprintf("read %s, of %s that version %d has alone, and of %d that version %d has alone; %s in both", countOf(d.Rows, "row", "rows"),
		countOf(int64(d.Files.From), "file", "files"), from.Number, d.Files.To, to.Number, countOf(int64(d.Files.Both), "is", "are")))
	for _, c := range d.Columns {
		a.text("  ", columnWords(c))
	}
	if d.Same() {
		a.say("  the same: no row and no column differs")
		return
	}
	a.say("  %12d added", d.Added)
	a.say("  %12d removed", d.Removed)
	if len(d.Key) > 0 {
		a.say("  %12d changed, by %s", d.Changed, ansi.Truncate(strings.Join(d.Key, ", "), 50, "…"))
	}
	if d.Repeated > 0 {
		a.text("  ", fmt.Sprintf("warning: %s more than one of the rows that differ: which of them changed into which is not known", countOf(d.Repeated, "key is that of", "keys are those of")))
	}
	a.partitions(d)
	a.samples("added", rows.added, d.Added)
	a.samples("removed", rows.removed, d.Removed)
	a.changes(d, rows)
}

func ofTime(v table.Version) string {
	if v.From == table.None {
		return fmt.Sprint(v.Number)
	}
	return fmt.Sprintf("%d of %s", v.Number, v.Time.UTC().Format(time.RFC3339))
}

// columnWords say what became of a column.
func columnWords(c difference.Column) string {
	switch {
	case c.Was == "":
		return fmt.Sprintf("column %s is new: %s; it is not compared", c.Name, c.Is)
	case c.Is == "":
		return fmt.Sprintf("column %s is gone: %s; it is not compared", c.Name, c.Was)
	}
	words := "column " + c.Name
	if c.Former != "" {
		words += ", called " + c.Former + " before,"
	}
	if c.Was != c.Is {
		words += fmt.Sprintf(" was %s, is", c.Was)
	}
	words += " " + c.Is
	if !c.Compared {
		words += "; it is not compared"
	}
	return words
}

// mostPartitions is how many people are shown.
const mostPartitions = 20

func (a *app) partitions(d difference.Difference) {
	if len(d.Partitions) == 0 {
		return
	}
	a.say("  by partition: added, removed%s", map[bool]string{true: ", changed"}[len(d.Key) > 0])
	for i, p := range d.Partitions {
		if i == mostPartitions {
			a.say("  %s more; --json has all", countOf(int64(len(d.Partitions)-i), "partition", "partitions"))
			break
		}
		var parts []string
		for _, v := range p.Values {
			text := "null"
			if v.Value != nil {
				text = oneLine(*v.Value)
			}
			parts = append(parts, v.Column+"="+text)
		}
		counts := fmt.Sprintf("  %10d %10d", p.Added, p.Removed)
		if len(d.Key) > 0 {
			counts += fmt.Sprintf(" %10d", p.Changed)
		}
		a.say("%s  %s", counts, ansi.Truncate(strings.Join(parts, "/"), 40, "…"))
	}
}

// samples shows rows of one kind.
func (a *app) samples(kind string, r query.Result, of int64) {
	if len(r.Rows) == 0 {
		return
	}
	a.say("%s%s", kind, fewOf(len(r.Rows), of))
	for _, line := range aligned(r, 78) {
		a.say("  %s", line)
	}
}

func fewOf(shown int, of int64) string {
	if int64(shown) == of {
		return ":"
	}
	return fmt.Sprintf(", %d of %d:", shown, of)
}

// changes shows what became of the rows that changed: the key, and each value that is
// another.
func (a *app) changes(d difference.Difference, rows sampledRows) {
	if len(rows.is.Rows) == 0 {
		return
	}
	a.say("changed%s", fewOf(len(rows.is.Rows), d.Changed))
	for n, is := range rows.is.Rows {
		var key, changed []string
		for i, c := range rows.is.Columns {
			value := plainText(is[i])
			if slices.Contains(d.Key, c.Name) {
				key = append(key, oneLine(c.Name)+"="+value)
				continue
			}
			at := slices.IndexFunc(rows.was.Columns, func(was query.Column) bool { return was.Name == c.Name })
			if at < 0 || !slices.Contains(d.Compared, c.Name) {
				continue
			}
			if was := plainText(rows.was.Rows[n][at]); was != value {
				changed = append(changed, fmt.Sprintf("    %s: %s -> %s", oneLine(c.Name), ansi.Truncate(was, 24, "…"), ansi.Truncate(value, 24, "…")))
			}
		}
		a.say("  %s", ansi.Truncate(strings.Join(key, ", "), 76, "…"))
		for _, line := range changed {
			a.say("%s", ansi.Truncate(line, 80, "…"))
		}
	}
}
