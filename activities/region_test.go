package activities

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"

	"github.com/twmb/franz-go/pkg/kfake"
)

// brokers adds a stand-in of Kafka to each region, which can be ended and started
// again on its port, and a Connect that knows the mirror's connectors.
func (w *world) brokers() {
	w.t.Helper()
	clusters := map[string]*kfake.Cluster{}
	start := func(region string, port int) {
		w.t.Helper()
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID("cluster-"+region), kfake.SeedTopics(2, "orders", "clicks"),
			kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
		w.must(err)
		clusters[region] = c
	}
	w.t.Cleanup(func() {
		for _, c := range clusters {
			c.Close()
		}
	})
	for _, name := range []string{east, west} {
		start(name, 0)
		addrs := clusters[name].ListenAddrs()
		_, text, err := net.SplitHostPort(addrs[0])
		w.must(err)
		port, err := strconv.Atoi(text)
		w.must(err)
		r, _ := w.estate.Region(name)
		r.Kafka = &estate.Kafka{Brokers: addrs, ClusterID: "cluster-" + name, Alias: name}
		place := &w.faults.Source
		if name == west {
			place = &w.faults.Target
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
	for i := range w.estate.Groups {
		g := &w.estate.Groups[i]
		g.Topics = []estate.Topic{{Topic: g.Group}}
		g.ConsumerGroups = []estate.ConsumerGroup{{ConsumerGroup: g.Group + "-app", Topics: []string{g.Group}}}
	}
	w.faults.Group.Topic, w.faults.Group.ConsumerGroup = "orders", "orders-app"
	connect := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(rw).Encode([]string{"mirror-source", "mirror-checkpoint", "mirror-heartbeat"}); err != nil {
			w.t.Error(err)
		}
	}))
	w.t.Cleanup(connect.Close)
	r, _ := w.estate.Region(west)
	r.Connect = &estate.Connect{URL: connect.URL, Source: "mirror-source", Checkpoint: "mirror-checkpoint", Heartbeat: "mirror-heartbeat"}
}

func TestRegionProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.brokers()
	def := w.action("region.probe")
	r := w.request(def, "")
	proveAction(t, def, r, faults.Regions(w.faults))

	t.Run("a source that answers is a planned move", func(t *testing.T) {
		obs, err := def.Verify(t.Context(), r, nil)
		if err != nil || action.Worst(obs) != verdict.Pass {
			t.Fatalf("%v\n%s", err, told(obs))
		}
		n := 0
		for _, o := range obs {
			if strings.Contains(o.Got, "planned move") {
				n++
			}
		}
		if n != 6 || len(obs) != 12 {
			t.Errorf("%d of %d observations speak of a planned move, want 6 of 12\n%s", n, len(obs), told(obs))
		}
	})
	t.Run("frozen: connections are accepted and nothing answers", func(t *testing.T) {
		w.minio[east].Freeze(t)
		obs, err := def.Verify(t.Context(), r, nil)
		w.minio[east].Thaw(t)
		if err != nil || !action.OnlySourceUnreachable(obs) {
			t.Fatalf("%v\n%s", err, told(obs))
		}
	})
	t.Run("the dead source leaves an obligation, and the gate accepts nothing else", func(t *testing.T) {
		f, err := faults.Regions(w.faults).Find("region.source-unreachable")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Inject(t.Context()); err != nil {
			t.Fatal(err)
		}
		obs, err := def.Verify(t.Context(), r, nil)
		if err != nil || !action.OnlySourceUnreachable(obs) || len(accepts(r.Run, obs)) != 1 {
			t.Fatalf("%v\n%s", err, told(obs))
		}
		const owed = "When us-east-1 answers again, prove that its writers are fenced before anybody uses it"
		if l := summarize(obs); !slices.Equal(l.Obligations, []string{owed}) {
			t.Errorf("obligations %q, want %q", l.Obligations, owed)
		}
		if err := f.Heal(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("another cluster answers at the address", func(t *testing.T) {
		reg, _ := w.estate.Region(west)
		reg.Kafka.ClusterID = "of-last-year"
		defer func() { reg.Kafka.ClusterID = "cluster-" + west }()
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail {
			t.Errorf("%v\n%s", err, told(obs))
		}
	})
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.brokers()
	def := w.action("estate.preflight")
	r := w.request(def, "")
	proveAction(t, def, r, slices.Concat(faults.Storages(w.faults), faults.Vaults(w.faults), faults.Accesses(w.faults), faults.Regions(w.faults)))

	reg, _ := w.estate.Region(west)
	for name, tc := range map[string]struct {
		with   string
		change func() (back func())
		say    string
	}{
		"one person cannot open a live gate": {`{"gates":["data-platform"]}`, func() func() { return func() {} }, "1 who may decide"},
		"a gate of an unknown role":          {`{"gates":["commander"]}`, func() func() { return func() {} }, "no such role"},
		"a role that only claims": {"", func() func() {
			w.estate.Roles[0].Method = estate.Claimed
			return func() { w.estate.Roles[0].Method = estate.Signed }
		}, "claimed proves nothing"},
		"two names with one key": {"", func() func() {
			m := w.estate.Roles[0].Members
			was := m[1].Key
			m[1].Key = m[0].Key
			return func() { m[1].Key = was }
		}, "1 who may decide"},
		"nobody is named who replicates": {"", func() func() {
			was := reg.Storage.Replication
			reg.Storage.Replication = nil
			return func() { reg.Storage.Replication = was }
		}, "nobody is named"},
		"storage of a provider without access": {"", func() func() {
			reg.Storage.Provider = "aws"
			return func() { reg.Storage.Provider = "minio" }
		}, "not in this release"},
		"a user that is not there": {"", func() func() {
			a := w.estate.Groups[0].Access
			was := a.Readers
			a.Readers = append(slices.Clone(was), estate.AccessPrincipal{Region: west, Name: "nobody", Credentials: w.user(west, "nobody")})
			return func() { a.Readers = was }
		}, "nobody is no user there"},
		"a credential that is not there": {"", func() func() {
			a := w.estate.Groups[0].Access
			was := a.Readers
			a.Readers = []estate.AccessPrincipal{{Region: west, Name: "orders-reader", Credentials: "file:gone"}}
			return func() { a.Readers = was }
		}, "file:gone"},
		"a bucket that is not there": {"", func() func() {
			w.estate.Buckets[1].In[west] = "archive-wset"
			return func() { w.estate.Buckets[1].In[west] = "archive-west" }
		}, "no such bucket"},
		"a topic that is not mirrored": {"", func() func() {
			w.estate.Groups[0].Topics[0].Topic = "ordres"
			return func() { w.estate.Groups[0].Topics[0].Topic = "orders" }
		}, "ordres"},
		"a connector that Connect does not have": {"", func() func() {
			reg.Connect.Others = []string{"sink-to-lake"}
			return func() { reg.Connect.Others = nil }
		}, "not sink-to-lake"},
		"another cluster": {"", func() func() {
			reg.Kafka.ClusterID = "of-last-year"
			return func() { reg.Kafka.ClusterID = "cluster-" + west }
		}, "of-last-year"},
		"a ledger that is not there": {"", func() func() {
			w.estate.Ledger.Bucket = "legder"
			return func() { w.estate.Ledger.Bucket = "ledger" }
		}, "no such bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			back := tc.change()
			obs, err := def.Verify(t.Context(), r, json.RawMessage(tc.with))
			back()
			if err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(told(onlyBad(obs)), tc.say) {
				t.Errorf("want a failure that says %q, got %s, %v\n%s", tc.say, action.Worst(obs), err, told(onlyBad(obs)))
			}
		})
	}
}

func onlyBad(obs []action.Observation) []action.Observation {
	return slices.DeleteFunc(slices.Clone(obs), func(o action.Observation) bool { return o.Verdict == verdict.Pass })
}
