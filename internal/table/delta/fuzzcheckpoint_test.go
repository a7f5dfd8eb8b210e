package delta

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"breakwater/internal/table/delta/columns"
	"breakwater/internal/table/delta/deltatest"
)

// Whatever the bytes of a checkpoint are, they are read or refused as malformed:
// no panic, and no file that no path could name.
func FuzzCheckpoint(f *testing.F) {
	s, err := deltatest.Load("basic_part", "checkpoint_v2", "row_tracking", "rs_part_checkpoint")
	if err != nil {
		f.Fatal(err)
	}
	for _, key := range s.Keys("") {
		body, err := s.Get(f.Context(), key)
		if err != nil {
			f.Fatal(err)
		}
		if strings.HasSuffix(key, ".parquet") && strings.Contains(key, "/_delta_log/") {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		acts := &actions{}
		file, err := columns.Open(bytes.NewReader(body), int64(len(body)))
		if err == nil {
			err = readActions(t.Context(), fuzzRoot, file, acts)
		}
		if err != nil {
			if !errors.Is(err, columns.ErrMalformed) && !errors.Is(err, ErrCorrupt) {
				t.Errorf("neither malformed nor corrupt: %v", err)
			}
			return
		}
		for i := range acts.files.files {
			a := acts.files.at(i)
			if a.Size < 0 || a.Records < -1 || a.Rows() < -1 || a.at.key == "" {
				t.Errorf("accepted %+v", a)
			}
		}
	})
}
