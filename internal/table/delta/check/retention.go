package check

import (
	"time"

	"breakwater/internal/table/delta"
)

// retention is how long a table promises to keep older versions readable: the
// shorter of what its log and its removed files are kept for, and which it is.
func retention(properties map[string]string) (time.Duration, string, error) {
	shortest, why := time.Duration(0), ""
	for _, name := range []string{delta.FileRetention, delta.LogRetention} {
		d, text, err := delta.Retention(properties, name)
		if err != nil {
			return 0, "", err
		}
		if why == "" || d < shortest {
			shortest, why = d, name+" ("+text+")"
		}
	}
	return shortest, why, nil
}
