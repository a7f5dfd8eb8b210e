package torture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/minio/madmin-go/v3"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"

	"breakwater/internal/estate"
	"breakwater/internal/objectstore/s3"
	"breakwater/lab"
)

// notBlind does what a second effect would have left at each server, after
// everything was found in order, and asks that each check sees it.
func (d *disaster) notBlind(ctx context.Context) error {
	e, err := d.Estate()
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range []struct {
		what  string
		again func(context.Context, *estate.Estate) error
		check func(context.Context, *estate.Estate) error
	}{
		{"a secret written again", d.writeSecret, d.secretsOnce},
		{"a log file kept aside that no plan names", d.keepAside, d.asideOnce},
		{"a policy given beside the run's", d.givePolicy, d.policiesOnce},
		{"a schedule's note written again", d.writeNote, d.schedulesOnce},
		{"a committed offset moved", d.commitOffset, func(ctx context.Context, _ *estate.Estate) error { return d.HoldAgainstTruth(ctx, d.rep) }},
		{"a topic's loss claimed to be more than it was", func(context.Context, *estate.Estate) error { return nil }, d.holdWrong},
	} {
		if err := c.again(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.what, err))
		} else if c.check(ctx, e) == nil {
			errs = append(errs, fmt.Errorf("%s was not noticed", c.what))
		}
	}
	return errors.Join(errs...)
}

// holdWrong holds a report against the truth that claims more than was lost.
func (d *disaster) holdWrong(ctx context.Context, _ *estate.Estate) error {
	rep := d.rep
	rep.Recovery = slices.Clone(rep.Recovery)
	for i := range rep.Recovery {
		rep.Recovery[i].Count.AtLeast += 1 << 40
	}
	return d.HoldTopicsAgainstTruth(ctx, rep)
}

func (d *disaster) writeSecret(ctx context.Context, e *estate.Estate) error {
	kv, err := d.secrets(e)
	if err == nil {
		_, err = kv.Put(ctx, e.Groups[0].Routing.Secret, map[string]any{"region": "nowhere"})
	}
	return err
}

func (d *disaster) keepAside(ctx context.Context, e *estate.Estate) error {
	t := e.Groups[0].Tables[0]
	c, err := s3.New(d.Lab.Storage(lab.Standby))
	if err != nil {
		return err
	}
	bucket, err := e.RealBucket(t.Bucket, lab.Standby)
	if err == nil {
		_, err = c.Put(ctx, bucket, t.Path+"/.breakwater/quarantine/stray", []byte("x"))
	}
	return err
}

// administer connects to the standby's object store as its root.
func (d *disaster) administer() (*madmin.AdminClient, error) {
	at := d.Lab.Storage(lab.Standby)
	return madmin.NewWithOptions(strings.TrimPrefix(at.Endpoint, "http://"), &madmin.Options{
		Creds: credentials.NewStaticV4(at.AccessKey, at.SecretKey, ""),
	})
}

func (d *disaster) givePolicy(ctx context.Context, e *estate.Estate) error {
	adm, err := d.administer()
	if err == nil {
		_, err = adm.AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{"readwrite"}, User: e.Groups[0].Access.Readers[0].Name})
	}
	return err
}

func (d *disaster) writeNote(ctx context.Context, e *estate.Estate) error {
	c, err := d.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.ScheduleClient().GetHandle(ctx, e.Groups[0].Pipelines[0].In[lab.Primary]).Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			s := in.Description.Schedule
			s.State.Note = "breakwater " + d.run + ": paused for failover; before, it said: " + s.State.Note
			return &client.ScheduleUpdate{Schedule: &s}, nil
		},
	})
}

func (d *disaster) commitOffset(ctx context.Context, e *estate.Estate) error {
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(d.Lab.KafkaAdmin(lab.Standby)))
	if err != nil {
		return err
	}
	defer adm.Close()
	g := e.Groups[0].ConsumerGroups[0]
	at, err := adm.FetchOffsets(ctx, g.ConsumerGroup)
	if err != nil {
		return err
	}
	o, ok := at.Lookup(g.Topics[0], 0)
	if !ok {
		return errors.New("no committed offset to move")
	}
	o.At--
	moved := kadm.Offsets{}
	moved.Add(o.Offset)
	return adm.CommitAllOffsets(ctx, g.ConsumerGroup, moved)
}
