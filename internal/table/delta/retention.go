package delta

import (
	"time"

	"breakwater/internal/table"
)

const day = 24 * time.Hour

// The properties that say how long removed files and log entries stay, and what
// the protocol's engines do without them.
var promises = table.Retention{
	Files: table.Keep{Property: FileRetention, Usual: 7 * day},
	Log:   table.Keep{Property: LogRetention, Usual: 30 * day},
}

// RetentionOf reads what a table's properties promise.
func RetentionOf(properties map[string]string) table.Retention {
	r := promises
	for _, k := range []*table.Keep{&r.Files, &r.Log} {
		d, _, err := Retention(properties, k.Property)
		k.For, k.Understood = d, err == nil
	}
	return r
}
