package recovery

import (
	"slices"
)

// GroupPoint is what group.recovery-point leaves for later steps and the report:
// the moment to which a consistency group comes back, and what that loses.
type GroupPoint struct {
	Group  string `json:"group"`
	Cut    Cut    `json:"cut"`
	Losses []Loss `json:"losses"` // in the cut's order: tables, then topics
	// Death is until when the source may have acknowledged a write.
	Death Death `json:"death"`
	// LeftOut are the tables that do not come back here, in the order of their names.
	// The cut was chosen without them. Each has a loss, of which nothing is known, after
	// those of the cut. There is no cut where nothing else is in the group.
	LeftOut []LeftOut `json:"left_out,omitempty"`
}

// LeftOut is a table that does not come back with its group.
type LeftOut struct {
	Table string `json:"table"`
	Why   string `json:"why"` // and what to do about it
}

// NotHere says why a table does not come back here; false where it does, or where
// the point says nothing about it.
func (p GroupPoint) NotHere(table string) (LeftOut, Loss, bool) {
	i := slices.IndexFunc(p.LeftOut, func(l LeftOut) bool { return l.Table == table })
	n := slices.IndexFunc(p.Losses, func(l Loss) bool { return l.LeftOut() && l.Dataset == table })
	if i < 0 || n < 0 {
		return LeftOut{}, Loss{}, false
	}
	return p.LeftOut[i], p.Losses[n], true
}

// LossOf is what is known of the loss of a table that is left out: nothing.
func LossOf(left LeftOut, rpoSeconds float64) Loss {
	return Loss{Dataset: left.Table, Kind: "table", Unit: "rows", RPOSeconds: rpoSeconds}
}

// LeftOut reports whether the loss is that of a table that does not come back here.
func (l Loss) LeftOut() bool { return l.Kind == "table" && l.Version == nil }

// Table returns the recovery point of a table, and its loss.
func (p GroupPoint) Table(name string) (TablePoint, Loss, bool) {
	i := slices.IndexFunc(p.Cut.Tables, func(t TablePoint) bool { return t.Name == name })
	n := slices.IndexFunc(p.Losses, func(l Loss) bool { return l.Kind == "table" && l.Dataset == name })
	if i < 0 || n < 0 {
		return TablePoint{}, Loss{}, false
	}
	return p.Cut.Tables[i], p.Losses[n], true
}

// Topic returns how far a topic is mirrored, and its loss.
func (p GroupPoint) Topic(name string) (TopicPoint, Loss, bool) {
	i := slices.IndexFunc(p.Cut.Topics, func(t TopicPoint) bool { return t.Name == name })
	n := slices.IndexFunc(p.Losses, func(l Loss) bool { return l.Kind == "topic" && l.Dataset == name })
	if i < 0 || n < 0 {
		return TopicPoint{}, Loss{}, false
	}
	return p.Cut.Topics[i], p.Losses[n], true
}
