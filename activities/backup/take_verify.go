package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// verifyTake looks at the backup place as one who restores does, and at the source
// only for what the version needs.
func (s room) verifyTake(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	const what = "this step's backup is in its place"
	want := "a signed manifest"
	b, err := s.lake.Backups(ctx, c.Estate, c.Item.Name)
	if errors.Is(err, action.ErrRefused) {
		return nil, err
	}
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, want, err, "")}, nil
	}
	mine := b.Mine(c.Token())
	if mine == nil {
		return []action.Observation{action.Saw(what, want, fmt.Sprintf("%s, none of this step that can be believed", plural.Of(len(b.All), "manifest")), false), b.ChainHolds()}, nil
	}
	m := mine.Manifest
	obs := []action.Observation{action.Saw(what, want, fmt.Sprintf("%s, taken %s at the cut of %s", m.Name(), m.TakenAt.Format(time.RFC3339), m.Cut.Format(time.RFC3339Nano)), true), b.ChainHolds()}
	if c.Plan != nil {
		p, err := action.Decode[takePlan](c.Plan.Data)
		if err != nil {
			return nil, err
		}
		obs = append(obs, asPlannedBackup(p, m))
		for _, w := range p.Without {
			obs = append(obs, lake.About(w.Dataset, action.Saw("it is said what the backup does not hold", "what holds it, or why it is not held", "not held: "+w.Why, true)))
		}
	}
	for _, t := range m.Tables {
		obs = append(obs, b.AllHeld(ctx, c.Request, m, t), leads(ctx, b, c, m, t))
	}
	return obs, nil
}

// asPlannedBackup observes that the manifest has the planned versions.
func asPlannedBackup(p takePlan, m backup.Manifest) action.Observation {
	var want, got []string
	for _, t := range p.Tables {
		want = append(want, fmt.Sprintf("%s@%d", t.Table, t.Version))
	}
	for _, t := range m.Tables {
		got = append(got, fmt.Sprintf("%s@%d", t.Table, t.Version))
	}
	return action.Saw("the backup holds the planned versions", strings.Join(want, " "), strings.Join(got, " "), slices.Equal(want, got) && m.Seq == p.Seq)
}

// leads observes that the log in the backup leads to the version, and that the
// backup holds all that this needs.
func leads(ctx context.Context, b lake.Backups, c action.Call[action.None], m backup.Manifest, t backup.Table) action.Observation {
	what := fmt.Sprintf("the log of %s in backup %s leads to version %d, and all of it is there", t.Table, m.Name(), t.Version)
	const want = "nothing lacks"
	tables, snap, err := b.Readable(ctx, c.Estate, m, t)
	if err != nil {
		return lake.About(t.Table, b.Unseen(c.Run, what, want, err))
	}
	lacks, n, err := table.Lacking(ctx, snap.Closure(), tables.List(ctx, ""))
	if err != nil {
		return lake.About(t.Table, b.Unseen(c.Run, what, want, err))
	}
	got := want
	if len(lacks) > 0 {
		got = fmt.Sprintf("%d of %d, the first: %s", len(lacks), n, path.Base(lacks[0].String()))
	}
	return lake.About(t.Table, action.Saw(what, want, got, len(lacks) == 0 && n > 0))
}
