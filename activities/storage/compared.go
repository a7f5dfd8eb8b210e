package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/rewind/perform"

	"golang.org/x/sync/errgroup"
)

// compared is one key to hold against what it is to be.
type compared struct {
	key        string
	got        *objectstore.Version // nil: nothing to read
	want       *objectstore.Version
	from       objectstore.Bucket // where want lies
	fromKey    string
	difference string // empty: equal
	sure       bool   // the listing alone tells
}

// differ says how they differ by what the listing shows; sure is false where only
// the objects can tell.
func (k compared) differ() (difference string, sure bool) {
	switch {
	case k.want == nil && k.got == nil:
		return "", true
	case k.want == nil:
		return "is there with version " + k.got.VersionID + ", and was not", true
	case k.got == nil:
		return "is not there, and was with version " + k.want.VersionID, true
	case k.got.Size != k.want.Size:
		return fmt.Sprintf("has %s, and had %d", plural.Of(k.got.Size, "byte"), k.want.Size), true
	case k.got.ETag != k.want.ETag:
		return fmt.Sprintf("has ETag %s, and had %s", k.got.ETag, k.want.ETag), false
	}
	return "", true
}

// byObjects settles by checksum or, without one in common, by the source version
// in the copy's metadata. It goes by no date.
func (k compared) byObjects(ctx context.Context, to objectstore.Bucket) (equal bool, err error) {
	got, err := to.Describe(ctx, k.key, k.got.VersionID)
	if err != nil {
		return false, err
	}
	want, err := k.from.Describe(ctx, k.fromKey, k.want.VersionID)
	if err != nil {
		return false, err
	}
	if same, known := got.SameChecksum(want); known {
		return same && got.Size == want.Size, nil
	}
	return got.Size == want.Size && got.CopyOf == objectstore.SourceName(k.want.VersionID, k.want.ETag), nil
}

// comparing counts what differs. It holds no key that is as it is to be, and of the
// others those alone that are not settled yet.
type comparing struct {
	to      objectstore.Bucket
	counted int
	unlike  []compared // not settled
	differ  int
	first   compared // that differs
	err     error    // of settling
}

// settledTogether is how many keys are asked about together.
const settledTogether = 10_000

func (c *comparing) add(ctx context.Context, k compared) {
	c.counted++
	if k.difference, k.sure = k.differ(); k.difference != "" {
		c.unlike = append(c.unlike, k)
	}
	if len(c.unlike) == settledTogether && c.err == nil {
		c.err = c.ask(ctx)
	}
}

// settle ends the comparison: what differs is known then.
func (c *comparing) settle(ctx context.Context) error {
	if c.err == nil {
		c.err = c.ask(ctx)
	}
	return c.err
}

// ask asks the objects where the listing does not tell, and counts what differs.
func (c *comparing) ask(ctx context.Context) error {
	equal := make([]bool, len(c.unlike))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(perform.AtOnce)
	for i, k := range c.unlike {
		if k.sure {
			continue
		}
		work.Go(func() (err error) {
			equal[i], err = k.byObjects(wctx, c.to)
			if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, objectstore.ErrNoBucket) { // went away meanwhile: it differs
				err = nil
			}
			return err
		})
	}
	err := work.Wait()
	for i, k := range c.unlike {
		if equal[i] {
			continue
		}
		if c.differ++; c.differ == 1 {
			c.first = k
		}
	}
	c.unlike = c.unlike[:0]
	return err
}

// got says what was found, after settle.
func (c *comparing) got(things string) string {
	if c.differ == 0 {
		return fmt.Sprintf("%d %s", c.counted, things)
	}
	return fmt.Sprintf("%d of %d differ, the first: %s %s", c.differ, c.counted, c.to.URL(c.first.key), c.first.difference)
}

// covering counts what lies under changes that was not planned on.
type covering struct {
	changes *perform.Changes
	found   []perform.Buried // not sifted
	n       int
	first   []perform.Buried // one at most
	err     error            // of sifting
}

func (c *covering) add(ctx context.Context, b perform.Buried) {
	if c.found = append(c.found, b); len(c.found) == settledTogether {
		c.sift(ctx)
	}
}

// sift ends the count, or goes on with it.
func (c *covering) sift(ctx context.Context) {
	if c.err != nil {
		return
	}
	left, err := c.changes.Sift(ctx, c.found)
	c.found, c.err = c.found[:0], err
	c.n += len(left)
	c.first = append(c.first, left[:min(len(left), 1-len(c.first))]...)
}
