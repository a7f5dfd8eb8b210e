package system

import (
	"context"
	"errors"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/pipeline"
	"breakwater/internal/pipeline/temporal"
)

// Pipelines opens the connector that a pipeline of the estate names, to the
// pipelines of a region, for a run. errors.ErrUnsupported is in the chain for a
// connector that this release does not have.
func (s *Systems) Pipelines(_ context.Context, _ *estate.Estate, region, connector string, run action.Run) (pipeline.Connector, error) {
	switch connector {
	case temporal.Name:
		if s.Temporal == nil {
			return nil, fmt.Errorf("%w: this worker has no connection to the Temporal whose schedules the pipelines are", action.ErrRefused)
		}
		return temporal.Schedules{Client: s.Temporal, Namespace: run.Namespace, By: "breakwater " + run.Name(), Region: region}, nil
	}
	return nil, fmt.Errorf("connector %q: %w", connector, errors.ErrUnsupported)
}
