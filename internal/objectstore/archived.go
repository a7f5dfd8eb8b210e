package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sync/errgroup"
)

// askedAtOnce is how many objects are asked side by side whether they lie in an archive.
const askedAtOnce = 32

// Archived are those of listed objects that must be restored from an archive before
// anybody reads them, in the order of the list. It asks each whose class [MayArchive], and
// no other; one that is gone meanwhile is not among them. An empty version is the current
// one.
func (b Bucket) Archived(ctx context.Context, listed []Object) ([]Object, error) {
	is := make([]bool, len(listed))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(askedAtOnce)
	for i, o := range listed {
		if !MayArchive(o.StorageClass) {
			continue
		}
		work.Go(func() error {
			now, err := b.HeadVersion(wctx, o.Key, o.VersionID)
			if errors.Is(err, fs.ErrNotExist) && Answered(err) {
				return nil
			}
			is[i] = now.Archived
			return err
		})
	}
	err := work.Wait()
	var all []Object
	for i, o := range listed {
		if is[i] {
			all = append(all, o)
		}
	}
	return all, err
}

// Restoring says of objects that lie in an archive which they are and what to do first,
// for people.
func (b Bucket) Restoring(archived []Object) string {
	if len(archived) == 0 {
		return "nothing lies in an archive"
	}
	first := archived[0]
	text := b.URL(first.Key)
	if first.VersionID != "" && first.VersionID != "null" {
		text = "version " + first.VersionID + " of " + text
	}
	if others := len(archived) - 1; others > 0 {
		text += fmt.Sprintf(" and others of what is needed (%d) lie in an archive: restore them from there first", others)
	} else {
		text += " lies in an archive: restore it from there first"
	}
	return text + " (aws s3api restore-object), and wait until the store says that it is done"
}
