package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"breakwater/internal/fault"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/madmin-go/v3"
)

// Vaulted is the place where backups are kept: a MinIO with Object Lock in mode
// governance, which its root may bypass.
type Vaulted struct {
	Storage
	Folder  string // where the server keeps its objects
	Prefix  string // of one group's backups, in the bucket, without a slash at its end
	Adder   User
	Reader  User
	Expirer User
	Writer  User // of a region: nobody here

	Stop, Start func(context.Context) error
}

// Backups are the faults of the backup place.
func Backups(v Vaulted) fault.Set {
	return fault.Set{
		v.aside("backup.object-gone", "the disk has lost an object of a backup", v.Prefix+"/data/"),
		v.aside("backup.manifest-gone", "the disk has lost the newest manifest of a backup", v.Prefix+"/manifests/"),
		v.manifestDamaged(),
		v.lockShortened(),
		detached("backup.reading-revoked", "who restores backups has lost its rights", v.Storage, v.Reader.Name, anyPolicy),
		{
			Name: "backup.unreachable", Doc: "the backup place does not answer",
			Available: func() error {
				if v.Stop == nil || v.Start == nil {
					return errors.New("this environment cannot stop the backup place")
				}
				return nil
			},
			Inject: v.Stop, Heal: v.Start,
		},
		v.granted("backup.adder-may-delete", "who adds backups may delete versions of them", v.Adder, false, "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"),
		v.granted("backup.adder-may-configure", "who adds backups may let them expire", v.Adder, false, "s3:PutLifecycleConfiguration", "s3:GetLifecycleConfiguration"),
		v.granted("backup.adder-may-open", "who adds backups may write the policy that makes the wall", v.Adder, false, "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"),
		v.granted("backup.restorer-may-open", "who restores backups may remove the policy that makes the wall", v.Reader, false, "s3:DeleteBucketPolicy"),
		v.granted("backup.expirer-may-bypass", "who expires backups may delete what is held", v.Expirer, false, "s3:DeleteObject", "s3:BypassGovernanceRetention"),
		v.granted("backup.writer-known", "a region's writer is a user of the backup place, and may delete", v.Writer, true, "s3:*"),
		rekeyed("backup.adder-key-changed", "the secret key of who adds backups is another", v.Storage, v.Adder),
		v.lifecycle(),
		v.expiredLeft(),
	}
}

func (v Vaulted) here() map[string]string {
	return with(with(v.there(), "backup place's folder", v.Folder), "group's backups", v.Prefix)
}

// newest is the last key below a prefix.
func (v Vaulted) newest(ctx context.Context, prefix string) (string, error) {
	list, err := v.s3().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &v.Bucket, Prefix: &prefix})
	if err != nil {
		return "", err
	}
	if len(list.Contents) == 0 {
		return "", fmt.Errorf("nothing lies below %s", prefix)
	}
	return aws.ToString(list.Contents[len(list.Contents)-1].Key), nil
}

// aside moves the last object below a prefix out of the server's folder, as a disk
// that lost it.
func (v Vaulted) aside(name fault.Name, doc, prefix string) fault.Fault {
	var k kept[[2]string]
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(v.here()),
		Inject: func(ctx context.Context) error {
			key, err := v.newest(ctx, prefix)
			if err != nil {
				return err
			}
			from := filepath.Join(v.Folder, v.Bucket, filepath.FromSlash(key))
			to := filepath.Join(filepath.Dir(v.Folder), strings.ReplaceAll(string(name), ".", "-")+fmt.Sprint(time.Now().UnixNano()))
			return errors.Join(k.put([2]string{from, to}), os.Rename(from, to))
		},
		Heal: func(context.Context) error {
			return k.heal(func(moved [2]string) error {
				if err := os.MkdirAll(filepath.Dir(moved[0]), 0o700); err != nil {
					return err
				}
				return os.Rename(moved[1], moved[0])
			})
		},
	}
}

// lockedVersion is a version that somebody replaced, with its bytes and its lock.
type lockedVersion struct {
	key, version string // of what is there instead
	body         []byte
	mode         types.ObjectLockMode
	until        *time.Time
}

// manifestDamaged lets root replace the newest manifest by one of a changed byte.
func (v Vaulted) manifestDamaged() fault.Fault {
	var k kept[lockedVersion]
	bypass := func(ctx context.Context, key, version string) error {
		_, err := v.s3().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &v.Bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: aws.Bool(true)})
		return err
	}
	return fault.Fault{
		Name: "backup.manifest-damaged", Doc: "the newest manifest of a backup has a changed byte", Available: needs(v.here()),
		Inject: func(ctx context.Context) error {
			key, err := v.newest(ctx, v.Prefix+"/manifests/")
			if err != nil {
				return err
			}
			out, err := v.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: &v.Bucket, Key: &key})
			if err != nil {
				return err
			}
			body, err := io.ReadAll(out.Body)
			if err := errors.Join(err, out.Body.Close()); err != nil {
				return err
			}
			if err := bypass(ctx, key, aws.ToString(out.VersionId)); err != nil {
				return err
			}
			other := slices.Clone(body)
			other[len(other)/4] ^= 1
			put, err := v.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &v.Bucket, Key: &key, Body: bytes.NewReader(other)})
			if err != nil {
				return err
			}
			return k.put(lockedVersion{key, aws.ToString(put.VersionId), body, out.ObjectLockMode, out.ObjectLockRetainUntilDate})
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(was lockedVersion) error {
				if err := bypass(ctx, was.key, was.version); err != nil {
					return err
				}
				_, err := v.s3().PutObject(ctx, &s3.PutObjectInput{
					Bucket: &v.Bucket, Key: &was.key, Body: bytes.NewReader(was.body), ObjectLockMode: was.mode, ObjectLockRetainUntilDate: was.until,
				})
				return err
			})
		},
	}
}

// lockShortened lets root shorten the lock of an object.
func (v Vaulted) lockShortened() fault.Fault {
	var k kept[lockedVersion]
	set := func(ctx context.Context, s lockedVersion, until *time.Time) error {
		_, err := v.s3().PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
			Bucket: &v.Bucket, Key: &s.key, BypassGovernanceRetention: aws.Bool(true),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(s.mode), RetainUntilDate: until},
		})
		return err
	}
	return fault.Fault{
		Name: "backup.lock-shortened", Doc: "the lock of an object of a backup ends within the hour", Available: needs(v.here()),
		Inject: func(ctx context.Context) error {
			key, err := v.newest(ctx, v.Prefix+"/data/")
			if err != nil {
				return err
			}
			head, err := v.s3().HeadObject(ctx, &s3.HeadObjectInput{Bucket: &v.Bucket, Key: &key})
			if err != nil {
				return err
			}
			s := lockedVersion{key: key, mode: head.ObjectLockMode, until: head.ObjectLockRetainUntilDate}
			return errors.Join(k.put(s), set(ctx, s, aws.Time(time.Now().Add(time.Hour))))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(s lockedVersion) error { return set(ctx, s, s.until) })
		},
	}
}

// granted gives a user more rights, and makes it first where it is to be a new one.
func (v Vaulted) granted(name fault.Name, doc string, u User, create bool, actions ...string) fault.Fault {
	var k kept[struct{}]
	policy := "fault-" + strings.ReplaceAll(string(name), ".", "-")
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(with(v.here(), "user for "+string(name), u.Name)),
		Inject: func(ctx context.Context) error {
			adm, err := v.admin()
			if err != nil {
				return err
			}
			if create {
				if err := adm.AddUser(ctx, u.Name, u.Secret); err != nil {
					return err
				}
			}
			doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
				"Effect": "Allow", "Action": actions, "Resource": []string{"arn:aws:s3:::*"},
			}}})
			if err != nil {
				return err
			}
			if err := adm.AddCannedPolicy(ctx, policy, doc); err != nil {
				return err
			}
			_, err = adm.AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{policy}, User: u.Name})
			return errors.Join(err, k.put(struct{}{}))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				adm, err := v.admin()
				if err != nil {
					return err
				}
				if create {
					return adm.RemoveUser(ctx, u.Name)
				}
				_, err = adm.DetachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{policy}, User: u.Name})
				return err
			})
		},
	}
}

// lifecycle lets versions expire by their age.
func (v Vaulted) lifecycle() fault.Fault {
	var k kept[struct{}]
	return fault.Fault{
		Name: "backup.lifecycle-expires", Doc: "a lifecycle rule of the backup place deletes versions by age", Available: needs(v.here()),
		Inject: func(ctx context.Context) error {
			_, err := v.s3().PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
				Bucket: &v.Bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
					ID: aws.String("tidy-up"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
					NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(365)},
				}}},
			})
			return errors.Join(err, k.put(struct{}{}))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				_, err := v.s3().DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: &v.Bucket})
				return err
			})
		},
	}
}

// expiredLeft adds an object that no backup names, whose lock ends at once.
func (v Vaulted) expiredLeft() fault.Fault {
	var k kept[lockedVersion]
	return fault.Fault{
		Name: "backup.expired-left", Doc: "an object that no backup names, and whose lock has ended, was left behind", Available: needs(v.here()),
		Inject: func(ctx context.Context) error {
			key := v.Prefix + "/data/000000000000/left-behind"
			put, err := v.s3().PutObject(ctx, &s3.PutObjectInput{
				Bucket: &v.Bucket, Key: &key, Body: strings.NewReader("left behind\n"),
				ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(2 * time.Second)),
			})
			if err != nil {
				return err
			}
			return k.put(lockedVersion{key: key, version: aws.ToString(put.VersionId)})
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(was lockedVersion) error {
				_, err := v.s3().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &v.Bucket, Key: &was.key, VersionId: &was.version, BypassGovernanceRetention: aws.Bool(true)})
				return err
			})
		},
	}
}
