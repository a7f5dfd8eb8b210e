package storage

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
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

// planned are the lines of a plan as its data has them: few are there, as package rewind
// encodes them, many in parts of their own.
type planned struct {
	Lines []byte `json:"lines,omitempty"`
	// Parts is how many parts the lines have; zero where they are here. A worker that
	// knows no parts refuses a plan that says so.
	Parts int `json:"parts,omitempty"`
}

// worded is a plan as people read it.
type worded[Plan any] struct {
	Plan Plan     `json:"plan"`
	Keys []string `json:"keys,omitempty"` // its lines in words
}

// read gives the lines of an approved plan.
func (p planned) read(r action.Request) (perform.Lines, error) {
	if p.Parts != len(r.Plan.Parts) {
		return nil, fmt.Errorf("%w: the plan's lines have %s, and it names %d; verify the evidence of this run", action.ErrRefused, plural.Of(p.Parts, "part"), len(r.Plan.Parts))
	}
	if p.Parts == 0 {
		lines, err := rewind.Decode(p.Lines)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", action.ErrRefused, err)
		}
		return perform.Whole(lines), nil
	}
	var all perform.Lines
	for n, digest := range r.Plan.Parts {
		all = append(all, func(ctx context.Context) ([]rewind.Line, error) {
			raw, err := r.Parts.Get(ctx, digest)
			if err != nil {
				return nil, err
			}
			lines, err := rewind.Decode(raw)
			if err != nil {
				return nil, fmt.Errorf("%w: part %d of %d of the plan: %w", action.ErrRefused, n+1, p.Parts, err)
			}
			return lines, nil
		})
	}
	return all, nil
}

// planning takes the lines of a plan in the order of their keys, and holds no more than a
// part of them. What people see of them is counted beside.
type planning struct {
	keep  action.Parts
	size  int // how many lines a part has
	part  []rewind.Line
	parts []string // the digests of those that are kept

	totals  rewind.Totals
	changes int64         // lines that change something
	first   []rewind.Line // of them
	all     hash.Hash     // of them, as they are encoded part by part
}

func (s room) planning(r action.Request) *planning {
	return &planning{keep: r.Parts, size: s.partLines, all: sha256.New()}
}

// put takes some lines.
func (p *planning) put(ctx context.Context, lines []rewind.Line) error {
	for _, l := range lines {
		if len(p.part) == p.size {
			if err := p.cut(ctx); err != nil {
				return err
			}
		}
		p.part = append(p.part, l)
		if p.totals.Add(l); l.Do == rewind.Keep {
			continue
		}
		if p.changes++; len(p.first) < shownLines {
			p.first = append(p.first, l)
		}
	}
	return nil
}

// cut ends a part, and keeps it.
func (p *planning) cut(ctx context.Context) error {
	digest, err := p.keep.Put(ctx, p.encoded())
	if err != nil {
		return err
	}
	p.parts = append(p.parts, digest)
	p.part = p.part[:0]
	return nil
}

// encoded is the part.
func (p *planning) encoded() []byte {
	raw := rewind.Encode(p.part)
	if changing := changing(p.part); len(changing) < len(p.part) {
		p.all.Write(rewind.Encode(changing))
	} else {
		p.all.Write(raw)
	}
	return raw
}

// end gives the lines for the plan's data, and the digests of their parts for the plan.
func (p *planning) end(ctx context.Context) (planned, []string, error) {
	if len(p.parts) == 0 {
		return planned{Lines: p.encoded()}, nil, nil
	}
	err := p.cut(ctx)
	return planned{Parts: len(p.parts)}, p.parts, err
}

// describe is a plan of lines as people read it, after [planning.end]: counts, the first
// of them, the digest of all, and what they cost. No changes, no effects. The summary
// counts only.
func (p *planning) describe(on string, to objectstore.Bucket, pages int64) action.Change {
	t := p.totals
	ch := action.Change{Summary: fmt.Sprintf("%d copied over (%s), %d undeleted by removing %s, %d get a delete marker", t.Copies, plural.Of(t.Bytes, "byte"), t.Unmarks, plural.Of(t.Markers, "delete marker"), t.Marks)}
	if p.changes == 0 {
		return ch
	}
	requests := t.Requests(objectstore.DeletionsAtMost)
	ch.Estimate = time.Duration(pages)*2*listingOfPage + time.Duration(requests)*perRequest/perform.AtOnce +
		time.Duration(t.Bytes/bytesPerSec)*time.Second
	ch.Effects = append(ch.Effects,
		action.EffectLine{On: on, Do: fmt.Sprintf("change %s", plural.Of(p.changes, "key")), To: fmt.Sprintf("all of them: sha256:%x", p.all.Sum(nil))},
		action.EffectLine{On: on, Do: fmt.Sprintf("ask the store at least %d times", requests+2*pages),
			To: fmt.Sprintf("%s, %s, %s, %s twice; %s more are stored until later versions expire",
				plural.Of(t.Copies, "copy"), plural.Of(t.Described, "description"), plural.Of(requests-t.Copies-t.Described, "bulk deletion"), plural.Of(pages, "listed page"), plural.Of(t.Bytes, "byte"))},
	)
	if t.Unmarks > 0 {
		ch.Accepts = append(ch.Accepts, action.Acceptance{ID: "remove-delete-markers", Sentence: fmt.Sprintf(
			"%s on %s removed for good. The plan names each; when the objects were deleted is on record there alone afterwards.", plural.Of(t.Markers, "delete marker"), plural.Of(t.Unmarks, "object", "is", "are"))})
	}
	for _, l := range p.first {
		ch.Effects = append(ch.Effects, lake.LineEffect(to, l))
	}
	if more := p.changes - int64(len(p.first)); more > 0 {
		ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: fmt.Sprintf("and %s more", plural.Of(more, "key"))})
	}
	return ch
}

// planBack plans to take back what of an approved plan's changes was done; back says that
// they take something back themselves. buried counts what comes back that was written
// between that plan and its change.
func (s room) planBack(ctx context.Context, r action.Request, c *perform.Changes, back bool, on string) (data planned, ch action.Change, buried int64, err error) {
	lines := c.Lines.All(ctx)
	if !back {
		lines = c.Back(ctx, &buried)
	}
	// They bring earlier versions of the very keys that they change.
	undo := &perform.Changes{To: c.To, From: c.To, Prefixes: c.Prefixes, Entries: c.Entries}
	p := s.planning(r)
	for l, err := range undo.Look(ctx, lines) {
		if err == nil {
			err = p.put(ctx, []rewind.Line{l})
		}
		if err != nil {
			return data, ch, buried, stopped(err)
		}
	}
	data, parts, err := p.end(ctx)
	ch = p.describe(on, c.To, 1)
	ch.Parts = parts
	return data, ch, buried, err
}
