package runbook

// nearest gives `; did you mean "x"?` when one of the allowed names is at most
// two edits, or a third of its length, away.
func nearest(found string, allowed []string) string {
	if n, ok := Nearest(found, allowed); ok {
		return `; did you mean "` + n + `"?`
	}
	return ""
}

// Nearest returns the allowed name closest to found by edit distance, if it is
// close enough to be a slip.
func Nearest(found string, allowed []string) (string, bool) {
	best, at := "", -1
	for _, a := range allowed {
		if d := distance(found, a); at < 0 || d < at {
			best, at = a, d
		}
	}
	return best, at >= 0 && at <= max(2, len(best)/3)
}

// distance is Levenshtein's, in two rows.
func distance(a, b string) int {
	prev, next := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(prev[j]+cost, prev[j+1]+1, next[j]+1)
		}
		prev, next = next, prev
	}
	return prev[len(b)]
}
