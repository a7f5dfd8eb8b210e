package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"breakwater/internal/fault"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/madmin-go/v3"
	"github.com/minio/minio-go/v7"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
)

// Replications are the faults of what flows from the source's bucket into the
// target's, and of what the target will need when it is alone.
func Replications(e Env) fault.Set {
	source, target := e.Source.Storage, e.Target.Storage
	at := func(name string) string { return e.Group.Prefix + "/" + name }
	two := sides{source, target}
	return fault.Set{
		ruled("storage.rule-off", "the source's rules are disabled", source, func(r *types.ReplicationRule) {
			r.Status = types.ReplicationRuleStatusDisabled
		}),
		ruled("storage.rule-elsewhere", "the source's rules take another prefix than that of the tables", source, elsewhere),
		ruled("storage.markers-stay", "the source's rules leave delete markers out", source, func(r *types.ReplicationRule) {
			r.DeleteMarkerReplication = &types.DeleteMarkerReplication{Status: types.DeleteMarkerReplicationStatusDisabled}
		}),
		ruled("storage.rule-back-elsewhere", "the target's rules back take another prefix than that of the tables", target, elsewhere),
		two.older("storage.older-than-rule", "the source has an object that is older than its rule", at("older.parquet"), func(ctx context.Context, key string) error {
			return put(ctx, source, key, "older")
		}),
		two.written("storage.replica-removed", "the target has lost an object for good that was there", at("lost.parquet"), func(ctx context.Context, key string) error {
			if err := put(ctx, source, key, "lost"); err != nil {
				return err
			}
			if err := until(ctx, has(source, key, "COMPLETED")); err != nil {
				return err
			}
			return purge(ctx, target, key)
		}),
		two.written("storage.written-at-both", "both sides have written the same key", at("both.parquet"), func(ctx context.Context, key string) error {
			return errors.Join(put(ctx, source, key, "the source's"), put(ctx, target, key, "the target's own"))
		}),
		two.older("storage.old-version-missing", "what was overwritten at the source is not at the target", at("overwritten.parquet"), func(ctx context.Context, key string) error {
			return errors.Join(put(ctx, source, key, "old"), put(ctx, source, key, "new"), put(ctx, target, key, "new"))
		}),
		two.refused(e.Replicator.Name, at("refused.parquet")),
		expiring("storage.source-expires", "a lifecycle rule at the source removes old versions after a day", source, types.LifecycleRule{
			ID: aws.String("old"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
			NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(1)},
		}),
		expiring("storage.target-expires", "a lifecycle rule at the target removes objects after 400 days", target, types.LifecycleRule{
			ID: aws.String("yearly"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String(e.Group.Prefix)},
			Expiration: &types.LifecycleExpiration{Days: aws.Int32(400)},
		}),
		unreadable(target),
		two.written("storage.commit-unpublished", "a commit is staged at the target and not in its table's log", at("_delta_log/_staged_commits/00000000000000000007.0d0a.json"), func(ctx context.Context, key string) error {
			return put(ctx, target, key, `{"commitInfo":{}}`)
		}),
		two.written("storage.commit-replaced", "a replica comes late, over a commit of the target's own", at("_delta_log/00000000000000000001.json"), func(ctx context.Context, key string) error {
			return errors.Join(put(ctx, target, key, `{"commitInfo":{"operation":"the target's own"}}`), deliver(ctx, target, key, `{"commitInfo":{"operation":"late"}}`))
		}),
	}
}

func elsewhere(r *types.ReplicationRule) {
	r.Prefix, r.Filter = nil, &types.ReplicationRuleFilter{Prefix: aws.String("elsewhere/")} //nolint:staticcheck // one of the two may be set
}

// ruled changes every replication rule of a bucket.
func ruled(name fault.Name, doc string, s Storage, change func(*types.ReplicationRule)) fault.Fault {
	var k kept[*types.ReplicationConfiguration]
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(s.there()),
		Inject: func(ctx context.Context) error {
			was, err := rulesOf(ctx, s)
			if err != nil {
				return err
			}
			if err := k.put(was); err != nil {
				return err
			}
			now, err := rulesOf(ctx, s)
			if err != nil {
				return err
			}
			for i := range now.Rules {
				change(&now.Rules[i])
			}
			return setRules(ctx, s, now)
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(was *types.ReplicationConfiguration) error { return setRules(ctx, s, was) })
		},
	}
}

func rulesOf(ctx context.Context, s Storage) (*types.ReplicationConfiguration, error) {
	out, err := s.s3().GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: &s.Bucket})
	if err != nil {
		return nil, fmt.Errorf("read the rules of %s: %w", s.Bucket, err)
	}
	return out.ReplicationConfiguration, nil
}

func setRules(ctx context.Context, s Storage, c *types.ReplicationConfiguration) error {
	_, err := s.s3().PutBucketReplication(ctx, &s3.PutBucketReplicationInput{Bucket: &s.Bucket, ReplicationConfiguration: c})
	return err
}

// unruled does something while no rule is enabled.
func unruled(ctx context.Context, s Storage, do func() error) error {
	off := ruled("", "", s, func(r *types.ReplicationRule) { r.Status = types.ReplicationRuleStatusDisabled })
	if err := off.Inject(ctx); err != nil {
		return err
	}
	return errors.Join(do(), off.Heal(ctx))
}

// sides are the two buckets.
type sides struct{ source, target Storage }

// written makes a fault of one key, every version of which is removed for good at
// both sides afterwards.
func (s sides) written(name fault.Name, doc, key string, write func(ctx context.Context, key string) error) fault.Fault {
	var k kept[struct{}]
	return fault.Fault{
		Name: name, Doc: doc,
		Available: func() error { return errors.Join(needs(s.source.there())(), needs(s.target.there())()) },
		Inject: func(ctx context.Context) error {
			if err := k.put(struct{}{}); err != nil {
				return err
			}
			return write(ctx, key)
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error { return s.purge(ctx, key) })
		},
	}
}

// purge removes a key from both sides until it stays away: a replica may be under
// way.
func (s sides) purge(ctx context.Context, key string) error {
	return until(ctx, func(ctx context.Context) error {
		if err := errors.Join(purge(ctx, s.source, key), purge(ctx, s.target, key)); err != nil {
			return err
		}
		left, err := versions(ctx, s.target, key)
		if len(left) > 0 {
			err = fmt.Errorf("%d versions of %s have come back", len(left), key)
		}
		return err
	})
}

// refused takes the replicating user's rights, and writes an object that then
// cannot be delivered.
func (s sides) refused(user, key string) fault.Fault {
	rights := detached("storage.replicas-refused", "the target refuses replicas, and one has been", s.target, user, anyPolicy)
	object := s.written("", "", key, func(ctx context.Context, key string) error {
		if err := put(ctx, s.source, key, "refused"); err != nil {
			return err
		}
		return until(ctx, has(s.source, key, types.ReplicationStatusFailed))
	})
	return both(rights, object)
}

// older writes while no rule is enabled, and has the rules leave existing objects
// out afterwards: MinIO delivers those otherwise as soon as anybody asks for them.
func (s sides) older(name fault.Name, doc, key string, write func(ctx context.Context, key string) error) fault.Fault {
	rules := ruled(name, doc+", which leaves existing objects out", s.source, func(r *types.ReplicationRule) {
		r.ExistingObjectReplication = &types.ExistingObjectReplication{Status: types.ExistingObjectReplicationStatusDisabled}
	})
	return both(rules, s.written(name, doc, key, func(ctx context.Context, key string) error {
		return unruled(ctx, s.source, func() error { return write(ctx, key) })
	}))
}

// both is the first fault and then the second, healed in the same order.
func both(first, second fault.Fault) fault.Fault {
	f := first
	f.Available = func() error { return errors.Join(first.Available(), second.Available()) }
	f.Inject = func(ctx context.Context) error {
		if err := first.Inject(ctx); err != nil {
			return err
		}
		return second.Inject(ctx)
	}
	f.Heal = func(ctx context.Context) error { return errors.Join(first.Heal(ctx), second.Heal(ctx)) }
	return f
}

// expiring gives a bucket a lifecycle of one rule.
func expiring(name fault.Name, doc string, s Storage, rule types.LifecycleRule) fault.Fault {
	var k kept[struct{}]
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(s.there()),
		Inject: func(ctx context.Context) error {
			_, err := s.s3().PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
				Bucket: &s.Bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{rule}},
			})
			return errors.Join(err, k.put(struct{}{}))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				_, err := s.s3().DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: &s.Bucket})
				return err
			})
		},
	}
}

// unreadable lets recovery list and describe, and read nothing, as where it may
// not use the key.
func unreadable(s Storage) fault.Fault {
	var k kept[struct{}]
	const policy = "test-unreadable"
	return fault.Fault{
		Name: "storage.objects-unreadable", Doc: "recovery may list the target's objects, and read none",
		Available: needs(with(s.there(), "recovery's user", s.Recovery.Name)),
		Inject: func(ctx context.Context) error {
			adm, err := s.admin()
			if err != nil {
				return err
			}
			doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
				"Effect": "Deny", "Action": []string{"s3:GetObject"}, "Resource": []string{"arn:aws:s3:::" + s.Bucket + "/*"},
			}}})
			if err != nil {
				return err
			}
			if err := errors.Join(k.put(struct{}{}), adm.AddCannedPolicy(ctx, policy, doc)); err != nil {
				return err
			}
			_, err = adm.AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{policy}, User: s.Recovery.Name})
			return err
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				adm, err := s.admin()
				if err != nil {
					return err
				}
				if _, err := adm.DetachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{policy}, User: s.Recovery.Name}); err != nil {
					return err
				}
				return adm.RemoveCannedPolicy(ctx, policy)
			})
		},
	}
}

func put(ctx context.Context, s Storage, key, body string) error {
	_, err := s.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &s.Bucket, Key: &key, Body: bytes.NewReader([]byte(body))})
	if err != nil {
		return fmt.Errorf("put %s into %s: %w", key, s.Bucket, err)
	}
	return nil
}

// has asks whether the source says that of an object's replication.
func has(s Storage, key string, want types.ReplicationStatus) func(context.Context) error {
	return func(ctx context.Context) error {
		out, err := s.s3().HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.Bucket, Key: &key})
		if err == nil && out.ReplicationStatus != want {
			err = fmt.Errorf("%s in %s is %q, not yet %s", key, s.Bucket, out.ReplicationStatus, want)
		}
		return err
	}
}

func versions(ctx context.Context, s Storage, key string) ([]types.ObjectIdentifier, error) {
	out, err := s.s3().ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &s.Bucket, Prefix: &key})
	if err != nil {
		return nil, err
	}
	var all []types.ObjectIdentifier
	for _, v := range out.Versions {
		all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	for _, m := range out.DeleteMarkers {
		all = append(all, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
	}
	return all, nil
}

// purge removes every version of a key for good.
func purge(ctx context.Context, s Storage, key string) error {
	all, err := versions(ctx, s, key)
	for _, v := range all {
		if _, e := s.s3().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: v.Key, VersionId: v.VersionId}); e != nil {
			return fmt.Errorf("remove version %s of %s for good: %w", *v.VersionId, *v.Key, e)
		}
	}
	return err
}

// deliver writes as a source's server writes its replicas.
func deliver(ctx context.Context, s Storage, key, body string) error {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return err
	}
	c, err := minio.New(u.Host, &minio.Options{Creds: miniocreds.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: s.Region, Secure: u.Scheme == "https"})
	if err != nil {
		return err
	}
	o := minio.PutObjectOptions{Internal: minio.AdvancedPutOptions{
		ReplicationStatus: minio.ReplicationStatusReplica, ReplicationRequest: true, SourceMTime: time.Now(),
	}}
	_, err = c.PutObject(ctx, s.Bucket, key, bytes.NewReader([]byte(body)), int64(len(body)), o)
	return err
}
