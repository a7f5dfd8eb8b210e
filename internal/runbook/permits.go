package runbook

import (
	"encoding/json"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
)

// Uses is what runs of a runbook need of outside systems in an estate, beside their
// ledger: for a move from the primary to each standby, and for the primary where a run is
// about one region. A step whose region is an input may be about any.
func Uses(rb *Runbook, cat *action.Catalogue, e *estate.Estate) []permit.Use {
	var all []permit.Use
	for _, at := range places(rb, e, nil) {
		for _, b := range rb.Blocks {
			for _, s := range b.Stages {
				for _, d := range s.Steps {
					def, ok := cat.Get(d.Action)
					if !ok {
						continue
					}
					for _, between := range d.regions(e, at) {
						all = append(all, permit.Use{Permits: def.Permits, Source: between[0], Target: between[1]})
					}
				}
			}
		}
	}
	return all
}

// regions are the source and the target of a step, or twice the one region that it is
// about.
func (d StepDecl) regions(e *estate.Estate, at place) (all [][2]string) {
	var given struct {
		Region json.RawMessage `json:"region"`
	}
	var named string
	switch {
	case len(d.With) > 0 && json.Unmarshal(d.With, &given) == nil && len(given.Region) > 0:
		if json.Unmarshal(given.Region, &named) == nil {
			return [][2]string{{named, named}}
		}
		for _, r := range e.Regions { // an input
			all = append(all, [2]string{r.Region, r.Region})
		}
		return all
	case at.target == "":
		return [][2]string{{at.about, at.about}}
	}
	return [][2]string{{at.source, at.target}}
}
