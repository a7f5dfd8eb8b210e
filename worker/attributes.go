package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/wire"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// spread is how long new search attributes may take to be known.
const spread = 20 * time.Second

// ensureAttributes registers the search attributes that the namespace lacks, and
// waits until it has them: a run that sets an unknown one would hang at its
// first task, for no reason that a person could see.
func ensureAttributes(ctx context.Context, c client.Client, namespace string) error {
	fail := func(doing string, err error) error {
		return fmt.Errorf("%s in namespace %s: %w; without them no run is served; let an administrator run: temporal operator search-attribute create --namespace %s%s",
			doing, namespace, err, namespace, createArgs())
	}
	missing, err := missingAttributes(ctx, c, namespace)
	if err != nil {
		return fail("look for the search attributes of runs", err)
	}
	if len(missing) == 0 {
		return nil
	}
	add := map[string]enums.IndexedValueType{}
	for _, name := range missing {
		add[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: add})
	var there *serviceerror.AlreadyExists // another worker was faster
	if err != nil && !errors.As(err, &there) {
		return fail("register the search attributes "+strings.Join(missing, ", "), err)
	}
	ctx, cancel := context.WithTimeout(ctx, spread)
	defer cancel()
	for {
		if missing, err = missingAttributes(ctx, c, namespace); err == nil && len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("%s are not there yet", strings.Join(missing, ", "))
			}
			return fail("wait for the search attributes of runs", err)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// missingAttributes lists those of ours that the namespace lacks. One that is
// there with another type is an error: values would be refused.
func missingAttributes(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	have, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, name := range wire.Attributes() {
		switch kind, ok := have.GetCustomAttributes()[name]; {
		case !ok:
			missing = append(missing, name)
		case kind != enums.INDEXED_VALUE_TYPE_KEYWORD:
			return nil, fmt.Errorf("search attribute %s is of type %s and must be Keyword", name, kind)
		}
	}
	return missing, nil
}

func createArgs() string {
	b := &strings.Builder{}
	for _, name := range wire.Attributes() {
		fmt.Fprintf(b, " --name %s --type Keyword", name)
	}
	return b.String()
}
