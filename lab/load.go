package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/lab/oracle"
	"breakwater/lab/traffic"
	"breakwater/lab/wan"
)

func (l *Lab) trafficTable(region string, g group, table string) traffic.Table {
	c := l.secret(region, g.writer())
	return traffic.Table{
		Name: table, Bucket: buckets()[region], Path: g.path(table), PeakRows: g.peakRows,
		Store: traffic.Store{Endpoint: "http://" + l.addr("minio-"+region), Region: region, AccessKey: c.AccessKey, SecretKey: c.SecretKey},
	}
}

func (l *Lab) trafficRegion(region string) traffic.Region {
	login := func(user string) traffic.Login {
		return traffic.Login{User: user, Password: l.secret("kafka", user).SecretKey}
	}
	r := traffic.Region{Name: region, Kafka: traffic.Kafka{
		Broker: l.brokerAddrs(region).Client, Admin: l.brokerAddrs(region).Admin, Producer: login(producerUser), Consumer: login(consumerUser),
	}}
	for _, g := range groups() {
		for _, t := range g.tables {
			r.Tables = append(r.Tables, l.trafficTable(region, g, t))
		}
		r.Topics = append(r.Topics, traffic.Topic{
			Name: g.topic, ConsumerGroup: g.consumerGroup, PeakMessages: g.peakMessages,
			Odd: view(&l.state, func(k kept) traffic.Odd { return k.Odd[g.topic].Odd }),
		})
	}
	return r
}

// Traffic writes to a region and reads from it until ctx ends or the region
// dies, and journals what was acknowledged.
func (l *Lab) Traffic(ctx context.Context, region string, o traffic.Options) (traffic.Summary, error) {
	return l.load(region, "traffic", func(r traffic.Region, j *oracle.Journal) (traffic.Summary, error) {
		return traffic.Run(ctx, r, j, o)
	})
}

func (l *Lab) load(region, name string, run func(traffic.Region, *oracle.Journal) (traffic.Summary, error)) (traffic.Summary, error) {
	if buckets()[region] == "" {
		return traffic.Summary{}, unknownRegion(region)
	}
	if err := l.state.read(l.path("lab.json")); err != nil {
		return traffic.Summary{}, fmt.Errorf("no laboratory in %s: start one with breakwater-lab up: %w", l.Dir, err)
	}
	j, err := oracle.Open(l.OracleDir(), name)
	if err != nil {
		return traffic.Summary{}, err
	}
	s, err := run(l.trafficRegion(region), j)
	return s, errors.Join(err, j.Close())
}

// Seed makes the tables at the primary, appends rows to each and messages to
// each topic, and waits until the standby has all of it.
func (l *Lab) Seed(ctx context.Context, rows, messages int) (traffic.Summary, error) {
	began := time.Now()
	s, err := l.load(Primary, "seed", func(r traffic.Region, j *oracle.Journal) (traffic.Summary, error) {
		return traffic.Seed(ctx, r, j, rows, messages)
	})
	if err != nil {
		return s, err
	}
	l.say("seeded %d rows in %d commits and %d messages in %.1f s", s.Rows, s.Commits, s.Messages, time.Since(began).Seconds())
	return s, l.WaitReplicated(ctx, 60*time.Second)
}

// WaitReplicated waits until the standby holds every object of the primary's
// bucket and the mirror has brought every message, at most so long.
func (l *Lab) WaitReplicated(ctx context.Context, most time.Duration) error {
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := until(wait, 200*time.Millisecond, func(ctx context.Context) error {
		behind, err := l.replicated(ctx)
		if err == nil && behind > 0 {
			err = fmt.Errorf("%d objects are not at the standby", behind)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for replication: %w", err)
	}
	objects := time.Since(began)
	if err := until(wait, 200*time.Millisecond, l.mirrored); err != nil {
		return fmt.Errorf("wait for the mirror: %w", err)
	}
	l.say("replicated after %.1f s, mirrored after %.1f s", objects.Seconds(), time.Since(began).Seconds())
	return nil
}

// mirrored reports, as an error, which partition's newest record the standby
// does not hold. Offsets of the two clusters are not comparable; the newest
// record's time is.
func (l *Lab) mirrored(ctx context.Context) error {
	newest := map[string]map[string]time.Time{}
	for _, region := range Regions() {
		times, err := newestRecords(ctx, l.brokerAddrs(region).Admin)
		if err != nil {
			return err
		}
		newest[region] = times
	}
	for p, t := range newest[Primary] {
		if newest[Standby][p].Before(t) {
			return fmt.Errorf("partition %s is mirrored up to %s of %s", p, newest[Standby][p], t)
		}
	}
	return nil
}

// newestRecords is the time of the newest record of every partition that has any.
func newestRecords(ctx context.Context, broker string) (map[string]time.Time, error) {
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(broker), kgo.RetryTimeout(3*time.Second))
	if err != nil {
		return nil, fmt.Errorf("ask broker %s: %w", broker, err)
	}
	defer adm.Close()
	var topics []string
	for _, g := range groups() {
		topics = append(topics, g.topic)
	}
	listed, err := adm.ListMaxTimestampOffsets(ctx, topics...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list the newest records at %s: %w", broker, err)
	}
	newest := map[string]time.Time{}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Timestamp >= 0 {
			newest[fmt.Sprintf("%s-%d", o.Topic, o.Partition)] = time.UnixMilli(o.Timestamp)
		}
	})
	return newest, nil
}

// Resync makes the primary's object store deliver what it still owes the
// standby, and waits until it has, at most 90 seconds. MinIO keeps what waits to
// be replicated in memory: what a killed source owed, it never sends by itself.
// Meanwhile the line is fast, since every object is asked for across it.
func (l *Lab) Resync(ctx context.Context) (err error) {
	root := l.secret(Primary, rootUser)
	c, err := minio.New(l.addr("minio-"+Primary), &minio.Options{
		Creds: credentials.NewStaticV4(root.AccessKey, root.SecretKey, ""), Region: Primary,
	})
	if err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	was, err := l.Line(ctx, LineObjects)
	if err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	if err := l.SetLine(ctx, LineObjects, wan.Condition{Cut: was.Cut}); err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	defer func() { err = errors.Join(err, l.SetLine(context.WithoutCancel(ctx), LineObjects, was)) }()
	arn := view(&l.state, func(k kept) string { return k.ARN })
	wait, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	began := time.Now()
	var asked time.Time
	err = until(wait, 250*time.Millisecond, func(ctx context.Context) error {
		behind, err := l.replicated(ctx)
		if err != nil || behind == 0 {
			return err
		}
		if time.Since(asked) > 5*time.Second {
			asked = time.Now()
			// Refused while an earlier one is under way, also one that a kill
			// interrupted and that MinIO takes up again by itself.
			short, cancel := context.WithTimeout(ctx, 3*time.Second) // the client library repeats what is refused
			defer cancel()
			_, err = c.ResetBucketReplicationOnTarget(short, buckets()[Primary], 0, arn)
		}
		return errors.Join(fmt.Errorf("%d objects are not at the standby", behind), err)
	})
	if err != nil {
		return fmt.Errorf("resync %s to %s: %w", buckets()[Primary], buckets()[Standby], err)
	}
	l.say("resynced in %.1f s", time.Since(began).Seconds())
	return nil
}
