package check

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

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
		d, err := interval(text)
		if err != nil {
			return 0, "", fmt.Errorf("%s: %w", p.name, err)
		}
		if why == "" || d < shortest {
			shortest, why = d, p.name+" ("+text+")"
		}
	}
	return shortest, why, nil
}

// units of an interval. Engines refuse months here, whose length varies.
var units = map[string]time.Duration{
	"week": 7 * day, "day": day, "hour": time.Hour, "minute": time.Minute, "second": time.Second,
	"millisecond": time.Millisecond, "microsecond": time.Microsecond,
}

// interval reads a calendar interval such as "interval 1 week 2 days".
func interval(text string) (time.Duration, error) {
	words := strings.Fields(strings.ToLower(text))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	var sum time.Duration
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, fmt.Errorf("%q is no interval", text)
	}
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i], 10, 32)
		unit, ok := units[strings.TrimSuffix(words[i+1], "s")]
		if err != nil || !ok || n < 0 {
			return 0, fmt.Errorf("%q is no interval that is understood here", text)
		}
		sum += time.Duration(n) * unit
	}
	return sum, nil
}
