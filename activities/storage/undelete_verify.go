package storage

import (
	"context"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/rewind/perform"
)

// verifyUndelete reads the table as any reader does, from its log as it is now:
// every object of the version is present at its size. What was brought back is
// held against the very version that was planned, too.
func (s room) verifyUndelete(ctx context.Context, c action.Call[undeleteParams]) ([]action.Observation, error) {
	u, changes, t, err := s.undeletePlanned(ctx, c)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("every object of version %d is present at its size", u.Version)
	l, err := t.Open(ctx)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a log", err)}, nil
	}
	obs := []action.Observation{t.Whole(ctx, c.Run, l, u.Version), asPlannedThen(ctx, t, c.Run, "what was brought back is what was planned", changes)}
	var under []perform.Buried
	for b, err := range changes.Buried(ctx) {
		if err != nil {
			return append(obs, t.NotSeen(c.Run, lake.WhatBuried, "a listing of versions", err)), nil
		}
		under = append(under, b)
	}
	return append(obs, lake.NotBuried(t.Bucket, len(under), under)), nil
}

// asPlannedThen observes that every line of a plan is reached.
func asPlannedThen(ctx context.Context, t lake.Table, run action.Run, what string, c *perform.Changes) action.Observation {
	all, err := compareLines(ctx, t.Bucket, c.Prefixes, c.Lines)
	if err == nil {
		err = all.settle(ctx)
	}
	if err != nil {
		return t.NotSeen(run, what, "a listing", err)
	}
	return t.About(action.Saw(what, plural.Of(all.counted, "object"), all.got("objects"), all.differ == 0))
}

func (s room) verifyDeletedAgain(ctx context.Context, c action.Call[undeleteParams]) ([]action.Observation, error) {
	_, changes, t, err := s.undeletePlanned(ctx, c)
	if err != nil {
		return nil, err
	}
	return []action.Observation{asPlannedThen(ctx, t, c.Run, "every object is as it was before the undeletion", changes)}, nil
}
