package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/plural"
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
		part, err := x.part(ctx)
		if err != nil {
			return []action.Observation{x.Unseen(c.Run, what, want, err)}, nil
		}
		return []action.Observation{action.Saw("the group has no backups, as planned", "an empty folder", "first in it: "+cmp.Or(part, "nothing"), part == "")}, nil
	}
	obs := []action.Observation{x.ChainHoldsAt(x.now), x.stays(p), x.gone(p)}
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

	// What a backup names that came since the plan is none of what the plan left alone.
	var planned, since []backup.Found
	for _, m := range staying {
		if m.Seq > p.Newest.Seq {
			since = append(since, m.Found)
		} else {
			planned = append(planned, m.Found)
		}
	}
	all := fmt.Sprintf("all that the %s name is there, by version", plural.Of(len(staying), "backup"))
	is, err := x.surveyOf(c.Request, planned, since).do(ctx)
	if err != nil {
		return append(obs, x.Unseen(c.Run, all, "every version at its size", err)), nil
	}
	got = fmt.Sprintf("%d of %d", is.named-is.lacking, is.named)
	if is.lacking > 0 {
		got += ", the first that is not: " + is.lacks
	}
	obs = append(obs, action.Saw(all, fmt.Sprintf("%s at their size", plural.Of(is.named, "version")), got, is.lacking == 0 && is.named > 0))

	const left = "nothing is left that no backup needs and no lock holds"
	if is.standing != nil {
		return append(obs, x.Unseen(c.Run, left, "nothing", x.refused(is.standing))), nil
	}
	got = "nothing"
	if len(is.first) > 0 {
		got = fmt.Sprintf("%s, the first: %s", plural.Of(is.goes.Count, "version"), x.URL(is.first[0].Key))
	}
	obs = append(obs, action.Saw(left, "nothing", got, is.goes.Count == 0))
	if p.Kept != nil {
		obs = append(obs, action.Saw("what no backup needs and was not to go is as it was", fmt.Sprintf("%s with %s, by their digest", plural.Of(p.Kept.Count, "version"), plural.Of(p.Kept.Bytes, "byte")),
			fmt.Sprintf("%s with %s", plural.Of(is.kept.Count, "version"), plural.Of(is.kept.Bytes, "byte")), is.kept == *p.Kept))
	}
	return obs, nil
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

// gone observes that no manifest of the plan is there any more.
func (x *expiring) gone(p expirePlan) action.Observation {
	n, first := 0, ""
	for _, f := range x.All {
		if slices.ContainsFunc(p.Manifests, func(m backup.Link) bool { return m.Seq == f.Seq }) {
			n, first = n+1, cmp.Or(first, ", the first: "+backup.Name(x.Group.Group, f.Seq))
		}
	}
	return action.Saw(fmt.Sprintf("the %s of the plan are gone", plural.Of(len(p.Manifests), "backup")), "none of them there", fmt.Sprintf("%d of them there%s", n, first), n == 0)
}
