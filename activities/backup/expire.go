package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"
)

// expireWith are the parameters of backup.expire.
type expireWith struct {
	Keep int `json:"keep,omitempty" doc:"How many of the newest backups stay although their time is over; at least 1, which is what is meant without it."`
}

func (s room) expireAction() action.Action[expireWith] {
	return action.Action[expireWith]{
		Name: "backup.expire", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc:    "Remove for good the backups of a group whose time is over, from the oldest on, and every object that no other backup needs and no lock holds.",
		Timing: action.Timing{Timeout: 6 * time.Hour, Estimate: time.Minute},
		Plan:   s.planExpire, Apply: s.applyExpire, Verify: s.verifyExpire,
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

// expirePlan is the typed plan of backup.expire: every version that goes, by name.
//
// Manifests go before what they name, and the oldest first. Whenever that is broken
// off, every manifest that is still there has all that it names, the chain of them
// holds, and what is left over is named by nobody, so that the next look finds it
// again. The other way round, a manifest would promise a backup that is not there.
type expirePlan struct {
	Newest    backup.Link     `json:"newest"` // stays
	Manifests []backup.Link   `json:"manifests,omitempty"`
	Versions  []backup.Stored `json:"versions,omitempty"` // in the order of removal
	First     string          `json:"first"`              // the oldest backup that stays
	Cut       time.Time       `json:"cut"`                // of it
	Unheld    int             `json:"unheld,omitempty"`   // versions that no backup wrote, which stay
}

func (s room) planExpire(ctx context.Context, c action.Call[expireWith]) (action.Change, error) {
	if _, err := s.Expirer(ctx, c.Estate); err != nil {
		return action.Change{}, err
	}
	x, err := s.expiringOf(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	if x.empty() {
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
		return action.Change{}, fmt.Errorf("%w: group %s has no backup: nothing says what of the %d versions in its folder is needed; take one", action.ErrRefused, x.Group.Group, len(x.versions))
	}
	needed, err := x.needed(ctx, staying)
	if err != nil {
		if depot.Answered(err) {
			err = fmt.Errorf("%w: %w", action.ErrRefused, err)
		}
		return action.Change{}, err
	}
	// What is whole of the older ones may be all that there is.
	if lacks := x.lacks(needed); len(lacks) > 0 {
		return action.Change{}, fmt.Errorf("%w: backups that stay lack %d objects, the first: %s; take a full backup before older ones go", action.ErrRefused, len(lacks), lacks[0])
	}
	if err := x.proven(ctx, going, staying); err != nil {
		return action.Change{}, err
	}
	p := expirePlan{Newest: *staying[len(staying)-1].Link(), First: staying[0].Manifest.Name(), Cut: staying[0].Manifest.Cut}
	for _, m := range going {
		p.Manifests = append(p.Manifests, *m.Link())
	}
	if p.Versions, p.Unheld, err = x.free(ctx, c, staying, needed); err != nil {
		return action.Change{}, err
	}
	return x.change(p, going)
}

// change words the plan.
func (x *expiring) change(p expirePlan, going []backup.Aged) (action.Change, error) {
	ch := action.Change{
		Summary:       fmt.Sprintf("%d backups of %s go for good, with %d versions; %s and all after it stay", len(going), x.Group.Group, len(p.Versions), p.First),
		Preconditions: []action.Precondition{{Resource: x.URL(backup.ManifestKey(x.Group.Group, p.Newest.Seq)), Version: p.Newest.SHA256}},
		Estimate:      time.Second + time.Duration(len(p.Versions))*5*time.Millisecond,
	}
	if p.Unheld > 0 {
		ch.Summary += fmt.Sprintf("; %d versions that were never held, and so are of no backup, are left alone", p.Unheld)
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
	n, bytes := 0, int64(0)
	for _, v := range p.Versions {
		if !strings.HasPrefix(v.Key, backup.ManifestPrefix(x.Group.Group)) {
			n, bytes = n+1, bytes+v.Size
		}
	}
	if n > 0 {
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: x.URL(backup.Folder(x.Group.Group)), Do: fmt.Sprintf("remove for good %d versions that no other backup needs", n), From: fmt.Sprintf("%d bytes", bytes),
		})
	}
	var err error
	ch.Data, err = action.Encode(p)
	return ch, err
}

// applyExpire removes the versions of the plan that are still there, as who may
// expire. What somebody needs since is not removed, and what a lock holds since the
// store refuses to remove.
func (s room) applyExpire(ctx context.Context, c action.Call[expireWith]) (action.Outcome, error) {
	p, err := action.Decode[expirePlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	expirer, err := s.Expirer(ctx, c.Estate)
	if err != nil {
		return action.Outcome{}, err
	}
	x, err := s.expiringOf(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	todo, err := x.todo(ctx, p)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%d backups of %s are gone, with %d versions; %s and all after it are there", len(p.Manifests), x.Group.Group, len(p.Versions), p.First)}
	var removed []backup.Stored
	record := func(err error) (action.Outcome, error) {
		out.Mutations = int64(len(removed))
		var encErr error
		out.Data, encErr = action.Encode(removed)
		return out, errors.Join(err, encErr)
	}
	for len(todo) > 0 {
		if err := c.Guard(ctx); err != nil {
			return record(err)
		}
		n := 1 // manifests one by one: their order is what keeps the chain
		for n < len(todo) && n < objectstore.DeletionsAtMost && !strings.HasPrefix(todo[n-1].Key, backup.ManifestPrefix(x.Group.Group)) {
			n++
		}
		batch := make([]objectstore.Deletion, n)
		for i, v := range todo[:n] {
			batch[i] = objectstore.Deletion{Key: x.Prefix + v.Key, VersionID: v.Version}
		}
		if _, err := expirer.DeleteMany(ctx, x.Bucket, batch); err != nil {
			return record(fmt.Errorf("expire backups of %s, %d of %d versions removed: %w", x.Group.Group, len(removed), len(p.Versions), x.heldAgain(ctx, c.Request, todo[:n], err)))
		}
		removed, todo = append(removed, todo[:n]...), todo[n:]
		c.Progress(int64(len(removed)), int64(len(removed)+len(todo)), "removing expired backups of "+x.Group.Group)
	}
	return record(nil)
}

// heldAgain tells a lock that came after the plan from what another attempt cures.
func (x *expiring) heldAgain(ctx context.Context, c action.Request, versions []backup.Stored, err error) error {
	if !depot.Answered(err) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	ends, look := x.ends(ctx, c, versions)
	for i, until := range ends {
		if look == nil && until.After(x.now) {
			return fmt.Errorf("%w: %s is held until %s since; plan again: %w", action.ErrMoved, x.URL(versions[i].Key), until.Format(time.RFC3339), err)
		}
	}
	return err
}

// todo are the planned versions that are still there, if nobody needs one since.
func (x *expiring) todo(ctx context.Context, p expirePlan) ([]backup.Stored, error) {
	moved := func(format string, args ...any) error {
		return fmt.Errorf("expire backups of %s: %s; plan again: %w", x.Group.Group, fmt.Sprintf(format, args...), action.ErrMoved)
	}
	if p.Newest.Seq == 0 {
		return nil, nil // no backups, nothing planned
	}
	if err := x.believed(); err != nil {
		return nil, err
	}
	goes := map[int64]string{}
	for _, m := range p.Manifests {
		goes[m.Seq] = m.SHA256
	}
	var staying []backup.Aged
	newest := false
	for _, f := range x.All {
		switch sum, going := goes[f.Seq]; {
		case !going:
			staying = append(staying, backup.Aged{Found: f})
			newest = newest || f.Seq == p.Newest.Seq && f.SHA256 == p.Newest.SHA256
		case f.SHA256 != sum:
			return nil, moved("manifest %d is not the one that was planned", f.Seq)
		}
	}
	if !newest {
		return nil, moved("manifest %d, which stays, is not what it was", p.Newest.Seq)
	}
	needed, err := x.needed(ctx, staying)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, v := range x.versions {
		there[v.ID()] = true
	}
	var todo []backup.Stored
	for _, v := range p.Versions {
		if _, ok := needed[v.ID()]; ok {
			return nil, moved("version %s of %s is needed by a backup since", v.Version, x.URL(v.Key))
		}
		if there[v.ID()] {
			todo = append(todo, v)
		}
	}
	return todo, nil
}
