package runbook

import "breakwater/internal/mistake"

// nearest gives `; did you mean "x"?` when an allowed name is close to found.
func nearest(found string, allowed []string) string { return mistake.DidYouMean(found, allowed) }

// Nearest returns the allowed name closest to found by edit distance, if it is
// close enough to be a slip.
func Nearest(found string, allowed []string) (string, bool) { return mistake.Nearest(found, allowed) }
