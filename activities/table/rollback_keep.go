package table

import (
	"context"
	"fmt"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/record"
	"breakwater/internal/table"
)

// rollbackKeeps are the versions after the target that are to be kept, and what keeping
// them accepts.
func rollbackKeeps(ctx context.Context, c action.Call[rollbackWith], t lake.Table, format table.Rollbacker, l table.Table, target int64) (keep []int64, accepts []action.Acceptance, err error) {
	switch {
	case !c.With.KeepOthers:
		return c.With.Keep, nil, nil
	case len(c.With.Keep) > 0:
		return nil, nil, fmt.Errorf("give either keep or keep_others: %w", action.ErrRefused)
	case !c.With.ToLastGood:
		return nil, nil, fmt.Errorf("keep_others, and nothing says which commits brought the fault: put table.last-good before it and go to_last_good, or name the versions in keep: %w", action.ErrRefused)
	}
	f, _, err := record.LastGood.Read(ctx, c.Records, t.Name)
	if err != nil {
		return nil, nil, err
	}
	if !f.Said.Writer() {
		return nil, nil, fmt.Errorf("keep_others, and table.last-good was told no job, user or operation that brought the fault to table %s, so that nothing tells the good commits after version %d from the bad ones: tell it one, or name the versions in keep: %w", t.Name, target, action.ErrRefused)
	}
	r := readings{t: t, l: l}
	goes := 0
	for commit, err := range l.History(ctx, target+1) {
		if err != nil {
			return nil, nil, err
		}
		if m, ok := format.MarkOf(commit); ok && (m.Token == c.Token() || m.Token == undoToken(c.Token())) {
			continue // what an earlier attempt of this step did is no work of others
		}
		if f.Said.Names(r.authored(commit)) {
			goes++
		} else {
			keep = append(keep, commit.Version.Number)
		}
	}
	if goes == 0 {
		return nil, nil, fmt.Errorf("keep_others, and no commit after version %d of table %s is by %s, so that nothing would go: tell table.last-good whose commits brought the fault: %w", target, t.Name, f.Said.WriterWords(), action.ErrRefused)
	}
	if len(keep) > 0 {
		accepts = append(accepts, action.Acceptance{ID: "others " + t.Name, Sentence: fmt.Sprintf(
			"Of the versions after %d of table %s those by %s go, %d of them, and %s stay because they are by others, as their writers recorded: nobody proved that they do not hold the fault, too. Ask the table's quality queries afterwards.",
			target, t.Name, f.Said.WriterWords(), goes, plural.Few(rangesOf(keep)))})
	}
	return keep, accepts, nil
}

// undoToken is in the commit that takes a rollback back.
func undoToken(token string) string { return token + "/undo" }

func rangesOf(versions []int64) (all []string) {
	for _, r := range table.Ranges(versions) {
		all = append(all, r.String())
	}
	return all
}

// withKept says which later versions' changes are kept.
func withKept(kept []int64) string {
	if len(kept) == 0 {
		return ""
	}
	noun := "versions "
	if len(kept) == 1 {
		noun = "version "
	}
	return ", with what " + noun + strings.Join(rangesOf(kept), ", ") + " changed"
}

// shownCommits is how many commits of each kind a plan names one by one.
const shownCommits = 20

// laterEffects say what becomes of each commit after the target, where any is kept.
func laterEffects(on string, all []table.Later) (lines []action.EffectLine) {
	kinds := map[string][]table.Later{}
	for _, c := range all {
		do := "pass over "
		if c.Kept {
			do = "replay "
		}
		kinds[do] = append(kinds[do], c)
	}
	for _, do := range []string{"replay ", "pass over "} {
		var rest []int64
		for i, c := range kinds[do] {
			if i >= shownCommits {
				rest = append(rest, c.Version)
				continue
			}
			lines = append(lines, action.EffectLine{On: on, Do: fmt.Sprintf("%sversion %d, %s", do, c.Version, operationName(c.Operation)), To: laterWords(c)})
		}
		if len(rest) > 0 {
			lines = append(lines, action.EffectLine{On: on, Do: fmt.Sprintf("%sanother %s", do, plural.Of(len(rest), "version")), To: strings.Join(rangesOf(rest), ", ")})
		}
	}
	return lines
}

func laterWords(c table.Later) string {
	words := fmt.Sprintf("%s added, %d removed", plural.Of(c.Adds, "file"), c.Removes)
	switch {
	case c.Changes:
	case c.Adds+c.Removes == 0:
		words = "it changed no data"
	case c.Kept:
		words += ": it rearranged only what is kept, and changed no data"
	default:
		words += ": it changed no data"
	}
	return words
}

// keptAccepts are the consequences of keeping commits that only people can take on.
func keptAccepts(t lake.Table, p table.RollbackFacts) (all []action.Acceptance) {
	named := func(is func(table.Later) bool) string {
		var words []string
		for _, c := range p.Later {
			if is(c) {
				words = append(words, fmt.Sprintf("%d (%s)", c.Version, operationName(c.Operation)))
			}
		}
		return plural.Few(words)
	}
	accept := func(id, versions, format string, args ...any) {
		if versions != "" {
			all = append(all, action.Acceptance{ID: id + " " + t.Name, Sentence: fmt.Sprintf(format, args...)})
		}
	}
	reads := named(func(c table.Later) bool { return c.Reads })
	accept("kept-reads", reads, "What these versions of table %s changed is kept as they wrote it: %s. They are no blind appends: what they wrote may follow from rows that they read and that go now. They changed no file but those that are kept; look whether they would have written the same.", t.Name, reads)
	properties := named(func(c table.Later) bool { return c.Properties })
	accept("kept-properties", properties, "These versions of table %s changed its properties, which become those of version %d all the same: %s. Set them again afterwards.", t.Name, p.Target.Number, properties)
	return all
}
