package lake

import (
	"errors"

	"breakwater/internal/action"
	"breakwater/internal/table"
	"breakwater/internal/witness"
)

// Classed gives an error of a table's format or of the journal the class that the interpreter knows
// it by. Its text stays.
func Classed(err error) error {
	switch {
	case errors.Is(err, action.ErrMoved), errors.Is(err, action.ErrRefused):
	case errors.Is(err, table.ErrMoved):
		return &classed{err, action.ErrMoved}
	case errors.Is(err, table.ErrRefused), errors.Is(err, witness.ErrForged):
		return &classed{err, action.ErrRefused}
	}
	return err
}

type classed struct {
	error
	class error
}

func (c *classed) Unwrap() []error { return []error{c.error, c.class} }

// Effects are what a format would do, as a plan has it.
func Effects(all []table.Effect) []action.EffectLine {
	var lines []action.EffectLine
	for _, e := range all {
		lines = append(lines, action.EffectLine{On: e.On, Do: e.Do, From: e.From, To: e.To})
	}
	return lines
}

// Looked are observations of what a table's format looked at.
func (t Table) Looked(run action.Run, looks ...table.Look) []action.Observation {
	var obs []action.Observation
	for _, l := range looks {
		if l.Err != nil {
			obs = append(obs, t.NotSeen(run, l.What, l.Want, l.Err))
			continue
		}
		obs = append(obs, t.About(action.Saw(l.What, l.Want, l.Got, l.OK)))
	}
	return obs
}
