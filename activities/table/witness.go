package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

func (s room) witnessActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "table.witness", Over: estate.TableKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsWitness()},
		Doc:      "Journal at the target what a reader sees of a table at the source: its head, and the rows and hash of a head not journalled yet, of which it reads the files that no head before it had.",
		Timing:   action.Timing{Timeout: time.Hour, Estimate: 10 * time.Second},
		Rules: []action.Rule{
			{Do: "journal rows", Says: "the record of the version is written where there is none", Sends: []string{"put {on}"}},
			{Do: "keep what new files came to", Says: "what they came to is written, and once more where the parts became many", Sends: []string{"put {on}*"}},
			{Do: "note the head", Says: "the table's file of heads is written, once where the version is new and again with its rows", Sends: []string{"put {on}"}},
		},
		Plan: s.planWitness, Apply: s.applyWitness, Verify: s.verifyWitness,
		Permits: permit.Join(permit.Reads(permit.Source, permit.Tables), permit.Adds(permit.Target, permit.Journal)),
		RedWhen: []action.Red{
			{Fault: "witness.record-changed", Want: verdict.Unknown},
			{Fault: "witness.record-gone", Want: verdict.Fail},
			{Fault: "witness.heads-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
			{Fault: "region.source-unreachable", Want: verdict.Unknown},
		},
	})
}

// headSeen is the head of a table at the source, and what the journal has of it.
type headSeen struct {
	site    lake.Table
	journal witness.Journal
	log     table.Table
	at      time.Time // before the log was listed: whatever it does not show was committed later
	version int64
	known   bool // the version has a record
	noted   bool // this run noted it as the head
	// catalog says why its log alone does not say what was committed; empty if it does.
	catalog string
}

// unseen says that a head is not witnessed.
func (h headSeen) unseen() string {
	return fmt.Sprintf("%s is not witnessed: %s", h.site.Name, h.catalog)
}

func (s room) headSeen(ctx context.Context, c action.Call[action.None]) (headSeen, error) {
	var h headSeen
	var err error
	if h.site, err = s.lake.Table(ctx, c.Estate, c.Run.Source, c.Item.Name); err != nil {
		return h, err
	}
	if h.journal, err = s.lake.Keep(ctx, c.Estate, c.Run.Target); err != nil {
		return h, err
	}
	h.at = time.Now().UTC()
	if h.log, err = h.site.Open(ctx); err != nil {
		return h, err
	}
	h.version = h.log.Extent().Head
	// Who decides is looked for before a record is made: a head with one is not looked
	// through again.
	_, err = h.journal.Record(ctx, h.site.Name, h.version)
	switch {
	case err == nil:
		h.known, h.catalog = true, h.site.Catalogs()
	case !errors.Is(err, fs.ErrNotExist):
		return h, lake.Classed(err)
	default:
		h.catalog, err = h.site.Screen(ctx, h.log)
		if err != nil && !lake.LogBroken(err) { // of a broken log the head is noted all the same
			return h, err
		}
	}
	if h.catalog != "" {
		return h, nil
	}
	all, err := h.journal.Sightings(ctx, h.site.Name)
	for _, s := range all {
		h.noted = h.noted || s.Version == h.version && s.Run == c.Run.Name()
	}
	return h, lake.Classed(err)
}

func (s room) planWitness(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	h, err := s.headSeen(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	if h.catalog != "" {
		return action.Change{Summary: h.unseen()}, nil
	}
	ch := action.Change{Summary: fmt.Sprintf("%s is at version %d in %s", h.site.Name, h.version, c.Run.Source)}
	if !h.known {
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: h.journal.Bucket.URL(h.journal.RecordKey(h.site.Name, h.version)), Do: "journal rows and hash", To: fmt.Sprintf("version %d", h.version),
		}, action.EffectLine{
			On: h.journal.Bucket.URL(strings.TrimSuffix(h.journal.FilesKey(h.site.Name, 0), "0")), Do: "keep what new files came to, in parts, for the next head",
		})
	}
	if !h.noted {
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: h.journal.Bucket.URL(h.journal.HeadsKey(h.site.Name)), Do: "note the head", To: fmt.Sprintf("version %d", h.version),
		})
	}
	return ch, nil
}

// applyWitness journals the head as it is now, which may be past the planned one:
// the newest sighting is the one that bounds a loss. A head with a record is not
// read again. Called again in the same run with the same head, it changes nothing.
func (s room) applyWitness(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	h, err := s.headSeen(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	if h.catalog != "" {
		return action.Outcome{Summary: h.unseen()}, nil
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s was at version %d", h.site.Name, h.version)}
	seen := witness.Sighting{Version: h.version, Rows: recovery.Unknown, Last: h.at, Run: c.Run.Name()}
	var r witness.Record
	if h.known {
		r, err = h.journal.Record(ctx, h.site.Name, h.version)
	} else {
		r, err = s.readHead(ctx, c, h, seen, &out)
	}
	if err != nil {
		return out, err
	}
	seen.Rows, seen.Hash, seen.CommittedAt = r.Rows, r.Hash, r.CommittedAt
	if r.Hash == "" {
		out.Summary += ", " + lake.RowWords(r.Rows, r.Hash)
	}
	return out, s.see(ctx, c, h, seen, &out)
}

// readHead notes a head that has no record, and then makes one of its rows: those of a
// large table take long to read, and that it was there bounds a loss without them.
func (s room) readHead(ctx context.Context, c action.Call[action.None], h headSeen, seen witness.Sighting, out *action.Outcome) (witness.Record, error) {
	snap, unread := h.log.Snapshot(ctx, h.version)
	switch {
	case unread == nil:
		seen.Rows, seen.CommittedAt = snap.Rows(), snap.Version().Time
	case !lake.LogBroken(unread):
		return witness.Record{}, unread
	}
	if err := s.see(ctx, c, h, seen, out); err != nil {
		return witness.Record{}, err
	}
	if unread != nil {
		return witness.Record{}, unread
	}
	c.Progress(0, 1, fmt.Sprintf("reading version %d", h.version))
	r, read, err := lake.RecordKept(ctx, h.site, snap, h.journal, c.Guard)
	out.Mutations += read.Writes
	if err != nil {
		return r, err
	}
	if read.Words != "" {
		out.Summary += ", " + read.Words
	}
	for _, note := range read.Notes {
		out.Summary += "; " + note
	}
	r.SeenAt, r.Run = h.at, c.Run.Name()
	if err := c.Guard(ctx); err != nil {
		return r, err
	}
	written, err := h.journal.Put(ctx, r)
	if written {
		out.Mutations++
	}
	return r, err
}

// see notes the head.
func (s room) see(ctx context.Context, c action.Call[action.None], h headSeen, seen witness.Sighting, out *action.Outcome) error {
	if err := c.Guard(ctx); err != nil {
		return err
	}
	changed, err := h.journal.See(ctx, h.site.Name, seen)
	if changed {
		out.Mutations++
	}
	return err
}

// verifyWitness reads the journal back, and holds record and sighting against each other
// and against the source's log. The rows are not read a second time.
func (s room) verifyWitness(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	site, err := s.lake.Table(ctx, c.Estate, c.Run.Source, c.Item.Name)
	if err != nil {
		return nil, err
	}
	j, err := s.lake.Journal(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return nil, err
	}
	kept := site // the journal speaks of the source's table and lies at the target
	kept.Region = c.Run.Target
	const noted = "this run's sighting of the head is in the journal"
	l, opened := site.Open(ctx)
	all, err := j.Sightings(ctx, site.Name)
	if err != nil {
		return []action.Observation{kept.NotSeen(c.Run, noted, "a sighting", err)}, nil
	}
	var mine *witness.Sighting
	for i := range all {
		if all[i].Run == c.Run.Name() {
			mine = &all[i] // of several the newest version, which was seen last
		}
	}
	if mine == nil {
		why := site.Catalogs()
		if why == "" && opened == nil {
			why, _ = site.Screen(ctx, l) // what cannot be looked through says of nobody that he decides
		}
		if why != "" {
			return []action.Observation{site.About(action.Saw("the head is witnessed, where the log alone says what was committed", "a sighting, or a catalog", "not witnessed: "+why, true))}, nil
		}
		return []action.Observation{site.About(action.Saw(noted, "a sighting by "+c.Run.Name(), fmt.Sprintf("%s, none by it", plural.Of(len(all), "sighting")), false))}, nil
	}
	obs := []action.Observation{site.About(action.Saw(noted, "a sighting by "+c.Run.Name(), fmt.Sprintf("version %d at %s", mine.Version, mine.Last.Format(time.RFC3339)), true))}

	what := fmt.Sprintf("the journal has rows and hash of version %d", mine.Version)
	r, err := j.Record(ctx, site.Name, mine.Version)
	if err != nil {
		return append(obs, kept.NotSeen(c.Run, what, "a record", err)), nil
	}
	obs = append(obs, site.About(action.Saw(what, lake.RowWords(mine.Rows, mine.Hash)+", as the sighting says", lake.RowWords(r.Rows, r.Hash),
		r.Rows == mine.Rows && r.Hash == mine.Hash && (r.Hash == "" || len(r.Hash) == 64))))

	// The rows were read once. The log says whether it is still about the same version.
	what = fmt.Sprintf("the source's log has at version %d what the journal says", mine.Version)
	want := plural.Of(r.Rows, "row")
	if opened != nil {
		return append(obs, site.NotSeen(c.Run, what, want, opened)), nil
	}
	snap, err := l.Snapshot(ctx, r.Version)
	if err != nil {
		return append(obs, site.NotSeen(c.Run, what, want, err)), nil
	}
	got := plural.Of(snap.Rows(), "row")
	if snap.Rows() < 0 {
		got = "the version, whose rows its log does not count"
	}
	return append(obs, site.About(action.Saw(what, want, got, snap.Rows() < 0 || snap.Rows() == r.Rows))), nil
}
