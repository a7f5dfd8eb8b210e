package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/kafka/place"
	"breakwater/internal/mirror/mm2"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// worker is a stand-in of Connect: its connectors are stopped, and set as config says.
func (p *pair) worker(config map[string]string, next int64) {
	p.T.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var answer any
		switch {
		case strings.HasSuffix(r.URL.Path, "/config"):
			answer = config
		case strings.HasSuffix(r.URL.Path, "/status"):
			answer = json.RawMessage(`{"connector":{"state":"STOPPED"},"tasks":[]}`)
		case strings.HasSuffix(r.URL.Path, "/offsets"):
			answer = json.RawMessage(fmt.Sprintf(`{"offsets":[{"partition":{"cluster":"east","partition":0,"topic":"orders"},"offset":{"offset":%d}}]}`, next-1))
		default:
			rw.WriteHeader(http.StatusMethodNotAllowed)
			answer = json.RawMessage(`{"error_code":405,"message":"HTTP 405 Method Not Allowed"}`)
		}
		if err := json.NewEncoder(rw).Encode(answer); err != nil {
			p.T.Error(err)
		}
	}))
	p.T.Cleanup(s.Close)
	p.Estate.Regions[1].Connect.URL = s.URL
}

// byDefault is the configuration of connectors of a mirror that renames topics.
func byDefault() map[string]string {
	return map[string]string{
		"connector.class":      "org.apache.kafka.connect.mirror.MirrorSourceConnector",
		"source.cluster.alias": "east", "target.cluster.alias": "west",
	}
}

// asked notes which topics clients of the target name.
func (p *pair) asked() (names func() []string) {
	var mu sync.Mutex
	all := map[string]bool{}
	p.target.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		p.target.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		switch r := r.(type) {
		case *kmsg.MetadataRequest:
			for _, t := range r.Topics {
				if t.Topic != nil {
					all[*t.Topic] = true
				}
			}
		case *kmsg.ListOffsetsRequest:
			for _, t := range r.Topics {
				all[t.Topic] = true
			}
		case *kmsg.OffsetCommitRequest:
			for _, t := range r.Topics {
				all[t.Topic] = true
			}
		case *kmsg.OffsetDeleteRequest:
			for _, t := range r.Topics {
				all[t.Topic] = true
			}
		}
		return nil, nil, false
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(maps.Keys(all))
	}
}

// commit commits for a group of the source.
func (p *pair) commit(topic string, at int64) {
	p.T.Helper()
	var o kadm.Offsets
	o.AddOffset(topic, 0, at, -1)
	done, err := kadm.NewClient(kafkatest.Client(p.T, p.source)).CommitOffsets(p.T.Context(), "app", o)
	p.Must(errors.Join(err, done.Error()))
}

// newRenamed is a pair whose mirror calls orders east.orders. The target has a topic
// orders of its own, of other records.
func newRenamed(t *testing.T) *pair {
	t.Helper()
	p := newPair(t, 1, 1)
	p.Must(p.target.CreateTopic("east.orders", 1, nil))
	p.Estate.Regions[1].Connect.PolicyIdentity = false
	p.worker(byDefault(), 1000)
	kafkatest.Produce(t, p.source, kafkatest.Numbered("orders", 0, 1000, begun)...)
	kafkatest.Produce(t, p.target, kafkatest.Numbered("orders", 0, 1500, begun)...)
	kafkatest.Produce(t, p.target, kafkatest.Numbered("east.orders", 0, 1000, begun)...)
	p.delivered(0, 999)
	p.synced(800)
	p.commit("orders", 900)
	k, v, err := mm2.Checkpoint{Group: "app", Partition: kafka.Partition{Topic: "east.orders"}, Upstream: 850, Downstream: 801}.Encode()
	p.Must(err)
	// Of the target's own topic, in which the group reads what came back.
	k2, v2, err := mm2.Checkpoint{Group: "app", Partition: kafka.Partition{Topic: "orders"}, Upstream: 1400, Downstream: 1400}.Encode()
	p.Must(err)
	kafkatest.Produce(t, p.target, &kgo.Record{Topic: "east.checkpoints.internal", Key: k, Value: v}, &kgo.Record{Topic: "east.checkpoints.internal", Key: k2, Value: v2})
	return p
}

// TestRenamed takes a topic that the mirror renames through every action of the room.
// The standby's own topic of the source's name is another log: nobody asks for it.
func TestRenamed(t *testing.T) {
	t.Parallel()
	p := newRenamed(t)
	asked := p.asked()
	st, _, l := p.point()
	if s := st.Partitions[0]; !exactly(l, 0) || s.MirroredThrough != 1000 || s.TargetEnd != 1000 {
		t.Errorf("the loss is %+v, of %+v; want none, of a copy that ends at 1000", l, s)
	}
	is := func(what string, obs []action.Observation, err error) {
		t.Helper()
		if err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("%s: %v\n%s", what, err, prove.Told(obs))
		}
	}
	point := newRoomAction(p, "kafka.recovery-point")
	r := p.Request(point, "orders")
	r.Records = p.records
	obs, err := point.Verify(t.Context(), r, nil)
	is("recovery point", obs, err)
	if c, err := point.Plan(t.Context(), r, nil); err != nil || !strings.Contains(c.Summary, "east.orders (orders at the source)") {
		t.Errorf("the plan of the recovery point does not say what the topic is called: %q, %v", c.Summary, err)
	}

	stop := newRoomAction(p, "kafka.stop-mirror")
	r = p.Request(stop, "")
	obs, err = stop.Verify(t.Context(), r, nil)
	is("stop", obs, err)

	c, placed := p.promote()
	at := kafka.Partition{Topic: "east.orders"}
	if len(placed.Placements) != 1 || placed.Placements[0].Partition != at || placed.Placements[0].Offset != 801 || placed.Placements[0].Reason != place.Translated {
		t.Fatalf("the group is placed at %+v, want in east.orders at 801", placed.Placements)
	}
	const subscribe = "its consumers must subscribe to east.orders, which is what the mirror calls orders there"
	if !strings.Contains(c.Summary, subscribe) || !strings.Contains(c.Effects[0].On, "east.orders-0") || len(c.Accepts) > 0 {
		t.Errorf("the plan says %q, %+v, and asks for %+v; want that %s, and nothing to accept", c.Summary, c.Effects, c.Accepts, subscribe)
	}
	def := promoting(t, p.Systems, hold.Times(quick))
	r = p.Request(def, "app")
	r.Records, r.Plan = p.records, &c
	out, err := def.Apply(t.Context(), r, nil)
	p.Must(err)
	if !strings.Contains(out.Summary, subscribe) {
		t.Errorf("what was done is %q; want that %s", out.Summary, subscribe)
	}
	obs, err = def.Verify(t.Context(), r, nil)
	is("promote", obs, err)
	stands := func() map[string]int64 {
		t.Helper()
		all, err := kadm.NewClient(kafkatest.Client(t, p.target)).FetchOffsets(t.Context(), "app")
		p.Must(err)
		m := map[string]int64{}
		all.Each(func(o kadm.OffsetResponse) { m[o.Topic] = o.At })
		return m
	}
	if got := stands(); !maps.Equal(got, map[string]int64{"east.orders": 801}) {
		t.Errorf("by another client, the group stands at %v; want in east.orders alone", got)
	}
	p.TakenBack(def, &r, nil)
	if got := stands(); len(got) > 0 {
		t.Errorf("taken back, the group stands at %v; want nowhere", got)
	}
	if names := asked(); slices.Contains(names, "orders") || !slices.Contains(names, "east.orders") {
		t.Errorf("of the target was asked %q: its own topic orders is nobody's copy", names)
	}
}

func newRoomAction(p *pair, name string) *action.Definition {
	p.T.Helper()
	def, ok := prove.Catalogue(p.Systems, Add).Get(name)
	if !ok {
		p.T.Fatalf("the room has no %s", name)
	}
	return def
}

// TestNotAsDeclared: whose connectors are set to something else is refused, by name.
func TestNotAsDeclared(t *testing.T) {
	t.Parallel()
	p := newRenamed(t)
	p.point()
	def := promoting(t, p.Systems, hold.Times(quick))
	plan := func(def *action.Definition, item string) (action.Change, error) {
		r := p.Request(def, item)
		r.Records = p.records
		return def.Plan(t.Context(), r, nil)
	}
	connect := p.Estate.Regions[1].Connect
	for name, tc := range map[string]struct {
		set  func(map[string]string)
		says string
	}{
		"another policy":    {func(c map[string]string) { connect.PolicyIdentity = true }, "correct identity_policy under connect in the estate"},
		"another separator": {func(c map[string]string) { c["replication.policy.separator"] = "_" }, "correct separator under connect in the estate"},
		"another alias":     {func(c map[string]string) { c["source.cluster.alias"] = "eu" }, "correct alias of kafka in the estate"},
		"a custom policy":   {func(c map[string]string) { c["replication.policy.class"] = "org.example.Ours" }, "org.example.Ours"},
	} {
		config := byDefault()
		connect.PolicyIdentity = false
		tc.set(config)
		p.worker(config, 1000)
		for _, step := range []struct {
			def  *action.Definition
			item string
		}{{def, "app"}, {newRoomAction(p, "kafka.recovery-point"), "orders"}, {newRoomAction(p, "kafka.stop-mirror"), ""}} {
			if _, err := plan(step.def, step.item); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "mm2-source") {
				t.Errorf("%s: the plan of %s: %v; want a refusal of mm2-source that says %q", name, step.def.Name, err, tc.says)
			}
		}
	}
	// Nobody answers: people take the estate's word, or do not.
	connect.PolicyIdentity, connect.URL = false, "http://127.0.0.1:1"
	for def, item := range map[*action.Definition]string{def: "app", newRoomAction(p, "kafka.recovery-point"): "orders"} {
		c, err := plan(def, item)
		if again, err := plan(def, item); err != nil || !slices.Equal(again.Accepts, c.Accepts) {
			t.Errorf("%s, planned twice, asks to accept %+v and %+v, %v", def.Name, c.Accepts, again.Accepts, err)
		}
		if err != nil || !accepts(c, "names of topics") || !strings.Contains(c.Accepts[0].Sentence, "does not answer") {
			t.Errorf("%s with a Connect that does not answer: %v, accepting %+v; want that somebody accepts the estate's word", def.Name, err, c.Accepts)
		}
	}
}

// TestOtherKindsOfGroup: a group that is no consumer group is refused at plan, at either
// side, and taking back touches none.
func TestOtherKindsOfGroup(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(*pair) []string{
		"at the source": func(p *pair) []string { return p.source.ListenAddrs() },
		"at the target": func(p *pair) []string { return p.target.ListenAddrs() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 1, 1)
			kafkatest.Produce(t, p.source, kafkatest.Numbered("orders", 0, 20, begun)...)
			kafkatest.Produce(t, p.target, kafkatest.Numbered("orders", 0, 20, begun)...)
			p.delivered(0, 19)
			p.point()
			def := promoting(t, p.Systems, hold.Times(quick))
			r := p.Request(def, "app")
			r.Records = p.records
			before, err := def.Plan(t.Context(), r, nil)
			p.Must(err)
			share(p, at(p))
			if _, err := def.Plan(t.Context(), r, nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "it is a share group") {
				t.Errorf("Plan = %v, want a refusal of a share group", err)
			}
			if name == "at the source" {
				return
			}
			r.Plan = &before
			if _, err := def.Apply(t.Context(), r, nil); !errors.Is(err, kafka.ErrOtherKind) {
				t.Errorf("Apply = %v, want a refusal", err)
			}
			obs, err := def.Verify(t.Context(), r, nil)
			if err != nil || action.Worst(obs) != verdict.Fail {
				t.Errorf("Verify = %v\n%s", err, prove.Told(obs))
			}
			if _, err := def.UndoPlan(t.Context(), r, nil); !errors.Is(err, action.ErrRefused) {
				t.Errorf("UndoPlan = %v, want a refusal", err)
			}
		})
	}
}

// share lets a member read as the share group app.
func share(p *pair, brokers []string) {
	p.T.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ShareGroup("app"), kgo.ConsumeTopics("orders"))
	p.Must(err)
	p.T.Cleanup(cl.Close)
	adm := kadm.NewClient(cl)
	p.Eventually("the share group is there", func() bool {
		all, err := adm.ListGroupsByType(p.T.Context(), []string{"share"})
		p.Must(err)
		_, ok := all["app"]
		return ok
	})
}

// TestRenamedIsHeldBack: what the tables lack is read again, and held against a sync, in
// the renamed topic too.
func TestRenamedIsHeldBack(t *testing.T) {
	t.Parallel()
	p := newRenamed(t)
	config := byDefault()
	config["sync.group.offsets.enabled"] = "true"
	p.worker(config, 1000)
	p.point()
	data, err := action.Encode(recovery.GroupPoint{Group: "orders", Cut: recovery.Cut{
		At: begun.Add(70*time.Second + p.Estate.ClockSkew.Std()), Tables: []recovery.TablePoint{{Name: "orders"}},
	}})
	p.Must(err)
	p.records.Put("group.recovery-point", "orders", action.Outcome{Summary: "chosen", Data: data})
	at := kafka.Partition{Topic: "east.orders"}
	_, placed := p.promote()
	if pl := placed.Placements[0]; pl.Partition != at || pl.Offset != 70 || pl.Reason != place.ByCut {
		t.Errorf("placed at %+v, want in east.orders at 70, by the cut", pl)
	}
	if placed.Hold == nil || placed.Hold.Reach[at] != 801 || placed.Hold.Points[at] != 801 {
		t.Errorf("the hold is %+v, want one against a sync to 801", placed.Hold)
	}
}
