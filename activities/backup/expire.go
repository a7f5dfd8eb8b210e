package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"
)

// expireWith are the parameters of backup.expire.
type expireWith struct {
	Keep int `json:"keep,omitempty" doc:"How many of the newest backups stay although their time is over; at least 1, which is what is meant without it."`
}

func (s room) expireAction() action.Action[expireWith] {
	return action.Action[expireWith]{
		Name: "backup.expire", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsBackup(), estate.NeedsExpiry()},
		Doc:      "Remove for good the backups of a group whose time is over, from the oldest on, and every object that no other backup needs and no lock holds.",
		Timing:   action.Timing{Timeout: 6 * time.Hour, Estimate: time.Minute},
		Show:     action.Shows[expirePlan, action.None](),
		Rules: []action.Rule{
			{Do: "remove for good: backup ", Says: "the manifest is removed for good, before what it names", Sends: []string{"destroy {on}"}},
			{Do: "remove for good * by which the wall was tried", Says: "each version there that no lock holds and that is older than the run is removed for good", Sends: []string{"destroy {on}*"}},
			{Do: "remove for good * needs", Says: "each version in the group's folder that no manifest which stays names, that no lock holds and that is older than the run is removed for good; the line has the digest of all", Sends: []string{"destroy {on}*"}},
		},
		Plan: s.planExpire, Apply: s.applyExpire, Verify: s.verifyExpire,
		Permits: permit.Join(permit.Backs(), permit.Restores(), permit.Expires()),
		RedWhen: []action.Red{
			{Fault: "backup.expired-left", Want: verdict.Fail},
			{Fault: "backup.object-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-damaged", Want: verdict.Fail},
			{Fault: "backup.reading-revoked", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	}
}

// expirePlan is the typed plan of backup.expire: which manifests go and stay, by name, and
// how much of everything else. What that is follows from the manifests and from the locks
// as of the beginning of the run: a version goes if no manifest that stays names it, its
// lock has ended and it is older than the run. So the plan does not grow with it, and what
// is kept beside it, held against its digest, tells whether the same still follows.
//
// Manifests go before what they name, and the oldest first. Whenever that is broken
// off, every manifest that is still there has all that it names, the chain of them
// holds, and what is left over is named by nobody, so that the next look finds it
// again. The other way round, a manifest would promise a backup that is not there.
type expirePlan struct {
	Newest    backup.Link     `json:"newest"` // stays
	Manifests []backup.Link   `json:"manifests,omitempty"`
	Staying   []backup.Link   `json:"staying,omitempty"`
	Goes      *amount         `json:"goes,omitempty"`
	Kept      *amount         `json:"kept,omitempty"`     // versions that no backup needs, which are held, or never were
	Shown     []backup.Stored `json:"shown,omitempty"`    // the first that go
	First     string          `json:"first"`              // the oldest backup that stays
	Cut       time.Time       `json:"cut"`                // of it
	Unheld    int64           `json:"unheld,omitempty"`   // versions that no backup wrote, which stay
	Versions  []backup.Stored `json:"versions,omitempty"` // all that go, by name, in plans of before 2026-11-30
}

func (s room) planExpire(ctx context.Context, c action.Call[expireWith]) (action.Change, error) {
	if _, err := s.Expirer(ctx, c.Estate); err != nil {
		return action.Change{}, err
	}
	x, err := s.expiringOf(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	part, err := x.part(ctx)
	if err != nil {
		return action.Change{}, err
	}
	if part == "" {
		ch := action.Change{Summary: fmt.Sprintf("group %s has no backups", x.Group.Group)}
		ch.Data, err = action.Encode(expirePlan{})
		return ch, err
	}
	if err := x.believed(); err != nil {
		return action.Change{}, err
	}
	going, staying, err := x.manifests(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	if len(staying) == 0 {
		return action.Change{}, fmt.Errorf("%w: group %s has no backup: nothing says what of its folder is needed, such as %s; take one", action.ErrRefused, x.Group.Group, x.URL(part))
	}
	is, err := x.surveyOf(c.Request, found(staying), nil).do(ctx)
	if err != nil {
		if of := (unread{}); errors.As(err, &of) && depot.Answered(err) {
			err = fmt.Errorf("%w: %w", action.ErrRefused, err)
		}
		return action.Change{}, err
	}
	// What is whole of the older ones may be all that there is.
	if is.lacking > 0 {
		return action.Change{}, fmt.Errorf("%w: backups that stay lack %s, the first: %s; take a full backup before older ones go", action.ErrRefused, plural.Of(is.lacking, "object"), is.lacks)
	}
	if err := x.proven(ctx, going, staying); err != nil {
		return action.Change{}, err
	}
	if is.standing != nil {
		return action.Change{}, x.refused(is.standing)
	}
	p := expirePlan{
		Newest: *staying[len(staying)-1].Link(), First: staying[0].Manifest.Name(), Cut: staying[0].Manifest.Cut,
		Goes: &is.goes, Kept: &is.kept, Shown: is.first, Unheld: is.unheld,
	}
	for _, m := range going {
		p.Manifests = append(p.Manifests, *m.Link())
	}
	for _, m := range staying {
		p.Staying = append(p.Staying, *m.Link())
	}
	return x.change(p, going, is.rest, is.probes)
}

// change words the plan.
func (x *expiring) change(p expirePlan, going []backup.Aged, rest, probes amount) (action.Change, error) {
	ch := action.Change{
		Summary:       fmt.Sprintf("%s of %s go for good, with %s; %s and all after it stay", plural.Of(len(going), "backup"), x.Group.Group, plural.Of(p.Goes.Count, "version"), p.First),
		Preconditions: []action.Precondition{{Resource: x.URL(backup.ManifestKey(x.Group.Group, p.Newest.Seq)), Version: p.Newest.SHA256}},
		Estimate:      time.Second + time.Duration(p.Goes.Count)*5*time.Millisecond,
	}
	if p.Unheld > 0 {
		ch.Summary += fmt.Sprintf("; not touched: %s never held, and so of no backup", plural.Of(p.Unheld, "version"))
	}
	for _, m := range going {
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: x.URL(backup.ManifestKey(x.Group.Group, m.Seq)), Do: "remove for good: backup " + m.Manifest.Name(),
			From: fmt.Sprintf("cut at %s, held until %s", m.Manifest.Cut.Format(time.RFC3339), m.Manifest.LockedUntil.Format(time.RFC3339)),
		})
	}
	if len(going) > 0 {
		ch.Accepts = []action.Acceptance{{
			ID:       "backups-gone " + x.Group.Group,
			Sentence: fmt.Sprintf("No backup of group %s from before %s can be restored any more.", x.Group.Group, p.Cut.Format(time.RFC3339)),
		}}
	}
	text, err := rest.Digest.MarshalText()
	if err != nil {
		return ch, err
	}
	for _, in := range []struct {
		folder, what string
		n, bytes     int64
	}{
		{x.folders[0], "that no other backup needs", rest.Count - probes.Count, rest.Bytes - probes.Bytes},
		{wallProbes, "by which the wall was tried", probes.Count, probes.Bytes},
	} {
		if in.n > 0 {
			ch.Effects = append(ch.Effects, action.EffectLine{
				On: x.URL(in.folder), Do: fmt.Sprintf("remove for good %s %s", plural.Of(in.n, "version"), in.what),
				From: plural.Of(in.bytes, "byte"), To: fmt.Sprintf("nothing; all that go have the digest %s", text),
			})
		}
	}
	ch.Data, err = action.Encode(p)
	return ch, err
}
