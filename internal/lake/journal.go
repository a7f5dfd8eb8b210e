package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/witness"
)

// Journal is the witness's journal as a region keeps it, to be read.
func (s Lake) Journal(ctx context.Context, e *estate.Estate, region string) (witness.Journal, error) {
	if e.Witness.Bucket == "" {
		return witness.Journal{}, fmt.Errorf("estate %s has no witness bucket: add witness to the estate file: %w", e.Estate, fs.ErrNotExist)
	}
	b, err := s.Bucket(ctx, e, region, e.Witness.Bucket)
	if err != nil {
		return witness.Journal{}, err
	}
	trusted, err := e.Ledger.Trusted(time.Now())
	return witness.Journal{Bucket: b, Prefix: strings.Trim(e.Witness.Prefix, "/"), Place: e.Estate + "/" + region, Trusted: trusted}, err
}

// Keep is the witness's journal as a region keeps it, to be read and written.
func (s Lake) Keep(ctx context.Context, e *estate.Estate, region string) (witness.Journal, error) {
	j, err := s.Journal(ctx, e, region)
	if err == nil {
		j.Signer, err = s.Signer(ctx, e)
	}
	return j, err
}

// sightings adds what the witness saw of the source. No witness is no evidence, and no
// reason to stop; nor is a journal that is signed by nobody who counts, of which people
// are told.
func (s Lake) sightings(ctx context.Context, c action.Call[action.None], t *TableEvidence) error {
	if c.Estate.Witness.Bucket == "" {
		return nil
	}
	j, err := s.Journal(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return err
	}
	all, err := j.Sightings(ctx, t.Name)
	if errors.Is(err, witness.ErrForged) {
		t.forged, err = err, nil
	}
	t.State.Heads = witness.Heads(all)
	return err
}

// Forged asks people to accept that what the witness saw of the group's tables is not used
// where no signer of the estate signed it.
func (ev *GroupEvidence) Forged() []action.Acceptance {
	var all []action.Acceptance
	for _, t := range ev.Tables {
		if t.forged != nil {
			all = append(all, AcceptForged("table", t.Name, t.forged))
		}
	}
	return all
}

// AcceptForged asks people to accept that what the witness saw of a table or a topic is
// not used, for the reason that err gives, which names object and key.
func AcceptForged(kind, name string, err error) action.Acceptance {
	return action.Acceptance{ID: "forged-journal " + kind + ":" + name, Sentence: fmt.Sprintf(
		"What the witness saw of %s %s is not used, and its loss is bounded as if nobody had watched: %v.", kind, name, err)}
}
