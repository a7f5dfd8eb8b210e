package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"breakwater/internal/fault"

	"github.com/twmb/franz-go/pkg/kadm"
)

// mirrorsUser is what the faults of the mirror's user need.
func (k Kafka) mirrorsUser() map[string]string {
	return map[string]string{"user of the mirror": k.Mirror, "consumer group": k.ConsumerGroup, "target's broker": first(k.Target.Brokers)}
}

// denialLifted lets the mirror's user commit for the group again.
func (k Kafka) denialLifted() fault.Fault {
	denial := kadm.NewACLs().Deny("User:" + k.Mirror).DenyHosts("*").Groups(k.ConsumerGroup).
		ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead)
	var held kept[struct{}]
	return fault.Fault{
		Name: "kafka.denial-lifted", Doc: "somebody takes away that the mirror's user may not commit for the group", Available: needs(k.mirrorsUser()),
		Inject: func(ctx context.Context) error {
			adm, err := k.Target.admin()
			if err != nil {
				return err
			}
			defer adm.Close()
			gone, err := adm.DeleteACLs(ctx, denial)
			n := 0
			for _, r := range gone {
				err = errors.Join(err, r.Err)
				n += len(r.Deleted)
			}
			if err == nil && n != 1 {
				err = fmt.Errorf("%d denials of %s on group %s, want one", n, k.Mirror, k.ConsumerGroup)
			}
			if err != nil {
				return err
			}
			return held.put(struct{}{})
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(struct{}) error {
				adm, err := k.Target.admin()
				if err != nil {
					return err
				}
				defer adm.Close()
				made, err := adm.CreateACLs(ctx, denial)
				for _, m := range made {
					err = errors.Join(err, m.Err)
				}
				return err
			})
		},
	}
}

// passwordChanged gives the mirror's user another password than the estate says. A
// broker reads the passwords of SASL/PLAIN once, so it is the estate's that changes.
func (k Kafka) passwordChanged() fault.Fault {
	var held kept[[]byte]
	return fault.Fault{
		Name: "kafka.mirror-password-changed", Doc: "the mirror's user has another password than the estate says",
		Available: needs(map[string]string{"user of the mirror": k.Mirror, "file of its credentials": k.MirrorLogin}),
		Inject: func(context.Context) error {
			was, err := os.ReadFile(k.MirrorLogin)
			if err != nil {
				return err
			}
			other, err := json.Marshal(map[string]string{"username": k.Mirror, "password": "another"})
			if err != nil {
				return err
			}
			return errors.Join(held.put(was), os.WriteFile(k.MirrorLogin, other, 0o600))
		},
		Heal: func(context.Context) error {
			return held.heal(func(was []byte) error { return os.WriteFile(k.MirrorLogin, was, 0o600) })
		},
	}
}
