package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/estate/load"
	"breakwater/internal/objectstore"
	"breakwater/lab/oracle"
	"breakwater/lab/traffic"
)

// lines writes progress into the test's log.
type lines struct{ t *testing.T }

func (l lines) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

// TestLaboratory is the laboratory's whole life, on real servers.
func TestLaboratory(t *testing.T) {
	l, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l.Out, l.Bound = lines{t}, true
	ctx := t.Context()
	t.Cleanup(func() {
		if err := l.Down(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("Down: %v", err)
		}
	})
	must(t, l.Up(ctx))

	t.Run("the estate is valid", func(t *testing.T) { checkEstate(t, l) })
	t.Run("the standby is closed", func(t *testing.T) { checkAccess(t, l) })
	if _, err := l.Seed(ctx, 300, 100); err != nil {
		t.Fatal(err)
	}

	var summary traffic.Summary
	var g errgroup.Group
	g.Go(func() (err error) {
		summary, err = l.Traffic(ctx, Primary, traffic.Options{})
		return err
	})
	eventually(t, "every table and pipeline is at work", func(ctx context.Context) error { return atWork(ctx, l) })
	must(t, l.Kill(ctx, Primary))
	must(t, g.Wait())
	t.Logf("traffic: %+v", summary)
	if summary.Commits == 0 || summary.Messages == 0 || len(summary.Dead) == 0 {
		t.Errorf("traffic did %+v; want commits and messages, and a dead region", summary)
	}
	t.Run("the standby holds a prefix", func(t *testing.T) { checkTables(t, l) })
	t.Run("the mirror holds a prefix", func(t *testing.T) { checkTopics(t, l) })

	status, err := l.Status()
	must(t, err)
	if limit := int64(2 << 30); status.RSS > limit {
		t.Errorf("the laboratory takes %d MB; want less than %d", status.RSS>>20, limit>>20)
	}
	before := status
	t.Run("pipelines ran, except the paused", func(t *testing.T) { checkSchedules(t, l) })

	must(t, l.Heal(ctx, Primary))
	must(t, l.Resync(ctx))
	must(t, l.WaitReplicated(ctx, time.Minute))
	if status, err = l.Status(); err != nil {
		t.Fatal(err)
	}
	for i, s := range status.Servers {
		if !s.Running || s.Address != before.Servers[i].Address {
			t.Errorf("healed: %+v, was %+v; want it running at the same address", s, before.Servers[i])
		}
	}
	if loss, err := l.Loss(ctx); err != nil || loss[0].Commits != 0 {
		t.Errorf("after healing and resync: %+v, %v; want nothing lost", loss, err)
	}

	must(t, l.Down(ctx))
	if status, err = l.Status(); err != nil {
		t.Fatal(err)
	}
	for _, s := range status.Servers {
		if s.Running {
			t.Errorf("down left %s running as pid %d", s.Name, s.Pid)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := until(ctx, 200*time.Millisecond, try); err != nil {
		t.Fatalf("waited in vain until %s: %v", what, err)
	}
}

// atWork says what has not happened yet of what is to be seen of the traffic after the
// kill: commits of every table at both ends, and a run of every pipeline that runs.
func atWork(ctx context.Context, l *Lab) error {
	loss, err := l.Loss(ctx)
	if err != nil {
		return err
	}
	for _, one := range loss {
		if one.Arrived < 5 || one.Head < 7 {
			return fmt.Errorf("%s: version %d arrived of %d", one.Table, one.Arrived, one.Head)
		}
	}
	c, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, name := range []string{"orders-rollup-us-east-1", "clicks-rollup-us-east-1"} {
		d, err := c.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
		if err != nil {
			return err
		}
		if d.Info.NumActions == 0 {
			return fmt.Errorf("schedule %s has not run", name)
		}
	}
	return nil
}

func checkEstate(t *testing.T, l *Lab) {
	e, mistakes := load.File(l.EstateFile())
	for _, m := range mistakes {
		t.Error(m)
	}
	if e != nil && (len(e.Groups) != 2 || len(e.Regions) != 2) {
		t.Errorf("%d groups in %d regions; want 2 in 2", len(e.Groups), len(e.Regions))
	}
}

// checkAccess tries every user of both regions for real.
func checkAccess(t *testing.T, l *Lab) {
	for _, tc := range []struct {
		region, user, prefix string
		write, list          bool
	}{
		{Primary, "orders-writer", "orders/", true, true},
		{Primary, "orders-writer", "clicks/", false, false},
		{Primary, "orders-reader", "orders/", false, true},
		{Standby, "orders-writer", "orders/", false, false},
		{Standby, "clicks-writer", "clicks/", false, false},
		{Standby, "orders-reader", "orders/", false, false},
		{Standby, "breakwater", "orders/", true, true},
		{Primary, "breakwater", "orders/", true, true},
	} {
		t.Run(fmt.Sprintf("%s in %s on %s", tc.user, tc.region, tc.prefix), func(t *testing.T) {
			c, err := l.store(tc.region, l.secret(tc.region, tc.user))
			must(t, err)
			_, err = c.Put(t.Context(), buckets()[tc.region], tc.prefix+"_access/"+tc.region+tc.user, []byte("x"))
			expect(t, "write", err, tc.write)
			err = objectstore.CanList(t.Context(), c, buckets()[tc.region], tc.prefix)
			expect(t, "list", err, tc.list)
		})
	}
}

func expect(t *testing.T, what string, err error, allowed bool) {
	t.Helper()
	if allowed && err != nil || !allowed && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%s: %v; want allowed %v", what, err, allowed)
	}
}

func checkSchedules(t *testing.T, l *Lab) {
	c, err := l.dial(t.Context())
	must(t, err)
	defer c.Close()
	for name, paused := range map[string]bool{
		"orders-rollup-us-east-1": false, "orders-rollup-us-west-2": true,
		"clicks-rollup-us-east-1": false, "clicks-rollup-us-west-2": true,
		"clicks-backfill-us-east-1": true, "clicks-backfill-us-west-2": true,
	} {
		d, err := c.ScheduleClient().GetHandle(t.Context(), name).Describe(t.Context())
		must(t, err)
		if d.Schedule.State.Paused != paused || d.Info.NumActions > 0 == paused || d.Schedule.State.Note == "" {
			t.Errorf("schedule %s: paused %v, note %q, %d runs; want paused %v, and runs unless it is",
				name, d.Schedule.State.Paused, d.Schedule.State.Note, d.Info.NumActions, paused)
		}
	}
}

// checkTables holds every log entry at the standby against the oracle.
func checkTables(t *testing.T, l *Lab) {
	truth, err := oracle.Read(l.OracleDir(), Primary)
	must(t, err)
	loss, err := l.Loss(t.Context())
	must(t, err)
	for _, one := range loss {
		t.Logf("%+v", one)
		if one.Arrived < 3 || one.Head < one.Arrived-1 {
			t.Errorf("%s: version %d arrived, %d was acknowledged", one.Table, one.Arrived, one.Head)
		}
	}
	for _, g := range groups() {
		for _, table := range g.tables {
			entries, err := l.Entries(t.Context(), Standby, g.path(table))
			must(t, err)
			for v, e := range entries {
				if v == 0 {
					continue
				}
				if c, _, err := truth.At(table, v); err != nil || c.ID != e.ID {
					t.Errorf("%s@%d at the standby is commit %s, the oracle knows %s (%v)", table, v, e.ID, c.ID, err)
				}
			}
		}
	}
}

// checkTopics reads every partition of the standby, and wants of each what the
// primary acknowledged there, in that order, up to some message.
func checkTopics(t *testing.T, l *Lab) {
	truth, err := oracle.Read(l.OracleDir(), Primary)
	must(t, err)
	for _, g := range groups() {
		mirrored := 0
		for id := range int32(partitions) {
			records := read(t, l.brokerAddrs(Standby).Admin, g.topic, id)
			mirrored += len(records)
			acked := truth.Messages(g.topic, id)
			next := 0
			for _, r := range records {
				m, ok := truth.Sent(g.topic, string(r.Key))
				if !ok || m.Sum != oracle.Sum(r.Value) {
					t.Errorf("%s-%d: the standby holds %q, which nobody sent so", g.topic, id, r.Key)
				}
				if m.Offset < 0 { // never acknowledged, and mirrored all the same
					continue
				}
				if next >= len(acked) || acked[next].Key != m.Key {
					t.Fatalf("%s-%d: message %s at the standby is out of order, or one before it is missing", g.topic, id, m.Key)
				}
				next++
			}
		}
		if mirrored < 100 {
			t.Errorf("%s: %d messages at the standby; want the seed's 100 at least", g.topic, mirrored)
		}
	}
}

// read reads a partition up to its last stable offset.
func read(t *testing.T, broker, topic string, id int32) []*kgo.Record {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {id: kgo.NewOffset().AtStart()}}),
		kgo.FetchMaxWait(200*time.Millisecond))
	must(t, err)
	defer c.Close()
	var all []*kgo.Record
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		fetches := c.PollFetches(ctx)
		cancel()
		if fetches.NumRecords() == 0 {
			return all
		}
		all = append(all, fetches.Records()...)
	}
}

func TestUnknownRegionAndNoLaboratory(t *testing.T) {
	l, err := New(t.TempDir())
	must(t, err)
	if err := l.Kill(t.Context(), Primary); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Kill without a laboratory: %v; want fs.ErrNotExist", err)
	}
	if err := l.Down(t.Context()); err != nil {
		t.Errorf("Down without a laboratory: %v; want nil", err)
	}
	l.state.init(l.path("lab.json"))
	must(t, l.state.change(func(*kept) {}))
	if err := l.Kill(t.Context(), "mars"); !errors.Is(err, ErrRegion) {
		t.Errorf("Kill mars: %v; want ErrRegion", err)
	}
}
