package faults

import (
	"context"
	"errors"
	"net/http"

	"breakwater/internal/fault"
)

// Connects are the faults of a mirror that is otherwise than the estate says.
func Connects(k Kafka) fault.Set {
	return fault.Set{k.aliasChanged()}
}

// aliasChanged gives the source another name in the mirror, as an operator does who
// builds the mirror anew.
func (k Kafka) aliasChanged() fault.Fault {
	var held kept[map[string]string]
	at := "/connectors/" + k.Connector + "/config"
	return fault.Fault{
		Name: "kafka.mirror-alias-changed", Doc: "the mirror knows the source by another alias than the estate",
		Available: needs(map[string]string{"connect": k.Connect, "connector": k.Connector}),
		Inject: func(ctx context.Context) error {
			was, now := map[string]string{}, map[string]string{}
			if err := k.rest(ctx, http.MethodGet, at, nil, &was); err != nil {
				return err
			}
			for key, v := range was {
				now[key] = v
			}
			now["source.cluster.alias"] += "-2"
			return errors.Join(held.put(was), k.rest(ctx, http.MethodPut, at, now, nil))
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(was map[string]string) error { return k.rest(ctx, http.MethodPut, at, was, nil) })
		},
	}
}
