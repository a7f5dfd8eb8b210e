package system

import (
	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
)

// Formats are the table formats that there are, by the estate's words.
func Formats() table.Formats { return table.Register(port.Format{}) }

// Format is the format of that word.
func (s *Systems) Format(word string) (table.Format, error) { return Formats().Of(word) }

// Formats are the table formats that there are: for objects of which nobody says to
// which table they belong.
func (s *Systems) Formats() table.Formats { return Formats() }
