package delta

import "breakwater/internal/table"

// What callers know by this package's name, until they speak of package table.
type (
	Store = table.Store
	Root  = table.Root
	Range = table.Range
	Above = table.Above
	Cut   = Later
)

var (
	ErrTooEarly     = table.ErrTooEarly
	ErrNoneComplete = table.ErrNoneComplete
)
