package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/fault"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/twmb/franz-go/pkg/kerr"
)

// stranger is who reads without the estate's knowledge.
const stranger = "stranger"

// Lineages are the faults of what is known of readers.
func Lineages(e Env) fault.Set {
	event, _ := json.Marshal(map[string]any{ // of texts alone
		"eventType": "COMPLETE", "eventTime": time.Now().UTC().Format(time.RFC3339Nano), "producer": "faults", "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
		"run": map[string]any{"runId": "0192e1f2-7c1a-7000-8000-00000000face"}, "job": map[string]any{"namespace": "faults", "name": stranger},
		"inputs": []any{map[string]any{"namespace": "s3://" + e.Target.Storage.Bucket, "name": e.Group.Prefix}},
	})
	return fault.Set{
		strangerReads(e.Target, e.Group),
		e.event("lineage.unknown-reader", "a job that nobody knows reads a table at the target, and its engine reports it", event),
		e.event("lineage.event-broken", "an object with OpenLineage events at the target is cut off", event[:len(event)/2]),
	}
}

// strangerReads commits the end of a topic for a group that nobody knows.
func strangerReads(r Region, g Group) fault.Fault {
	var k kept[struct{}]
	return fault.Fault{
		Name: "kafka.unknown-reader", Doc: "a consumer group at the target that nobody knows has read a topic to its end",
		Available: func() error {
			if len(r.Brokers) == 0 {
				return errors.New("this environment does not say where the target's Kafka is")
			}
			return needs(map[string]string{"topic": g.Topic})()
		},
		Inject: func(ctx context.Context) error {
			adm, err := Cluster{Brokers: r.Brokers}.admin()
			if err != nil {
				return err
			}
			defer adm.Close()
			ends, err := adm.ListEndOffsets(ctx, g.Topic)
			if err != nil {
				return err
			}
			if err := k.put(struct{}{}); err != nil {
				return err
			}
			done, err := adm.CommitOffsets(ctx, stranger, ends.Offsets())
			return errors.Join(err, done.Error())
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				adm, err := Cluster{Brokers: r.Brokers}.admin()
				if err != nil {
					return err
				}
				defer adm.Close()
				_, err = adm.DeleteGroup(ctx, stranger)
				if errors.Is(err, kerr.GroupIDNotFound) {
					return nil
				}
				return err
			})
		},
	}
}

// event puts an object among the target's OpenLineage events.
func (e Env) event(name fault.Name, doc string, body []byte) fault.Fault {
	var k kept[string] // the version that was put
	s := e.Target.Storage
	key := e.Lineage + "/" + stranger + ".json"
	return fault.Fault{
		Name: name, Doc: doc,
		Available: needs(with(with(s.there(), "prefix of OpenLineage events", e.Lineage), "table's prefix", e.Group.Prefix)),
		Inject: func(ctx context.Context) error {
			out, err := s.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &s.Bucket, Key: &key, Body: bytes.NewReader(body)})
			if err != nil {
				return fmt.Errorf("put %s: %w", key, err)
			}
			return k.put(aws.ToString(out.VersionId))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(version string) error {
				in := &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: &key}
				if version != "" {
					in.VersionId = &version
				}
				_, err := s.s3().DeleteObject(ctx, in)
				return err
			})
		},
	}
}
