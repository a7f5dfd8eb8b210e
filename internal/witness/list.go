package witness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"breakwater/internal/objectstore"
)

// list is an object of the journal that holds a list, and is replaced as a whole by
// compare-and-set. The texts are what errors begin with.
type list[T any] struct {
	journal   Journal
	key       string
	read      string // "read …"
	malformed string // "read …", with the object's address
	write     string // "write …"
}

// get reads the list; one that is not there is empty.
func (l list[T]) get(ctx context.Context) ([]T, error) {
	all, _, err := l.load(ctx)
	return all, err
}

func (l list[T]) load(ctx context.Context) (all []T, etag string, err error) {
	data, o, err := l.journal.Bucket.Get(ctx, l.key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	var body []byte
	if err == nil {
		body, err = l.journal.open(l.key, data)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", l.read, err)
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, "", fmt.Errorf("%s: %w: %w", l.malformed, ErrMalformed, err)
	}
	return all, o.ETag, nil
}

// races is how many other writers may come in between before change gives up.
const races = 16

// change replaces the list by what merge makes of it, again and again as long as
// others come in between. Merge is called with what is there at the moment, and says
// whether there is anything to write.
func (l list[T]) change(ctx context.Context, merge func([]T) (next []T, changed bool)) (changed bool, err error) {
	for range races {
		all, etag, err := l.load(ctx)
		if err != nil {
			return false, err
		}
		next, changed := merge(all)
		if !changed {
			return false, nil
		}
		body, err := json.Marshal(next)
		if err == nil {
			body, err = l.journal.seal(l.key, body)
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", l.write, err)
		}
		if etag == "" {
			_, err = l.journal.Bucket.PutIfAbsent(ctx, l.key, body)
		} else {
			_, err = l.journal.Bucket.PutIfMatch(ctx, l.key, body, etag)
		}
		switch {
		case err == nil, errors.Is(err, objectstore.ErrSame):
			return true, nil
		case !errors.Is(err, fs.ErrExist) && !errors.Is(err, objectstore.ErrChanged):
			return false, fmt.Errorf("%s: %w", l.write, err)
		}
	}
	return false, fmt.Errorf("%s: %d other writers came in between; see who else runs the witness: %w", l.write, races, objectstore.ErrChanged)
}
