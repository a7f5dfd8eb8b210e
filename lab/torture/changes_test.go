package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/poll"
	"breakwater/lab"
	"breakwater/lab/inventory"
	labkafka "breakwater/lab/kafka"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	vault "github.com/hashicorp/vault/api"
	"github.com/minio/madmin-go/v3"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"
)

// change is something that somebody does to the standby, and the fact by which an inventory
// must see it.
type change struct {
	kind inventory.Kind
	fact string // how its name begins
	do   func() error
}

// everyChangeIsSeen changes one thing of each kind, and holds that the comparison names each.
func everyChangeIsSeen(ctx context.Context, t *testing.T, w inventory.World) {
	t.Helper()
	before, err := inventory.Take(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	all, err := changes(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range inventory.Kinds() {
		if !slices.ContainsFunc(all, func(c change) bool { return c.kind == k }) {
			t.Errorf("nothing of the kind %q is changed here", k)
		}
	}
	for _, c := range all {
		t.Logf("%s %s is changed", c.kind, c.fact)
		if err := c.do(); err != nil {
			t.Fatalf("change %s %s: %v", c.kind, c.fact, err)
		}
	}
	after, err := inventory.Take(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	sentences := inventory.Compare(before, after, inventory.Rules()...)
	for _, c := range all {
		if !slices.ContainsFunc(sentences, func(s string) bool { return strings.Contains(s, fmt.Sprintf(": %s %s", c.kind, c.fact)) }) {
			t.Errorf("a change of %s %s is not seen", c.kind, c.fact)
		}
	}
	if t.Failed() {
		t.Logf("seen:\n%s", strings.Join(sentences, "\n"))
	}
}

// changes are all of them.
func changes(ctx context.Context, w inventory.World) ([]change, error) {
	i := slices.IndexFunc(w.Places, func(p inventory.Place) bool { return p.Name == lab.Standby })
	p, other := w.Places[i], w.Places[1-i]
	kv, err := vault.NewClient(&vault.Config{Address: p.Vault.Address, Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	kv.SetToken(p.Vault.Token)
	k, err := kgo.NewClient(kgo.SeedBrokers(p.Broker), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	theirs, err := kgo.NewClient(kgo.SeedBrokers(other.Broker), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	objects, err := changesOfStorage(ctx, *p.Storage, *other.Storage)
	if err != nil {
		return nil, err
	}
	return slices.Concat(objects, changesOfVault(ctx, kv), changesOfKafka(ctx, k), changesOfMirror(ctx, p.Connect, theirs), changesOfSchedules(ctx, w.Temporal)), nil
}

func changesOfStorage(ctx context.Context, s, other inventory.Storage) ([]change, error) {
	c := asRoot(s)
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, err
	}
	adm, err := madmin.NewWithOptions(u.Host, &madmin.Options{Creds: miniocreds.NewStaticV4(s.AccessKey, s.SecretKey, "")})
	if err != nil {
		return nil, err
	}
	b := s.Buckets[0]
	path := strings.TrimPrefix(s.Tables[0], "s3://"+b+"/")
	entries, err := commits(ctx, c, b, path)
	if err != nil {
		return nil, err
	}
	first, newest := entries[0], entries[len(entries)-1]
	policy := []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::` + b + `/*"]}]}`)
	return []change{
		{inventory.Object, b + "/stray", func() error {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &b, Key: aws.String("stray"), Body: strings.NewReader("stray")})
			return err
		}},
		{inventory.Object, b + "/" + newest, func() error {
			_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b, Key: &newest})
			return err
		}},
		{inventory.Table, s.Tables[0], func() error { return nil }}, // by the one above: its last commit is hidden
		{inventory.Version, b + "/" + first, func() error {
			out, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b, Key: &first})
			if err == nil {
				_, err = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b, Key: &first, VersionId: out.VersionId})
			}
			return err
		}},
		{inventory.Upload, b + "/begun", func() error {
			_, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b, Key: aws.String("begun")})
			return err
		}},
		{inventory.Setting, "policy of bucket " + b, func() error {
			_, err := c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &b, Policy: aws.String(
				`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::` + b + `/*"]}]}`)})
			return err
		}},
		{inventory.Setting, "lifecycle of bucket " + b, func() error {
			_, err := c.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: &b, LifecycleConfiguration: &types.BucketLifecycleConfiguration{
				Rules: []types.LifecycleRule{{
					ID: aws.String("rule"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("tmp/")},
					Expiration: &types.LifecycleExpiration{Days: aws.Int32(365)},
				}},
			}})
			return err
		}},
		{inventory.Setting, "tags of bucket " + b, func() error {
			_, err := c.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &b, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}})
			return err
		}},
		{inventory.Quota, b, func() error {
			return adm.SetBucketQuota(ctx, b, &madmin.BucketQuota{Size: 1 << 40, Type: madmin.HardQuota})
		}},
		{inventory.Remote, b, func() error {
			_, err := adm.SetRemoteTarget(ctx, b, &madmin.BucketTarget{
				SourceBucket: b, TargetBucket: other.Buckets[0], Endpoint: strings.TrimPrefix(other.Endpoint, "http://"), Region: other.Region,
				Credentials: &madmin.Credentials{AccessKey: other.AccessKey, SecretKey: other.SecretKey}, Path: "on", API: "s3v4", Type: madmin.ReplicationService,
			})
			return err
		}},
		{inventory.Policy, "stray", func() error { return adm.AddCannedPolicy(ctx, "stray", policy) }},
		{inventory.User, "replicator", func() error {
			_, err := adm.AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{"stray"}, User: "replicator"})
			return err
		}},
		{inventory.User, "clicks-reader", func() error { return adm.SetUserStatus(ctx, "clicks-reader", madmin.AccountDisabled) }},
		{inventory.UserGroup, "strangers", func() error {
			return adm.UpdateGroupMembers(ctx, madmin.GroupAddRemove{Group: "strangers", Members: []string{"clicks-writer"}})
		}},
	}, nil
}

func changesOfVault(ctx context.Context, c *vault.Client) []change {
	return []change{
		{inventory.Secret, "secret/lakehouse/sentinel", func() error {
			_, err := c.KVv2("secret").Put(ctx, "lakehouse/sentinel", map[string]any{"readable": "no"})
			return err
		}},
		{inventory.VaultPolicy, "stray", func() error {
			return c.Sys().PutPolicyWithContext(ctx, "stray", `path "secret/*" { capabilities = ["read"] }`)
		}},
		{inventory.Mount, "stray/", func() error {
			return c.Sys().MountWithContext(ctx, "stray", &vault.MountInput{Type: "kv", Options: map[string]string{"version": "2"}})
		}},
	}
}

func changesOfKafka(ctx context.Context, cl *kgo.Client) []change {
	adm := kadm.NewClient(cl)
	commit := func(group string) error {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 1, LeaderEpoch: -1})
		_, err := adm.CommitOffsets(ctx, group, offsets)
		return err
	}
	return []change{
		{inventory.Topic, "stray", func() error {
			_, err := adm.CreateTopic(ctx, 1, 1, nil, "stray")
			return err
		}},
		{inventory.TopicSetting, "connect-configs", func() error { // the mirror would put back those of a topic that it brings
			_, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("7200000")}}, "connect-configs")
			return err
		}},
		{inventory.Broker, "", func() error {
			_, err := adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.threads", Value: kadm.StringPtr("2")}})
			return err
		}},
		{inventory.Log, "orders-0", func() error {
			return cl.ProduceSync(ctx, &kgo.Record{Topic: "orders", Partition: 0, Value: []byte("stray")}).FirstErr()
		}},
		{inventory.ACL, "DENY of User:stray", func() error {
			_, err := adm.CreateACLs(ctx, kadm.NewACLs().Deny("User:stray").DenyHosts().Topics("orders").Operations(kadm.OpRead).ResourcePatternType(kadm.ACLPatternLiteral))
			return err
		}},
		{inventory.Group, "stray", func() error { return commit("stray") }},
		{inventory.Committed, "stray in orders-0", func() error { return nil }}, // by the one above
	}
}

func changesOfMirror(ctx context.Context, address string, source *kgo.Client) []change {
	rest := func(method, path string, body, into any) error {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, method, address+"/connectors/"+path, bytes.NewReader(raw))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode >= 300 {
			return errors.Join(err, fmt.Errorf("%s %s answers %s: %s", method, path, res.Status, answer))
		}
		if into != nil {
			return json.Unmarshal(answer, into)
		}
		return nil
	}
	state := func(name string) (string, error) {
		var is struct {
			Connector struct{ State string }
		}
		err := rest(http.MethodGet, name+"/status", nil, &is)
		return is.Connector.State, err
	}
	// comes waits until a connector is in a state: a worker answers before it is.
	comes := func(name, want string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return poll.Until(ctx, 200*time.Millisecond, func(context.Context) (bool, error) {
			is, err := state(name)
			return err == nil && is == want, err
		})
	}
	return []change{
		{inventory.State, labkafka.CheckpointConnector, func() error {
			do, want := "/stop", "STOPPED"
			if is, err := state(labkafka.CheckpointConnector); err != nil {
				return err
			} else if is == want { // by the run before
				do, want = "/resume", "RUNNING"
			}
			return errors.Join(rest(http.MethodPut, labkafka.CheckpointConnector+do, nil, nil), comes(labkafka.CheckpointConnector, want))
		}},
		{inventory.Delivered, labkafka.SourceConnector, func() error {
			of := func() (string, error) { // those of heartbeats move by themselves
				var all struct {
					Offsets []struct {
						Partition, Offset map[string]any
					}
				}
				err := rest(http.MethodGet, labkafka.SourceConnector+"/offsets", nil, &all)
				var lines []string
				for _, o := range all.Offsets {
					if o.Partition["topic"] == "orders" {
						lines = append(lines, fmt.Sprintln(o.Partition["partition"], o.Offset["offset"]))
					}
				}
				slices.Sort(lines)
				return strings.Join(lines, ""), err
			}
			before, err := of()
			if err == nil { // the run before may have stopped it
				err = rest(http.MethodPut, labkafka.SourceConnector+"/resume", nil, nil)
			}
			if err != nil {
				return err
			}
			if err := source.ProduceSync(ctx, &kgo.Record{Topic: "orders", Partition: 0, Value: []byte("one more")}).FirstErr(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return poll.Until(ctx, 200*time.Millisecond, func(context.Context) (bool, error) { // the mirror brings it
				after, err := of()
				return err == nil && after != before, err
			})
		}},
		{inventory.Connector, "stray", func() error {
			return errors.Join(rest(http.MethodPut, "stray/config", map[string]string{
				"connector.class": "org.apache.kafka.connect.mirror.MirrorHeartbeatConnector", "tasks.max": "1", "name": "stray",
				"source.cluster.alias": "a", "target.cluster.alias": "b", "source.cluster.bootstrap.servers": "127.0.0.1:1", "target.cluster.bootstrap.servers": "127.0.0.1:1",
			}, nil), comes("stray", "RUNNING"))
		}},
	}
}

func changesOfSchedules(ctx context.Context, c client.Client) []change {
	first := func(do func(client.ScheduleHandle) error) func() error {
		return func() error { return do(c.ScheduleClient().GetHandle(ctx, "orders-rollup-"+lab.Standby)) }
	}
	return []change{
		{inventory.Pause, "orders-rollup-" + lab.Standby, first(func(h client.ScheduleHandle) error {
			return h.Pause(ctx, client.SchedulePauseOptions{Note: "somebody was here"})
		})},
		{inventory.Schedule, "orders-rollup-" + lab.Standby, first(func(h client.ScheduleHandle) error {
			return h.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
				next := in.Description.Schedule
				next.Policy.PauseOnFailure = !next.Policy.PauseOnFailure
				return &client.ScheduleUpdate{Schedule: &next}, nil
			}})
		})},
	}
}
