// Package damage harms the files of a Delta table, and says what whoever reads it then
// must be told.
package damage

import (
	"io/fs"
	"syscall"

	"breakwater/internal/reach"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/tabletest"
)

// Kind is one way in which the files of a version come to harm.
type Kind struct {
	// Do harms the data file of that key, or its deletion vector's file.
	Do func(s *tabletest.Store, data, vector string)
	// Want is the error of whoever reads the version then.
	Want error
}

// Kinds are all of them, by name. They suit the table dv, of which a data file has
// a deletion vector.
func Kinds() map[string]Kind {
	return map[string]Kind{
		"data file gone":  {func(s *tabletest.Store, data, _ string) { s.Delete(data) }, fs.ErrNotExist},
		"vector gone":     {func(s *tabletest.Store, _, vector string) { s.Delete(vector) }, fs.ErrNotExist},
		"data file zeros": {func(s *tabletest.Store, data, _ string) { s.Damage(data, func(b []byte) { clear(b) }) }, delta.ErrCorrupt},
		"a page damaged": {func(s *tabletest.Store, data, _ string) {
			s.Damage(data, func(b []byte) { clear(b[4 : len(b)/2]) })
		}, delta.ErrCorrupt},
		"vector damaged": {func(s *tabletest.Store, _, vector string) {
			s.Damage(vector, func(b []byte) {
				for i := 5; i < len(b); i++ { // past the first vector's length
					b[i] ^= 1
				}
			})
		}, delta.ErrCorrupt},
		"unreachable": {func(s *tabletest.Store, data, _ string) {
			s.Fail = func(_, key string) error {
				if key == data {
					return syscall.ECONNRESET
				}
				return nil
			}
		}, reach.ErrUnreachable},
	}
}
