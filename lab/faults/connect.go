package faults

import (
	"context"
	"errors"
	"net/http"

	"breakwater/internal/fault"
)

// Connects are the faults of a mirror that is otherwise than the estate says.
func Connects(k Kafka) fault.Set {
	return fault.Set{k.aliasChanged(), k.policyChanged()}
}

// aliasChanged gives the source another name in the mirror, as an operator does who
// builds the mirror anew.
func (k Kafka) aliasChanged() fault.Fault {
	return k.reconfigured("kafka.mirror-alias-changed", "the mirror knows the source by another alias than the estate", func(now map[string]string) {
		now["source.cluster.alias"] += "-2"
	})
}

// policyChanged has the connector that copies records name topics by the other policy.
func (k Kafka) policyChanged() fault.Fault {
	return k.reconfigured("kafka.policy-changed", "the mirror's connector names topics in another way than the estate says", func(now map[string]string) {
		const key, identity = "replication.policy.class", "org.apache.kafka.connect.mirror.IdentityReplicationPolicy"
		if now[key] == identity {
			delete(now, key)
		} else {
			now[key] = identity
		}
	})
}

// reconfigured changes the configuration of the connector that copies records.
func (k Kafka) reconfigured(name fault.Name, doc string, change func(map[string]string)) fault.Fault {
	var held kept[map[string]string]
	at := "/connectors/" + k.Connector + "/config"
	return fault.Fault{
		Name: name, Doc: doc,
		Available: needs(map[string]string{"connect": k.Connect, "connector": k.Connector}),
		Inject: func(ctx context.Context) error {
			was, now := map[string]string{}, map[string]string{}
			if err := k.rest(ctx, http.MethodGet, at, nil, &was); err != nil {
				return err
			}
			for key, v := range was {
				now[key] = v
			}
			change(now)
			return errors.Join(held.put(was), k.rest(ctx, http.MethodPut, at, now, nil))
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(was map[string]string) error { return k.rest(ctx, http.MethodPut, at, was, nil) })
		},
	}
}
