package delta_test

import (
	"testing"
	"time"

	"breakwater/internal/table/delta"
)

func TestRetentionOf(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"":                        7 * day,
		"interval 1 week":         7 * day,
		"interval 36 hours":       36 * time.Hour,
		"INTERVAL '2' DAYS":       2 * day,
		"interval 1 day 12 hours": 36 * time.Hour,
		"a fortnight or so":       -1,
	} {
		properties := map[string]string{}
		if text != "" {
			properties[delta.FileRetention] = text
		}
		r := delta.RetentionOf(properties)
		if got := r.Files; got.Understood != (want >= 0) || got.Understood && got.For != want || got.Usual != 7*day || got.Property != delta.FileRetention {
			t.Errorf("files by %q: %+v, want %s", text, got, want)
		}
		if got := r.Log; !got.Understood || got.For != 30*day || got.Usual != got.For {
			t.Errorf("log: %+v", got)
		}
	}
}
