package storage

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore/compare"
	"breakwater/internal/objectstore/listing"
)

// halfway is how far the comparison of a bucket is, for an attempt after this one.
type halfway struct {
	Done  map[string]*compare.Drift `json:"done,omitempty"` // scopes
	Scope string                    `json:"scope"`          // the one that is being compared
	State compare.State             `json:"state"`
}

// halfway is what an attempt before this one has left. What cannot be read is as if there
// were nothing.
func (p *bucketPair) halfway() *halfway {
	far, err := action.Decode[halfway](p.c.Resume)
	if err != nil {
		far = halfway{}
	}
	if far.Done == nil {
		far.Done = map[string]*compare.Drift{}
	}
	return &far
}

// savedEach is after how many keys a comparison is saved.
const savedEach = 100_000

// compare lists both sides of every prefix of a scope, from where it is.
func (p *bucketPair) compare(ctx context.Context, sc scope, far *halfway) (*compare.Drift, error) {
	if d := far.Done[sc.name]; d != nil {
		return d, nil
	}
	from := listing.Below[compare.Sum](sc.prefixes...)
	if far.Scope == sc.name {
		from = far.State
	}
	far.Scope = sc.name
	saved := from.Keys
	d, err := compare.Comparison{
		Source: p.source.Bucket, Target: p.target.Bucket, KeepsDeleted: p.decl.DeleteMarkers == estate.Keep,
		Retention: p.decl.Retention.Std(), Now: time.Now(),
		Progress: func(s compare.State) {
			p.c.Progress(s.Keys, 0, fmt.Sprintf("keys of %s compared, %d ranges are left", sc.name, len(s.Left)))
			if p.c.Save != nil && s.Keys-saved >= savedEach {
				saved, far.State = s.Keys, s
				p.c.Save(far)
			}
		},
	}.From(ctx, from)
	if err == nil {
		far.Done[sc.name] = d
	}
	return d, err
}
