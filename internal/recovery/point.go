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
}

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
