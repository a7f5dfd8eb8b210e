package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// register adds the search attributes that the namespace does not have: one made
// by an earlier release keeps those of its own time otherwise, and a run that
// sets an unknown attribute is refused at its start.
func register(ctx context.Context, addr, namespace string, want map[string]enums.IndexedValueType) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", addr, err)
	}
	defer conn.Close()
	op := operatorservice.NewOperatorServiceClient(conn)
	var have *operatorservice.ListSearchAttributesResponse
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for { // the frontend answers a little after it listens
		have, err = op.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("list the search attributes of %s: %w", namespace, err), ctx.Err())
		case <-tick.C:
		}
	}
	missing := maps.Clone(want)
	maps.DeleteFunc(missing, func(name string, _ enums.IndexedValueType) bool {
		_, ok := have.GetCustomAttributes()[name]
		return ok
	})
	if len(missing) == 0 {
		return nil
	}
	if _, err := op.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: missing,
	}); err != nil {
		names := slices.Sorted(maps.Keys(missing))
		return fmt.Errorf("register search attributes %s in %s: %w", strings.Join(names, ", "), namespace, err)
	}
	return nil
}
