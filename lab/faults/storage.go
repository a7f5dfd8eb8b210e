package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/fault"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/madmin-go/v3"
)

// Storages are the faults of object stores: fences and keys that do not hold,
// buckets that are not as they must be.
func Storages(e Env) fault.Set {
	source, target := e.Source.Storage, e.Target.Storage
	return fault.Set{
		detached("storage.fence-opened", "somebody takes the fence from one of the source's writers", source, e.Writer.Name, fencePolicy),
		detached("storage.writer-detached", "somebody takes its rights from one of the source's writers", source, e.Writer.Name, anyPolicy),
		rekeyed("storage.writer-key-changed", "a writer's secret key at the source is another", source, e.Writer),
		detached("storage.intake-opened", "somebody gives the replicating user its rights back", target, e.Replicator.Name, fencePolicy),
		rekeyed("storage.replicator-key-changed", "the replicating user's secret key is another", target, e.Replicator),
		rekeyed("storage.recovery-key-changed", "recovery's secret key at the target is another", target, target.Recovery),
		unversioned(target),
		logMissing(target, e.Group.Prefix),
	}
}

// fencePolicy tells fences by how they are named, as an administrator would.
func fencePolicy(policy string) bool { return strings.HasPrefix(policy, "breakwater-") }

func anyPolicy(string) bool { return true }

func (s Storage) there() map[string]string {
	return map[string]string{
		"storage's endpoint": s.Endpoint, "storage's root user": s.AccessKey, "storage's root password": s.SecretKey, "bucket": s.Bucket,
	}
}

// detached takes policies from a user.
func detached(name fault.Name, doc string, s Storage, user string, which func(policy string) bool) fault.Fault {
	var k kept[[]string]
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(with(s.there(), "user for "+string(name), user)),
		Inject: func(ctx context.Context) error {
			adm, err := s.admin()
			if err != nil {
				return err
			}
			info, err := adm.GetUserInfo(ctx, user)
			if err != nil {
				return fmt.Errorf("read user %s: %w", user, err)
			}
			var taken []string
			for p := range strings.SplitSeq(info.PolicyName, ",") {
				if p != "" && which(p) {
					taken = append(taken, p)
				}
			}
			if len(taken) == 0 {
				return fmt.Errorf("user %s has no policy to take: it has %q", user, info.PolicyName)
			}
			if err := k.put(taken); err != nil {
				return err
			}
			_, err = adm.DetachPolicy(ctx, madmin.PolicyAssociationReq{Policies: taken, User: user})
			return err
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(taken []string) error {
				adm, err := s.admin()
				if err != nil {
					return err
				}
				_, err = adm.AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: taken, User: user})
				return err
			})
		},
	}
}

// rekeyed gives a user another secret key.
func rekeyed(name fault.Name, doc string, s Storage, u User) fault.Fault {
	var k kept[struct{}]
	set := func(ctx context.Context, secret string) error {
		adm, err := s.admin()
		if err != nil {
			return err
		}
		return adm.AddUser(ctx, u.Name, secret)
	}
	return fault.Fault{
		Name: name, Doc: doc,
		Available: needs(with(with(s.there(), "user for "+string(name), u.Name), "secret of user "+u.Name, u.Secret)),
		Inject: func(ctx context.Context) error {
			return errors.Join(k.put(struct{}{}), set(ctx, "other-"+u.Secret))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error { return set(ctx, u.Secret) })
		},
	}
}

// unversioned suspends versioning.
func unversioned(s Storage) fault.Fault {
	var k kept[struct{}]
	set := func(ctx context.Context, status types.BucketVersioningStatus) error {
		_, err := s.s3().PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: &s.Bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status},
		})
		return err
	}
	return fault.Fault{
		Name: "storage.bucket-unversioned", Doc: "versioning of the target's bucket is suspended", Available: needs(s.there()),
		Inject: func(ctx context.Context) error {
			return errors.Join(k.put(struct{}{}), set(ctx, types.BucketVersioningStatusSuspended))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error { return set(ctx, types.BucketVersioningStatusEnabled) })
		},
	}
}

// logMissing hides a table's log below delete markers.
func logMissing(s Storage, prefix string) fault.Fault {
	var k kept[[]types.ObjectIdentifier]
	return fault.Fault{
		Name: "storage.table-log-missing", Doc: "a table's log is not at the target", Available: needs(with(s.there(), "table's prefix", prefix)),
		Inject: func(ctx context.Context) error {
			c := s.s3()
			list, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: aws.String(prefix + "/_delta_log/")})
			if err != nil {
				return err
			}
			if len(list.Contents) == 0 || aws.ToBool(list.IsTruncated) {
				return fmt.Errorf("%s has %d objects in its log, of which all must fit one page", prefix, len(list.Contents))
			}
			var markers []types.ObjectIdentifier
			for _, o := range list.Contents {
				out, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: o.Key})
				if err != nil {
					return err
				}
				markers = append(markers, types.ObjectIdentifier{Key: o.Key, VersionId: out.VersionId})
			}
			return k.put(markers)
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(markers []types.ObjectIdentifier) error {
				for m := range slices.Values(markers) {
					if _, err := s.s3().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: m.Key, VersionId: m.VersionId}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}
