// Package runbooktest gives tests a catalogue with the names and shapes of the
// real actions and an estate to run on, so that the language is tested without
// any outside system.
package runbooktest

import (
	"context"
	"encoding/json"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"
)

// none is the type of an action without parameters.
type none struct{}

// preflight is the type of estate.preflight.
type preflight struct {
	Gates []string `json:"gates,omitempty" doc:"roles that must be able to open a gate"`
}

// expire is the type of backup.expire.
type expire struct {
	Keep int `json:"keep,omitempty"`
}

// restore is the type of table.restore.
type restore struct {
	Manifest string     `json:"manifest,omitempty" doc:"the backup"`
	At       *time.Time `json:"at,omitempty" doc:"the newest one until then"`
	Prefix   string     `json:"prefix,omitempty" doc:"where to, if not over the table"`
	LeaveOut string     `json:"leave_out,omitempty" doc:"what stays as it is"`
}

// flag is the type of an action with a parameter of every kind.
type flag struct {
	Flag  string          `json:"flag" doc:"the flag's name"`
	Value bool            `json:"value" doc:"what to set it to"`
	Keep  int64           `json:"keep,omitempty" doc:"how many old values to keep"`
	Only  []any           `json:"only,omitempty" doc:"whom it is for"`
	Wait  estate.Duration `json:"wait,omitempty" doc:"how long to wait for readers"`
}

// barring has the parameters of fences.
type barring struct {
	Region string `json:"region,omitempty" doc:"where"`
}

// point has the parameters of group.recovery-point.
type point struct {
	AssumeUnchanged string `json:"assume_unchanged,omitempty" doc:"what nobody writes to"`
	LeaveOut        string `json:"leave_out,omitempty" doc:"what does not come back"`
}

// rewind has the parameters of storage.rewind that runbooks give.
type rewind struct {
	Unknown string    `json:"unknown,omitempty" doc:"keep or hide"`
	At      time.Time `json:"at" doc:"the moment"`
	Prefix  string    `json:"prefix,omitempty" doc:"the keys"`
	Region  string    `json:"region,omitempty" doc:"where"`
}

// rollback has the parameters of table.rollback.
type rollback struct {
	ToVersion *int64     `json:"to_version,omitempty" doc:"the version"`
	ToTime    *time.Time `json:"to_time,omitempty" doc:"the moment"`
	Region    string     `json:"region,omitempty" doc:"where"`
}

// Catalogue has every action of the shipped runbooks, with phases that do
// nothing, and routing.flag for the sake of its parameters.
func Catalogue() *action.Catalogue {
	c := action.NewCatalogue()
	check := func(name string, over estate.Kind, needs ...string) { add[none](c, name, over, action.ReadOnly, needs) }
	records := func(name string, over estate.Kind, needs ...string) {
		add[none](c, name, over, action.RecordsOnly, needs)
	}
	mutates := func(name string, over estate.Kind, needs ...string) { add[none](c, name, over, action.Mutates, needs) }

	check("region.probe", estate.Nothing)
	add[preflight](c, "estate.preflight", estate.Nothing, action.ReadOnly, nil)
	check("secrets.readable", estate.Nothing)
	add[barring](c, "storage.fence", estate.BucketKind, action.Mutates, nil, estate.NeedsWriters())
	add[barring](c, "storage.unfence", estate.BucketKind, action.Mutates, []string{"storage.fence"})
	add[barring](c, "storage.stop-replication", estate.BucketKind, action.Mutates, nil)
	check("storage.replication", estate.BucketKind)
	check("storage.standby-ready", estate.BucketKind)
	check("storage.late-replicas", estate.BucketKind)
	mutates("kafka.stop-mirror", estate.Nothing)
	records("kafka.recovery-point", estate.TopicKind, "kafka.stop-mirror")
	add[point](c, "group.recovery-point", estate.GroupKind, action.RecordsOnly, []string{"storage.stop-replication", "kafka.stop-mirror"})
	mutates("table.promote", estate.TableKind, "group.recovery-point")
	check("table.history", estate.TableKind)
	mutates("kafka.promote", estate.ConsumerGroupKind, "group.recovery-point")
	mutates("routing.secret", estate.GroupKind, "table.promote")
	mutates("pipelines.pause", estate.Nothing)
	mutates("pipelines.unpause", estate.Nothing, "pipelines.pause")
	mutates("pipelines.resume", estate.GroupKind, "pipelines.pause")
	check("pipelines.canary", estate.GroupKind)
	mutates("access.read-only", estate.GroupKind, "table.promote")
	mutates("access.read-write", estate.GroupKind, "access.read-only")
	check("access.golden-queries", estate.TableKind, "table.promote")
	check("obligations.assigned", estate.Nothing)
	records("table.witness", estate.TableKind)
	records("kafka.witness", estate.TopicKind)
	records("backup.take", estate.GroupKind)
	check("backup.walled", estate.Nothing)
	records("backup.restorable", estate.GroupKind)
	add[expire](c, "backup.expire", estate.GroupKind, action.Mutates, nil)
	add[rollback](c, "table.rollback", estate.TableKind, action.Mutates, nil)
	add[rewind](c, "storage.rewind", estate.BucketKind, action.Mutates, nil)
	add[restore](c, "table.restore", estate.TableKind, action.Mutates, nil)
	add[flag](c, "routing.flag", estate.Nothing, action.Mutates, nil)
	return c
}

func add[P any](c *action.Catalogue, name string, over estate.Kind, effect action.Effect, needs []string, requires ...estate.Requirement) {
	a := action.Action[P]{
		Name: name, Doc: "Stands in for " + name + ".", Over: over, Needs: needs, Requires: requires, Effect: effect, Drill: action.DrillSkipped,
		RedWhen: []action.Red{{Fault: "test.fault", Want: verdict.Fail}},
		Verify:  func(context.Context, action.Call[P]) ([]action.Observation, error) { return nil, nil },
	}
	if effect != action.ReadOnly {
		a.Plan = func(context.Context, action.Call[P]) (action.Change, error) { return action.Change{}, nil }
		a.Apply = func(context.Context, action.Call[P]) (action.Outcome, error) { return action.Outcome{}, nil }
	}
	action.Add(c, a)
}

// Estate has two regions, two tiers and two groups, and the roles of the shipped
// runbooks. It is for linting and compiling: it names no credential.
func Estate() *estate.Estate {
	members := func(names ...string) (ms []estate.Member) {
		for _, n := range names {
			ms = append(ms, estate.Member{Name: n, Contact: n + "@example.org"})
		}
		return ms
	}
	return &estate.Estate{
		Estate: "example",
		Regions: []estate.Region{
			{Region: "us-east-1", Role: estate.Primary, Storage: estate.Storage{Writers: []estate.Principal{{Name: "spark"}}}},
			{Region: "us-west-2", Role: estate.Standby},
			{Region: "eu-west-1", Role: estate.Standby},
		},
		Tiers: []estate.Tier{
			{Tier: 1, RTO: estate.Duration(15 * time.Minute), RPO: estate.Duration(time.Minute)},
			{Tier: 2, RTO: estate.Duration(4 * time.Hour), RPO: estate.Duration(15 * time.Minute)},
		},
		Roles: []estate.Role{
			{Role: "incident-commander", Method: estate.Signed, Members: members("ana", "ben")},
			{Role: "data-owner", Method: estate.Signed, Members: members("cleo", "dora")},
			{Role: "data-platform", Method: estate.Claimed, Members: members("emil")},
			{Role: "data-platform-lead", Method: estate.Claimed, Members: members("fay")},
		},
		Buckets: []estate.Bucket{{Bucket: "lake"}, {Bucket: "raw"}},
		Groups: []estate.Group{
			{
				Group: "payments", Tier: 1, Owner: "data-owner",
				Tables:         []estate.Table{{Table: "payments"}, {Table: "refunds"}},
				Topics:         []estate.Topic{{Topic: "payments.events"}},
				ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "ledger-writer", Topics: []string{"payments.events"}}},
			},
			{
				Group: "clickstream", Tier: 2, Owner: "data-platform",
				Tables: []estate.Table{{Table: "clicks"}},
				Topics: []estate.Topic{{Topic: "clicks.events"}},
			},
		},
	}
}

// Input is a start that the estate accepts.
func Input() json.RawMessage {
	return json.RawMessage(`{"estate":"example","source":"us-east-1","target":"us-west-2"}`)
}
