package activities

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

func (s *Systems) witnessActions(c *action.Catalogue) {
	action.Add(c, action.Action[none]{
		Name: "table.witness", Over: estate.TableKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Doc:    "Journal at the target what a reader sees of a table at the source: its head, and the rows and hash of a head not journalled yet.",
		Timing: action.Timing{Timeout: time.Hour, Estimate: 10 * time.Second},
		Plan:   s.planWitness, Apply: s.applyWitness, Verify: s.verifyWitness,
		RedWhen: []action.Red{
			{Fault: "witness.record-changed", Want: verdict.Fail},
			{Fault: "witness.record-gone", Want: verdict.Fail},
			{Fault: "witness.heads-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
			{Fault: "region.source-unreachable", Want: verdict.Unknown},
		},
	})
}

// runName is how the journal and the quarantine name a run.
func runName(r action.Run) string { return r.Workflow + "/" + r.FirstRun }

// headSeen is the head of a table at the source, and what the journal has of it.
type headSeen struct {
	site    tableSite
	journal witness.Journal
	log     *delta.Log
	at      time.Time // before the log was listed: whatever it does not show was committed later
	version int64
	known   bool // the version has a record
	noted   bool // this run noted it as the head
}

func (s *Systems) headSeen(ctx context.Context, c action.Call[none]) (headSeen, error) {
	var h headSeen
	var err error
	if h.site, err = s.site(ctx, c.Estate, c.Run.Source, c.Item.Name); err != nil {
		return h, err
	}
	if h.journal, err = s.journal(ctx, c.Estate, c.Run.Target); err != nil {
		return h, err
	}
	h.at = time.Now().UTC()
	if h.log, err = h.site.open(ctx); err != nil {
		return h, err
	}
	h.version = h.log.Head()
	if _, err = h.journal.Record(ctx, h.site.name, h.version); err == nil {
		h.known = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	all, err := h.journal.Sightings(ctx, h.site.name)
	for _, s := range all {
		h.noted = h.noted || s.Version == h.version && s.Run == runName(c.Run)
	}
	return h, err
}

func (s *Systems) planWitness(ctx context.Context, c action.Call[none]) (action.Change, error) {
	h, err := s.headSeen(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	ch := action.Change{Summary: fmt.Sprintf("%s is at version %d in %s", h.site.name, h.version, c.Run.Source)}
	if !h.known {
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: h.journal.Bucket.URL(h.journal.RecordKey(h.site.name, h.version)), Do: "journal rows and hash", To: fmt.Sprintf("version %d", h.version),
		})
	}
	if !h.noted {
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: h.journal.Bucket.URL(h.journal.HeadsKey(h.site.name)), Do: "note the head", To: fmt.Sprintf("version %d", h.version),
		})
	}
	return ch, nil
}

// applyWitness journals the head as it is now, which may be past the planned one:
// the newest sighting is the one that bounds a loss. A head with a record is not
// read again. Called again in the same run with the same head, it changes nothing.
func (s *Systems) applyWitness(ctx context.Context, c action.Call[none]) (action.Outcome, error) {
	h, err := s.headSeen(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s was at version %d", h.site.name, h.version)}
	var r witness.Record
	if h.known {
		if r, err = h.journal.Record(ctx, h.site.name, h.version); err != nil {
			return out, err
		}
	} else {
		c.Progress(0, 1, fmt.Sprintf("reading version %d", h.version))
		if r, err = readVersion(ctx, h.site, h.log, h.version); err != nil {
			return out, err
		}
		r.SeenAt, r.Run = h.at, runName(c.Run)
		if err := c.Guard(ctx); err != nil {
			return out, err
		}
		written, err := h.journal.Put(ctx, r)
		if err != nil {
			return out, err
		}
		if written {
			out.Mutations++
		}
	}
	if err := c.Guard(ctx); err != nil {
		return out, err
	}
	changed, err := h.journal.See(ctx, h.site.name, witness.Sighting{
		Version: h.version, Rows: r.Rows, CommittedAt: r.CommittedAt, Last: h.at, Run: runName(c.Run),
	})
	if changed {
		out.Mutations++
	}
	return out, err
}

// readVersion reads all rows of a version.
func readVersion(ctx context.Context, t tableSite, l *delta.Log, version int64) (witness.Record, error) {
	snap, err := l.Snapshot(ctx, version)
	if err != nil {
		return witness.Record{}, err
	}
	d, err := scan.Sum(ctx, t.store, snap)
	return witness.Record{Table: t.name, Version: version, Rows: d.Rows, Hash: hex.EncodeToString(d.Sum[:]), CommittedAt: snap.Version.Time}, err
}

// verifyWitness reads the journal back and holds it against the source. The rows
// of a record that this run wrote are read a second time; of an older one, only
// the log is asked.
func (s *Systems) verifyWitness(ctx context.Context, c action.Call[none]) ([]action.Observation, error) {
	site, err := s.site(ctx, c.Estate, c.Run.Source, c.Item.Name)
	if err != nil {
		return nil, err
	}
	j, err := s.journal(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return nil, err
	}
	kept := site // the journal speaks of the source's table and lies at the target
	kept.region = c.Run.Target
	const noted = "this run's sighting of the head is in the journal"
	all, err := j.Sightings(ctx, site.name)
	if err != nil {
		return []action.Observation{kept.notSeen(c.Run, noted, "a sighting", err)}, nil
	}
	var mine *witness.Sighting
	for i := range all {
		if all[i].Run == runName(c.Run) {
			mine = &all[i] // of several the newest version, which was seen last
		}
	}
	if mine == nil {
		return []action.Observation{site.about(saw(noted, "a sighting by "+runName(c.Run), fmt.Sprintf("%d sightings, none by it", len(all)), false))}, nil
	}
	obs := []action.Observation{site.about(saw(noted, "a sighting by "+runName(c.Run), fmt.Sprintf("version %d at %s", mine.Version, mine.Last.Format(time.RFC3339)), true))}

	what := fmt.Sprintf("the journal has rows and hash of version %d", mine.Version)
	r, err := j.Record(ctx, site.name, mine.Version)
	if err != nil {
		return append(obs, kept.notSeen(c.Run, what, "a record", err)), nil
	}
	obs = append(obs, site.about(saw(what, fmt.Sprintf("%d rows, as the sighting says", mine.Rows), fmt.Sprintf("%d rows with hash %s", r.Rows, r.Hash), r.Rows == mine.Rows && len(r.Hash) == 64)))

	what = fmt.Sprintf("the source has at version %d what the journal says", mine.Version)
	want := fmt.Sprintf("%d rows with hash %s", r.Rows, r.Hash)
	l, err := site.open(ctx)
	if err != nil {
		return append(obs, site.notSeen(c.Run, what, want, err)), nil
	}
	if r.Run == runName(c.Run) {
		again, err := readVersion(ctx, site, l, r.Version)
		if err != nil {
			return append(obs, site.notSeen(c.Run, what, want, err)), nil
		}
		return append(obs, site.about(saw(what, want, fmt.Sprintf("%d rows with hash %s", again.Rows, again.Hash), again.Same(r)))), nil
	}
	snap, err := l.Snapshot(ctx, r.Version)
	if err != nil {
		return append(obs, site.notSeen(c.Run, what, want, err)), nil
	}
	return append(obs, site.about(saw(what, want, fmt.Sprintf("%d rows by its log; they were read when the record was written", snap.Rows()),
		snap.Rows() < 0 || snap.Rows() == r.Rows))), nil
}
