// Package record lists what actions leave for steps of other rooms and for the report:
// the one place that ties an action's name to the type of what it leaves.
package record

import (
	"breakwater/internal/action"
	"breakwater/internal/lineage"
	"breakwater/internal/recovery"
	"breakwater/internal/table/lastgood"
)

// GroupPoint is the moment to which a consistency group comes back, by group.
var GroupPoint = action.Record[recovery.GroupPoint]{Action: "group.recovery-point", Says: "recovery point of group %s"}

// TopicPoint is how far a topic was mirrored, by topic.
var TopicPoint = action.Record[recovery.TopicState]{Action: "kafka.recovery-point", Says: "where the mirror of topic %s stands"}

// LastGood is the version up to which a table holds no fault, by table.
var LastGood = action.Record[lastgood.Found]{Action: "table.last-good", Says: "last good version of table %s"}

// BlastRadius is what a fault in a consistency group reached, by group.
var BlastRadius = action.Record[lineage.Radius]{Action: "table.blast-radius", Says: "blast radius of group %s"}

// RolledBack is what table.rollback leaves of a table.
type RolledBack struct {
	Table   string  `json:"table"`
	Version int64   `json:"version"`        // that holds the target's content
	Target  int64   `json:"target"`         // whose content came back
	BadHead int64   `json:"bad_head"`       // the evidence: see [breakwater/internal/table.Mark]
	Kept    []int64 `json:"kept,omitempty"` // later versions whose changes it kept
}

// Rollback is by which version a table was rolled back, by table.
var Rollback = action.Record[RolledBack]{Action: "table.rollback", Says: "rollback of table %s"}
