package listing

import (
	"context"
	"unicode/utf8"

	"breakwater/internal/objectstore"
)

// longestKey is how many bytes a key has at most.
const longestKey = 1024

// cuts finds some places at which to cut a range, about as many as there are to be
// pieces: first where the keys that are left go apart for the first time, which
// takes about as many requests as the length of a key has digits in binary, and there
// between the characters that the next keys have. None, where it knows of none. It cannot
// know how many keys are in a piece.
func cuts(ctx context.Context, b objectstore.Bucket, r Range, pieces int) ([]string, error) {
	key, until := []rune(r.After), []rune(r.Until)
	if !utf8.ValidString(r.After) || len(r.After) > longestKey-utf8.UTFMax {
		return nil, nil
	}
	same := utf8.RuneCountInString(r.Prefix)
	if r.Until != "" {
		for same < len(key) && same < len(until) && key[same] == until[same] {
			same++
		}
		// Between the two there is room for a cut, whatever lies deeper.
		if same < len(key) && same < len(until) && until[same] > key[same]+1 {
			return between(key[:same], key[same]+1, until[same], pieces), nil
		}
	}
	// The shallowest place at which a key goes apart from this one: there are keys
	// behind all that begin with its first n characters, and none behind those that
	// begin with one fewer.
	from, to := same+1, len(key)+1 // n lies between, and is len(key)+1 where there is none
	var branch []rune
	for from < to {
		n := (from + to) / 2
		k, err := first(ctx, b, r, string(key[:n])+string(utf8.MaxRune))
		if err != nil {
			return nil, err
		}
		if k == "" {
			from = n + 1
		} else {
			to, branch = n, []rune(k)
		}
	}
	if at := to - 1; to <= len(key) && at < len(branch) && string(branch[:at]) == string(key[:at]) {
		limit := rune(0)
		if at < len(until) && string(until[:at]) == string(key[:at]) {
			limit = until[at]
		}
		return between(key[:at], branch[at], limit, pieces), nil
	}
	return nil, nil
}

// first is the first key of a range that comes after another; empty for none.
func first(ctx context.Context, b objectstore.Bucket, r Range, after string) (string, error) {
	for v, err := range b.ListSpan(ctx, objectstore.Span{Prefix: r.Prefix, After: after, Page: 1}) {
		if err != nil || r.Until != "" && v.Key > r.Until {
			return "", err
		}
		return v.Key, nil
	}
	return "", nil
}

// between cuts keys that begin alike by the character that follows: at this one, and
// at some of those which are of its kind.
func between(alike []rune, c, limit rune, pieces int) []string {
	end := kind(c)
	if limit > 0 {
		end = min(end, limit-1)
	}
	n := min(int(end-c), max(pieces-1, 1))
	var all []string
	last := rune(-1)
	for i := range n + 1 {
		at := c
		if n > 0 {
			at += rune(i) * (end - c) / rune(n)
		}
		if at != last && utf8.ValidRune(at) {
			all = append(all, string(alike)+string(at))
		}
		last = at
	}
	return all
}

// kind is the character after the last one that is of a kind with this one: digits
// follow on digits.
func kind(c rune) rune {
	switch {
	case c >= '0' && c <= '9':
		return '9' + 1
	case c >= 'A' && c <= 'Z':
		return 'Z' + 1
	case c >= 'a' && c <= 'z':
		return 'z' + 1
	case c < utf8.RuneSelf:
		return utf8.RuneSelf
	}
	return (c | 0x3f) + 1
}
