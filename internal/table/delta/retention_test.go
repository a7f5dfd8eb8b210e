package delta_test

import (
	"testing"
	"time"

	"breakwater/internal/table/delta"
)

const day = 24 * time.Hour

func TestInterval(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"interval 7 days":                  7 * day,
		"INTERVAL 1 Week 2 days":           9 * day,
		"interval '7' days":                7 * day,
		`interval "7 days"`:                7 * day,
		"7 days":                           7 * day,
		" interval 36 hours ":              36 * time.Hour,
		"interval 1 minute 2 seconds":      62 * time.Second,
		"interval 3 milliseconds":          3 * time.Millisecond,
		"interval 1 second 5 microseconds": time.Second + 5*time.Microsecond,
		"interval 0 seconds":               0,
	} {
		if got, err := delta.Interval(text); err != nil || got != want {
			t.Errorf("Interval(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "interval", "interval 7", "7", "interval -7 days", "interval 1 month", "interval a day", "interval 99999999999 days", "days 7"} {
		if got, err := delta.Interval(text); err == nil {
			t.Errorf("Interval(%q) = %v, want an error", text, got)
		}
	}
}

func TestRetentionOf(t *testing.T) {
	r := delta.RetentionOf(map[string]string{"delta.deletedFileRetentionDuration": "interval 2 days"})
	if !r.Files.Understood || r.Files.For != 2*day || r.Files.Usual != 7*day || !r.Log.Understood || r.Log.For != 30*day {
		t.Errorf("%+v", r)
	}
	if r := delta.RetentionOf(map[string]string{"delta.logRetentionDuration": "as long as it takes"}); r.Log.Understood || r.Log.Property != "delta.logRetentionDuration" || !r.Files.Understood {
		t.Errorf("%+v", r)
	}
}
