package torture

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/poll"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
	"breakwater/lab"
	"breakwater/lab/failover"
	"breakwater/lab/inventory"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// TestTakenBack comes as far as a gate, changes its mind there, and takes everything back:
// afterwards every server must hold what it held before. The long set does so at every gate
// up to the point of no return, first of a region that is left while it lives, then of
// one that is dead. The short set does it at one of those of a region that lives, as
// BREAKWATER_SEED says.
func TestTakenBack(t *testing.T) {
	seed := number(t, "BREAKWATER_SEED", uint64(time.Now().Unix()))
	d := newDisaster(t, "back", seed)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	defer cancel()
	w, err := d.calm(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all := d.changesOfMind()
	chosen := all
	if !long() {
		living := slices.DeleteFunc(slices.Clone(all), func(c changeOfMind) bool { return c.dead })
		chosen = living[seed%uint64(len(living)):][:1]
	}
	for _, c := range chosen {
		if !t.Run(c.String(), func(t *testing.T) { d.takesBack(ctx, t, w, c) }) {
			return // what was not put back is in the way of the next
		}
	}
	if long() {
		t.Run("past the point of no return", func(t *testing.T) { d.noReturn(ctx, t) })
		t.Run("every change is seen", func(t *testing.T) { everyChangeIsSeen(ctx, t, w) })
	}
}

// changeOfMind is a gate at which people take everything back.
type changeOfMind struct {
	gate  string // the stage's id
	begun bool   // a stage before it changes something
	dead  bool   // the source is
}

func (c changeOfMind) String() string {
	if c.dead {
		return c.gate + ", the source is dead"
	}
	return c.gate
}

// changesOfMind are those of a failover, up to the gate of its point of no return.
func (d *disaster) changesOfMind() (all []changeOfMind) {
	for _, dead := range []bool{false, true} {
		begun := false
		for _, s := range d.compile("RegionalFailover", failoverInput).Stages {
			if s.Approval != nil {
				all = append(all, changeOfMind{s.ID, begun, dead})
			}
			if s.PointOfNoReturn {
				break
			}
			begun = begun || slices.ContainsFunc(s.Steps, func(st runbook.Step) bool { return st.CanUndo && st.Effect == action.Mutates })
		}
	}
	return all
}

// calm starts everything, and lets nobody write anything by itself any more.
func (d *disaster) calm(ctx context.Context) (inventory.World, error) {
	var w inventory.World
	if err := d.Lab.Up(ctx); err != nil {
		return w, err
	}
	c, err := d.Client(ctx)
	if err != nil {
		return w, err
	}
	d.t.Cleanup(c.Close)
	if err := rest(ctx, c); err != nil {
		return w, err
	}
	if _, err := d.Lab.Seed(ctx, 600, 200); err != nil {
		return w, err
	}
	if err := d.StartWorker(ctx); err != nil {
		return w, err
	}
	return d.Lab.Servers(c, os.Getenv("BREAKWATER_PYTHON"))
}

// reads lets a consumer group have read a topic at the primary, and waits until the mirror
// has noted that at the standby: what lies before its last note it cannot translate after a
// stop. Of the other groups nobody has read yet.
func (d *disaster) reads(ctx context.Context, group, topic string) error {
	clients := map[string]*kadm.Client{}
	for _, region := range lab.Regions() {
		adm, err := kadm.NewOptClient(kgo.SeedBrokers(d.Lab.KafkaAdmin(region)))
		if err != nil {
			return err
		}
		defer adm.Close()
		clients[region] = adm
	}
	ends, err := clients[lab.Primary].ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	at := kadm.Offsets{}
	ends.Each(func(o kadm.ListedOffset) {
		at.Add(kadm.Offset{Topic: topic, Partition: o.Partition, At: o.Offset, LeaderEpoch: -1})
	})
	if err := clients[lab.Primary].CommitAllOffsets(ctx, group, at); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return poll.Until(ctx, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		noted, err := clients[lab.Standby].FetchOffsets(ctx, group)
		if err == nil && len(noted[topic]) < len(at[topic]) {
			err = fmt.Errorf("%d of %d partitions of %s are noted at the standby", len(noted[topic]), len(at[topic]), topic)
		}
		return err == nil, err
	})
}

// never is an interval after which no test runs any more.
const never = 10000 * time.Hour

// rest lets the pipelines' Schedules be, so that none of them comes due.
func rest(ctx context.Context, c client.Client) error {
	list, err := c.ScheduleClient().List(ctx, client.ScheduleListOptions{})
	if err != nil {
		return err
	}
	for list.HasNext() {
		s, err := list.Next()
		if err != nil {
			return err
		}
		h := c.ScheduleClient().GetHandle(ctx, s.ID)
		if err := h.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			next := in.Description.Schedule
			next.Spec.Intervals = []client.ScheduleIntervalSpec{{Every: never, Offset: time.Duration(time.Now().Add(never/2).Unix()) * time.Second % never}}
			return &client.ScheduleUpdate{Schedule: &next}, nil
		}}); err != nil {
			return fmt.Errorf("schedule %s: %w", s.ID, err)
		}
		if err := poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
			d, err := h.Describe(ctx)
			if err == nil && len(d.Info.RunningWorkflows) > 0 {
				err = fmt.Errorf("schedule %s runs", s.ID)
			}
			return err == nil, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// takesBack is one change of mind.
func (d *disaster) takesBack(ctx context.Context, t *testing.T, w inventory.World, c changeOfMind) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if c.dead {
		must(d.reads(ctx, "orders-app", "orders"))
	}
	began := time.Now()
	lap := func(format string, args ...any) {
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	line, err := d.Lab.Line(ctx, lab.LineObjects)
	must(err)
	line.Cut = false
	must(errors.Join(d.Lab.SetLine(ctx, lab.LineObjects, line), d.Lab.Resync(ctx), d.witness(ctx), d.Lab.WaitReplicated(ctx, time.Minute)))
	line.Cut = true
	must(errors.Join(d.Lab.SetLine(ctx, lab.LineObjects, line), lag(ctx, w)))
	before, err := inventory.Take(ctx, w)
	must(err)
	lap("%d facts", len(before))
	d.DeadSince = time.Time{}
	if c.dead {
		must(d.Lab.Kill(ctx, lab.Primary))
		d.DeadSince = time.Now()
	}
	run, err := d.Start(ctx, time.Now())
	must(err)
	d.Stop = func(st wire.Status) bool { return st.Gate != nil && st.Gate.ID == c.gate }
	st, err := d.Drive(ctx, run, false, nil)
	d.Stop = nil
	must(err)
	lap("at gate %s", st.Gate.ID)
	switch err := d.TakeBack(ctx, run, st); {
	case c.begun:
		must(err)
	case err == nil:
		t.Error("nothing was done yet, and it is taken back")
	default:
		must(d.Abort(ctx, run))
	}
	st, err = d.Drive(ctx, run, false, nil)
	if !errors.Is(err, failover.ErrStopped) {
		t.Fatalf("the run ended with %v: %s", err, st.Doing)
	}
	want := wire.ErrTypeUndone
	if !c.begun {
		want = wire.ErrTypeAborted
	}
	var why *temporal.ApplicationError
	if err := w.Temporal.GetWorkflow(ctx, run, "").Get(ctx, nil); !errors.As(err, &why) || why.Type() != want {
		t.Errorf("it ended with %v; want %s", err, want)
	}
	must(d.VerifyEvidence(ctx, run))
	lap("taken back: %s", st.Doing)
	if c.dead {
		must(d.asBefore(ctx, w.Without(lab.Primary), before.Without(lab.Primary), inventory.WhileDead()))
		must(d.Lab.Heal(ctx, lab.Primary))
		lap("healed")
		w, before = w.Without(lab.Standby), before.Without(lab.Standby) // where more may arrive now
	}
	must(d.asBefore(ctx, w, before))
	lap("as before")
}

// noReturn goes past the point of no return: from there on taking back is not offered, and
// who asks for it is told of a failback.
func (d *disaster) noReturn(ctx context.Context, t *testing.T) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	gate, past := "", false
	for _, s := range d.compile("RegionalFailover", failoverInput).Stages {
		if past && s.Approval != nil {
			gate = s.ID
			break
		}
		past = past || s.PointOfNoReturn
	}
	must(d.witness(ctx))
	d.DeadSince = time.Time{}
	run, err := d.Start(ctx, time.Now())
	must(err)
	d.Stop = func(st wire.Status) bool { return st.Gate != nil && st.Gate.ID == gate }
	st, err := d.Drive(ctx, run, false, nil)
	d.Stop = nil
	must(err)
	if _, offered := st.Open.Spec.Offer(approval.TakeBack); offered {
		t.Errorf("at gate %s undo is offered", gate)
	}
	if err := d.TakeBack(ctx, run, st); err == nil || !strings.Contains(err.Error(), "failback") {
		t.Errorf("undo at gate %s: %v; want it refused, and a failback named", gate, err)
	}
	must(d.Abort(ctx, run))
	if _, err := d.Drive(ctx, run, false, nil); !errors.Is(err, failover.ErrStopped) {
		t.Errorf("the run ended with %v", err)
	}
}

// lag adds a version to each table of the primary, of which the standby has the log entry
// without the data: a promotion moves it aside.
func lag(ctx context.Context, w inventory.World) error {
	var stores []*s3.Client
	for _, p := range w.Places {
		stores = append(stores, asRoot(*p.Storage))
	}
	from, bucket := stores[0], w.Places[0].Storage.Buckets[0]
	for _, table := range w.Places[0].Storage.Tables {
		path := strings.TrimPrefix(table, "s3://"+bucket+"/")
		newest, err := commits(ctx, from, bucket, path)
		if err != nil {
			return err
		}
		last := newest[len(newest)-1]
		out, err := from.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &last})
		if err != nil {
			return err
		}
		entry, err := io.ReadAll(out.Body)
		if err := errors.Join(err, out.Body.Close()); err != nil {
			return err
		}
		entry = regexp.MustCompile(`imestamp":\d+`).ReplaceAll(entry, fmt.Appendf(nil, `imestamp":%d`, time.Now().UnixMilli()))
		was := regexp.MustCompile(`part-[^"]*\.parquet`).FindString(string(entry))
		data := "part-" + rand.Text() + ".parquet"
		if _, err := from.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: aws.String(path + "/" + data), CopySource: aws.String(bucket + "/" + path + "/" + was)}); err != nil {
			return fmt.Errorf("copy %s: %w", was, err)
		}
		next := fmt.Sprintf("%s/_delta_log/%020d.json", path, len(newest))
		for i, c := range stores {
			body := strings.NewReader(strings.ReplaceAll(string(entry), was, data))
			if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &w.Places[i].Storage.Buckets[0], Key: &next, Body: body}); err != nil {
				return fmt.Errorf("write %s: %w", next, err)
			}
		}
	}
	return nil
}

// commits are the keys of a table's log entries, oldest first.
func commits(ctx context.Context, c *s3.Client, bucket, path string) (keys []string, err error) {
	list, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: aws.String(path + "/_delta_log/0")})
	if err != nil {
		return nil, err
	}
	for _, o := range list.Contents {
		if strings.HasSuffix(*o.Key, ".json") {
			keys = append(keys, *o.Key)
		}
	}
	return keys, nil
}

// asRoot is a raw client of a store as its root.
func asRoot(s inventory.Storage) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: s.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""), HTTPClient: &http.Client{Timeout: 10 * time.Second},
	})
}

// patience is how long servers may take until they say that all is as it was before: tasks
// of a connector that goes on are given out anew.
const patience = 45 * time.Second

// asBefore holds the servers against an inventory.
func (d *disaster) asBefore(ctx context.Context, w inventory.World, before inventory.Inventory, also ...inventory.Rule) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return poll.Until(ctx, time.Second, func(ctx context.Context) (bool, error) {
		after, err := inventory.Take(context.WithoutCancel(ctx), w)
		if err != nil {
			return false, err
		}
		if otherwise := inventory.Compare(before, after, append(inventory.Rules(), also...)...); len(otherwise) > 0 {
			return false, fmt.Errorf("%d things are not as before:\n%s", len(otherwise), strings.Join(otherwise, "\n"))
		}
		return true, nil
	})
}

// witness has the witness look once more, since what it saw last may be too old.
func (d *disaster) witness(ctx context.Context) error {
	c, err := d.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	h := c.ScheduleClient().GetHandle(ctx, failover.WitnessSchedule)
	looks := 0
	if info, err := h.Describe(ctx); err == nil {
		looks = info.Info.NumActions
		err = h.Trigger(ctx, client.ScheduleTriggerOptions{})
		if err != nil {
			return err
		}
	} else if err := d.StartWitness(ctx, never); err != nil {
		return err
	}
	return poll.Until(ctx, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		info, err := h.Describe(ctx)
		switch {
		case err != nil:
			return false, err
		case info.Info.NumActions == looks || len(info.Info.RunningWorkflows) > 0:
			return false, errors.New("the witness looks")
		}
		last := info.Info.RecentActions[len(info.Info.RecentActions)-1].StartWorkflowResult
		return true, c.GetWorkflow(ctx, last.WorkflowID, last.FirstExecutionRunID).Get(ctx, nil)
	})
}
