package perform

import (
	"context"
	"crypto/sha256"
	"iter"

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

// lying is a line, and what lies under its change that was not planned on.
type lying struct {
	line   rewind.Line
	under  rewind.Entry
	buried bool
}

// Buried lists once, and yields what lies under the changes that was not planned on. It
// ends after the first error.
func (c *Changes) Buried(ctx context.Context) iter.Seq2[Buried, error] {
	return func(yield func(Buried, error) bool) {
		for l, err := range c.lying(ctx) {
			if (err != nil || l.buried) && !yield(Buried{l.line, l.under}, err) {
				return
			}
		}
	}
}

// lying is Buried, and yields every line.
func (c *Changes) lying(ctx context.Context) iter.Seq2[lying, error] {
	return func(yield func(lying, error) bool) {
		var batch []lying
		sifted := func() bool {
			var all []Buried
			for _, l := range batch {
				if l.buried {
					all = append(all, Buried{l.line, l.under})
				}
			}
			left, err := c.Sift(ctx, all)
			if err != nil {
				yield(lying{}, err)
				return false
			}
			for _, l := range batch {
				if l.buried = len(left) > 0 && left[0].Line.Key == l.line.Key; l.buried {
					left = left[1:]
				}
				if !yield(l, nil) {
					return false
				}
			}
			batch = batch[:0]
			return true
		}
		for l, err := range c.headed(ctx) {
			if err != nil {
				yield(lying{}, err)
				return
			}
			if batch = append(batch, l); len(batch) == atATime && !sifted() {
				return
			}
		}
		sifted()
	}
}

// headed puts a listing beside the lines, and yields each line with what its key's
// newest entries say.
func (c *Changes) headed(ctx context.Context) iter.Seq2[lying, error] {
	return func(yield func(lying, error) bool) {
		at := NewCursor(c.Lines.All(ctx))
		defer at.Stop()
		var heads []rewind.Entry // of the line it stands at
		pass := func() bool {
			l := lying{line: at.Line}
			if len(heads) > 0 {
				l.under, l.buried = l.line.Buried(heads)
			}
			heads = heads[:0]
			at.Next()
			return yield(l, nil)
		}
		for e, err := range Entries(ctx, c.To, c.Prefixes...) {
			for err == nil && at.Below(e.Key) {
				if !pass() {
					return
				}
			}
			if err == nil {
				err = at.Err
			}
			if err != nil {
				yield(lying{}, err)
				return
			}
			if at.At(e.Key) && len(heads) < rewind.Heads {
				heads = append(heads, e)
			}
		}
		for at.There {
			if !pass() {
				return
			}
		}
		if at.Err != nil {
			yield(lying{}, at.Err)
		}
	}
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

// Back yields the lines that take these back: to what lies under each change now, which
// is what the plan saw, or what came between. It counts the latter in buried.
func (c *Changes) Back(ctx context.Context, buried *int64) iter.Seq2[rewind.Line, error] {
	return func(yield func(rewind.Line, error) bool) {
		for l, err := range c.lying(ctx) {
			if err != nil {
				yield(rewind.Line{}, err)
				return
			}
			if l.line.Do == rewind.Keep {
				continue
			}
			if l.buried {
				l.line.Now = l.under.Version
				*buried++
			}
			if !yield(l.line.Back(), nil) {
				return
			}
		}
	}
}
