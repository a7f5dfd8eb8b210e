package access

import (
	"context"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/verdict"
)

func (s room) readWrite() action.Action[action.None] {
	a := access{s, writeLevel}
	return action.Action[action.None]{
		Name: "access.read-write", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsAccess(s.canGive)},
		Needs:    []string{"access.read-only"},
		Doc:      "The group's writers may write to its tables at the target, and nobody else: a write of each is made, read back and removed.",
		Things:   a.things, Plan: a.plan, Apply: a.apply, Verify: a.verifyReadWrite,
		Undo: &action.Undo[action.None]{Plan: a.planBack, Apply: a.apply, Verify: a.verifyBack, Show: showGrant},
		Show: showGrant, Rules: grantRules,
		Permits: permit.Join(permit.Administers(permit.Target, permit.Grants), permit.Reads(permit.Target, permit.Objects), permit.CleansUp(permit.Target, permit.Probes), permit.CleansUp(permit.Source, permit.Probes)),
		RedWhen: []action.Red{
			{Fault: "access.writer-detached", Want: verdict.Fail},
			{Fault: "access.reader-may-write", Want: verdict.Fail},
			{Fault: "access.other-writer-may-write", Want: verdict.Fail},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	}
}

// verifyReadWrite lets every writer write, and readers and somebody else's writer
// try to.
func (a access) verifyReadWrite(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	return a.verify(ctx, c, func(sc scene, p place, try lake.Trial) (obs []action.Observation) {
		if len(sc.writers) == 0 {
			obs = append(obs, action.Nothing("the writers of "+sc.group.Group+" may write", "a write of each", "the estate names no writer of it in "+sc.region.Region))
		}
		for _, w := range sc.writers {
			obs = append(obs, try.CanWrite(ctx, w.Name, w.Credentials, p.prefixes))
		}
		for _, r := range sc.readers {
			if !slices.ContainsFunc(sc.writers, func(w estate.AccessPrincipal) bool { return w.Name == r.Name }) {
				obs = append(obs, try.CannotWrite(ctx, r.Name, r.Credentials, p.prefixes))
			}
		}
		if o := sc.otherWriter; o != nil {
			obs = append(obs, try.CannotWrite(ctx, o.Name, o.Credentials, p.prefixes))
		}
		return obs
	})
}
