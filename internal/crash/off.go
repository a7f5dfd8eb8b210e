//go:build !crashpoints

// Package crash marks the points at which a worker may die, so that a test can
// kill it there and look at what a second worker makes of the rest.
//
// The points do nothing unless the binary is built with the tag crashpoints.
package crash

// Point is a place at which a worker may die.
func Point(string) {}
