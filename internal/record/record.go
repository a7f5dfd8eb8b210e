// Package record lists what actions leave for steps of other rooms and for the report:
// the one place that ties an action's name to the type of what it leaves.
package record

import (
	"breakwater/internal/action"
	"breakwater/internal/recovery"
)

// GroupPoint is the moment to which a consistency group comes back, by group.
var GroupPoint = action.Record[recovery.GroupPoint]{Action: "group.recovery-point", Says: "recovery point of group %s"}

// TopicPoint is how far a topic was mirrored, by topic.
var TopicPoint = action.Record[recovery.TopicState]{Action: "kafka.recovery-point", Says: "where the mirror of topic %s stands"}
