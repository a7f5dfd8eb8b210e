package delta

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/table"
)

const day = 24 * time.Hour

// The properties that say how long removed files and log entries stay, and what
// the protocol's engines do without them.
var promises = table.Retention{
	Files: table.Keep{Property: "delta.deletedFileRetentionDuration", Usual: 7 * day},
	Log:   table.Keep{Property: "delta.logRetentionDuration", Usual: 30 * day},
}

// RetentionOf reads what a table's properties promise.
func RetentionOf(properties map[string]string) table.Retention {
	r := promises
	for _, k := range []*table.Keep{&r.Files, &r.Log} {
		k.For, k.Understood = k.Usual, true
		if text, ok := properties[k.Property]; ok {
			d, err := Interval(text)
			k.For, k.Understood = d, err == nil
		}
	}
	return r
}

// units of an interval. Engines refuse months here, whose length varies.
var units = map[string]time.Duration{
	"week": 7 * day, "day": day, "hour": time.Hour, "minute": time.Minute, "second": time.Second,
	"millisecond": time.Millisecond, "microsecond": time.Microsecond,
}

// Interval reads a calendar interval as SQL writes it, such as "interval 1 week 2
// days" or "interval '7' days". A negative one promises nothing, and is none.
func Interval(text string) (time.Duration, error) {
	words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(strings.ToLower(text)), "interval"))
	var sum time.Duration
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, fmt.Errorf("%q is no interval", text)
	}
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(strings.Trim(words[i], `'"`), 10, 32)
		unit, ok := units[strings.TrimSuffix(strings.Trim(words[i+1], `'"`), "s")]
		if err != nil || !ok || n < 0 {
			return 0, fmt.Errorf("%q is no interval that is understood here", text)
		}
		sum += time.Duration(n) * unit
	}
	return sum, nil
}
