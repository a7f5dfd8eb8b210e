package perform

import (
	"context"
	"crypto/sha256"

	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"

	"golang.org/x/sync/errgroup"
)

// Buried is a version that somebody wrote between the look and the change of a line,
// and that lies under the change now.
type Buried struct {
	Line    rewind.Line
	Version rewind.Entry
}

// Buried lists once, and finds what lies under the changes that was not planned on.
func (c *Changes) Buried(ctx context.Context) ([]Buried, error) {
	var all []Buried
	i := 0
	var heads []rewind.Entry
	end := func() {
		if len(heads) == 0 {
			return
		}
		if e, ok := c.Lines[i].Buried(heads); ok {
			all = append(all, Buried{c.Lines[i], e})
		}
		heads = nil
	}
	for e, err := range Entries(ctx, c.To, c.Prefixes...) {
		if err != nil {
			return nil, err
		}
		if len(heads) > 0 && heads[0].Key != e.Key {
			end()
		}
		for i < len(c.Lines) && c.Lines[i].Key < e.Key {
			i++
		}
		if i < len(c.Lines) && c.Lines[i].Key == e.Key && len(heads) < rewind.Heads {
			heads = append(heads, e)
		}
	}
	end()
	return c.Sift(ctx, all)
}

// Sift leaves out what holds what the line brought: a copy whose ETag is not the
// content's may lie there twice (see [objectstore.Copier]), and who wrote the very same
// content lost nothing.
func (c *Changes) Sift(ctx context.Context, all []Buried) ([]Buried, error) {
	ours := make([]bool, len(all))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(AtOnce)
	for i, b := range all {
		then := b.Line.Then
		if b.Line.Do != rewind.Copy || b.Version.Marker || b.Version.Size != then.Size {
			continue
		}
		work.Go(func() (err error) {
			if ours[i], err = c.isCopyOf(wctx, b.Line.Key, b.Version.Version, c.From, c.fromKey(b.Line.Key), then); err != nil || ours[i] {
				return err
			}
			ours[i], err = c.sameContent(wctx, b)
			return err
		})
	}
	err := work.Wait()
	var left []Buried
	for i, b := range all {
		if !ours[i] {
			left = append(left, b)
		}
	}
	return left, err
}

// readAtMost is how many bytes two versions may have that are read to be compared.
const readAtMost = 64 << 20

// sameContent reads two versions of one size.
func (c *Changes) sameContent(ctx context.Context, b Buried) (bool, error) {
	if b.Version.Size > readAtMost {
		return false, nil
	}
	var sums [2][sha256.Size]byte
	for i, v := range []struct {
		from    objectstore.Bucket
		key, id string
	}{{c.To, b.Line.Key, b.Version.ID}, {c.From, c.fromKey(b.Line.Key), b.Line.Then.ID}} {
		body, _, err := v.from.GetVersion(ctx, v.key, v.id)
		if gone(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		sums[i] = sha256.Sum256(body)
	}
	return sums[0] == sums[1], nil
}

// Back gives the lines that take these back: to what lies under each change now, which
// is what the plan saw, or what came between. buried counts the latter.
func (c *Changes) Back(ctx context.Context) (back []rewind.Line, buried int, err error) {
	under, err := c.Buried(ctx)
	if err != nil {
		return nil, 0, err
	}
	i := 0
	for _, l := range c.Lines {
		if l.Do == rewind.Keep {
			continue
		}
		if i < len(under) && under[i].Line.Key == l.Key {
			l.Now = under[i].Version.Version
			i++
		}
		back = append(back, l.Back())
	}
	return back, len(under), nil
}
