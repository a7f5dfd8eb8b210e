package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minio/madmin-go/v3"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/policy"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/objectstore/s3/minio"
	"breakwater/internal/permit"
	"breakwater/lab/server"
)

// startMinIO starts the object store of a place and waits until it serves.
func (l *Lab) startMinIO(ctx context.Context, bin, place string) error {
	name := "minio-" + place
	root := l.secret(place, rootUser)
	adm, err := minio.New(s3.Config{Endpoint: "http://" + l.addr(name), AccessKey: root.AccessKey, SecretKey: root.SecretKey})
	if err != nil {
		return err
	}
	return l.ensure(ctx, name, server.Command{
		Bin: bin, Env: []string{
			"MINIO_ROOT_USER=" + root.AccessKey, "MINIO_ROOT_PASSWORD=" + root.SecretKey,
			"MINIO_SITE_REGION=" + place, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		}, Args: []string{"server", "--quiet",
			// Each user that is made costs a key derivation of 64 MB, which it keeps otherwise.
			"--memlimit", "256MiB", "--address", l.addr(name), "--console-address", l.addr(name + "-console"), l.path("data", name)},
	}, func(ctx context.Context) error {
		if err := server.Answers(ctx, "http://"+l.addr(name)+"/minio/health/cluster"); err != nil {
			return err
		}
		return adm.Loaded(ctx) // what is changed before that is forgotten
	})
}

// store is a client of a place's object store.
func (l *Lab) store(place string, c credential) (*s3.Client, error) {
	return s3.New(s3.Config{
		Endpoint: "http://" + l.addr("minio-"+place), Region: place,
		AccessKey: c.AccessKey, SecretKey: c.SecretKey, PathStyle: true,
	})
}

func (l *Lab) minioAdmin(place string) (*madmin.AdminClient, error) {
	root := l.secret(place, rootUser)
	return madmin.NewWithOptions(l.addr("minio-"+place), &madmin.Options{Creds: credentials.NewStaticV4(root.AccessKey, root.SecretKey, "")})
}

// user makes a user with a policy of its own, which has the user's name: MinIO
// stops nobody by a bucket policy, so that a fence rewrites or replaces this one.
func (l *Lab) user(ctx context.Context, place, name string, statements ...policy.Statement) error {
	adm, err := l.minioAdmin(place)
	if err != nil {
		return err
	}
	doc, err := policy.New(statements...).JSON()
	if err != nil {
		return err
	}
	c := l.secret(place, name)
	err = adm.AddUser(ctx, c.AccessKey, c.SecretKey)
	if err == nil {
		err = adm.AddCannedPolicy(ctx, name, doc)
	}
	if err == nil {
		_, err = adm.AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{name}, User: name})
		if madmin.ToErrorResponse(err).Code == "XMinioAdminPolicyChangeAlreadyApplied" {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("make user %s at %s: %w", name, place, err)
	}
	return nil
}

func allow(resources []string, actions ...string) policy.Statement {
	st := policy.Statement{Effect: policy.Allow, Action: actions}
	for _, r := range resources {
		st.Resource = append(st.Resource, policy.Bucket(r))
	}
	return st
}

// groupStatements are what a reader, or a writer, of a group may do.
func groupStatements(bucket, group string, write bool) []policy.Statement {
	objects := []string{"s3:GetObject", "s3:GetObjectVersion"}
	if write {
		objects = append(objects, "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
	}
	list := allow([]string{bucket}, "s3:ListBucket")
	list.Condition = policy.Below(group, group+"/*")
	return []policy.Statement{
		allow([]string{bucket}, "s3:GetBucketLocation"),
		list,
		allow([]string{bucket + "/" + group + "/*"}, objects...),
	}
}

// closed are the statements of a user who may do nothing with data yet.
func closed(bucket string) []policy.Statement {
	return []policy.Statement{allow([]string{bucket}, "s3:GetBucketLocation")}
}

// furnishRegion makes the bucket and the users of a region. At the standby the
// groups' readers and writers are there, and closed.
func (l *Lab) furnishRegion(ctx context.Context, region string) error {
	bucket := buckets()[region]
	root, err := l.store(region, l.secret(region, rootUser))
	if err != nil {
		return err
	}
	if err := root.CreateBucket(ctx, bucket, true); err != nil {
		return err
	}
	for holder, name := range map[permit.Holder]string{permit.Storage: recoveryUser, permit.Admin: adminUser} {
		if err := l.worker(ctx, region, name, region, holder); err != nil {
			return err
		}
	}
	for _, g := range groups() {
		read, write := groupStatements(bucket, g.name, false), groupStatements(bucket, g.name, true)
		if region == Standby {
			read, write = closed(bucket), closed(bucket)
		}
		if err := errors.Join(l.user(ctx, region, g.reader(), read...), l.user(ctx, region, g.writer(), write...)); err != nil {
			return err
		}
	}
	if region != Standby {
		return nil
	}
	return l.user(ctx, region, replicatorUser,
		allow([]string{bucket}, "s3:GetReplicationConfiguration", "s3:ListBucket", "s3:ListBucketMultipartUploads",
			"s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetEncryptionConfiguration"),
		allow([]string{bucket + "/*"}, "s3:GetReplicationConfiguration", "s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags",
			"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectVersionTagging", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
	)
}

// furnishLedger makes the ledger's bucket in the third place, and its user, who
// deletes nothing.
func (l *Lab) furnishLedger(ctx context.Context) error {
	root, err := l.store(Third, l.secret(Third, rootUser))
	if err != nil {
		return err
	}
	if err := root.CreateBucket(ctx, ledgerBucket, true); err != nil {
		return err
	}
	return l.worker(ctx, Third, ledgerUser, "", permit.Ledger)
}

// replicate makes the primary's bucket replicate into the standby's, through the
// line and as the replicator.
func (l *Lab) replicate(ctx context.Context) error {
	fail := func(doing string, err error) error {
		return fmt.Errorf("replicate %s to %s: %s: %w", buckets()[Primary], buckets()[Standby], doing, err)
	}
	adm, err := l.minioAdmin(Primary)
	if err != nil {
		return fail("connect", err)
	}
	c := l.secret(Standby, replicatorUser)
	arn, err := adm.SetRemoteTarget(ctx, buckets()[Primary], &madmin.BucketTarget{
		SourceBucket: buckets()[Primary], TargetBucket: buckets()[Standby],
		Endpoint:    l.addr("line-" + LineObjects),
		Credentials: &madmin.Credentials{AccessKey: c.AccessKey, SecretKey: c.SecretKey},
		Path:        "on", API: "s3v4", Type: madmin.ReplicationService, Region: Standby,
		// A target that was away is asked again this often; replication pauses until then.
		HealthCheckDuration: time.Second,
	})
	if err != nil {
		return fail("set the remote target", err)
	}
	root, err := l.store(Primary, l.secret(Primary, rootUser))
	if err != nil {
		return fail("connect", err)
	}
	if err := root.SetReplication(ctx, buckets()[Primary], "", []objectstore.ReplicationRule{{
		ID: "to-" + Standby, Enabled: true, Destination: arn, DeleteMarkers: true, ExistingObjects: true,
	}}); err != nil {
		return fail("set the rule", err)
	}
	if err := l.state.change(func(k *kept) { k.ARN = arn }); err != nil {
		return fail("keep its name", err)
	}
	return nil
}

// replicated counts the objects of the primary's bucket that the standby's does
// not hold yet, by listing both as root.
func (l *Lab) replicated(ctx context.Context) (behind int, err error) {
	have := map[string]int64{}
	for _, region := range []string{Standby, Primary} {
		c, err := l.store(region, l.secret(region, rootUser))
		if err != nil {
			return 0, err
		}
		for o, err := range c.List(ctx, buckets()[region], "") {
			switch {
			case err != nil:
				return 0, err
			case strings.HasSuffix(o.Key, "/_last_checkpoint"):
				// The only object that is overwritten; its size says nothing.
			case region == Standby:
				have[o.Key] = o.Size
			default:
				if size, ok := have[o.Key]; !ok || size != o.Size {
					behind++
				}
			}
		}
	}
	return behind, nil
}
