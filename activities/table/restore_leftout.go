package table

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
)

// leavesOut says by a [lake.NotHereError] that a table stays as it is: people leave it
// out, or a catalog would go on from where it is, whatever comes to its place.
func (r restoring) leavesOut(c action.Call[restoreWith], beside bool) error {
	out, err := lake.NamedIn(c.Estate, "leave_out", c.With.LeaveOut)
	if err != nil {
		return err
	}
	if slices.Contains(out, lake.Named{Kind: "table", Name: r.site.Name}) {
		return r.site.NotHere(lake.PeopleLeaveOut)
	}
	if why := r.site.Catalogs(); why != "" && !beside {
		return r.site.NotHere(why)
	}
	return nil
}

// lacking is the error of a table that no backup brings back: a [lake.NotHereError] where
// who decides its commits says why.
func lacking(ctx context.Context, site lake.Table, err error) error {
	if !errors.Is(err, backup.ErrDamaged) {
		return err
	}
	why := site.Catalogs()
	if l, closed := site.Open(ctx); why == "" && closed == nil {
		if said, unseen := site.Screen(ctx, l); unseen == nil {
			why = said
		}
	}
	if why != "" {
		return site.NotHere(fmt.Sprintf("%s (%v)", why, err))
	}
	return fmt.Errorf("%w; or let the others come back without it (input leave_out)", err)
}

// verifyNotRestored sees that the step did nothing to a table that was left out, and
// leaves to prove what nobody can prove here.
func (s room) verifyNotRestored(ctx context.Context, c action.Call[restoreWith], left recovery.LeftOut) ([]action.Observation, error) {
	return append(s.unrestored(ctx, c), action.NotHere(left.Dataset, "it is back, from a backup", "restored", left.Why,
		fmt.Sprintf("Recover table %s, which did not come back from a backup, and state what it lost: %s", left.Dataset, left.Why))), nil
}

// unrestored observes that the step changed nothing of a table: before its first change
// it would have left a note.
func (s room) unrestored(ctx context.Context, c action.Call[restoreWith]) []action.Observation {
	const what, want = "the step changed nothing of it", "no note of a change"
	site, err := s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name)
	r, n := restoring{site: site}, 0
	if err == nil {
		n, err = r.noted(ctx, c)
	}
	if err != nil {
		return []action.Observation{r.site.NotSeen(c.Run, what, want, err)}
	}
	return []action.Observation{r.site.About(action.Saw(what, want, plural.Of(n, "note"), n == 0))}
}
