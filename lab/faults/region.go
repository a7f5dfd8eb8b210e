package faults

import (
	"context"
	"errors"
	"fmt"

	"breakwater/internal/fault"
)

// Regions are the faults of a whole region: its servers are gone.
func Regions(e Env) fault.Set {
	return fault.Set{
		down("region.source-unreachable", "every server of the source is killed", e.Source, All),
		down("region.target-unreachable", "every server of the target is killed", e.Target, All),
		down("storage.target-unreachable", "the object store of the target is killed", e.Target, StorageSystem),
		down("vault.target-unreachable", "the secret store of the target is killed", e.Target, VaultSystem),
	}
}

func down(name fault.Name, doc string, r Region, s System) fault.Fault {
	var k kept[struct{}]
	return fault.Fault{
		Name: name, Doc: doc,
		Available: func() error {
			if r.Stop == nil || r.Start == nil {
				return errors.New("this environment does not stop single servers")
			}
			return nil
		},
		Inject: func(ctx context.Context) error {
			if err := k.put(struct{}{}); err != nil {
				return err
			}
			if err := r.Stop(ctx, s); err != nil {
				return fmt.Errorf("stop %s of %s: %w", s, r.Name, err)
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				if err := r.Start(ctx, s); err != nil {
					return fmt.Errorf("start %s of %s: %w", s, r.Name, err)
				}
				return nil
			})
		},
	}
}
