package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	labkafka "breakwater/lab/kafka"
)

// brokerAddrs are the addresses of a region's broker, kept in the state so that
// they are known while it is dead.
type brokerAddrs struct {
	Admin, Client, Mirror, ClusterID string
}

func (l *Lab) brokerAddrs(region string) brokerAddrs {
	return view(&l.state, func(k kept) brokerAddrs { return k.Brokers[region] })
}

func (l *Lab) connectURL() string {
	return view(&l.state, func(k kept) string { return k.ConnectURL })
}

func (l *Lab) brokerConfig(region, jars string) labkafka.Config {
	c := labkafka.Config{
		Dir: l.path("data", "broker-"+region), Jars: jars, Name: region, Bound: l.Bound,
		Users: map[string]string{
			producerUser: l.secret("kafka", producerUser).SecretKey,
			consumerUser: l.secret("kafka", consumerUser).SecretKey,
		},
	}
	if region == Primary {
		c.MirrorVia = l.addr("line-" + LineKafka)
	}
	return c
}

// startBroker starts a region's broker unless it runs, and waits until it serves.
func (l *Lab) startBroker(ctx context.Context, jars, region string) (*labkafka.Broker, error) {
	began := time.Now()
	c := l.brokerConfig(region, jars)
	b, err := labkafka.StartBroker(ctx, c)
	if errors.Is(err, fs.ErrExist) {
		b, err = labkafka.OpenBroker(c)
	}
	if err != nil {
		return nil, err
	}
	addrs := brokerAddrs{Admin: b.Admin(), Client: b.Client(), Mirror: b.MirrorListen(), ClusterID: b.ClusterID()}
	if err := l.state.change(func(k *kept) { k.Brokers[region] = addrs }); err != nil {
		return nil, errors.Join(err, b.Stop(ctx))
	}
	return b, l.keep(ctx, "broker-"+region, b.Server, began)
}

// furnishBroker makes a region's topics and ACLs. MirrorMaker would make the
// topics at the standby, but copies no ACL that lets anybody write.
func (l *Lab) furnishBroker(ctx context.Context, b *labkafka.Broker) error {
	for _, g := range groups() {
		if err := errors.Join(
			b.CreateTopic(ctx, g.topic, partitions),
			b.AllowProduce(ctx, producerUser, g.topic),
			b.AllowConsume(ctx, consumerUser, g.topic, g.consumerGroup),
		); err != nil {
			return err
		}
	}
	return nil
}

// startConnect starts the mirror's worker at the standby.
func (l *Lab) startConnect(ctx context.Context, jars string) error {
	c := labkafka.ConnectConfig{
		Dir: l.path("data", "connect-"+Standby), Jars: jars, Name: Standby, Broker: l.brokerAddrs(Standby).Admin, Bound: l.Bound,
	}
	began := time.Now()
	w, err := labkafka.StartConnect(ctx, c)
	if errors.Is(err, fs.ErrExist) {
		w, err = labkafka.OpenConnect(c)
	}
	if err != nil {
		return err
	}
	if err := l.state.change(func(k *kept) { k.ConnectURL = w.URL() }); err != nil {
		return errors.Join(err, w.Stop(ctx))
	}
	return l.keep(ctx, "connect-"+Standby, w.Server, began)
}

func (l *Lab) furnishMirror(ctx context.Context) error {
	var topics []string
	for _, g := range groups() {
		topics = append(topics, g.topic)
	}
	return labkafka.PutMirror(ctx, l.connectURL(), labkafka.MirrorConfig{
		Source: aliases()[Primary], Target: aliases()[Standby],
		SourceBroker: l.addr("line-" + LineKafka), TargetBroker: l.brokerAddrs(Standby).Admin,
		Topics: topics,
	})
}

// rejoinMirror restarts the tasks that failed while a broker was away: Connect
// never does so by itself. A connector that was stopped has no tasks and stays so.
func (l *Lab) rejoinMirror(ctx context.Context) error {
	for _, name := range []string{labkafka.SourceConnector, labkafka.CheckpointConnector, labkafka.HeartbeatConnector} {
		url := fmt.Sprintf("%s/connectors/%s/restart?includeTasks=true&onlyFailed=true", l.connectURL(), name)
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		// Refused while the worker rebalances.
		err := until(ctx, 250*time.Millisecond, func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
			if err != nil {
				return err
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			res.Body.Close() //nolint:errcheck // only the status matters
			if res.StatusCode >= 300 && res.StatusCode != http.StatusNotFound {
				return errors.New(res.Status)
			}
			return nil
		})
		cancel()
		if err != nil {
			return fmt.Errorf("restart what failed of connector %s: %w", name, err)
		}
	}
	return nil
}
