package small

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/poll"
	"breakwater/internal/runbook"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/server/temporaltest"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestSmallEstates takes three estates that have not everything through every runbook in
// mode plan, and through a failover in mode live, on real servers. Whatever would keep a
// run from its end there, and is known from the estate, is said before it begins.
func TestSmallEstates(t *testing.T) {
	t.Parallel()
	f, stop, err := temporaltest.Shared(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	noBackup := map[string]string{
		"Backup": "the estate has no backup place", "BackupExpire": "the estate has no backup place", "RestoreFromBackup": "the estate has no backup place",
	}
	noWitness := map[string]string{"Witness": "the estate has no witness"}
	for runbook, why := range noBackup {
		noWitness[runbook] = why
	}
	t.Run("lake", func(t *testing.T) {
		t.Parallel()
		failsOver(t, tables(t, f, true), noBackup)
	})
	t.Run("no-witness", func(t *testing.T) {
		t.Parallel()
		s := tables(t, f, false)
		e := failsOver(t, s, noWitness)
		// What it costs was said before anything was changed, and is owed.
		if !slices.Contains(e.accepts["declare"], action.AcceptUnwitnessed) {
			t.Errorf("at its gates it accepted %q; want %s at the first", e.accepts, action.AcceptUnwitnessed)
		}
		for _, table := range []string{"orders", "payments"} {
			if !slices.ContainsFunc(e.result.Obligations, func(o action.Obligation) bool { return strings.Contains(o.What, "rows of table "+table+",") }) {
				t.Errorf("nothing is owed of the rows of %s: %+v", table, e.result.Obligations)
			}
		}
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		failsOver(t, topics(t, f), noWitness)
	})
}

// small is an estate that is served, and what ends its primary.
type small struct {
	*bench
	lose func()
}

// failsOver plans every runbook, loses the primary and fails over. Those that are refused
// are those of which it is known before.
func failsOver(t *testing.T, s small, refused map[string]string) ended {
	t.Helper()
	slices.SortFunc(s.books, func(a, b *runbook.Runbook) int { // what others are held against comes first
		return cmp.Or(-cmp.Compare(strings.Index("Witness", a.Name), strings.Index("Witness", b.Name)), cmp.Compare(a.Name, b.Name))
	})
	for _, rb := range s.books {
		input, ok := inputs(time.Now())[rb.Name]
		if !ok {
			t.Errorf("runbook %s is shipped, and this test does not plan it: give it inputs", rb.Name)
			continue
		}
		input["mode"] = "plan"
		e := s.run(rb.Name, input)
		switch known := s.told(rb); {
		case refused[rb.Name] != "":
			if e.err == nil || e.status.Run.Workflow != "" || !strings.Contains(e.err.Error(), refused[rb.Name]) || !strings.Contains(known, refused[rb.Name]) {
				t.Errorf("%s: %s; want it refused before it begins: %s; told before: %s", rb.Name, e, refused[rb.Name], known)
			}
		case e.err != nil:
			t.Errorf("%s in mode plan: %s", rb.Name, e)
		}
	}
	s.lose()
	lost := time.Now().UTC().Format(time.RFC3339)
	e := s.run("RegionalFailover", map[string]any{
		"source": world.East, "target": world.West, "mode": "live", "incident": "INC-1", "outage_start": lost, "detected_at": lost,
	})
	if e.err != nil || len(e.stood) > 0 {
		t.Errorf("a failover in mode live: %s", e)
	}
	return e
}

// told is what is known before of why a runbook cannot run.
func (s small) told(rb *runbook.Runbook) string {
	var why []string
	for _, f := range runbook.Fit(rb, s.cat, s.estate, nil) {
		if f.Stops() {
			why = append(why, f.Text)
		}
	}
	return strings.Join(why, "; ")
}

// inputs are those with which each shipped runbook is planned.
func inputs(at time.Time) map[string]map[string]any {
	move := func() map[string]any { return map[string]any{"source": world.East, "target": world.West} }
	moment := at.UTC().Format(time.RFC3339)
	return map[string]map[string]any{
		"RegionalFailover": move(), "Readiness": move(), "Witness": move(), "Backup": move(), "RestoreFromBackup": move(), "BackupExpire": {},
		"StorageRewind": {"region": world.East, "bucket": "lake", "prefix": "orders/orders/", "at": moment},
		"TableRollback": {"region": world.East, "to": moment},
	}
}

// tables is an estate of S3 and Delta alone, which its servers replicate: no Kafka, no
// vault, no pipelines.
func tables(t *testing.T, f *temporaltest.Frontend, witness bool) small {
	t.Helper()
	l := world.NewLake(t)
	e := l.Estate
	e.Buckets, e.Groups, e.Tiers = e.Buckets[:1], e.Groups[:1], e.Tiers[:1]
	e.Buckets[0].DeleteMarkers, e.Buckets[0].ReverseRule, e.Buckets[0].Retention = estate.Replicate, estate.Disabled, estate.Duration(72*time.Hour)
	for i := range e.Regions {
		e.Regions[i].Vault = nil
		e.Regions[i].Storage.Writers = e.Regions[i].Storage.Writers[:1]
	}
	e.Groups[0].Routing = nil
	e.Tiers[0].RPO = estate.Duration(time.Hour) // from when the witness looked to when the primary is lost
	if !witness {
		e.Witness = estate.Witness{}
	}
	l.World.Replicate(world.East, world.West, l.Address(world.West), types.ReplicationRuleStatusEnabled)
	l.World.Replicate(world.West, world.East, l.Address(world.East), types.ReplicationRuleStatusDisabled)
	names := []string{"orders", "payments"}
	l.Clock = time.Now().UTC().Add(-time.Minute)
	for range 3 {
		l.Tick(10 * time.Second)
		for _, name := range names {
			if l.Writers[name] == nil {
				l.Create(name, 4)
			} else {
				l.Append(name, 10)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l.Must(poll.Until(ctx, 100*time.Millisecond, func(context.Context) (bool, error) {
		for _, name := range names {
			decl, _, _ := e.Table(name)
			have := l.Everything(decl.Path)
			for _, key := range l.Objects(name) {
				if _, ok := have[key]; !ok {
					return false, fmt.Errorf("%s has not come", key)
				}
			}
		}
		return true, nil
	}))
	return small{serve(t, f, l.World, e.Ledger), l.Minio[world.East].Kill}
}

// topics is an estate of Kafka alone: no bucket, no table, no vault, no witness.
func topics(t *testing.T, f *temporaltest.Frontend) small {
	t.Helper()
	m := world.NewMirrored(t)
	e := m.Estate
	e.Buckets, e.Witness, e.Groups, e.Tiers[0].RTO = nil, estate.Witness{}, e.Groups[:1], estate.Duration(5*time.Minute)
	g := &e.Groups[0]
	readers := g.ConsumerGroups[1:2] // of another team, which owns no topic
	g.Owner, g.Topics, g.ConsumerGroups = "data-platform", g.Topics[:2], g.ConsumerGroups[:1]
	e.Groups = append(e.Groups, estate.Group{Group: "readers", Tier: 1, Owner: "data-platform", ConsumerGroups: readers})
	m.Produce(m.Source, "orders", 20)
	m.Produce(m.Source, "audit", 5)
	m.Commit(m.Source, "whole", "orders", 10)
	m.Drained()
	minio := miniotest.Shared(t)
	b := serve(t, f, m.World, estate.Ledger{
		Endpoint: minio.Endpoint, Region: "us-east-1", Bucket: minio.Bucket(t, "ledger", true),
		Credentials: m.User(world.West, miniotest.RootUser),
	})
	return small{b, func() { m.Must(m.Source.Kill(context.WithoutCancel(t.Context()))) }}
}
