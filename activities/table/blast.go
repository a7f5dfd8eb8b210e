package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lineage"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/record"
	"breakwater/internal/verdict"
)

// blastWith is what people know of a fault of which this run has not found the last good
// version itself, and what they decide about what it reached.
type blastWith struct {
	Bad        string     `json:"bad,omitempty" doc:"Tables and topics of the group that hold the fault beside the tables of which this run found the last good version, separated by commas, a name that both have as table:NAME or topic:NAME. All tables of the group where this is empty, bad_since is given, and the run found none."`
	BadVersion *int64     `json:"bad_version,omitempty" doc:"The first bad version, where bad names one table."`
	BadSince   *time.Time `json:"bad_since,omitempty" doc:"Since when what bad names holds the fault. Of a table, the first version committed then or later is taken to be bad."`
	Decide     string     `json:"decide,omitempty" doc:"What becomes of what the fault reached, where that is not to be as proposed: KIND:NAME=DECISION or KIND:NAME@PLACE=DECISION, separated by commas, a decision being roll back, rebuild or leave."`
	Region     string     `json:"region,omitempty" doc:"The region whose copies of the tables hold the fault; the run's target, else the primary, when empty."`
}

func (s room) blastActions(c *action.Catalogue) {
	action.Add(c, action.Action[blastWith]{
		Name: "table.blast-radius", Over: estate.GroupKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Doc: "Find what read the bad versions of a group's tables, or was made of them: tables, topics, pipelines and consumer groups by the estate's lineage, by the commits of every table, by OpenLineage events " +
			"and by the brokers' own groups, also those that the estate does not know; and which copies and backups hold the fault. A decision for each is shown before anybody approves. What could not be read is unknown, by name.",
		Requires: []estate.Requirement{estate.NeedsLineage()},
		Timing:   action.Timing{Timeout: time.Hour, Estimate: 30 * time.Second},
		Things:   mayHoldAFault,
		Plan:     s.planBlast, Apply: applyBlast, Verify: s.verifyBlast,
		Show:  action.Shows[lineage.Radius, action.None](),
		Rules: []action.Rule{{Says: "it stands in the outcome, in the run's ledger"}},
		Permits: permit.Join(
			permit.Reads(permit.Source, permit.Tables, permit.Events), permit.Reads(permit.Target, permit.Tables, permit.Events),
			permit.ReadsRecords(permit.Source, permit.Topics), permit.ReadsRecords(permit.Target, permit.Topics),
			permit.SeesGroups(permit.Source), permit.SeesGroups(permit.Target),
			permit.Restores(),
		),
		RedWhen: []action.Red{
			{Fault: "kafka.unknown-reader", Want: verdict.Fail},
			{Fault: "lineage.unknown-reader", Want: verdict.Fail},
			{Fault: "lineage.event-broken", Want: verdict.Unknown},
			{Fault: "kafka.target-unreachable", Want: verdict.Unknown},
			{Fault: "backup.reading-revoked", Want: verdict.Unknown},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// mayHoldAFault are the tables and topics of a group.
func mayHoldAFault(r action.Request) (names []string, none string) {
	g, ok := r.Estate.Group(r.Item.Name)
	if !ok {
		return []string{r.Item.Name}, ""
	}
	return g.Datasets(), fmt.Sprintf("group %s has no table and no topic, so nothing of it can hold a fault", g.Group)
}

func (s room) planBlast(ctx context.Context, c action.Call[blastWith]) (action.Change, error) {
	t, err := s.trace(ctx, c, assumed)
	if err != nil {
		return action.Change{}, fmt.Errorf("find what the fault in group %s reached: %w", c.Item.Name, err)
	}
	r := t.radius
	ch := action.Change{Summary: reachWords(r), Accepts: blastAccepts(r)}
	if ch.Data, err = action.Encode(r); err != nil {
		return ch, err
	}
	if was, err := record.BlastRadius.Encoded(ctx, c.Records, c.Item.Name); err != nil || bytes.Equal(was, ch.Data) {
		return ch, err
	}
	ch.Effects = blastEffects(r)
	return ch, nil
}

// applyBlast records what was planned: the ledger keeps the outcome.
func applyBlast(ctx context.Context, c action.Call[blastWith]) (action.Outcome, error) {
	r, err := action.Decode[lineage.Radius](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	o := action.Outcome{Summary: reachWords(r)}
	if o.Data, err = action.Encode(r); err != nil {
		return o, err
	}
	was, err := record.BlastRadius.Encoded(ctx, c.Records, c.Item.Name)
	if err == nil && !bytes.Equal(was, o.Data) {
		o.Mutations = int64(len(blastEffects(r)))
	}
	return o, err
}

// verifyBlast looks at all traces anew: whoever is in them must be in the record, and
// what is bad must still be there for people to look at.
func (s room) verifyBlast(ctx context.Context, c action.Call[blastWith]) ([]action.Observation, error) {
	const what = "what the fault reached is recorded"
	r, _, err := record.BlastRadius.Read(ctx, c.Records, c.Item.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return []action.Observation{action.Saw(what, "a record of this run", "none", false)}, nil
	}
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, "a record of this run", err, "")}, nil
	}
	t, err := s.trace(ctx, c, shown)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, t.region, what, plural.Of(len(r.Items), "item"), err, "")}, nil
	}
	obs := t.badStateStays()
	has := map[string]bool{}
	for _, i := range r.Items {
		has[i.ID()] = true
	}
	var missing []string
	for _, i := range t.radius.Items {
		if !has[i.ID()] {
			missing = append(missing, i.String())
		}
	}
	got := fmt.Sprintf("the %s that the traces show", plural.Of(len(t.radius.Items), "item"))
	if len(missing) > 0 {
		got = fmt.Sprintf("not %s: plan again, and decide about it", plural.Few(missing))
	}
	obs = append(obs, action.Saw(what, "all that the traces show", got, len(missing) == 0))
	for _, read := range t.radius.Read {
		obs = append(obs, action.Saw("traces can be read: "+read.Name, "they can", "they can", true))
	}
	for _, m := range t.missed {
		obs = append(obs, action.Unknown(c.Run, m.region, "traces can be read: "+m.Name, "they can", m.err, "see who is in them: "+m.Name))
	}
	return obs, nil
}
