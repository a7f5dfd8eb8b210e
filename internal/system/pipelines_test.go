package system

import (
	"errors"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
)

func TestConnectors(t *testing.T) {
	s := &Systems{}
	for _, name := range estate.Connectors() {
		if _, err := s.Pipelines(t.Context(), nil, "east", name, action.Run{}); errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("an estate may name connector %q, and nothing opens it", name)
		}
	}
	if _, err := s.Pipelines(t.Context(), nil, "east", "cron", action.Run{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("connector cron = %v, want ErrUnsupported", err)
	}
}
