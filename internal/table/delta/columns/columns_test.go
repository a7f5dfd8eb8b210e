package columns_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"breakwater/internal/table/delta/columns"
)

// A file that claims a footer longer than itself costs no memory.
func TestFooterLongerThanTheFile(t *testing.T) {
	for _, claims := range []uint32{1 << 31, 1<<32 - 1, 13} {
		body := append([]byte("PAR1 it is"), binary.LittleEndian.AppendUint32(nil, claims)...)
		body = append(body, "PAR1"...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := columns.Open(bytes.NewReader(body), int64(len(body)))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, columns.ErrMalformed) {
			t.Errorf("a footer of %d bytes: %v", claims, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("a footer of %d bytes: %d bytes allocated for a file of %d", claims, got, len(body))
		}
	}
}
