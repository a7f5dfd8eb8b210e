// Package backup takes, proves and expires backups.
package backup

import (
	"context"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/batch"
	"breakwater/internal/permit"
	"breakwater/internal/system"
	"breakwater/internal/table"
	"breakwater/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Batches(ctx context.Context, e *estate.Estate, reader objectstore.Store) (batch.Copier, error)
	Bucket(ctx context.Context, e *estate.Estate, region, logical string) (objectstore.Bucket, error)
	Depot(ctx context.Context, e *estate.Estate) (depot.Depot, error)
	Format(word string) (table.Format, error)
	Expirer(ctx context.Context, e *estate.Estate) (objectstore.Store, error)
	Intruder(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, who string) (objectstore.Store, error)
	Signer(ctx context.Context, e *estate.Estate) (ssh.Signer, error)
	StorageAs(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, who string) (objectstore.Store, error)
}

// room is what the actions of this room hang from.
type room struct {
	systems
	lake lake.Lake
}

func newRoom(s *system.Systems) room {
	return room{systems: s, lake: lake.New(s)}
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	r := newRoom(s)
	r.backupActions(c)
}

func (s room) backupActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "backup.take", Over: estate.GroupKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsBackup()},
		Doc:      "Add a backup of a group's tables at one cut to the backup place: what the one before does not hold, then a signed manifest of everything.",
		Timing:   action.Timing{Timeout: 12 * time.Hour, Estimate: time.Minute},
		Things:   tablesOf, Plan: s.planTake, Apply: s.applyTake, Verify: s.verifyTake,
		Show: action.Shows[takePlan, action.None](),
		Rules: []action.Rule{
			{Do: "add version", Says: "what the last line says, of this table"},
			{
				Do:    "write what is added",
				Says:  "each object is written where there is none, under the name of its content, and held; what is shared is held longer; then come a list of each table and the signed manifest; a batch also has a list of its own",
				Sends: []string{"put {on}*", "retain {on}*"},
			},
		},
		Permits: permit.Join(permit.Remembers(permit.Source, permit.Tables), permit.Backs(), permit.Restores()),
		RedWhen: []action.Red{
			{Fault: "backup.object-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-damaged", Want: verdict.Fail},
			{Fault: "backup.lock-shortened", Want: verdict.Fail},
			{Fault: "backup.reading-revoked", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[action.None]{
		Name: "backup.walled", Over: estate.Nothing, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsBackup()},
		Doc:      "Nobody of a region, nor who adds backups, can destroy one: tried with the credentials of each on an object of its own, beside what must work.",
		Timing:   action.Timing{Timeout: 10 * time.Minute, Estimate: 5 * time.Second},
		Things:   placeOf, Verify: s.verifyWalled,
		Permits: permit.Join(permit.Backs(), permit.Restores(), permit.Expires()),
		RedWhen: []action.Red{
			{Fault: "backup.adder-may-delete", Want: verdict.Fail},
			{Fault: "backup.adder-may-configure", Want: verdict.Fail},
			{Fault: "backup.adder-may-open", Want: verdict.Fail},
			{Fault: "backup.restorer-may-open", Want: verdict.Fail},
			{Fault: "backup.expirer-may-bypass", Want: verdict.Fail},
			{Fault: "backup.lifecycle-expires", Want: verdict.Fail},
			{Fault: "backup.writer-known", Want: verdict.Fail},
			{Fault: "backup.adder-key-changed", Want: verdict.Unknown},
			{Fault: "backup.reading-revoked", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[action.None]{
		Name: "backup.restorable", Over: estate.GroupKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsBackup()},
		Doc:      "Restore a table of a group's newest backup into a scratch place, read it, compare it with the manifest, and note that beside the backup; says what a disaster now would lose.",
		Timing:   action.Timing{Timeout: 6 * time.Hour, Estimate: time.Minute},
		Things:   tablesOf, Plan: s.planRestorable, Apply: s.applyRestorable, Verify: s.verifyRestorable,
		Show: action.Shows[backup.Link, action.None](),
		Rules: []action.Rule{
			{Do: "write table", Says: "every object of the table is written there, and every version there is removed for good, also what an attempt that died has left", Sends: []string{"put {on}*", "destroy {on}*"}},
			{Do: "note that it was restored", Says: "a signed note is written where there is none, and held", Sends: []string{"put {on}"}},
		},
		Permits: permit.Join(permit.Backs(), permit.Restores(), permit.Changes(permit.Target, permit.Scratch), permit.CleansUp(permit.Target, permit.Scratch)),
		RedWhen: []action.Red{
			{Fault: "backup.object-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-damaged", Want: verdict.Fail},
			{Fault: "backup.lock-shortened", Want: verdict.Fail},
			{Fault: "backup.reading-revoked", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, s.expireAction())
}

// placeOf is the backup place.
func placeOf(r action.Request) (names []string, none string) {
	if r.Estate.Backup == nil {
		return nil, "the estate names no backup place"
	}
	return []string{"s3://" + r.Estate.Backup.Bucket}, ""
}

// tablesOf are the tables of a group.
func tablesOf(r action.Request) (names []string, none string) {
	g, ok := r.Estate.Group(r.Item.Name)
	if !ok {
		return []string{r.Item.Name}, ""
	}
	for _, t := range g.Tables {
		names = append(names, t.Table)
	}
	return names, "group " + g.Group + " has no tables, of which there could be a backup"
}
