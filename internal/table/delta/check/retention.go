package check

import (
	"fmt"
	"time"

	"breakwater/internal/table/delta"
)

// retention is how long a table promises to keep older versions readable: the
// shorter of what its log and its removed files are kept for, and which it is.
func retention(properties map[string]string) (time.Duration, string, error) {
	shortest, why := time.Duration(0), ""
	for _, p := range []struct {
		name   string
		absent string // the protocol's engines' default
	}{{"delta.deletedFileRetentionDuration", "interval 1 week"}, {"delta.logRetentionDuration", "interval 30 days"}} {
		text, ok := properties[p.name]
		if !ok {
			text = p.absent
		}
		d, err := delta.Interval(text)
		if err != nil {
			return 0, "", fmt.Errorf("%s: %w", p.name, err)
		}
		if why == "" || d < shortest {
			shortest, why = d, p.name+" ("+text+")"
		}
	}
	return shortest, why, nil
}
