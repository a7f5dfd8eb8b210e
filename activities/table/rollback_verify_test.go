package table

import (
	"fmt"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
)

// TestVerifyReadsWhatCameBack: what both versions have in common is the same objects,
// and their rows are not read; of a file that came back they are.
func TestVerifyReadsWhatCameBack(t *testing.T) {
	t.Parallel()
	for _, files := range []int{10, 40} {
		s, store := inMemory(t, false)
		s.write(files, 0)
		s.commit(files+1, s.removal(2)...)
		d, r := s.planned("table.rollback", toVersion(int64(files)))
		_, err := d.Apply(t.Context(), r, toVersion(int64(files)))
		s.must(err)
		count, stop := store.counting()
		obs, err := d.Verify(t.Context(), r, toVersion(int64(files)))
		stop()
		s.must(err)
		if action.Worst(obs) != verdict.Pass {
			t.Errorf("of %d files: %s", files, prove.Told(obs))
		}
		var read []string
		for key := range count {
			if strings.HasSuffix(key, ".parquet") && !strings.Contains(key, "_delta_log") {
				read = append(read, key)
			}
		}
		if len(read) != 1 || read[0] != s.dataOf(2) || count[s.dataOf(2)] > 8 {
			t.Errorf("of %d files %d are read, the one that came back %d times: %q", files, len(read), count[s.dataOf(2)], read)
		}
		if !strings.Contains(prove.Told(obs), fmt.Sprintf("%d rows", 3)) {
			t.Errorf("what was read is not said: %s", prove.Told(obs))
		}
	}
}
