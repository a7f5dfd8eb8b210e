package access

import (
	"context"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"
)

func (s room) readOnly() action.Action[action.None] {
	a := access{s, readLevel}
	return action.Action[action.None]{
		Name: "access.read-only", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsAccess(s.canGive)},
		Needs:    []string{"table.promote"},
		Doc:      "The group's readers may read its tables at the target, and nobody may write there: proven with everybody's own credentials.",
		Things:   a.things, Plan: a.plan, Apply: a.apply, Verify: a.verifyReadOnly,
		Undo: &action.Undo[action.None]{Plan: a.planBack, Apply: a.apply, Verify: a.verifyBack, Show: showGrant},
		Show: showGrant, Rules: grantRules,
		Permits: permit.Join(permit.Administers(permit.Target, permit.Grants), permit.Reads(permit.Target, permit.Objects), permit.CleansUp(permit.Target, permit.Probes)),
		RedWhen: []action.Red{
			{Fault: "access.reader-detached", Want: verdict.Fail},
			{Fault: "access.writer-may-write", Want: verdict.Fail},
			{Fault: "access.reader-may-write", Want: verdict.Fail},
			{Fault: "access.other-reader-may-read", Want: verdict.Fail},
			{Fault: "access.writer-key-changed", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	}
}

// verifyReadOnly lets every reader read and write, every writer write, and
// somebody else read.
func (a access) verifyReadOnly(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	return a.verify(ctx, c, func(sc scene, p place, try lake.Trial) (obs []action.Observation) {
		what, want := "there is something to read in s3://"+p.bucket, fmt.Sprintf("an object of each of %s", plural.Of(len(p.prefixes), "table"))
		samples, err := a.samples(ctx, c, p)
		if err != nil {
			return append(obs, try.Unknown(what, want, err))
		}
		obs = append(obs, action.Saw(what, want, fmt.Sprintf("of %d", len(samples)), len(samples) == len(p.prefixes)))
		if len(sc.readers) == 0 {
			obs = append(obs, action.Nothing("the readers of "+sc.group.Group+" may read", "a read by each", "the estate names no reader of it in "+sc.region.Region))
		}
		for _, r := range sc.readers {
			obs = append(obs, try.CanRead(ctx, r.Name, r.Credentials, samples), try.CannotWrite(ctx, r.Name, r.Credentials, p.prefixes))
		}
		for _, w := range sc.writers {
			obs = append(obs, try.CannotWrite(ctx, w.Name, w.Credentials, p.prefixes))
		}
		if o := sc.otherReader; o != nil {
			obs = append(obs, try.CannotRead(ctx, o.Name, o.Credentials, samples))
		}
		return obs
	})
}
