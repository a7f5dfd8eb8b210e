package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
)

// applyExpire removes what goes, as who may expire: the manifests, and then what none of
// those that stay names. It looks at everything first: nothing goes unless all that stays
// is as it was planned, so that what an earlier attempt has removed is all that differs.
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
	r := &removing{expiring: x, c: c.Request, expirer: expirer, planned: int64(len(p.Versions))}
	if p.Goes != nil {
		r.planned = p.Goes.Count
	}
	if p.Newest.Seq != 0 { // there are backups, and so there is a plan
		err = r.do(ctx, p)
	}
	out := action.Outcome{
		Summary:   fmt.Sprintf("%s of %s are gone, with %s; %s and all after it are there", plural.Of(len(p.Manifests), "backup"), x.Group.Group, plural.Of(r.planned, "version"), p.First),
		Mutations: r.removed.Count,
	}
	var encErr error
	out.Data, encErr = action.Encode(r.removed)
	return out, errors.Join(err, encErr)
}

// removing removes versions, and counts them.
type removing struct {
	*expiring
	c       action.Request
	expirer objectstore.Store
	planned int64

	mu      sync.Mutex
	removed amount
}

func (r *removing) do(ctx context.Context, p expirePlan) error {
	staying, since, err := r.asPlanned(p)
	if err != nil {
		return err
	}
	look := r.surveyOf(r.c, staying, since)
	if p.Goes == nil {
		look.only = map[string]bool{}
		for _, v := range p.Versions {
			look.only[v.ID()] = true
		}
	}
	is, err := look.do(ctx)
	if err != nil {
		return err
	}
	if err := r.follows(p, is); err != nil {
		return err
	}
	// One by one: their order is what keeps the chain.
	for v, err := range r.below(ctx, backup.ManifestPrefix(r.Group.Group)) {
		if err != nil {
			return err
		}
		if look.loose(v) && (look.only == nil || look.only[v.ID()]) {
			if err := r.remove(ctx, []backup.Stored{v}); err != nil {
				return err
			}
		}
	}
	if is.rest.Count == 0 {
		return nil
	}
	look.remove = r.remove
	_, err = look.do(ctx)
	return err
}

func (x *expiring) moved(format string, args ...any) error {
	return fmt.Errorf("expire backups of %s: %s; plan again: %w", x.Group.Group, fmt.Sprintf(format, args...), action.ErrMoved)
}

// asPlanned are the manifests that stay, if they are those of the plan, and those that
// came since.
func (x *expiring) asPlanned(p expirePlan) (staying, since []backup.Found, err error) {
	if err := x.believed(); err != nil {
		return nil, nil, err
	}
	goes, stays := map[int64]string{}, map[int64]string{}
	for _, m := range p.Manifests {
		goes[m.Seq] = m.SHA256
	}
	for _, m := range p.Staying {
		stays[m.Seq] = m.SHA256
	}
	stays[p.Newest.Seq] = p.Newest.SHA256
	for _, f := range x.All {
		sum, going := goes[f.Seq]
		want, stay := stays[f.Seq]
		switch {
		case going && f.SHA256 != sum, stay && f.SHA256 != want:
			return nil, nil, x.moved("manifest %d is not the one that was planned", f.Seq)
		case going:
		case f.Seq > p.Newest.Seq:
			since = append(since, f)
		case !stay && len(p.Staying) > 0:
			return nil, nil, x.moved("manifest %d was not there", f.Seq)
		default:
			staying = append(staying, f)
			delete(stays, f.Seq)
		}
	}
	for seq := range stays {
		return nil, nil, x.moved("manifest %d, which stays, is gone", seq)
	}
	return staying, since, nil
}

// follows refuses where another plan follows from what is there than the one that was
// approved, but for what was removed already.
func (x *expiring) follows(p expirePlan, is survey) error {
	switch {
	case is.since != nil:
		return x.moved("version %s of %s is needed by a backup since", is.since.Version, x.URL(is.since.Key))
	case is.lacking > 0:
		return x.moved("backups that stay lack %s, the first: %s", plural.Of(is.lacking, "object"), is.lacks)
	case is.standing != nil:
		return fmt.Errorf("%w; %w", x.refused(is.standing), action.ErrMoved)
	case p.Goes == nil && is.kept.Count > 0:
		return x.moved("%d of the versions are held since", is.kept.Count)
	case p.Goes == nil:
		return nil
	case is.kept != *p.Kept:
		return x.moved("of the versions that no backup needs, %d with %s held, or never were, and %d with %s when it was planned", is.kept.Count, plural.Of(is.kept.Bytes, "byte", "is", "are"), p.Kept.Count, plural.Of(p.Kept.Bytes, "byte", "was", "were"))
	case is.goes.Count > p.Goes.Count, is.goes.Count == p.Goes.Count && is.goes != *p.Goes:
		return x.moved("%s with %s would go, and others were planned, %d with %s", plural.Of(is.goes.Count, "version"), plural.Of(is.goes.Bytes, "byte"), p.Goes.Count, plural.Of(p.Goes.Bytes, "byte"))
	}
	return nil
}

// refused says that a manifest cannot go.
func (x *expiring) refused(h *held) error {
	return fmt.Errorf("%w: somebody put a version over %s that is held until %s and would stand in its place: find out who, and wait or remove it as the account's administrator",
		action.ErrRefused, x.URL(h.Key), h.until.Format(time.RFC3339))
}

// remove removes versions, a request's worth at a time, each after a look at the epoch.
func (r *removing) remove(ctx context.Context, versions []backup.Stored) error {
	for len(versions) > 0 {
		if err := r.guard(ctx); err != nil {
			return err
		}
		some := versions[:min(len(versions), objectstore.DeletionsAtMost)]
		versions = versions[len(some):]
		batch := make([]objectstore.Deletion, len(some))
		for i, v := range some {
			batch[i] = objectstore.Deletion{Key: r.Prefix + v.Key, VersionID: v.Version}
		}
		_, err := r.expirer.DeleteMany(ctx, r.Bucket, batch)
		if err != nil {
			err = r.heldAgain(ctx, some, err)
			some = nil
		}
		done := r.count(some)
		if err != nil {
			return fmt.Errorf("expire backups of %s, %d of %s removed: %w", r.Group.Group, done, plural.Of(r.planned, "version"), err)
		}
		r.c.Progress(done, r.planned, "removing expired backups of "+r.Group.Group)
	}
	return nil
}

// guard looks at the epoch, one goroutine at a time.
func (r *removing) guard(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.c.Guard(ctx)
}

func (r *removing) count(versions []backup.Stored) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range versions {
		r.removed.take(v)
	}
	return r.removed.Count
}

// heldAgain tells a lock that came after the look from what another attempt cures.
func (r *removing) heldAgain(ctx context.Context, versions []backup.Stored, err error) error {
	if !depot.Answered(err) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	ends, look := r.surveyOf(r.c, nil, nil).ends(ctx, versions)
	for i, until := range ends {
		if look == nil && until != nil && until.After(r.now) {
			return fmt.Errorf("%w: %s is held until %s since; plan again: %w", action.ErrMoved, r.URL(versions[i].Key), until.Format(time.RFC3339), err)
		}
	}
	return err
}
