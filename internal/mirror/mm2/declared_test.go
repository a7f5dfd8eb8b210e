package mm2

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"breakwater/internal/kafka"
	"breakwater/internal/reach"

	"github.com/twmb/franz-go/pkg/kfake"
)

// What the worker says otherwise than it was declared is named; what it does not say, or
// takes from elsewhere, is not.
func TestContradictions(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "offsets"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	target := client(t, cluster)
	good := func() map[string]map[string]string {
		return map[string]map[string]string{
			"a": {"connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector", "source.cluster.alias": "east", "target.cluster.alias": "west", "replication.policy.class": identityPack},
			"b": {"connector.class": "MirrorCheckpoint", "source.cluster.alias": "east", "target.cluster.alias": "${file:/aliases:west}", "replication.policy.class": identityPack},
			"c": {"connector.class": "MirrorHeartbeatConnector", "source.cluster.alias": "west", "target.cluster.alias": "east"},
		}
	}
	for name, tc := range map[string]struct {
		change  func(map[string]map[string]string)
		cluster string
		offsets string // what the worker says of them
		want    string
	}{
		"as declared":              {func(map[string]map[string]string) {}, "one", `{"offsets":[]}`, ""},
		"of no known cluster":      {func(map[string]map[string]string) {}, "", `{"offsets":[]}`, ""},
		"of an old worker":         {func(map[string]map[string]string) {}, "one", "", ""},
		"of another cluster":       {func(map[string]map[string]string) {}, "two", "", "is of cluster two, and the estate says one"},
		"a connector is not there": {func(c map[string]map[string]string) { delete(c, "b") }, "one", "", ""},
		"another class":            {func(c map[string]map[string]string) { c["c"]["connector.class"] = "a.FileStreamSinkConnector" }, "one", "", "connector c is a a.FileStreamSinkConnector and no MirrorHeartbeatConnector: correct heartbeat"},
		"another source":           {func(c map[string]map[string]string) { c["b"]["source.cluster.alias"] = "orient" }, "one", "", "connector b has source.cluster.alias orient, and the estate says east"},
		"the default of a source":  {func(c map[string]map[string]string) { delete(c["a"], "source.cluster.alias") }, "one", "", "connector a has source.cluster.alias source, and"},
		"names kept by the one":    {func(c map[string]map[string]string) { delete(c["b"], "replication.policy.class") }, "one", "", "connector b is set to something other than declared: its replication.policy.class"},
		"offsets elsewhere": {func(map[string]map[string]string) {}, "one",
			`{"offsets":[{"partition":{"cluster":"east","partition":0,"topic":"orders"},"offset":{"offset":4}}]}`, "topic offsets has no offset of connector a, of which the worker knows 1: write the worker's offset.storage.topic"},
	} {
		configs := good()
		tc.change(configs)
		w := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			var body any
			parts := strings.Split(r.URL.Path, "/")
			switch {
			case r.URL.Path == "/":
				body = map[string]string{"kafka_cluster_id": tc.cluster}
			case strings.HasSuffix(r.URL.Path, "/offsets") && tc.offsets != "":
				body = json.RawMessage(tc.offsets)
			case strings.HasSuffix(r.URL.Path, "/config") && configs[parts[2]] != nil:
				body = configs[parts[2]]
			case strings.HasSuffix(r.URL.Path, "/config"):
				rw.WriteHeader(http.StatusNotFound)
				body = map[string]any{"error_code": 404, "message": "Connector not found"}
			default:
				rw.WriteHeader(http.StatusNotFound)
				body = map[string]any{"error_code": 404, "message": noRoute}
			}
			if err := json.NewEncoder(rw).Encode(body); err != nil {
				t.Error(err)
			}
		}))
		m := New(Config{
			Worker: w, Source: "a", Checkpoint: "b", Heartbeat: "c", OffsetsTopic: "offsets", Alias: "east", TargetAlias: "west", TargetID: "one",
			Target: func(context.Context) (*kafka.Client, error) { return target, nil },
		})
		odd, err := m.Contradictions(t.Context())
		if got := strings.Join(odd, "; "); err != nil || (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tc.want)
		}
	}
	if _, err := answering(t, http.StatusBadGateway, "x").Contradictions(t.Context()); !errors.Is(err, reach.ErrUnreachable) {
		t.Errorf("of a worker that does not answer: %v", err)
	}
}
