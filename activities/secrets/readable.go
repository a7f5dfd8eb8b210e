package secrets

import (
	"context"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/verdict"
)

func (s room) secretActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "secrets.readable", Over: estate.Nothing, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Doc:    "The target's secret store is unsealed and active, and recovery's token reads the sentinel and every group's routing secret there.",
		Things: secretsOf, Verify: s.verifySecrets,
		Permits: permit.ReadsSecrets(permit.Target),
		RedWhen: []action.Red{
			{Fault: "vault.sealed", Want: verdict.Fail},
			{Fault: "vault.token-denied", Want: verdict.Fail},
			{Fault: "vault.sentinel-deleted", Want: verdict.Fail},
			{Fault: "vault.routing-deleted", Want: verdict.Fail},
			{Fault: "vault.mount-unversioned", Want: verdict.Fail},
			{Fault: "vault.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// secretsOf are the target's secret store, and the routing secrets that should lie in one.
func secretsOf(r action.Request) (names []string, none string) {
	at, ok := r.Estate.Region(r.Run.Target)
	if !ok || at.Vault != nil {
		names = append(names, "the secret store of "+r.Run.Target)
	}
	for _, g := range lake.Groups(r.Estate, r.Run) {
		if g.Routing != nil {
			names = append(names, "the routing secret of "+g.Group)
		}
	}
	return names, "the estate names no secret store in " + r.Run.Target
}

func (s room) verifySecrets(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	r, err := c.Estate.RegionNamed(c.Run.Target)
	if err != nil {
		return nil, err
	}
	const serves = "the secret store serves"
	const want = "initialised, unsealed, active"
	if r.Vault == nil { // and yet there are routing secrets
		err := fmt.Errorf("the estate names no secret store in %s: add vault to the region, or take routing from the groups", r.Region)
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, serves, want, err, "")}, nil
	}
	store, err := s.Secrets(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, serves, want, err, "")}, nil
	}
	h, err := store.Health(ctx)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, serves, want, err, "")}, nil
	}
	obs := []action.Observation{
		action.Saw(serves, want, fmt.Sprintf("%s: %s", store.Address(), h), h.Serves() == nil),
		lake.ReadableSecret(ctx, c.Run, store, r.Vault.Sentinel, "the sentinel"),
	}
	for _, g := range lake.Groups(c.Estate, c.Run) {
		if g.Routing != nil {
			obs = append(obs, lake.ReadableSecret(ctx, c.Run, store, g.Routing.Secret, "the routing secret of "+g.Group))
		}
	}
	return obs, nil
}
