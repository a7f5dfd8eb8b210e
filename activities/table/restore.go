package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
)

func (s room) restoreActions(c *action.Catalogue) {
	action.Add(c, action.Action[restoreWith]{
		Name: "table.restore", Over: estate.TableKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsBackup()},
		Doc:      "Bring a table back from a backup into the target's bucket, to its own place or beside it: data before log, log before pointer; the bucket keeps what was there.",
		Timing:   action.Timing{Timeout: 12 * time.Hour, Estimate: time.Minute},
		Plan:     s.planRestore, Apply: s.applyRestore, Verify: s.verifyRestore,
		Undo: &action.Undo[restoreWith]{Plan: s.planUnrestore, Apply: s.applyUnrestore, Verify: s.verifyUnrestore, Show: orLeftOut(action.Shows[backPlan, action.None]())},
		Show: orLeftOut(action.Shows[restorePlan, restorePlan]()),
		Rules: []action.Rule{
			{Do: "hide * file", Says: "each of those in the plan is hidden", Sends: []string{"delete {bucket}/{data.hidden.key}"}},
			{Do: "write * over what is there", Says: "each of those in the plan is written from the backup", Sends: []string{"put {bucket}/{data.replaced.key}"}},
			{Do: "write * not there", Says: "each object of the backup's list, whose digest is in the plan, that is not there is written", Sends: []string{"put {on}/*"}},
			{Do: "note before all that", Says: "the plan is left beside the tables, before anything else", Sends: []string{"put {on}*"}},
			{Do: "write * as they were", Says: "each of those in the plan is written from the version that the bucket kept", Sends: []string{"put {bucket}/{data.lines.key}"}},
			{Do: "hide * not there", Says: "each of those in the plan that was not there is hidden", Sends: []string{"delete {bucket}/{data.lines.key}"}},
		},
		Permits: permit.Join(permit.Changes(permit.Target, permit.Tables), permit.Restores()),
		RedWhen: []action.Red{
			{Fault: "table.late-commit", Want: verdict.Fail},
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	})
}

// restoreWith are the parameters of table.restore.
type restoreWith struct {
	Manifest string     `json:"manifest,omitempty" doc:"The backup to restore, as GROUP/NUMBER. Without it, the newest of the table's group that is whole; a damaged one is stepped over and named."`
	At       *time.Time `json:"at,omitempty" doc:"Restore the newest backup whose cut is not after this moment."`
	LeaveOut string     `json:"leave_out,omitempty" doc:"tables, separated by commas, that are left as they are: nothing is known of what these lose, and a gate accepts that for each, so that the others are restored. A table that a catalog decides about is left as it is without being named"`
	Prefix   string     `json:"prefix,omitempty" doc:"Restore beside: below this prefix of the bucket, which the table's own path follows. Without it, in the table's own place, where the bucket keeps what was there."`
}

// restorePlan is the typed plan of table.restore, and what taking it back needs.
type restorePlan struct {
	Backup  string `json:"backup"`
	SHA256  string `json:"sha256"`           // of its manifest
	Signer  string `json:"signer,omitempty"` // fingerprint of a key that does not count, which approving the plan accepts
	List    string `json:"list"`             // SHA-256 of the table's list of objects
	Version int64  `json:"version"`
	Root    string `json:"root"` // prefix that the table comes to
	Write   int    `json:"write"`
	// Replaced are objects with other content, Hidden those of the log that the
	// backup does not have; the bucket keeps both. Equal are left alone.
	Replaced []keptObject `json:"replaced,omitempty"`
	Hidden   []keptObject `json:"hidden,omitempty"`
	Equal    []string     `json:"equal,omitempty"` // keys
	// Done is what earlier attempts of this step changed, and what was there before
	// them; Attempt the number of the note that Apply leaves before its first change.
	Done    []doneLine `json:"done,omitempty"`
	Attempt int        `json:"attempt"`
}

// keptObject is an object as it was, which its bucket keeps.
type keptObject struct {
	Key string `json:"key"`
	table.ObjectVersion
}

func (s room) planRestore(ctx context.Context, c action.Call[restoreWith]) (action.Change, error) {
	r, err := s.restoringTo(ctx, c, nil)
	var not *lake.NotHereError
	if errors.As(err, &not) {
		return planLeftOut(not)
	}
	if err != nil {
		return action.Change{}, err
	}
	if why, err := r.site.Bucket.Unversioned(ctx); err != nil {
		return action.Change{}, err
	} else if why != "" {
		return action.Change{}, fmt.Errorf("%w: %s", action.ErrRefused, why)
	}
	have, err := r.present(ctx)
	if err != nil {
		return action.Change{}, err
	}
	m := r.found.Manifest
	p := restorePlan{Backup: m.Name(), SHA256: r.found.SHA256, Signer: r.stranger(), List: r.from.List.SHA256, Version: r.from.Version, Root: r.site.Root.Prefix}
	if p.Attempt, p.Done, err = s.doneBefore(ctx, c, &r, have); err != nil {
		return action.Change{}, err
	}
	before := map[string]bool{}
	for _, line := range p.Done {
		before[line.Key] = true
	}
	ours := map[string]bool{}
	var bytes int64
	for _, o := range r.objects {
		ours[o.Key] = true
		was, there := have[o.Key]
		if !there {
			p.Write, bytes = p.Write+1, bytes+o.Copy.Size
			continue
		}
		same, err := r.same(ctx, o, was)
		switch {
		case err != nil:
			return action.Change{}, err
		case same && !before[o.Key]:
			p.Equal = append(p.Equal, o.Key)
		case !same:
			p.Replaced, bytes = append(p.Replaced, keptObject{o.Key, was}), bytes+o.Copy.Size
		}
	}
	for key, was := range have {
		if r.format.Hides(r.site.Root, key) && !ours[key] {
			p.Hidden = append(p.Hidden, keptObject{key, was})
		}
	}
	// The highest commit first: whoever reads meanwhile sees a shorter table.
	slices.SortFunc(p.Hidden, func(a, b keptObject) int { return strings.Compare(b.Key, a.Key) })

	ch := action.Change{
		Summary:       fmt.Sprintf("%s comes back to version %d of backup %s, cut at %s", r.site.Name, p.Version, p.Backup, m.Cut.Format(time.RFC3339Nano)),
		Preconditions: []action.Precondition{{Resource: r.URL(backup.ManifestKey(m.Group, m.Seq)), Version: p.SHA256}},
		Estimate:      time.Second + time.Duration(p.Write+len(p.Replaced))*50*time.Millisecond,
	}
	if len(p.Done) > 0 {
		ch.Summary += fmt.Sprintf("; %s changed by an earlier attempt of this step, and would be taken back with it", plural.Of(len(p.Done), "object", "was", "were"))
	}
	if len(r.over) > 0 {
		ch.Summary += "; stepped over " + strings.Join(r.over, "; ")
	}
	line := func(n int, do, what, to string) {
		if n > 0 {
			ch.Effects = append(ch.Effects, action.EffectLine{On: r.site.Bucket.URL(p.Root), Do: fmt.Sprintf(do, what), To: to})
		}
	}
	lost, err := r.givesUp(ctx)
	if errors.As(err, &not) {
		return planLeftOut(not)
	}
	if err != nil {
		return action.Change{}, err
	}
	line(len(p.Hidden), "hide %s of its log that the backup does not have", plural.Of(len(p.Hidden), "file"), "delete markers, which can be taken away")
	line(len(p.Replaced), "write %s over what is there", plural.Of(len(p.Replaced), "object"), "new versions; the bucket keeps the old ones")
	line(p.Write, "write %s not there", plural.Of(p.Write, "object", "that is", "that are"), plural.Of(bytes, "byte")+" in all")
	if p.Signer != "" {
		ch.Accepts = append(ch.Accepts, acceptStranger(p))
	}
	if len(ch.Effects) > 0 && lost != "" {
		ch.Accepts = append(ch.Accepts, action.Acceptance{ID: "gives-up " + r.site.Name, Sentence: lost})
	}
	if len(ch.Effects) > 0 {
		ch.Effects = append(ch.Effects, action.EffectLine{On: r.site.Bucket.URL(notesOf(c)), Do: fmt.Sprintf("note before all that, as number %d, what is there now", p.Attempt)})
	}
	if ch.Data, err = action.Encode(p); err == nil {
		ch.Undo = ch.Data
	}
	return ch, err
}
