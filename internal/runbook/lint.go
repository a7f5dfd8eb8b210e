package runbook

import (
	"breakwater/internal/action"
	"breakwater/internal/estate"
)

// Lint holds a runbook against the catalogue and, unless it is nil, the estate.
func Lint(rb *Runbook, cat *action.Catalogue, e *estate.Estate) []Mistake { return nil }
