package delta_test

import (
	"testing"

	"breakwater/internal/table/delta"
)

func TestEntryOf(t *testing.T) {
	const uuid = "80a083e8-7026-4e79-81be-64bd76c43a11"
	type entry struct {
		kind    delta.EntryKind
		version int64
	}
	for name, want := range map[string]entry{
		"00000000000000000007.json":                                     {delta.EntryCommit, 7},
		"00000000000000000007.crc":                                      {delta.EntryChecksum, 7},
		"00000000000000000004.00000000000000000009.compacted.json":      {delta.EntryCompacted, 9},
		"00000000000000000010.checkpoint.parquet":                       {delta.EntryCheckpoint, 10},
		"00000000000000000010.checkpoint.0000000001.0000000002.parquet": {delta.EntryCheckpoint, 10},
		"00000000000000000010.checkpoint." + uuid + ".parquet":          {delta.EntryCheckpoint, 10},
		"00000000000000000010.checkpoint." + uuid + ".json":             {delta.EntryCheckpoint, 10},
		"_last_checkpoint":                                              {delta.EntryHint, -1},
		"_sidecars/" + uuid + ".parquet":                                {delta.EntrySidecar, -1},
		"_staged_commits/00000000000000000007." + uuid + ".json":        {delta.EntryStaged, 7},
		"_commits/00000000000000000007." + uuid + ".json":               {delta.EntryStaged, 7},
		".tmp/00000000000000000007.json." + uuid:                        {delta.EntryTemporary, 7},

		"99999999999999999999.json":                {delta.EntryCommit, -1}, // more than any table has
		"7.json":                                   {delta.EntryUnknown, -1},
		"00000000000000000007.json.tmp":            {delta.EntryUnknown, -1},
		"00000000000000000007.JSON":                {delta.EntryUnknown, -1},
		"sub/00000000000000000007.json":            {delta.EntryUnknown, -1},
		"_commits/sub/00000000000000000007.a.json": {delta.EntryUnknown, -1},
		"_commits/00000000000000000007.json":       {delta.EntryUnknown, -1},
		".tmp/sub/00000000000000000007.json":       {delta.EntryUnknown, -1},
		"_sidecars/":                               {delta.EntryUnknown, -1},
		"":                                         {delta.EntryUnknown, -1},
	} {
		if got := delta.EntryOf(name); got.Kind != want.kind || got.Version != want.version {
			t.Errorf("EntryOf(%q) = %q of version %d, want %q of %d", name, got.Kind, got.Version, want.kind, want.version)
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
		if got, ok := delta.SpeaksOf(name); got != want || ok != (want >= 0) {
			t.Errorf("delta.SpeaksOf(%s) = %d, %v; want %d", name, got, ok, want)
		}
	}
}
