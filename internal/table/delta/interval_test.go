package delta

import (
	"math"
	"strings"
	"testing"
	"time"
)

// What Spark's IntervalUtils.stringToInterval makes of these, behind Delta's
// DeltaConfigs.parseCalendarInterval, but for the quotes.
func TestInterval(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"interval 7 days":                      7 * day,
		"interval 1 week":                      7 * day,
		"interval 168 hours":                   7 * day,
		"7 days":                               7 * day,
		"  INTERVAL\t1 Week ":                  7 * day,
		"interval 1 week 2 days":               9 * day,
		"interval 1 day 12 hours 30 minutes":   36*time.Hour + 30*time.Minute,
		"interval 1 days 1 weeks":              8 * day,
		"interval 0 hours":                     0,
		"interval 1 hour 1 hour":               2 * time.Hour,
		"interval 90 seconds 500 milliseconds": 90*time.Second + 500*time.Millisecond,
		"interval 1 microsecond":               time.Microsecond,
		"interval 1 minute 2 seconds":          62 * time.Second,
		"interval 604800000000 microseconds":   7 * day,
		"interval +3 days":                     3 * day,
		"interval - 1 day 48 hours":            day,
		"interval 2 days -1 day":               day,
		"interval 1.5 seconds":                 1500 * time.Millisecond,
		"interval .25 second":                  250 * time.Millisecond,
		"interval 1. seconds":                  time.Second,
		"interval 106751 days":                 106751 * day,
		"interval 3000 weeks":                  21000 * day,
		"interval 2000000 days":                math.MaxInt64, // longer than a Duration, and kept as long as one
		// As SQL writes it. Spark refuses this as a property; other writers do not.
		"INTERVAL '2' DAYS":         2 * day,
		"interval '7 days'":         7 * day,
		`interval "7" "days"`:       7 * day,
		"interval '1' week '1' day": 8 * day,
	} {
		if got, err := Interval(text); err != nil || got != want {
			t.Errorf("Interval(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", " ", "interval", "interval ", "interval7 days", "interval days", "interval 7", "7", "interval 7days", "interval 7 daysx", "interval 7 dayss",
		"interval -1 day", "interval 1 day -25 hours", "interval 1 month", "interval 1 year", "interval 0 months",
		"interval 1.5 days", "interval 1. day", "interval 1.5 milliseconds", "interval . seconds", "interval 1e3 seconds", "interval 1_000 seconds", "interval 0x10 days",
		"interval a day", "days 7", "interval 7 fortnights", "interval 7 nanoseconds", "interval 1 day and 1 hour", "a fortnight or so", "interval interval 1 day",
		"interval 2147483648 days", "interval 9223372036854775807 hours", "interval 99999999999999999999 seconds", "interval -- 1 day", "P7D",
	} {
		if got, err := Interval(text); err == nil {
			t.Errorf("Interval(%q) = %v, want an error", text, got)
		} else if !strings.Contains(err.Error(), "is no interval") {
			t.Errorf("Interval(%q): %v", text, err)
		}
	}
}
