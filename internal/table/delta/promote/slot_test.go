package promote

import (
	"testing"

	"breakwater/internal/table"
)

func TestSlotNeverOverwrites(t *testing.T) {
	kept := map[string]table.ObjectVersion{
		"q/_delta_log/7.json":   {ETag: "a", Size: 1},
		"q/2/_delta_log/7.json": {ETag: "b", Size: 1},
	}
	for etag, want := range map[string]string{"a": "q/_delta_log/7.json", "b": "q/2/_delta_log/7.json", "c": "q/3/_delta_log/7.json"} {
		if got := slot(kept, "q/", "_delta_log/7.json", table.ObjectVersion{ETag: etag, Size: 1}); got != want {
			t.Errorf("slot for ETag %s = %s, want %s", etag, got, want)
		}
	}
}
