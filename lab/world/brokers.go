package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"

	"breakwater/internal/estate"
	"breakwater/lab/faults"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Brokers adds a stand-in of Kafka to each region, which can be ended and started
// again on its port, and a Connect that knows the mirror's connectors.
func (w *World) Brokers() {
	w.T.Helper()
	clusters := map[string]*kfake.Cluster{}
	start := func(region string, port int) {
		w.T.Helper()
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID("cluster-"+region), kfake.SeedTopics(2, "orders", "clicks"), kfake.SeedTopics(1, "mm2-offsets"),
			kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
		w.Must(err)
		clusters[region] = c
		w.offsets(c.ListenAddrs())
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
	connect := httptest.NewServer(w.connect("cluster-" + West))
	w.T.Cleanup(connect.Close)
	r, _ := w.Estate.Region(West)
	r.Connect = &estate.Connect{URL: connect.URL, Source: "mirror-source", Checkpoint: "mirror-checkpoint", Heartbeat: "mirror-heartbeat", OffsetsTopic: "mm2-offsets", PolicyIdentity: true}
}

// connect is a stand-in of a Connect worker of a cluster, with the mirror's connectors
// as they were put there, and two partitions of which it knows offsets.
func (w *World) connect(cluster string) http.Handler {
	var mu sync.Mutex
	configs := map[string]map[string]string{}
	for name, class := range map[string]string{"source": "MirrorSourceConnector", "checkpoint": "MirrorCheckpointConnector", "heartbeat": "MirrorHeartbeatConnector"} {
		configs["mirror-"+name] = map[string]string{"connector.class": "org.apache.kafka.connect.mirror." + class, "source.cluster.alias": East, "target.cluster.alias": West,
			"replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy"}
	}
	answer := func(rw http.ResponseWriter, status int, body any) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		if err := json.NewEncoder(rw).Encode(body); err != nil {
			w.T.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, http.StatusOK, map[string]string{"version": "4.3.0", "kafka_cluster_id": cluster})
	})
	mux.HandleFunc("GET /connectors", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, http.StatusOK, []string{"mirror-source", "mirror-checkpoint", "mirror-heartbeat"})
	})
	mux.HandleFunc("GET /connectors/mirror-source/offsets", func(rw http.ResponseWriter, _ *http.Request) {
		at := func(partition int) any {
			return map[string]any{"partition": map[string]any{"cluster": East, "partition": partition, "topic": "orders"}, "offset": map[string]int{"offset": 5}}
		}
		answer(rw, http.StatusOK, map[string]any{"offsets": []any{at(0), at(1)}})
	})
	mux.HandleFunc("GET /connectors/{name}/config", func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if c, ok := configs[r.PathValue("name")]; ok {
			answer(rw, http.StatusOK, c)
			return
		}
		answer(rw, http.StatusNotFound, map[string]any{"error_code": 404, "message": "Connector not found"})
	})
	mux.HandleFunc("PUT /connectors/{name}/config", func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		c := map[string]string{}
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			answer(rw, http.StatusBadRequest, map[string]any{"error_code": 400, "message": err.Error()})
			return
		}
		configs[r.PathValue("name")] = c
		answer(rw, http.StatusOK, c)
	})
	return mux
}

// offsets writes what the source connector delivered into the topic in which its worker
// keeps it.
func (w *World) offsets(brokers []string) {
	w.T.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	w.Must(err)
	defer c.Close()
	for partition := range 2 {
		key := fmt.Sprintf(`["mirror-source",{"cluster":%q,"partition":%d,"topic":"orders"}]`, East, partition)
		w.Must(c.ProduceSync(w.T.Context(), &kgo.Record{Topic: "mm2-offsets", Key: []byte(key), Value: []byte(`{"offset":5}`)}).FirstErr())
	}
}
