package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lineage"
	"breakwater/internal/record"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// blasted is a lake with backups, brokers and OpenLineage events, of whose table orders
// version 6 is bad.
type blasted struct {
	*world.Vaulted
	bad time.Time
}

// newBlasted lets the fault come to orders, and to payments through the pipeline settle.
// Of two backups the second holds it. Group orders-app has read topic orders up to then,
// group fraud, of which the estate knows nothing, beyond. Job report, neither, has read
// the table.
func newBlasted(t *testing.T) *blasted {
	t.Helper()
	b := &blasted{Vaulted: world.NewVaulted(t)}
	b.Clock = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	b.Brokers()
	b.Estate.Lineage = &estate.Lineage{Bucket: "lake", Prefix: "_lineage"}
	b.Faults.Lineage = "_lineage"
	in := map[string]string{world.East: "x-east", world.West: "x-west"}
	b.Estate.Groups[0].Pipelines = []estate.Pipeline{
		{Pipeline: "publish", Connector: "temporal-schedule", In: in, Reads: []string{"table:orders"}, Writes: []string{"topic:orders"}},
		{Pipeline: "settle", Connector: "temporal-schedule", In: in, Reads: []string{"table:orders"}, Writes: []string{"payments"}},
		{Pipeline: "archive", Connector: "temporal-schedule", In: in, Reads: []string{"payments"}, Writes: []string{"table:clicks"}},
	}
	b.Written()
	b.Create("clicks", 0)
	b.Take("one")
	b.bad = b.Tick(time.Minute)
	b.Append("orders", 7)
	b.Tick(time.Minute)
	b.Append("payments", 3)
	b.Take("two")
	for _, name := range []string{"orders", "payments", "clicks"} {
		b.Replicate(name, nil)
	}
	b.topics(map[string]int64{"orders-app": 2, "earlier": 1, "fraud": 4})
	b.events("report.json", fmt.Sprintf(`{"eventType":"COMPLETE","eventTime":%q,"run":{"runId":"r1"},"job":{"namespace":"bi","name":"report"},"inputs":[{"namespace":"s3a://lake-west","name":"orders/orders","facets":{"version":{"datasetVersion":"6"}}}]}
{"eventType":"COMPLETE","eventTime":%q,"run":{"runId":"r2"},"job":{"namespace":"bi","name":"audit"},"inputs":[{"namespace":"s3a://lake-west","name":"orders/orders","facets":{"version":{"datasetVersion":"5"}}}]}`, b.at(2), b.at(2)))
	b.Run.Workflow, b.Run.FirstRun = "bad-write", "one"
	d := b.Recorded("table.last-good")
	r := b.Request(d, "orders")
	b.Act(d, &r, json.RawMessage(`{"bad_version":6}`))
	return b
}

func (b *blasted) at(minutes int) string {
	return b.bad.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339Nano)
}

// topics writes two records before the fault and two since to each partition of topic
// orders in both regions, and commits for groups at the source.
func (b *blasted) topics(committed map[string]int64) {
	b.T.Helper()
	for _, r := range b.Estate.Regions {
		cl, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		b.Must(err)
		b.T.Cleanup(cl.Close)
		for p := range int32(2) {
			for _, minutes := range []int{-20, -10, 5, 6} {
				b.Must(cl.ProduceSync(b.T.Context(), &kgo.Record{Topic: "orders", Partition: p, Timestamp: b.bad.Add(time.Duration(minutes) * time.Minute)}).FirstErr())
			}
		}
		if r.Region != world.East {
			continue
		}
		for group, at := range committed {
			var all kadm.Offsets
			all.AddOffset("orders", 0, at, -1)
			done, err := kadm.NewClient(cl).CommitOffsets(b.T.Context(), group, all)
			b.Must(errors.Join(err, done.Error()))
		}
	}
}

// events puts an object among the OpenLineage events of the target.
func (b *blasted) events(name, body string) { b.T.Helper(); b.eventsIn(world.West, name, body) }

func (b *blasted) eventsIn(region, name, body string) {
	b.T.Helper()
	bucket, err := b.Estate.RealBucket("lake", region)
	b.Must(err)
	_, err = b.S3[region].PutObject(b.T.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("_lineage/" + name), Body: strings.NewReader(body)})
	b.Must(err)
}

// radius plans, and gives what was found.
func (b *blasted) radius(with string) (lineage.Radius, action.Change) {
	b.T.Helper()
	d := b.Recorded("table.blast-radius")
	ch, err := d.Plan(b.T.Context(), b.Request(d, "orders"), json.RawMessage(with))
	b.Must(err)
	r, err := action.Decode[lineage.Radius](ch.Data)
	b.Must(err)
	return r, ch
}

// decided are the items with their decisions.
func decided(r lineage.Radius) []string {
	var all []string
	for _, i := range r.Items {
		all = append(all, i.ID()+"="+string(i.Decided))
	}
	return all
}

func TestProveBlastRadius(t *testing.T) {
	t.Parallel()
	b := newBlasted(t)
	d := b.Recorded("table.blast-radius")
	prove.Action(t, d, b.Request(d, "orders"), b.FaultSet())
	r, _, err := record.BlastRadius.Read(t.Context(), b.Records, "orders")
	b.Must(err)
	if diff := cmp.Diff([]string{
		"backup:orders/2=leave",
		"consumer-group:fraud@us-east-1=leave", // of which the estate knows nothing
		"copy:orders@us-east-1=roll back",
		"job:bi/report=leave", // it read version 6; job audit read 5, which is good
		"pipeline:archive=rebuild",
		"pipeline:publish=rebuild",
		"pipeline:settle=rebuild",
		"table:payments@us-west-2=roll back",
		"topic:orders=rebuild",
	}, decided(r)); diff != "" {
		t.Error(diff)
	}
	for _, i := range r.Items {
		if i.Name == "payments" && *i.First != 6 {
			t.Errorf("payments holds the fault from version %d on", *i.First)
		}
	}
	if !r.Origins[0].Since.Equal(b.bad) {
		t.Errorf("the fault is said to be of %s, and was written at %s: the times of a copied log are the copying's", r.Origins[0].Since, b.bad)
	}
	if len(r.Unread) > 0 {
		t.Errorf("unread: %+v", r.Unread)
	}
}

// TestBlastRadius takes one world through everything else that is promised.
func TestBlastRadius(t *testing.T) {
	t.Parallel()
	b := newBlasted(t)
	b.T = t
	t.Run("a decision for each is accepted", func(t *testing.T) {
		r, ch := b.radius(`{"decide":"table:payments=leave, consumer-group:fraud@us-east-1=roll back"}`)
		if got := decided(r); !slices.Contains(got, "table:payments@us-west-2=leave") || !slices.Contains(got, "consumer-group:fraud@us-east-1=roll back") {
			t.Errorf("decided %q", got)
		}
		if len(ch.Accepts) != len(r.Items) || len(ch.Effects) != len(r.Items)+1 {
			t.Errorf("%d lines to accept and %d effects for %d items", len(ch.Accepts), len(ch.Effects), len(r.Items))
		}
		_, ch = b.radius("")
		i := slices.IndexFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "downstream consumer-group:fraud@us-east-1" })
		if i < 0 || ch.Accepts[i].Sentence != "Consumer group fraud in us-east-1 is not in the estate. It stays as it is, and whoever it belongs to must be told: it has committed records of topic orders that came since." {
			t.Errorf("to accept: %+v", ch.Accepts)
		}
		d := b.Recorded("table.blast-radius")
		for with, says := range map[string]string{
			`{"decide":"table:payment=leave"}`:    `did you mean "table:payments"?`,
			`{"decide":"table:payments=drop"}`:    `"drop" is no decision`,
			`{"decide":"payments"}`:               "decides nothing",
			`{"bad":"payments"}`:                  "give bad_since",
			`{"bad":"topic:orders"}`:              "give bad_since",
			`{"bad":"payments","bad_version":99}`: "has no commit 99",
			`{"region":"us-east-1"}`:              "give both the same region",
		} {
			if _, err := d.Plan(t.Context(), b.Request(d, "orders"), json.RawMessage(with)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v; want a refusal that says %q", with, err, says)
			}
		}
		if _, err := d.Plan(t.Context(), b.Request(d, "clicks"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "table.last-good") {
			t.Errorf("of a group without a fault: %v", err)
		}
	})
	t.Run("a poisoned stream", func(t *testing.T) { poisoned(t, b) })
	t.Run("what commits say", func(t *testing.T) { committed(t, b) })
	t.Run("what could not be read is named", func(t *testing.T) { unread(t, b) })
}

// poisoned begins at a topic: what its known and its unknown consumers made of it.
func poisoned(t *testing.T, b *blasted) {
	b.Estate.Groups[0].ConsumerGroups[0].Writes = []string{"payments"}
	defer func() { b.Estate.Groups[0].ConsumerGroups[0].Writes = nil }()
	with := fmt.Sprintf(`{"bad":"topic:orders","bad_since":%q}`, b.at(1))
	r, _ := b.radius(with)
	if got := decided(r); !slices.Contains(got, "consumer-group:fraud@us-east-1=leave") || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "consumer-group:orders-app") }) {
		t.Errorf("%q; want fraud, which has read on, and not orders-app, which has not", got)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Estate.Regions[0].Kafka.Brokers...))
	b.Must(err)
	defer cl.Close()
	var all kadm.Offsets
	all.AddOffset("orders", 1, 3, -1)
	done, err := kadm.NewClient(cl).CommitOffsets(t.Context(), "orders-app", all)
	b.Must(errors.Join(err, done.Error()))
	r, _ = b.radius(with)
	if got := decided(r); !slices.Contains(got, "consumer-group:orders-app@us-east-1=roll back") {
		t.Errorf("%q; want orders-app, which has read on", got)
	}
	if len(r.Origins) != 2 {
		t.Errorf("the fault is in %+v", r.Origins)
	}
	r, _ = b.radius(fmt.Sprintf(`{"bad":"payments","bad_since":%q}`, b.at(0)))
	if o := r.Origins[len(r.Origins)-1]; o.Name != "payments" || *o.Bad != 6 || !o.Since.Equal(b.bad) {
		t.Errorf("by a time, the fault is in %+v", o)
	}
}

// committed writes commits that name a bad version as their source, or come of the writer
// that wrote it.
func committed(t *testing.T, b *blasted) {
	put := func(name string, version int, lines ...string) {
		t.Helper()
		decl, _, _ := b.Estate.Table(name)
		_, err := b.RootBucket(world.West).Put(t.Context(), world.Entry(decl.Path, version), []byte(strings.Join(lines, "\n")))
		b.Must(err)
	}
	info := func(minutes int, more string) string {
		return fmt.Sprintf(`{"commitInfo":{"timestamp":%d,"operation":"WRITE"%s}}`, b.bad.Add(time.Duration(minutes)*time.Minute).UnixMilli(), more)
	}
	add := `{"add":{"path":"x.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":1}"}}`
	reached := func() lineage.Item {
		t.Helper()
		r, _ := b.radius("")
		i := slices.IndexFunc(r.Items, func(i lineage.Item) bool { return i.Kind == estate.TableKind && i.Name == "clicks" })
		if i < 0 {
			return lineage.Item{}
		}
		return r.Items[i]
	}
	b.Estate.Groups[0].Pipelines = slices.DeleteFunc(b.Estate.Groups[0].Pipelines, func(p estate.Pipeline) bool { return p.Pipeline == "archive" })
	put("clicks", 1, info(3, `,"operationParameters":{"source":"s3a://lake-west/orders/orders","sourceVersion":5}`), add)
	if i := reached(); i.Name != "" {
		t.Errorf("a clone of a good version: %+v", i)
	}
	put("clicks", 2, info(4, `,"operationParameters":{"source":"s3a://lake-east/orders/orders","sourceVersion":6}`), add)
	if i := reached(); i.Decided != lineage.RollBack || *i.First != 2 || !strings.Contains(strings.Join(i.Why, ";"), "names table orders as its source") {
		t.Errorf("a clone of a bad version: %+v", i)
	}
	b.Unput("clicks", 2)
	b.Unput("clicks", 1)
	body, _, err := b.RootBucket(world.West).Get(t.Context(), world.Entry("orders/orders", 6))
	b.Must(err)
	put("orders", 6, string(bytes.TrimSpace(body)), `{"txn":{"appId":"stream-7","version":3}}`)
	put("clicks", 1, info(3, ""), `{"txn":{"appId":"stream-7","version":3}}`, add)
	if i := reached(); i.Decided != lineage.Leave || *i.First != 1 || !slices.Equal(i.Streams, []string{"stream-7"}) || !strings.Contains(i.Why[0], "stream-7, which wrote bad versions of table orders") {
		t.Errorf("written by the writer of the bad version: %+v", i)
	}
	b.Unput("clicks", 1)
}

// Unput takes a log entry of the target away.
func (b *blasted) Unput(name string, version int) {
	b.T.Helper()
	decl, _, _ := b.Estate.Table(name)
	_, err := b.RootBucket(world.West).Delete(b.T.Context(), world.Entry(decl.Path, version))
	b.Must(err)
}

// unread takes sources of traces away: each is named, in the plan and in the look, and
// nothing is green.
func unread(t *testing.T, b *blasted) {
	d := b.Recorded("table.blast-radius")
	b.events("cut.json", `{"eventType":"COMPL`)
	for v := range 6 {
		b.Unput("payments", v)
	}
	was := b.Estate.Regions[0].Kafka.Brokers
	b.Estate.Regions[0].Kafka.Brokers = []string{"127.0.0.1:1"}
	defer func() { b.Estate.Regions[0].Kafka.Brokers = was }()
	r, ch := b.radius("")
	var names []string
	for _, u := range r.Unread {
		names = append(names, u.Name+": "+u.Why)
	}
	if len(names) != 3 || names[0] != "commits of table payments in us-west-2: its log begins with version 6, which is later than the fault: what was committed before is not known" ||
		names[1] != "consumer groups in us-east-1: it does not answer" || !strings.HasPrefix(names[2], "s3://lake-west/_lineage/cut.json: from event 1 on: it is not JSON") {
		t.Errorf("unread: %q", names)
	}
	if got := decided(r); !slices.Contains(got, "consumer-group:orders-app=roll back") {
		t.Errorf("%q; want orders-app by the estate's word, since no broker says otherwise", got)
	}
	if !slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return a.ID == "unread consumer groups in us-east-1" }) {
		t.Errorf("to accept: %+v", ch.Accepts)
	}
	req := b.Request(d, "orders")
	b.Act(d, &req, nil)
	obs, err := d.Verify(t.Context(), req, nil)
	b.Must(err)
	if action.Worst(obs) != verdict.Unknown || !strings.Contains(prove.Told(obs), "consumer groups in us-east-1") {
		t.Errorf("with sources unread:\n%s", prove.Told(obs))
	}
}
