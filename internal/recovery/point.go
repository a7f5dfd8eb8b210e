package recovery

import (
	"cmp"
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
	// LeftOut is what does not come back here, tables and then topics, by name. The cut was
	// chosen without it, and is zero where nothing else is in the group. Each has a loss, of
	// which nothing is known, after those of the cut.
	LeftOut []LeftOut `json:"left_out,omitempty"`
}

// LeftOut is a table or a topic that does not come back with its group.
type LeftOut struct {
	Dataset string `json:"dataset"`
	Kind    string `json:"kind"` // "table" or "topic"
	Why     string `json:"why"`  // and what to do about it
}

// LeftOutOf is what of a group's evidence does not come back here.
func LeftOutOf(tables []TableState, topics []TopicState) []LeftOut {
	var all []LeftOut
	for _, t := range tables {
		if t.LeftOut != "" {
			all = append(all, LeftOut{t.Name, "table", t.LeftOut})
		}
	}
	for _, t := range topics {
		if t.LeftOut != "" {
			all = append(all, LeftOut{t.Name, "topic", t.LeftOut})
		}
	}
	slices.SortFunc(all, func(a, b LeftOut) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Dataset, b.Dataset))
	})
	return all
}

// NotHere says why a table does not come back here; false where it does, or where
// the point says nothing about it.
func (p GroupPoint) NotHere(table string) (LeftOut, Loss, bool) {
	i := slices.IndexFunc(p.LeftOut, func(l LeftOut) bool { return l.Kind == "table" && l.Dataset == table })
	n := slices.IndexFunc(p.Losses, func(l Loss) bool { return l.LeftOut() && l.Kind == "table" && l.Dataset == table })
	if i < 0 || n < 0 {
		return LeftOut{}, Loss{}, false
	}
	return p.LeftOut[i], p.Losses[n], true
}

// LeftOut reports whether the loss is that of a dataset that does not come back here.
func (l Loss) LeftOut() bool { return l.Out }

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
