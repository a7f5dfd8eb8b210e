package world

import (
	"context"
	_ "embed"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"

	"breakwater/internal/estate"
	"breakwater/lab/faults"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Brokers adds a stand-in of Kafka to each region, which can be ended and started
// again on its port, and a Connect that knows the mirror's connectors.
func (w *World) Brokers() {
	w.T.Helper()
	clusters := map[string]*kfake.Cluster{}
	start := func(region string, port int) {
		w.T.Helper()
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID("cluster-"+region), kfake.SeedTopics(2, "orders", "clicks"),
			kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
		w.Must(err)
		clusters[region] = c
	}
	w.T.Cleanup(func() {
		for _, c := range clusters {
			c.Close()
		}
	})
	for _, name := range []string{East, West} {
		start(name, 0)
		addrs := clusters[name].ListenAddrs()
		_, text, err := net.SplitHostPort(addrs[0])
		w.Must(err)
		port, err := strconv.Atoi(text)
		w.Must(err)
		r, _ := w.Estate.Region(name)
		r.Kafka = &estate.Kafka{Brokers: addrs, ClusterID: "cluster-" + name, Alias: name}
		place := &w.Faults.Source
		if name == West {
			place = &w.Faults.Target
		}
		place.Brokers = addrs
		stop, back := place.Stop, place.Start
		place.Stop = func(ctx context.Context, s faults.System) error {
			if s == faults.All || s == faults.KafkaSystem {
				clusters[name].Close()
			}
			return stop(ctx, s)
		}
		place.Start = func(ctx context.Context, s faults.System) error {
			if s == faults.All || s == faults.KafkaSystem {
				start(name, port)
			}
			return back(ctx, s)
		}
	}
	for i := range w.Estate.Groups {
		g := &w.Estate.Groups[i]
		g.Topics = []estate.Topic{{Topic: g.Group}}
		g.ConsumerGroups = []estate.ConsumerGroup{{ConsumerGroup: g.Group + "-app", Topics: []string{g.Group}}}
	}
	w.Faults.Group.Topic, w.Faults.Group.ConsumerGroup = "orders", "orders-app"
	connect := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(rw).Encode([]string{"mirror-source", "mirror-checkpoint", "mirror-heartbeat"}); err != nil {
			w.T.Error(err)
		}
	}))
	w.T.Cleanup(connect.Close)
	r, _ := w.Estate.Region(West)
	r.Connect = &estate.Connect{URL: connect.URL, Source: "mirror-source", Checkpoint: "mirror-checkpoint", Heartbeat: "mirror-heartbeat"}
}
