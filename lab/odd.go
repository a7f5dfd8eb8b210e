package lab

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/lab/traffic"
)

// Odd is what is out of the ordinary about a topic.
type Odd struct {
	traffic.Odd
	// Appended are the regions whose broker stamps records as they arrive.
	Appended []string `json:"appended,omitempty"`
}

// Topics are those of the laboratory.
func Topics() []string {
	var all []string
	for _, g := range groups() {
		all = append(all, g.topic)
	}
	return all
}

// OddOf is what is odd about a topic.
func (l *Lab) OddOf(topic string) Odd {
	return view(&l.state, func(k kept) Odd { return k.Odd[topic] })
}

// MakeOdd makes topics odd, before the traffic and after what was seeded. What is to
// happen in the middle of the traffic, the traffic does.
func (l *Lab) MakeOdd(ctx context.Context, topics map[string]Odd) error {
	if err := l.state.change(func(k *kept) { k.Odd = topics }); err != nil {
		return err
	}
	for topic, odd := range topics {
		for _, region := range odd.Appended {
			if err := l.configure(ctx, region, topic, map[string]string{"message.timestamp.type": "LogAppendTime"}); err != nil {
				return err
			}
		}
		if !odd.Compacted {
			continue
		}
		// The mirror copies these to the standby, but not before a round of its own.
		for _, region := range Regions() {
			if err := l.configure(ctx, region, topic, map[string]string{
				"cleanup.policy": "compact", "segment.ms": "400", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "100",
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// configure sets what a topic in a region is configured with.
func (l *Lab) configure(ctx context.Context, region, topic string, configs map[string]string) error {
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(l.brokerAddrs(region).Admin))
	if err != nil {
		return err
	}
	defer adm.Close()
	var set []kadm.AlterConfig
	for name, value := range configs {
		set = append(set, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	done, err := adm.AlterTopicConfigs(ctx, set, topic)
	for _, d := range done {
		err = errors.Join(err, d.Err)
	}
	if configs["cleanup.policy"] != "" {
		often := "200" // the cleaner looks every 15 s otherwise
		quick, also := adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.backoff.ms", Value: &often}})
		for _, d := range quick {
			also = errors.Join(also, d.Err)
		}
		err = errors.Join(err, also)
	}
	if err != nil {
		return fmt.Errorf("configure topic %s in %s: %w", topic, region, err)
	}
	return nil
}
