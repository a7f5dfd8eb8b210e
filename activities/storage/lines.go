package storage

import (
	"crypto/sha256"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
)

// shownLines is how many single keys a plan shows. Its data has all of them, and
// its digest covers all.
const shownLines = 20

// What changes are expected to take; an estimate is no part of a plan's digest.
const (
	perRequest    = 30 * time.Millisecond
	bytesPerSec   = 200 << 20
	listingOfPage = 100 * time.Millisecond
)

// describeLines is a plan of lines as people read it: counts, the first of them,
// the digest of all, and what they cost. No lines, no effects. The summary counts
// only.
func describeLines(on string, to objectstore.Bucket, lines []rewind.Line, pages int64) action.Change {
	var t rewind.Totals
	for _, l := range lines {
		t.Add(l)
	}
	ch := action.Change{Summary: fmt.Sprintf("%d copied over (%d bytes), %d undeleted by removing %d delete markers, %d get a delete marker", t.Copies, t.Bytes, t.Unmarks, t.Markers, t.Marks)}
	if len(lines) == 0 {
		return ch
	}
	requests := t.Requests(objectstore.DeletionsAtMost)
	ch.Estimate = time.Duration(pages)*2*listingOfPage + time.Duration(requests)*perRequest/perform.AtOnce +
		time.Duration(t.Bytes/bytesPerSec)*time.Second
	ch.Effects = append(ch.Effects,
		action.EffectLine{On: on, Do: fmt.Sprintf("change %d keys", len(lines)), To: fmt.Sprintf("all of them: sha256:%x", sha256.Sum256(rewind.Encode(lines)))},
		action.EffectLine{On: on, Do: fmt.Sprintf("ask the store at least %d times", requests+2*pages),
			To: fmt.Sprintf("%d copies, %d descriptions, %d bulk deletions, %d listed pages twice; %d bytes more are stored until later versions expire",
				t.Copies, t.Described, requests-t.Copies-t.Described, pages, t.Bytes)},
	)
	if t.Unmarks > 0 {
		ch.Accepts = append(ch.Accepts, action.Acceptance{ID: "remove-delete-markers", Sentence: fmt.Sprintf(
			"%d delete markers on %d objects are removed for good. The plan names each; when the objects were deleted is on record there alone afterwards.", t.Markers, t.Unmarks)})
	}
	for i, l := range lines {
		if i == shownLines {
			ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: fmt.Sprintf("and %d keys more", len(lines)-i)})
			break
		}
		ch.Effects = append(ch.Effects, lineEffect(to, l))
	}
	return ch
}

func lineEffect(to objectstore.Bucket, l rewind.Line) action.EffectLine {
	e := action.EffectLine{On: to.URL(l.Key), From: perform.OrNone(l.Now), To: perform.OrNone(l.Then)}
	switch l.Do {
	case rewind.Copy:
		e.Do = "put an earlier version over it"
	case rewind.Unmark:
		e.Do = fmt.Sprintf("remove %d delete markers", len(l.Markers))
	case rewind.Mark:
		e.Do, e.To = "add a delete marker", "nothing"
	}
	return e
}
