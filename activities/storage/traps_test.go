package storage

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
)

// The traps of recovery that storage lays, each on real servers: what happens
// without the guard, and that check and guard find and stop it. docs/traps.md
// lists them.

// failsOn asks that the only observations that did not pass are about these things.
func failsOn(t *testing.T, obs []action.Observation, about ...string) {
	t.Helper()
	found := map[string]bool{}
	for _, o := range obs {
		if o.Verdict.Clear() {
			continue
		}
		i := slices.IndexFunc(about, func(a string) bool { return strings.Contains(o.What+" "+o.Got, a) })
		if i < 0 {
			t.Errorf("not expected: %s", action.Finding(o))
			continue
		}
		found[about[i]] = true
	}
	for _, a := range about {
		if !found[a] {
			t.Errorf("nothing was found about %q\n%s", a, prove.Told(obs))
		}
	}
}

const nextCommit = "orders/orders/_delta_log/00000000000000000001.json"

// TestTrap01LateReplication: what the lost source still had to deliver replaces a
// commit of the promoted standby, unless its intake was closed before.
func TestTrap01LateReplication(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	by, cut := w.Line(world.West)
	arn := w.Replicate(world.East, world.West, by, types.ReplicationRuleStatusEnabled)
	w.Put(world.East, "orders/orders/before.parquet", "x")
	w.Eventually("the way is open", func() bool { return w.Status(world.East, "orders/orders/before.parquet") == "COMPLETED" })

	cut(true)
	r := w.Applied("storage.stop-replication", "lake")
	w.Put(world.West, nextCommit, "the standby's own")
	w.Put(world.East, nextCommit, "late") // the old primary goes on
	cut(false)
	w.Eventually("the source has tried, and was refused", func() bool { return w.Status(world.East, nextCommit) == "FAILED" })
	w.Sees("storage.late-replicas", "lake", verdict.Pass)

	// A resync, such as somebody may run when the old region is back.
	c, err := minio.New(w.Address(world.East), &minio.Options{Creds: miniocreds.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, "")})
	w.Must(err)
	_, err = c.ResetBucketReplicationOnTarget(t.Context(), w.Bucket(world.East), 0, arn)
	w.Must(err)
	w.Eventually("the resync has ended", func() bool {
		info, err := c.GetBucketReplicationResyncStatus(t.Context(), w.Bucket(world.East), arn)
		w.Must(err)
		return len(info.Targets) > 0 && (info.Targets[0].ResyncStatus == "Completed" || info.Targets[0].ResyncStatus == "Failed")
	})
	if got := w.Body(world.West, nextCommit); got != "the standby's own" {
		t.Errorf("behind the fence the commit reads %q", got)
	}
	w.Sees("storage.late-replicas", "lake", verdict.Pass)

	// Without the fence the same object lands, and the check finds it.
	w.Undone("storage.stop-replication", r)
	w.Eventually("without the fence the late commit replaces the standby's", func() bool {
		_, err := c.StatObject(t.Context(), w.Bucket(world.East), nextCommit, minio.StatObjectOptions{}) // MinIO tries again what is asked for
		w.Must(err)
		return w.Body(world.West, nextCommit) == "late"
	})
	obs := w.Sees("storage.late-replicas", "lake", verdict.Fail)
	failsOn(t, obs, nextCommit)
}

// TestTrap02SplitBrain: both regions commit the same version. The fence stops the
// writers with their own keys; without it storage.replication finds both contents.
func TestTrap02SplitBrain(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	writer := w.Minio[world.East].As(t, "orders-writer", world.SecretOf("orders-writer"))
	commit := func(body string) error {
		_, err := writer.PutIfAbsent(t.Context(), w.Bucket(world.East), nextCommit, []byte(body))
		return err
	}
	r := w.Applied("storage.fence", "lake")
	stop := w.Applied("storage.stop-replication", "lake")
	w.Put(world.West, nextCommit, "the standby's own")
	if err := commit("the old primary's"); objectstore.Attempted(err) != objectstore.ProbeDenied {
		t.Fatalf("behind the fence a writer's commit = %v, want it denied", err)
	}
	if err := writer.DeleteVersion(t.Context(), w.Bucket(world.East), "orders/orders/part-0.parquet", "null"); objectstore.Attempted(err) != objectstore.ProbeDenied {
		t.Errorf("behind the fence a writer's deletion = %v, want it denied", err)
	}
	w.Undone("storage.fence", r)
	w.Must(commit("the old primary's"))
	w.Eventually("the source has tried", func() bool { return w.Status(world.East, nextCommit) == "FAILED" })
	obs := w.Sees("storage.replication", "lake", verdict.Fail)
	i := slices.IndexFunc(obs, func(o action.Observation) bool {
		return strings.HasPrefix(o.What, "no key of group orders was written at both sides")
	})
	if i < 0 || obs[i].Verdict != verdict.Fail || !strings.Contains(obs[i].Got, nextCommit) {
		t.Errorf("both contents of the commit were not found\n%s", prove.Told(obs))
	}
	w.Undone("storage.stop-replication", stop)
}

func oldAfter(days int32) types.LifecycleRule {
	return types.LifecycleRule{NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: &days}}
}

// TestTrap14RetentionShorterThanDetection: what was overwritten is gone before
// anybody noticed.
func TestTrap14RetentionShorterThanDetection(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t) // promises 72h
	for _, tc := range []struct {
		region, check string
		days          int32
		want          verdict.Verdict
	}{
		{world.East, "storage.replication", 2, verdict.Fail},
		{world.East, "storage.replication", 3, verdict.Pass},
		{world.West, "storage.standby-ready", 2, verdict.Fail},
		{world.West, "storage.standby-ready", 3, verdict.Pass},
	} {
		w.Lifecycle(tc.region, oldAfter(tc.days))
		obs := w.Sees(tc.check, "lake", tc.want)
		if tc.want == verdict.Fail {
			failsOn(t, obs, "after 48h0m0s, and 72h0m0s are promised")
		}
	}
	lake, _ := w.Estate.Bucket("lake")
	lake.Retention = 0
	failsOn(t, w.Sees("storage.standby-ready", "lake", verdict.Fail), "the estate promises no retention")
}

// TestTrap16DeleteMarkerPolicy: whether deletions follow is decided in the estate,
// and both the rule and the markers are held against it.
func TestTrap16DeleteMarkerPolicy(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	lake, _ := w.Estate.Bucket("lake")
	const key = "orders/orders/vacuumed.parquet"
	w.Put(world.East, key, "x")
	w.Eventually("it is delivered", func() bool { return w.Status(world.East, key) == "COMPLETED" })
	_, err := w.S3[world.East].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(w.Bucket(world.East)), Key: aws.String(key)})
	w.Must(err)
	w.Eventually("the deletion is delivered", func() bool { return w.Body(world.West, key) == "" })
	w.Sees("storage.replication", "lake", verdict.Pass)

	lake.DeleteMarkers = estate.Keep
	failsOn(t, w.Sees("storage.replication", "lake", verdict.Fail), "the replication of delete markers on", "deletions of group orders")
	// To undelete at the standby is to remove the marker there.
	w.Unmark(world.West, key)
	failsOn(t, w.Sees("storage.replication", "lake", verdict.Fail), "the replication of delete markers on")

	lake.DeleteMarkers = estate.Replicate
	w.Estate.Tiers[0].RPO = 0 // a deletion that is missing counts as lag, and then as loss
	failsOn(t, w.Sees("storage.replication", "lake", verdict.Fail), "not deleted: 1")

	lake.DeleteMarkers = ""
	failsOn(t, w.Sees("storage.replication", "lake", verdict.Fail), "nobody has decided", "not deleted: 1")
}

// TestTrap17StandbyExpiresByItself: removals for good and lifecycle are not
// replicated, in either direction: the standby's own rules decide what is left.
func TestTrap17StandbyExpiresByItself(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	const key, lost = "orders/orders/hint", "orders/orders/lost.parquet"
	old := w.Put(world.East, key, "old")
	w.Put(world.East, key, "new")
	only := w.Put(world.East, lost, "lost")
	w.Eventually("all are delivered", func() bool {
		return w.Status(world.East, key) == "COMPLETED" && w.Status(world.East, lost) == "COMPLETED" && w.Versions(world.West, key) == 2
	})
	w.Sees("storage.replication", "lake", verdict.Pass)
	w.Lifecycle(world.West, types.LifecycleRule{Expiration: &types.LifecycleExpiration{Days: aws.Int32(3650)}})
	failsOn(t, w.Sees("storage.standby-ready", "lake", verdict.Fail), "a table needs its files however old they are")
	w.Lifecycle(world.West, types.LifecycleRule{Expiration: &types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)}})
	failsOn(t, w.Sees("storage.standby-ready", "lake", verdict.Fail), "the object lives again")

	w.Remove(world.West, key, old)
	failsOn(t, w.Sees("storage.replication", "lake", verdict.Fail), "old version missing: 1")
	w.Remove(world.West, lost, only)
	w.Estate.Tiers[0].RPO = estate.Duration(time.Hour)
	failsOn(t, w.Sees("storage.replication", "lake", verdict.Fail), "old version missing: 1", "delivered and gone: 1")
}

// TestTrap18OlderThanTheRule: what was there before the rule is never replicated,
// and no metric says so.
func TestTrap18OlderThanTheRule(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	lake, _ := w.Estate.Bucket("lake")
	lake.DeleteMarkers = estate.Replicate
	w.Estate.Tiers[0].RPO = estate.Duration(time.Hour)
	w.Put(world.East, "orders/orders/a.parquet", "12345")
	w.Put(world.East, "orders/payments/b.parquet", "1234567")
	w.Replicate(world.East, world.West, w.Address(world.West), types.ReplicationRuleStatusEnabled)
	w.Existing(world.East, types.ExistingObjectReplicationStatusDisabled)
	obs := w.Sees("storage.replication", "lake", verdict.Fail)
	failsOn(t, obs, "leaves existing objects out", "never replicated: 2 (12 bytes)")
}

// TestTrap19ReplicasDoNotGoBack: after a failover the rule back brings what the
// standby wrote, and not what it had received.
func TestTrap19ReplicasDoNotGoBack(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	const received, own = "orders/orders/received.parquet", "orders/orders/own.parquet"
	version := w.Put(world.East, received, "received")
	w.Eventually("it is delivered", func() bool { return w.Status(world.East, received) == "COMPLETED" })
	obs := w.Sees("storage.standby-ready", "lake", verdict.Pass)
	if !strings.Contains(prove.Told(obs), "1 of the sampled objects are replicas") {
		t.Errorf("readiness does not say what failback will need\n%s", prove.Told(obs))
	}

	w.Replicate(world.West, world.East, w.Address(world.East), types.ReplicationRuleStatusEnabled)
	w.ReplicationOff(world.East)
	w.Remove(world.East, received, version) // the old primary has lost it
	w.Put(world.West, own, "own")
	w.Eventually("what the standby writes goes back", func() bool { return w.Status(world.West, own) == "COMPLETED" })
	w.Run.Source, w.Run.Target = world.West, world.East
	obs = w.Sees("storage.replication", "lake", verdict.Fail)
	failsOn(t, obs, "a replica itself: 1 (8 bytes)")
}

// TestTrap20StandbyCannotDecrypt: a server whose key is another one lists and
// describes the object, and cannot read it.
func TestTrap20StandbyCannotDecrypt(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	lake, _ := w.Estate.Bucket("lake")
	lake.ReverseRule, lake.Retention = estate.Disabled, estate.Duration(time.Hour)
	key := func(b byte) {
		env := "MINIO_KMS_SECRET_KEY=lake-key:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
		s := w.Minio[world.West]
		s.Command.Env = append(slices.DeleteFunc(slices.Clone(s.Command.Env), func(e string) bool { return strings.HasPrefix(e, "MINIO_KMS") }), env)
		s.Restart(t)
	}
	key(1)
	const name = "orders/orders/encrypted.parquet"
	bucket := aws.String(w.Bucket(world.West))
	up, err := w.S3[world.West].CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: bucket, Key: aws.String(name), ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("lake-key"),
	})
	w.Must(err)
	part, err := w.S3[world.West].UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: bucket, Key: aws.String(name), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("secret")),
	})
	w.Must(err)
	_, err = w.S3[world.West].CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: aws.String(name), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1)}}},
	})
	w.Must(err)
	obs := w.Sees("storage.standby-ready", "lake", verdict.Fail)
	failsOn(t, obs, "the bucket has no rules") // and nothing else
	if !strings.Contains(prove.Told(obs), "1 with key arn:aws:kms:lake-key") {
		t.Errorf("the key is not named\n%s", prove.Told(obs))
	}
	key(2)
	_, err = w.S3[world.West].HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: aws.String(name)})
	w.Must(err) // the trap: to describe it works
	failsOn(t, w.Sees("storage.standby-ready", "lake", verdict.Fail), "the bucket has no rules", "key arn:aws:kms:lake-key: read the first byte of s3://lake-west/"+name)
	key(1)
	failsOn(t, w.Sees("storage.standby-ready", "lake", verdict.Fail), "the bucket has no rules")
}

// TestTrap24CommitsThatOnlyACatalogKnows: a commit is staged, and not in the log.
func TestTrap24CommitsThatOnlyACatalogKnows(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	for _, staged := range []string{
		"orders/orders/_delta_log/_staged_commits/00000000000000000001.3f1c.json",
		"orders/orders/_delta_log/_commits/00000000000000000001.3f1c.json",
		"orders/orders/_delta_log/.tmp/00000000000000000001.json.3f1c",
	} {
		v := w.Put(world.West, staged, "{}\n")
		failsOn(t, w.Sees("storage.standby-ready", "lake", verdict.Fail), staged+" is staged")
		entry := w.Put(world.West, nextCommit, "{}\n") // published: the log says so itself
		w.Sees("storage.standby-ready", "lake", verdict.Pass)
		w.Remove(world.West, nextCommit, entry)
		w.Remove(world.West, staged, v)
	}
}

// TestReplicationOfADeadSource: what the source would have to say is unknown, and
// an obligation where that was accepted; what the target says counts.
func TestReplicationOfADeadSource(t *testing.T) {
	t.Parallel()
	w := world.MirroredLake(t)
	w.Minio[world.East].Kill()
	w.Run.SourceUnreachable = true
	obs := w.Sees("storage.replication", "lake", verdict.Unknown)
	if !action.OnlySourceUnreachable(obs) {
		t.Errorf("something else than the source's silence was found\n%s", prove.Told(obs))
	}
	const owed = "Compare bucket lake of us-east-1 with its copy in us-west-2 before anything is copied back"
	if !slices.ContainsFunc(obs, func(o action.Observation) bool { return o.Obligation == owed }) {
		t.Errorf("no obligation %q\n%s", owed, prove.Told(obs))
	}
	w.Sees("storage.standby-ready", "lake", verdict.Pass)
}

// TestReplicationOfWhatIsNotThere: of nothing, nothing follows; and a bucket that
// belongs to no group has rules and no objective.
func TestReplicationOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	archive, _ := w.Estate.Bucket("archive")
	archive.DeleteMarkers, archive.ReverseRule = estate.Replicate, estate.Disabled
	obs := w.Sees("storage.replication", "archive", verdict.Fail)
	failsOn(t, obs, "the bucket has no rules", "0 enabled rules", "the source holds nothing there")
	_, err := w.S3[world.West].PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String("archive-west"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
	})
	w.Must(err)
	failsOn(t, w.Sees("storage.standby-ready", "archive", verdict.Fail), "it is off, or suspended", "there is nothing to read", "the bucket has no rules")
}
