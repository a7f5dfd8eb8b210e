package access

import (
	"context"
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
)

// verifyReadOnly lets every reader read and write, every writer write, and
// somebody else read.
func (a access) verifyReadOnly(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	return a.verify(ctx, c, func(sc scene, p place, try lake.Trial) (obs []action.Observation) {
		what, want := "there is something to read in s3://"+p.bucket, fmt.Sprintf("an object of each of %d tables", len(p.prefixes))
		samples, err := a.samples(ctx, c, p)
		if err != nil {
			return append(obs, try.Unknown(what, want, err))
		}
		obs = append(obs, action.Saw(what, want, fmt.Sprintf("of %d", len(samples)), len(samples) == len(p.prefixes)))
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

// verifyReadWrite lets every writer write, and readers and somebody else's writer
// try to.
func (a access) verifyReadWrite(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	return a.verify(ctx, c, func(sc scene, p place, try lake.Trial) (obs []action.Observation) {
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

// verify looks at every bucket of the group.
func (a access) verify(ctx context.Context, c action.Call[action.None], look func(scene, place, lake.Trial) []action.Observation) ([]action.Observation, error) {
	sc, err := a.scene(c)
	if err != nil {
		return nil, err
	}
	if why := sc.empty(); why != "" {
		return []action.Observation{action.Saw(c.Item.Name+" is open at the level "+string(a.level), "what the estate says", why, true)}, nil
	}
	var obs []action.Observation
	for _, p := range sc.places {
		try := a.trial(c, sc, p.bucket)
		obs = append(append(obs, try.Control(ctx)), look(sc, p, try)...)
	}
	return obs, nil
}

// verifyBack proves that rights are as they were: the policy is with those who
// had it before, and who got it by this run can do nothing with it any more.
func (a access) verifyBack(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	sc, err := a.scene(c)
	if err != nil {
		return nil, err
	}
	g, err := action.Decode[grant](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	const what = "rights at the target are as they were"
	if g.Policy == "" {
		return []action.Observation{action.Saw(what, "nothing given, nothing to take", sc.empty(), true)}, nil
	}
	want := fmt.Sprintf("policy %s with %q", g.Policy, g.To.Has)
	admin, err := a.s.Granter(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	has := []string{}
	for _, name := range g.Users {
		u, err := admin.User(ctx, name)
		if err != nil {
			return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
		}
		if slices.Contains(u.Policies, g.Policy) {
			has = append(has, name)
		}
	}
	obs := []action.Observation{action.Saw(what, want, fmt.Sprintf("with %q", has), slices.Equal(has, g.To.Has))}
	who := sc.readers
	if a.level == writeLevel {
		who = sc.writers
	}
	for _, p := range sc.places {
		try := a.trial(c, sc, p.bucket)
		samples, err := a.samples(ctx, c, p)
		if err != nil {
			return append(obs, try.Unknown(what, want, err)), nil
		}
		for _, u := range who {
			switch {
			case slices.Contains(g.To.Has, u.Name) || slices.Contains(g.Could, u.Name):
				// It had these rights before, and keeps them.
			case a.level == writeLevel:
				obs = append(obs, try.CannotWrite(ctx, u.Name, u.Credentials, p.prefixes))
			default:
				obs = append(obs, try.CannotRead(ctx, u.Name, u.Credentials, samples))
			}
		}
	}
	return obs, nil
}
