package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/fault"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Regions are the faults of a whole region: its servers are gone.
func Regions(e Env) fault.Set {
	return fault.Set{
		down("region.source-unreachable", "every server of the source is killed", e.Source, All),
		down("region.target-unreachable", "every server of the target is killed", e.Target, All),
		down("storage.target-unreachable", "the object store of the target is killed", e.Target, StorageSystem),
		down("vault.target-unreachable", "the secret store of the target is killed", e.Target, VaultSystem),
		down("kafka.target-unreachable", "the Kafka cluster of the target is killed", e.Target, KafkaSystem),
		consumed(e.Target, e.Group),
		shared(e.Target, e.Group),
	}
}

// consumed has somebody consume as a group's consumer group at the target.
func consumed(r Region, g Group) fault.Fault {
	var k kept[*kgo.Client]
	return fault.Fault{
		Name: "kafka.target-consumer-active", Doc: "somebody consumes at the target as one of its consumer groups",
		Available: func() error {
			if len(r.Brokers) == 0 {
				return errors.New("this environment does not say where the target's Kafka is")
			}
			return needs(map[string]string{"topic": g.Topic, "consumer group": g.ConsumerGroup})()
		},
		Inject: func(ctx context.Context) error {
			joined := make(chan struct{}, 1)
			c, err := kgo.NewClient(kgo.SeedBrokers(r.Brokers...), kgo.ConsumerGroup(g.ConsumerGroup), kgo.ConsumeTopics(g.Topic),
				kgo.DisableAutoCommit(),
				kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
					select {
					case joined <- struct{}{}:
					default:
					}
				}))
			if err != nil {
				return err
			}
			if err := k.put(c); err != nil {
				c.Close()
				return err
			}
			select {
			case <-joined:
				return nil
			case <-time.After(30 * time.Second):
				return fmt.Errorf("no partition of %s was given to a member of %s", g.Topic, g.ConsumerGroup)
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(c *kgo.Client) error {
				err := c.LeaveGroupContext(ctx)
				c.Close()
				return err
			})
		},
	}
}

// shared has somebody read as a share group of a consumer group's name at the target.
func shared(r Region, g Group) fault.Fault {
	var k kept[*kgo.Client]
	return fault.Fault{
		Name: "kafka.target-share-group", Doc: "a group at the target that the estate calls a consumer group is a share group",
		Available: func() error {
			if len(r.Brokers) == 0 {
				return errors.New("this environment does not say where the target's Kafka is")
			}
			return needs(map[string]string{"topic": g.Topic, "consumer group": g.ConsumerGroup})()
		},
		Inject: func(ctx context.Context) error {
			adm, err := Cluster{Brokers: r.Brokers}.admin()
			if err != nil {
				return err
			}
			defer adm.Close()
			// What is left of consumers of that name keeps its kind.
			if _, err := adm.DeleteGroup(ctx, g.ConsumerGroup); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
				return err
			}
			c, err := kgo.NewClient(kgo.SeedBrokers(r.Brokers...), kgo.ShareGroup(g.ConsumerGroup), kgo.ConsumeTopics(g.Topic))
			if err != nil {
				return err
			}
			if err := k.put(c); err != nil {
				c.Close()
				return err
			}
			return until(ctx, func(ctx context.Context) error {
				all, err := adm.ListGroupsByType(ctx, []string{"share"})
				if _, there := all[g.ConsumerGroup]; err == nil && !there {
					err = fmt.Errorf("there is no share group %s yet", g.ConsumerGroup)
				}
				return err
			})
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(c *kgo.Client) error {
				c.Close()
				adm, err := Cluster{Brokers: r.Brokers}.admin()
				if err != nil {
					return err
				}
				defer adm.Close()
				return until(ctx, func(ctx context.Context) error {
					_, err := adm.DeleteGroup(ctx, g.ConsumerGroup)
					if errors.Is(err, kerr.GroupIDNotFound) {
						return nil
					}
					return err
				})
			})
		},
	}
}

func down(name fault.Name, doc string, r Region, s System) fault.Fault {
	var k kept[struct{}]
	return fault.Fault{
		Name: name, Doc: doc,
		Available: func() error {
			if r.Stop == nil || r.Start == nil {
				return errors.New("this environment does not stop single servers")
			}
			return nil
		},
		Inject: func(ctx context.Context) error {
			if err := k.put(struct{}{}); err != nil {
				return err
			}
			if err := r.Stop(ctx, s); err != nil {
				return fmt.Errorf("stop %s of %s: %w", s, r.Name, err)
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				if err := r.Start(ctx, s); err != nil {
					return fmt.Errorf("start %s of %s: %w", s, r.Name, err)
				}
				return nil
			})
		},
	}
}
