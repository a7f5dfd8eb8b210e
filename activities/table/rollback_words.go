package table

import (
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
	"breakwater/internal/table"
)

// shownFiles is how many files of each kind a plan names; the digest has them all.
const shownFiles = 5

// describe says what the commit changes, what it leaves, and what approving it
// accepts.
func describe(t lake.Table, ch *action.Change, c action.Call[rollbackWith], worked comeback, by string) {
	p := worked.Facts()
	m := p.Metrics
	on := t.Bucket.URL(t.Root.Prefix)
	ch.Summary = fmt.Sprintf("%s goes back from version %d to the content of version %d%s%s: %s added again, %d removed, %s rows where there are %s",
		t.Name, p.Head.Number, p.Target.Number, by, withKept(p.Replays), plural.Of(m.Restored, "file"), m.Removed, rowCount(m.RowsAfter), rowCount(m.RowsBefore))
	describeFirst(t, ch, worked.first)
	ch.Effects = append(ch.Effects, action.EffectLine{
		On: t.Bucket.URL(p.Key), Do: fmt.Sprintf("commit version %d with the content of version %d%s; the commit's digest is %s", p.Head.Number+1, p.Target.Number, withKept(p.Replays), p.Digest),
		From: fmt.Sprintf("version %d, %s rows", p.Head.Number, rowCount(m.RowsBefore)), To: fmt.Sprintf("%s, %s, %s rows", plural.Of(m.FilesAfter, "file"), plural.Of(m.BytesAfter, "byte"), rowCount(m.RowsAfter)),
	})
	list := func(do string, paths []string, bytes int64) {
		if len(paths) == 0 {
			return
		}
		text := strings.Join(paths[:min(len(paths), shownFiles)], ", ")
		if len(paths) > shownFiles {
			text += fmt.Sprintf(", and %d more", len(paths)-shownFiles)
		}
		ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: fmt.Sprintf("%s %s of %s", do, plural.Of(len(paths), "file"), plural.Of(bytes, "byte")), To: text})
	}
	ch.Effects = append(ch.Effects, laterEffects(on, p.Later)...)
	list("add again", p.Added, m.RestoredBytes)
	list("remove", p.Removed, m.RemovedBytes)
	for _, name := range p.Kept {
		ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: "leave the metadata domain " + name + " as it is now"})
	}
	now := c.Run.Started
	files, logs := p.Retention.Files, p.Retention.Log
	if files.Understood && logs.Understood {
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: on, Do: fmt.Sprintf("keep version %d as evidence: VACUUM leaves its files alone until %s, log cleanup its entry until about %s; copy it elsewhere before that",
				p.Head.Number, now.Add(files.For).Format(time.RFC3339), p.Head.Time.Add(logs.For).Format(time.RFC3339)),
		})
	}
	ch.Accepts = append(ch.Accepts, rollbackAccepts(t, p, now)...)
	ch.Accepts = append(ch.Accepts, keptAccepts(t, p)...)
	ch.Loss = rollbackLoss(t.Name, p)
}

// rollbackLoss is what is given up: less where later commits are kept.
func rollbackLoss(name string, p table.RollbackFacts) *recovery.Given {
	loss := &recovery.Given{Dataset: name, Unit: "rows"}
	if p.Metrics.RowsBefore >= 0 && p.Metrics.RowsAfter >= 0 {
		loss.AtLeast = max(0, p.Metrics.RowsBefore-p.Metrics.RowsAfter)
	}
	if p.RowsGiven >= 0 {
		loss.AtMost = &p.RowsGiven
	}
	seconds := max(0, p.Head.Time.Sub(p.Target.Time).Seconds())
	if loss.SecondsAtMost = &seconds; len(p.Replays) == 0 {
		loss.SecondsAtLeast = seconds
	}
	return loss
}

func rowCount(n int64) string {
	if n < 0 {
		return "an unknown number of"
	}
	return fmt.Sprint(n)
}

// rollbackAccepts are the consequences that only people can take on.
func rollbackAccepts(t lake.Table, p table.RollbackFacts, now time.Time) []action.Acceptance {
	files := p.Retention.Files
	var all []action.Acceptance
	accept := func(id, format string, args ...any) {
		all = append(all, action.Acceptance{ID: id + " " + t.Name, Sentence: fmt.Sprintf(format, args...)})
	}
	b := p.Between
	for _, s := range b.Skipped {
		those := ""
		if len(p.Replays) > 0 {
			those = ", those of them that go,"
		}
		accept("skipped-batches", "Streaming writer %q of table %s recorded batch %d, and a rollback does not take that back: batches %d to %d%s are skipped in silence when they are sent again. Rewind it together with a new application id, or send those rows in another way.",
			s.App, t.Name, s.Now, s.Then+1, s.Now, those)
	}
	if p.Metrics.Restored+p.Metrics.Removed > 0 {
		accept("streaming-readers", "Streams that read table %s stop at version %d, which removes or adds data again, or pass over it where they are told to skip such commits: what they passed on since version %d is not taken back. Stop them, correct what lies below them, and start them at version %d. Caches of the table must be flushed.",
			t.Name, p.Head.Number+1, p.Target.Number, p.Head.Number+1)
	}
	if v := b.Vacuum; v != nil {
		accept("vacuum-unfinished", "A VACUUM of table %s began with version %d (%s) and no end of it is recorded: it may be deleting files of version %d now. Stop it and pause maintenance; every object is looked at again afterwards.",
			t.Name, v.Version, v.Time.Format(time.RFC3339), p.Target.Number)
	}
	since := b.Oldest
	if since.IsZero() {
		since = p.Target.Time
	}
	switch {
	case !files.Understood:
		accept("retention-unknown", "Property %s of table %s is not understood, so nobody can say how long files of version %d, or of the bad head %d, are safe from VACUUM.", files.Property, t.Name, p.Target.Number, p.Head.Number)
	case p.Metrics.Restored > 0 && !since.IsZero() && now.Sub(since) > files.For:
		accept("past-retention", "Files of version %d of table %s were removed %s ago and its retention is %s: every VACUUM may delete them until the rollback is done. Extend %s first.",
			p.Target.Number, t.Name, now.Sub(since).Round(time.Hour), files.For, files.Property)
	}
	if files.Understood && p.Metrics.Removed > 0 && files.For < files.Usual {
		accept("evidence", "After the rollback VACUUM may delete the files of the bad head, version %d of table %s, from %s on. Copy them elsewhere, or extend %s, if they are needed as evidence or to take the rollback back.",
			p.Head.Number, t.Name, now.Add(files.For).Format(time.RFC3339), files.Property)
	}
	for _, e := range b.Unexplained {
		accept("unexplained-removes", "Version %d of table %s (%s) removed %s that its operation does not explain, as FSCK REPAIR does, which makes a loss lawful. Find out what became of them.",
			e.Version, t.Name, operationName(e.Operation), plural.Of(e.Removes, "file"))
	}
	if b.Unread > 0 {
		accept("log-gap", "%d of the %s between version %d and the head %d of table %s are gone from its log: what they did is not known.", b.Unread, plural.Of(b.Commits, "commit"), p.Target.Number, p.Head.Number, t.Name)
	}
	for _, uri := range p.Outside {
		accept("outside", "Version %d of table %s needs files in %s, which is no part of it: whoever deletes or vacuums there breaks this table.", p.Target.Number, t.Name, uri)
	}
	return all
}

func operationName(operation string) string {
	if operation == "" {
		return "of no named operation"
	}
	return operation
}
