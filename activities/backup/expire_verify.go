package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
)

// verifyExpire holds a listing of versions against what the manifests that are
// there name, as one who restores sees both.
func (s room) verifyExpire(ctx context.Context, c action.Call[expireWith]) ([]action.Observation, error) {
	const what, want = "the group's backups can be looked at", "manifests, and a listing of versions"
	p, err := action.Decode[expirePlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	x, err := s.expiringOf(ctx, c)
	if errors.Is(err, action.ErrRefused) {
		return nil, err
	}
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, want, err, "")}, nil
	}
	if p.Newest.Seq == 0 {
		return []action.Observation{action.Saw("the group has no backups, as planned", "an empty folder", fmt.Sprintf("%d versions in all", len(x.versions)), x.empty())}, nil
	}
	obs := []action.Observation{x.ChainHoldsAt(x.now), x.stays(p), x.removed(p)}
	going, staying, err := x.manifests(ctx, c)
	if err != nil {
		return append(obs, x.Unseen(c.Run, what, want, err)), nil
	}
	over := "no backup is left whose time is over, but for what is kept always"
	got := "none"
	if len(going) > 0 {
		got = fmt.Sprintf("%d, the oldest: %s, held until %s", len(going), going[0].Manifest.Name(), going[0].Manifest.LockedUntil.Format(time.RFC3339))
	}
	obs = append(obs, action.Saw(over, "none", got, len(going) == 0))

	all := fmt.Sprintf("all that the %d backups name is there, by version", len(staying))
	needed, err := x.needed(ctx, staying)
	if err != nil {
		return append(obs, x.Unseen(c.Run, all, "every version at its size", err)), nil
	}
	lacks := x.lacks(needed)
	got = fmt.Sprintf("%d of %d", len(needed)-len(lacks), len(needed))
	if len(lacks) > 0 {
		got += ", the first that is not: " + lacks[0]
	}
	obs = append(obs, action.Saw(all, fmt.Sprintf("%d versions at their size", len(needed)), got, len(lacks) == 0 && len(needed) > 0))

	const left = "nothing is left that no backup needs and no lock holds"
	free, _, err := x.free(ctx, c, staying, needed)
	if err != nil {
		return append(obs, x.Unseen(c.Run, left, "nothing", err)), nil
	}
	got = "nothing"
	if len(free) > 0 {
		got = fmt.Sprintf("%d versions, the first: %s", len(free), x.URL(free[0].Key))
	}
	return append(obs, action.Saw(left, "nothing", got, len(free) == 0)), nil
}

// stays observes that the newest manifest of the plan is there: of that one no
// other tells that it is gone.
func (x *expiring) stays(p expirePlan) action.Observation {
	what, want := "the newest backup of the plan is there", backup.Name(x.Group.Group, p.Newest.Seq)
	got := "none of that number and checksum"
	for _, f := range x.All {
		if f.Good() && f.Seq == p.Newest.Seq && f.SHA256 == p.Newest.SHA256 {
			got = want
		}
	}
	return action.Saw(what, want, got, got == want)
}

// removed observes that no planned version is listed any more.
func (x *expiring) removed(p expirePlan) action.Observation {
	what := fmt.Sprintf("the %d versions of the plan are gone", len(p.Versions))
	there := map[string]bool{}
	for _, v := range x.versions {
		there[v.ID()] = true
	}
	n, first := 0, ""
	for _, v := range p.Versions {
		if there[v.ID()] {
			n++
			if first == "" {
				first = ", the first: " + x.URL(v.Key)
			}
		}
	}
	return action.Saw(what, "none of them listed", fmt.Sprintf("%d of them listed%s", n, first), n == 0)
}
