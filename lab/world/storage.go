package world

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/lake"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/server"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/wan"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/madmin-go/v3"
	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sync/errgroup"
)

// Do plans and applies an action, for what stands before the one under test.
func (w *World) Do(t *testing.T, def *action.Definition, item string) {
	t.Helper()
	r := w.Request(def, item)
	plan, err := def.Plan(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = &plan
	if _, err := def.Apply(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
}

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

//go:embed testdata/deltars.py
var deltaRS string

// DeltaRS runs delta-rs at the target, and returns its answer. Its interpreter
// comes from the build; without one, only our own reader looks.
func (w *World) DeltaRS(path string, q map[string]any) map[string]any {
	w.T.Helper()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		w.T.Fatal("BREAKWATER_PYTHON names no Python with delta-rs: make test sets it, after make tools")
	}
	q["uri"] = "s3://lake-west/" + path
	q["options"] = map[string]string{
		"AWS_ENDPOINT_URL": w.Minio[West].Endpoint, "AWS_ACCESS_KEY_ID": miniotest.RootUser, "AWS_SECRET_ACCESS_KEY": miniotest.RootPassword,
		"AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true", "AWS_CONDITIONAL_PUT": "etag",
	}
	in, err := json.Marshal(q)
	w.Must(err)
	cmd := exec.CommandContext(w.T.Context(), python, "-c", deltaRS)
	cmd.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.T.Fatalf("delta-rs: %v: %s", err, stderr.String())
	}
	var answer map[string]any
	w.Must(json.Unmarshal(out, &answer))
	return answer
}

// RewoundLake destroys the table orders in every way that leaves versions, and
// rewinds it to its version 5. It gives the keys of each version from 1 on.
func RewoundLake(t *testing.T) (*Lake, [][]int64) {
	t.Helper()
	l := NewLake(t)
	l.Run.SourceUnreachable = false
	l.Create("orders", 3)
	var all [][]int64
	ids, next := []int64{}, int64(1)
	commit := func() {
		var rows []write.Row
		for range 7 {
			rows = append(rows, write.Row{next, "note"})
			ids = append(ids, next)
			next++
		}
		_, err := l.Writers["orders"].Append(t.Context(), rows)
		l.Must(err)
		all = append(all, append([]int64(nil), ids...))
	}
	for range 5 {
		commit()
	}
	l.Replicate("orders", nil)
	s := &Shelf{l.World, "lake-west", "ticks/"}
	at := s.Moment()
	for range 4 {
		commit()
	}
	l.Replicate("orders", nil)
	path := "orders/orders"
	file := func(v int) string { return l.DataOf("orders", v)[0] }
	l.Writes(file(1), "ransom")
	l.Deletes(file(2), Entry(path, 0), Entry(path, 3), path+"/_delta_log/_last_checkpoint")
	l.Writes(Entry(path, 4), `{"add":{"path":"elsewhere"}}`)

	def := l.World.Action("storage.rewind")
	r, p := l.Request(def, "lake"), prove.With(t, map[string]any{"at": at, "prefix": path + "/"})
	l.Act(def, &r, p)
	prove.Passes(t, def, r, p)
	return l, all[:5]
}

// MirroredLake is a world whose lake is replicated from east to west by the servers
// themselves, with the rule back ready and disabled.
func MirroredLake(t *testing.T) *World {
	t.Helper()
	w := New(t)
	for i := range w.Estate.Tiers {
		w.Estate.Tiers[i].RPO = estate.Duration(time.Minute)
	}
	lake, _ := w.Estate.Bucket("lake")
	lake.DeleteMarkers, lake.ReverseRule, lake.Retention = estate.Replicate, estate.Disabled, estate.Duration(72*time.Hour)
	w.Replicate(East, West, w.Address(West), types.ReplicationRuleStatusEnabled)
	w.Replicate(West, East, w.Address(East), types.ReplicationRuleStatusDisabled)
	return w
}

// Address is host:port of a region's store.
func (w *World) Address(region string) string {
	return strings.TrimPrefix(w.Minio[region].Endpoint, "http://")
}

// Replicate has one region's lake replicated into the other's, by way of an address.
func (w *World) Replicate(from, to, by string, status types.ReplicationRuleStatus) (arn string) {
	w.T.Helper()
	source, target := w.Bucket(from), w.Bucket(to)
	arn, err := w.Admin[from].SetRemoteTarget(w.T.Context(), source, &madmin.BucketTarget{
		SourceBucket: source, TargetBucket: target, Endpoint: by,
		Credentials: &madmin.Credentials{AccessKey: "replicator", SecretKey: SecretOf("replicator")},
		Path:        "on", API: "s3v4", Type: madmin.ReplicationService, HealthCheckDuration: time.Second,
	})
	w.Must(err)
	_, err = w.S3[from].PutBucketReplication(w.T.Context(), &s3.PutBucketReplicationInput{Bucket: &source, ReplicationConfiguration: &types.ReplicationConfiguration{
		Role: aws.String(""),
		Rules: []types.ReplicationRule{{
			ID: aws.String("to-" + to), Priority: aws.Int32(1), Status: status,
			Filter: &types.ReplicationRuleFilter{Prefix: aws.String("")}, Destination: &types.Destination{Bucket: &arn},
			DeleteMarkerReplication:   &types.DeleteMarkerReplication{Status: types.DeleteMarkerReplicationStatusEnabled},
			ExistingObjectReplication: &types.ExistingObjectReplication{Status: types.ExistingObjectReplicationStatusEnabled},
		}},
	}})
	w.Must(err)
	return arn
}

// Bucket is the lake's name in a region.
func (w *World) Bucket(region string) string {
	w.T.Helper()
	real, err := w.Estate.RealBucket("lake", region)
	w.Must(err)
	return real
}

// Put writes as root.
func (w *World) Put(region, key, body string) string {
	w.T.Helper()
	out, err := w.S3[region].PutObject(w.T.Context(), &s3.PutObjectInput{Bucket: aws.String(w.Bucket(region)), Key: &key, Body: bytes.NewReader([]byte(body))})
	w.Must(err)
	return aws.ToString(out.VersionId)
}

// Body is what a reader gets; empty if nothing.
func (w *World) Body(region, key string) string {
	w.T.Helper()
	b, _, err := w.Minio[region].Client(w.T).Get(w.T.Context(), w.Bucket(region), key)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	w.Must(err)
	return string(b)
}

// Status is what the source says of an object's replication.
func (w *World) Status(region, key string) string {
	w.T.Helper()
	out, err := w.S3[region].HeadObject(w.T.Context(), &s3.HeadObjectInput{Bucket: aws.String(w.Bucket(region)), Key: &key})
	w.Must(err)
	return string(out.ReplicationStatus)
}

// Eventually asks until the answer is yes.
func (w *World) Eventually(what string, ok func() bool) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 60*time.Second)
	defer cancel()
	if poll.Until(ctx, 50*time.Millisecond, func(context.Context) (bool, error) { return ok(), nil }) != nil {
		w.T.Fatalf("%s: never happened", what)
	}
}

// ReplicationFaults is what can be done to replication, storage and regions.
func (w *World) ReplicationFaults() fault.Set {
	return slices.Concat(faults.Replications(w.Faults), faults.Storages(w.Faults), faults.Regions(w.Faults))
}

// Sees verifies an action on a bucket.
func (w *World) Sees(name, item string, want verdict.Verdict) []action.Observation {
	w.T.Helper()
	def := w.Action(name)
	obs, err := def.Verify(w.T.Context(), w.Request(def, item), nil)
	w.Must(err)
	if got := action.Worst(obs); got != want {
		w.T.Errorf("%s on %s: %s, want %s\n%s", name, item, got, want, prove.Told(obs))
	}
	prove.WellFormed(w.T, def, obs)
	return obs
}

// ManyVersions writes so many versions of a key at the target.
func (w *World) ManyVersions(key string, n int) {
	w.T.Helper()
	bucket := "lake-west"
	work, ctx := errgroup.WithContext(w.T.Context())
	work.SetLimit(8)
	for i := range n {
		work.Go(func() error {
			_, err := w.S3[West].PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(fmt.Sprint("later ", i))})
			return err
		})
	}
	w.Must(work.Wait())
}

// Act plans an action, and applies the plan, which stays in the request.
func (w *World) Act(def *action.Definition, r *action.Request, with json.RawMessage) action.Outcome {
	w.T.Helper()
	ch, err := def.Plan(w.T.Context(), *r, with)
	w.Must(err)
	r.Plan = &ch
	out, err := def.Apply(w.T.Context(), *r, with)
	w.Must(err)
	return out
}

// TakenBack takes an action back, by the plan in the request.
func (w *World) TakenBack(def *action.Definition, r *action.Request, with json.RawMessage) {
	w.T.Helper()
	back, err := def.UndoPlan(w.T.Context(), *r, with)
	w.Must(err)
	r.Plan = &back
	_, err = def.UndoApply(w.T.Context(), *r, with)
	w.Must(err)
	if obs, err := def.UndoVerify(w.T.Context(), *r, with); err != nil || action.Worst(obs) != verdict.Pass {
		w.T.Errorf("Undo.Verify: %v\n%s", err, prove.Told(obs))
	}
}

// NothingLeft fails if a probe, or a version of one, is in the bucket.
func (w *World) NothingLeft(region, bucket string) {
	w.T.Helper()
	out, err := w.S3[region].ListObjectVersions(w.T.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	w.Must(err)
	for _, v := range out.Versions {
		if strings.Contains(*v.Key, lake.ProbePart) {
			w.T.Errorf("a probe was left: %s", *v.Key)
		}
	}
	for _, m := range out.DeleteMarkers {
		if strings.Contains(*m.Key, lake.ProbePart) {
			w.T.Errorf("a probe's delete marker was left: %s", *m.Key)
		}
	}
}

// HalfFence is what an Apply leaves that dies between two writers: Apply again
// completes it, and a half one is taken back.
func (w *World) HalfFence(t *testing.T, def *action.Definition) {
	r := w.Request(def, "lake")
	plan, err := def.Plan(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = &plan
	half := func() {
		if out, err := def.Apply(t.Context(), r, nil); err != nil || out.Mutations == 0 {
			t.Fatalf("Apply = %+v, %v", out, err)
		}
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Pass {
			t.Fatalf("Verify of the whole fence: %v\n%s", err, prove.Told(obs))
		}
		info, err := w.Admin[East].GetUserInfo(t.Context(), "orders-writer")
		if err != nil {
			t.Fatal(err)
		}
		for p := range strings.SplitSeq(info.PolicyName, ",") {
			if strings.HasPrefix(p, "breakwater-") {
				if _, err := w.Admin[East].DetachPolicy(t.Context(), Attach(p, "orders-writer")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail {
			t.Errorf("Verify of half a fence: %v\n%s", err, prove.Told(obs))
		}
	}
	half()
	half() // Apply completes what the first one left
	back, err := def.UndoPlan(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan, r.Prior = &back, nil
	if out, err := def.UndoApply(t.Context(), r, nil); err != nil || out.Mutations == 0 {
		t.Errorf("UndoApply = %+v, %v", out, err)
	}
	if obs, err := def.UndoVerify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("UndoVerify: %v\n%s", err, prove.Told(obs))
	}
}

// TwoFences closes both buckets' fences and opens one: the other must hold.
func (w *World) TwoFences(t *testing.T, def *action.Definition) {
	lake, archive := w.Request(def, "lake"), w.Request(def, "archive")
	for _, r := range []*action.Request{&lake, &archive} {
		plan, err := def.Plan(t.Context(), *r, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Plan = &plan
	}
	for _, r := range []action.Request{lake, archive} {
		if _, err := def.Apply(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
	}
	open := func(r action.Request) {
		back, err := def.UndoPlan(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Plan = &back
		if out, err := def.UndoApply(t.Context(), r, nil); err != nil || out.Mutations == 0 {
			t.Fatalf("UndoApply = %+v, %v", out, err)
		}
	}
	open(archive)
	obs, err := def.Verify(t.Context(), lake, nil)
	if err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("the lake's fence does not hold once the archive's is gone: %v\n%s", err, prove.Told(obs))
	}
	open(lake)
	obs, err = def.Verify(t.Context(), lake, nil)
	if err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("with both taken back the writers write: %v\n%s", err, prove.Told(obs))
	}
	info, err := w.Admin[East].GetUserInfo(t.Context(), "orders-writer")
	if err != nil || info.PolicyName != "orders-writer" {
		t.Errorf("the writer's policies are not as they were: %q, %v", info.PolicyName, err)
	}
}

// DeadSource follows the whole life where the source does not answer.
func (w *World) DeadSource(t *testing.T, def *action.Definition) {
	w.Minio[East].Kill()
	r := w.Request(def, "lake")
	if _, err := def.Plan(t.Context(), r, nil); !reach.Unreachable(err) {
		t.Errorf("Plan before anybody accepted it = %v, want an unreachable source", err)
	}
	r.Run.SourceUnreachable = true
	plan, err := def.Plan(t.Context(), r, nil)
	if err != nil || len(plan.Effects) != 0 || !strings.Contains(plan.Summary, "obligation") {
		t.Fatalf("Plan = %+v, %v", plan, err)
	}
	r.Plan = &plan
	if out, err := def.Apply(t.Context(), r, nil); err != nil || out.Mutations != 0 {
		t.Errorf("Apply = %+v, %v", out, err)
	}
	obs, err := def.Verify(t.Context(), r, nil)
	if err != nil || !action.OnlySourceUnreachable(obs) {
		t.Fatalf("Verify = %v\n%s", err, prove.Told(obs))
	}
	prove.WellFormed(t, def, obs)
	const owed = "Fence the writers of lake in us-east-1 before its network returns"
	if !slices.ContainsFunc(obs, func(o action.Observation) bool { return o.Obligation == owed }) {
		t.Errorf("no obligation %q\n%s", owed, prove.Told(obs))
	}
	w.Minio[East].Restart(t)
	if _, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply once the source answers again = %v, want ErrMoved", err)
	}
}

// Applied plans and applies an action.
func (w *World) Applied(name, item string) action.Request {
	w.T.Helper()
	def := w.Action(name)
	r := w.Request(def, item)
	plan, err := def.Plan(w.T.Context(), r, nil)
	w.Must(err)
	r.Plan = &plan
	_, err = def.Apply(w.T.Context(), r, nil)
	w.Must(err)
	obs, err := def.Verify(w.T.Context(), r, nil)
	w.Must(err)
	if action.Worst(obs) != verdict.Pass {
		w.T.Fatalf("%s on %s\n%s", name, item, prove.Told(obs))
	}
	return r
}

// Undone takes it back.
func (w *World) Undone(name string, r action.Request) {
	w.T.Helper()
	def := w.Action(name)
	back, err := def.UndoPlan(w.T.Context(), r, nil)
	w.Must(err)
	r.Plan = &back
	_, err = def.UndoApply(w.T.Context(), r, nil)
	w.Must(err)
}

// Line is a way between the regions that can be cut.
func (w *World) Line(to string) (address string, cut func(bool)) {
	w.T.Helper()
	ctx := w.T.Context()
	port, err := server.Ports(2, nil)
	w.Must(err)
	address, control := server.Address(port), server.Address(port+1)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- wan.Serve(ctx, control, []wan.Route{{Name: "objects", Listen: address, Target: w.Address(to)}}, ready)
	}()
	select {
	case <-ready:
	case err := <-ended:
		w.Must(err)
	}
	return address, func(yes bool) { w.Must(wan.Set(ctx, control, "objects", wan.Condition{Cut: yes})) }
}

// Lifecycle gives a bucket one rule.
func (w *World) Lifecycle(region string, rule types.LifecycleRule) {
	w.T.Helper()
	rule.ID, rule.Status = aws.String("rule"), types.ExpirationStatusEnabled
	if rule.Filter == nil {
		rule.Filter = &types.LifecycleRuleFilter{Prefix: aws.String("")}
	}
	_, err := w.S3[region].PutBucketLifecycleConfiguration(w.T.Context(), &s3.PutBucketLifecycleConfigurationInput{
		Bucket: aws.String(w.Bucket(region)), LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{rule}},
	})
	w.Must(err)
}

// Unmark removes the delete markers of a key.
func (w *World) Unmark(region, key string) {
	w.T.Helper()
	out, err := w.S3[region].ListObjectVersions(w.T.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(w.Bucket(region)), Prefix: &key})
	w.Must(err)
	for _, m := range out.DeleteMarkers {
		_, err := w.S3[region].DeleteObject(w.T.Context(), &s3.DeleteObjectInput{Bucket: aws.String(w.Bucket(region)), Key: m.Key, VersionId: m.VersionId})
		w.Must(err)
	}
}

// Remove takes one version away for good, as lifecycle does.
func (w *World) Remove(region, key, version string) {
	w.T.Helper()
	_, err := w.S3[region].DeleteObject(w.T.Context(), &s3.DeleteObjectInput{Bucket: aws.String(w.Bucket(region)), Key: &key, VersionId: &version})
	w.Must(err)
}

// Versions counts the versions and delete markers of a key.
func (w *World) Versions(region, key string) int {
	w.T.Helper()
	out, err := w.S3[region].ListObjectVersions(w.T.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(w.Bucket(region)), Prefix: &key})
	w.Must(err)
	return len(out.Versions)
}

// Existing sets whether the rules take objects that are older than they.
func (w *World) Existing(region string, status types.ExistingObjectReplicationStatus) {
	w.T.Helper()
	bucket := w.Bucket(region)
	out, err := w.S3[region].GetBucketReplication(w.T.Context(), &s3.GetBucketReplicationInput{Bucket: &bucket})
	w.Must(err)
	for i := range out.ReplicationConfiguration.Rules {
		out.ReplicationConfiguration.Rules[i].ExistingObjectReplication.Status = status
	}
	_, err = w.S3[region].PutBucketReplication(w.T.Context(), &s3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: out.ReplicationConfiguration})
	w.Must(err)
}

// ReplicationOff disables a region's rules.
func (w *World) ReplicationOff(region string) {
	w.T.Helper()
	bucket := w.Bucket(region)
	out, err := w.S3[region].GetBucketReplication(w.T.Context(), &s3.GetBucketReplicationInput{Bucket: &bucket})
	w.Must(err)
	for i := range out.ReplicationConfiguration.Rules {
		out.ReplicationConfiguration.Rules[i].Status = types.ReplicationRuleStatusDisabled
	}
	_, err = w.S3[region].PutBucketReplication(w.T.Context(), &s3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: out.ReplicationConfiguration})
	w.Must(err)
}
