package table

import (
	"testing"
	"time"

	"breakwater/internal/table/delta"
)

func TestRetention(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"":                        7 * 24 * time.Hour,
		"interval 1 week":         7 * 24 * time.Hour,
		"interval 36 hours":       36 * time.Hour,
		"INTERVAL '2' DAYS":       48 * time.Hour,
		"interval 1 day 12 hours": 36 * time.Hour,
		"a fortnight or so":       0,
	} {
		var m delta.Metadata
		if text != "" {
			m.Configuration = map[string]string{"delta.deletedFileRetentionDuration": text}
		}
		if got := retention(m); got != want {
			t.Errorf("retention of %q = %s, want %s", text, got, want)
		}
	}
}

func TestSpeaksOf(t *testing.T) {
	for name, want := range map[string]int64{
		"00000000000000000007.json":                                                    7,
		"00000000000000000007.crc":                                                     7,
		"00000000000000000010.checkpoint.parquet":                                      10,
		"00000000000000000010.checkpoint.0000000001.0000000002.parquet":                10,
		"00000000000000000004.00000000000000000009.compacted.json":                     9,
		"00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet": 10,
		"_last_checkpoint":                                                             -1,
		"_sidecars/3a0d65cd-4056-49b8-937b-95f9e3ee90e5.parquet":                       -1,
	} {
		if got, ok := speaksOf(name); got != want || ok != (want >= 0) {
			t.Errorf("speaksOf(%s) = %d, %v; want %d", name, got, ok, want)
		}
	}
}

func TestSlotNeverOverwrites(t *testing.T) {
	kept := map[string]objectState{
		"q/_delta_log/7.json":   {ETag: "a", Size: 1},
		"q/2/_delta_log/7.json": {ETag: "b", Size: 1},
	}
	for etag, want := range map[string]string{"a": "q/_delta_log/7.json", "b": "q/2/_delta_log/7.json", "c": "q/3/_delta_log/7.json"} {
		if got := slot(kept, "q/", "_delta_log/7.json", objectState{ETag: etag, Size: 1}); got != want {
			t.Errorf("slot for ETag %s = %s, want %s", etag, got, want)
		}
	}
}
