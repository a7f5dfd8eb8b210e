package access

import (
	"context"
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
)

func (a access) trial(c action.Call[action.None], sc scene, bucket string) lake.Trial {
	return lake.Trial{S: a.s.lake, Run: c.Run, Estate: c.Estate, Region: sc.region, Bucket: bucket}
}

// samples finds, as recovery, one real object of each table: of its log, or else
// any. A table without an object has none.
func (a access) samples(ctx context.Context, c action.Call[action.None], p place) ([]objectstore.Object, error) {
	store, err := a.s.Storage(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return nil, err
	}
	var found []objectstore.Object
	for i, prefix := range p.prefixes {
		n := len(found)
		for _, below := range []string{p.logs[i], prefix + "/"} {
			for o, err := range store.List(ctx, p.bucket, below) {
				if err != nil {
					return nil, err
				}
				if found = append(found, o); true {
					break
				}
			}
			if len(found) > n {
				break
			}
		}
	}
	return found, nil
}

// verify looks at every bucket of the group.
func (a access) verify(ctx context.Context, c action.Call[action.None], look func(scene, place, lake.Trial) []action.Observation) ([]action.Observation, error) {
	sc, err := a.scene(c)
	if err != nil {
		return nil, err
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
		return []action.Observation{action.Nothing(what, "what this run gave is taken back", sc.empty())}, nil
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

// could lists the readers who read the tables already, by other rights: those
// stay when this run's are taken back. Reading changes nothing.
func (a access) could(ctx context.Context, c action.Call[action.None], sc scene) ([]string, error) {
	if a.level == writeLevel {
		return nil, nil // access.read-only has shown that nobody writes
	}
	var names []string
	for _, p := range sc.places {
		samples, err := a.samples(ctx, c, p)
		if err != nil {
			return nil, err
		}
		for _, r := range sc.readers {
			store, err := a.s.StorageAs(ctx, c.Estate, c.Run.Target, r.Credentials, r.Name)
			if err != nil {
				return nil, err
			}
			for _, o := range samples {
				_, _, err := store.Get(ctx, p.bucket, o.Key)
				switch objectstore.Attempted(err) {
				case objectstore.ProbeUnreachable:
					return nil, err
				case objectstore.ProbeAllowed:
					if !slices.Contains(names, r.Name) {
						names = append(names, r.Name)
					}
				}
			}
		}
	}
	slices.Sort(names)
	return names, nil
}
