package activities

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
	"breakwater/internal/objectstore/miniotest"
	"breakwater/internal/servertest"
	"breakwater/internal/verdict"
	"breakwater/lab/wan"

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
		if o.Verdict == verdict.Pass {
			continue
		}
		i := slices.IndexFunc(about, func(a string) bool { return strings.Contains(o.What+" "+o.Got, a) })
		if i < 0 {
			t.Errorf("not expected: %s", finding(o))
			continue
		}
		found[about[i]] = true
	}
	for _, a := range about {
		if !found[a] {
			t.Errorf("nothing was found about %q\n%s", a, told(obs))
		}
	}
}

// applied plans and applies an action.
func (w *world) applied(name, item string) action.Request {
	w.t.Helper()
	def := w.action(name)
	r := w.request(def, item)
	plan, err := def.Plan(w.t.Context(), r, nil)
	w.must(err)
	r.Plan = &plan
	_, err = def.Apply(w.t.Context(), r, nil)
	w.must(err)
	obs, err := def.Verify(w.t.Context(), r, nil)
	w.must(err)
	if action.Worst(obs) != verdict.Pass {
		w.t.Fatalf("%s on %s\n%s", name, item, told(obs))
	}
	return r
}

// undone takes it back.
func (w *world) undone(name string, r action.Request) {
	w.t.Helper()
	def := w.action(name)
	back, err := def.UndoPlan(w.t.Context(), r, nil)
	w.must(err)
	r.Plan = &back
	_, err = def.UndoApply(w.t.Context(), r, nil)
	w.must(err)
}

// line is a way between the regions that can be cut.
func (w *world) line(to string) (address string, cut func(bool)) {
	w.t.Helper()
	var control string
	ctx := w.t.Context()
	w.must(servertest.OnFreePorts(ctx, 2, func(port int) error {
		address, control = servertest.Address(port), servertest.Address(port+1)
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- wan.Serve(ctx, control, []wan.Route{{Name: "objects", Listen: address, Target: w.address(to)}}, ready)
		}()
		select {
		case <-ready:
			return nil
		case err := <-ended:
			return err
		}
	}))
	return address, func(yes bool) { w.must(wan.Set(ctx, control, "objects", wan.Condition{Cut: yes})) }
}

const nextCommit = "orders/orders/_delta_log/00000000000000000001.json"

// TestTrap01LateReplication: what the lost source still had to deliver replaces a
// commit of the promoted standby, unless its intake was closed before.
func TestTrap01LateReplication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	by, cut := w.line(west)
	arn := w.replicate(east, west, by, types.ReplicationRuleStatusEnabled)
	w.put(east, "orders/orders/before.parquet", "x")
	w.eventually("the way is open", func() bool { return w.status(east, "orders/orders/before.parquet") == "COMPLETED" })

	cut(true)
	r := w.applied("storage.stop-replication", "lake")
	w.put(west, nextCommit, "the standby's own")
	w.put(east, nextCommit, "late") // the old primary goes on
	cut(false)
	w.eventually("the source has tried, and was refused", func() bool { return w.status(east, nextCommit) == "FAILED" })
	w.sees("storage.late-replicas", "lake", verdict.Pass)

	// A resync, such as somebody may run when the old region is back.
	c, err := minio.New(w.address(east), &minio.Options{Creds: miniocreds.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, "")})
	w.must(err)
	_, err = c.ResetBucketReplicationOnTarget(t.Context(), w.bucket(east), 0, arn)
	w.must(err)
	w.eventually("the resync has ended", func() bool {
		info, err := c.GetBucketReplicationResyncStatus(t.Context(), w.bucket(east), arn)
		w.must(err)
		return len(info.Targets) > 0 && (info.Targets[0].ResyncStatus == "Completed" || info.Targets[0].ResyncStatus == "Failed")
	})
	if got := w.body(west, nextCommit); got != "the standby's own" {
		t.Errorf("behind the fence the commit reads %q", got)
	}
	w.sees("storage.late-replicas", "lake", verdict.Pass)

	// Without the fence the same object lands, and the check finds it.
	w.undone("storage.stop-replication", r)
	w.eventually("without the fence the late commit replaces the standby's", func() bool {
		_, err := c.StatObject(t.Context(), w.bucket(east), nextCommit, minio.StatObjectOptions{}) // MinIO tries again what is asked for
		w.must(err)
		return w.body(west, nextCommit) == "late"
	})
	obs := w.sees("storage.late-replicas", "lake", verdict.Fail)
	failsOn(t, obs, nextCommit)
}

// TestTrap02SplitBrain: both regions commit the same version. The fence stops the
// writers with their own keys; without it storage.replication finds both contents.
func TestTrap02SplitBrain(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t)
	writer := w.minio[east].As(t, "orders-writer", secretOf("orders-writer"))
	commit := func(body string) error {
		_, err := writer.PutIfAbsent(t.Context(), w.bucket(east), nextCommit, []byte(body))
		return err
	}
	r := w.applied("storage.fence", "lake")
	stop := w.applied("storage.stop-replication", "lake")
	w.put(west, nextCommit, "the standby's own")
	if err := commit("the old primary's"); objectstore.Attempted(err) != objectstore.ProbeDenied {
		t.Fatalf("behind the fence a writer's commit = %v, want it denied", err)
	}
	if err := writer.DeleteVersion(t.Context(), w.bucket(east), "orders/orders/part-0.parquet", "null"); objectstore.Attempted(err) != objectstore.ProbeDenied {
		t.Errorf("behind the fence a writer's deletion = %v, want it denied", err)
	}
	w.undone("storage.fence", r)
	w.must(commit("the old primary's"))
	w.eventually("the source has tried", func() bool { return w.status(east, nextCommit) == "FAILED" })
	obs := w.sees("storage.replication", "lake", verdict.Fail)
	i := slices.IndexFunc(obs, func(o action.Observation) bool {
		return strings.HasPrefix(o.What, "no key of group orders was written at both sides")
	})
	if i < 0 || obs[i].Verdict != verdict.Fail || !strings.Contains(obs[i].Got, nextCommit) {
		t.Errorf("both contents of the commit were not found\n%s", told(obs))
	}
	w.undone("storage.stop-replication", stop)
}

// lifecycle gives a bucket one rule.
func (w *world) lifecycle(region string, rule types.LifecycleRule) {
	w.t.Helper()
	rule.ID, rule.Status = aws.String("rule"), types.ExpirationStatusEnabled
	if rule.Filter == nil {
		rule.Filter = &types.LifecycleRuleFilter{Prefix: aws.String("")}
	}
	_, err := w.s3[region].PutBucketLifecycleConfiguration(w.t.Context(), &s3.PutBucketLifecycleConfigurationInput{
		Bucket: aws.String(w.bucket(region)), LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{rule}},
	})
	w.must(err)
}

func oldAfter(days int32) types.LifecycleRule {
	return types.LifecycleRule{NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: &days}}
}

// TestTrap14RetentionShorterThanDetection: what was overwritten is gone before
// anybody noticed.
func TestTrap14RetentionShorterThanDetection(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t) // promises 72h
	for _, tc := range []struct {
		region, check string
		days          int32
		want          verdict.Verdict
	}{
		{east, "storage.replication", 2, verdict.Fail},
		{east, "storage.replication", 3, verdict.Pass},
		{west, "storage.standby-ready", 2, verdict.Fail},
		{west, "storage.standby-ready", 3, verdict.Pass},
	} {
		w.lifecycle(tc.region, oldAfter(tc.days))
		obs := w.sees(tc.check, "lake", tc.want)
		if tc.want == verdict.Fail {
			failsOn(t, obs, "after 48h0m0s, and 72h0m0s are promised")
		}
	}
	lake, _ := w.estate.Bucket("lake")
	lake.Retention = 0
	failsOn(t, w.sees("storage.standby-ready", "lake", verdict.Fail), "the estate promises no retention")
}

// TestTrap16DeleteMarkerPolicy: whether deletions follow is decided in the estate,
// and both the rule and the markers are held against it.
func TestTrap16DeleteMarkerPolicy(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t)
	lake, _ := w.estate.Bucket("lake")
	const key = "orders/orders/vacuumed.parquet"
	w.put(east, key, "x")
	w.eventually("it is delivered", func() bool { return w.status(east, key) == "COMPLETED" })
	_, err := w.s3[east].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(w.bucket(east)), Key: aws.String(key)})
	w.must(err)
	w.eventually("the deletion is delivered", func() bool { return w.body(west, key) == "" })
	w.sees("storage.replication", "lake", verdict.Pass)

	lake.DeleteMarkers = estate.Keep
	failsOn(t, w.sees("storage.replication", "lake", verdict.Fail), "the replication of delete markers on", "deletions of group orders")
	// To undelete at the standby is to remove the marker there.
	w.unmark(west, key)
	failsOn(t, w.sees("storage.replication", "lake", verdict.Fail), "the replication of delete markers on")

	lake.DeleteMarkers = estate.Replicate
	w.estate.Tiers[0].RPO = 0 // a deletion that is missing counts as lag, and then as loss
	failsOn(t, w.sees("storage.replication", "lake", verdict.Fail), "not deleted: 1")

	lake.DeleteMarkers = ""
	failsOn(t, w.sees("storage.replication", "lake", verdict.Fail), "nobody has decided", "not deleted: 1")
}

// unmark removes the delete markers of a key.
func (w *world) unmark(region, key string) {
	w.t.Helper()
	out, err := w.s3[region].ListObjectVersions(w.t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(w.bucket(region)), Prefix: &key})
	w.must(err)
	for _, m := range out.DeleteMarkers {
		_, err := w.s3[region].DeleteObject(w.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(w.bucket(region)), Key: m.Key, VersionId: m.VersionId})
		w.must(err)
	}
}

// remove takes one version away for good, as lifecycle does.
func (w *world) remove(region, key, version string) {
	w.t.Helper()
	_, err := w.s3[region].DeleteObject(w.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(w.bucket(region)), Key: &key, VersionId: &version})
	w.must(err)
}

// TestTrap17StandbyExpiresByItself: removals for good and lifecycle are not
// replicated, in either direction: the standby's own rules decide what is left.
func TestTrap17StandbyExpiresByItself(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t)
	const key, lost = "orders/orders/hint", "orders/orders/lost.parquet"
	old := w.put(east, key, "old")
	w.put(east, key, "new")
	only := w.put(east, lost, "lost")
	w.eventually("all are delivered", func() bool {
		return w.status(east, key) == "COMPLETED" && w.status(east, lost) == "COMPLETED" && w.versions(west, key) == 2
	})
	w.sees("storage.replication", "lake", verdict.Pass)
	w.lifecycle(west, types.LifecycleRule{Expiration: &types.LifecycleExpiration{Days: aws.Int32(3650)}})
	failsOn(t, w.sees("storage.standby-ready", "lake", verdict.Fail), "a table needs its files however old they are")
	w.lifecycle(west, types.LifecycleRule{Expiration: &types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)}})
	failsOn(t, w.sees("storage.standby-ready", "lake", verdict.Fail), "the object lives again")

	w.remove(west, key, old)
	failsOn(t, w.sees("storage.replication", "lake", verdict.Fail), "old version missing: 1")
	w.remove(west, lost, only)
	w.estate.Tiers[0].RPO = estate.Duration(time.Hour)
	failsOn(t, w.sees("storage.replication", "lake", verdict.Fail), "old version missing: 1", "delivered and gone: 1")
}

func (w *world) versions(region, key string) int {
	w.t.Helper()
	out, err := w.s3[region].ListObjectVersions(w.t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(w.bucket(region)), Prefix: &key})
	w.must(err)
	return len(out.Versions)
}

// TestTrap18OlderThanTheRule: what was there before the rule is never replicated,
// and no metric says so.
func TestTrap18OlderThanTheRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lake, _ := w.estate.Bucket("lake")
	lake.DeleteMarkers = estate.Replicate
	w.estate.Tiers[0].RPO = estate.Duration(time.Hour)
	w.put(east, "orders/orders/a.parquet", "12345")
	w.put(east, "orders/payments/b.parquet", "1234567")
	w.replicate(east, west, w.address(west), types.ReplicationRuleStatusEnabled)
	w.existing(east, types.ExistingObjectReplicationStatusDisabled)
	obs := w.sees("storage.replication", "lake", verdict.Fail)
	failsOn(t, obs, "leaves existing objects out", "never replicated: 2 (12 bytes)")
}

// existing sets whether the rules take objects that are older than they.
func (w *world) existing(region string, status types.ExistingObjectReplicationStatus) {
	w.t.Helper()
	bucket := w.bucket(region)
	out, err := w.s3[region].GetBucketReplication(w.t.Context(), &s3.GetBucketReplicationInput{Bucket: &bucket})
	w.must(err)
	for i := range out.ReplicationConfiguration.Rules {
		out.ReplicationConfiguration.Rules[i].ExistingObjectReplication.Status = status
	}
	_, err = w.s3[region].PutBucketReplication(w.t.Context(), &s3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: out.ReplicationConfiguration})
	w.must(err)
}

// TestTrap19ReplicasDoNotGoBack: after a failover the rule back brings what the
// standby wrote, and not what it had received.
func TestTrap19ReplicasDoNotGoBack(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t)
	const received, own = "orders/orders/received.parquet", "orders/orders/own.parquet"
	version := w.put(east, received, "received")
	w.eventually("it is delivered", func() bool { return w.status(east, received) == "COMPLETED" })
	obs := w.sees("storage.standby-ready", "lake", verdict.Pass)
	if !strings.Contains(told(obs), "1 of the sampled objects are replicas") {
		t.Errorf("readiness does not say what failback will need\n%s", told(obs))
	}

	w.replicate(west, east, w.address(east), types.ReplicationRuleStatusEnabled)
	w.replicationOff(east)
	w.remove(east, received, version) // the old primary has lost it
	w.put(west, own, "own")
	w.eventually("what the standby writes goes back", func() bool { return w.status(west, own) == "COMPLETED" })
	w.run.Source, w.run.Target = west, east
	obs = w.sees("storage.replication", "lake", verdict.Fail)
	failsOn(t, obs, "a replica itself: 1 (8 bytes)")
}

// replicationOff disables a region's rules.
func (w *world) replicationOff(region string) {
	w.t.Helper()
	bucket := w.bucket(region)
	out, err := w.s3[region].GetBucketReplication(w.t.Context(), &s3.GetBucketReplicationInput{Bucket: &bucket})
	w.must(err)
	for i := range out.ReplicationConfiguration.Rules {
		out.ReplicationConfiguration.Rules[i].Status = types.ReplicationRuleStatusDisabled
	}
	_, err = w.s3[region].PutBucketReplication(w.t.Context(), &s3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: out.ReplicationConfiguration})
	w.must(err)
}

// TestTrap20StandbyCannotDecrypt: a server whose key is another one lists and
// describes the object, and cannot read it.
func TestTrap20StandbyCannotDecrypt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lake, _ := w.estate.Bucket("lake")
	lake.ReverseRule, lake.Retention = estate.Disabled, estate.Duration(time.Hour)
	key := func(b byte) {
		env := "MINIO_KMS_SECRET_KEY=lake-key:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
		s := w.minio[west]
		s.Env = append(slices.DeleteFunc(slices.Clone(s.Env), func(e string) bool { return strings.HasPrefix(e, "MINIO_KMS") }), env)
		s.Restart(t)
	}
	key(1)
	const name = "orders/orders/encrypted.parquet"
	bucket := aws.String(w.bucket(west))
	up, err := w.s3[west].CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: bucket, Key: aws.String(name), ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("lake-key"),
	})
	w.must(err)
	part, err := w.s3[west].UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: bucket, Key: aws.String(name), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("secret")),
	})
	w.must(err)
	_, err = w.s3[west].CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: aws.String(name), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1)}}},
	})
	w.must(err)
	obs := w.sees("storage.standby-ready", "lake", verdict.Fail)
	failsOn(t, obs, "the bucket has no rules") // and nothing else
	if !strings.Contains(told(obs), "1 with key arn:aws:kms:lake-key") {
		t.Errorf("the key is not named\n%s", told(obs))
	}
	key(2)
	_, err = w.s3[west].HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: aws.String(name)})
	w.must(err) // the trap: to describe it works
	failsOn(t, w.sees("storage.standby-ready", "lake", verdict.Fail), "the bucket has no rules", "key arn:aws:kms:lake-key: read the first byte of s3://lake-west/"+name)
	key(1)
	failsOn(t, w.sees("storage.standby-ready", "lake", verdict.Fail), "the bucket has no rules")
}

// TestTrap24CommitsThatOnlyACatalogKnows: a commit is staged, and not in the log.
func TestTrap24CommitsThatOnlyACatalogKnows(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t)
	for _, staged := range []string{
		"orders/orders/_delta_log/_staged_commits/00000000000000000001.3f1c.json",
		"orders/orders/_delta_log/_commits/00000000000000000001.3f1c.json",
		"orders/orders/_delta_log/.tmp/00000000000000000001.json.3f1c",
	} {
		v := w.put(west, staged, "{}\n")
		failsOn(t, w.sees("storage.standby-ready", "lake", verdict.Fail), staged+" is staged")
		entry := w.put(west, nextCommit, "{}\n") // published: the log says so itself
		w.sees("storage.standby-ready", "lake", verdict.Pass)
		w.remove(west, nextCommit, entry)
		w.remove(west, staged, v)
	}
}

// TestReplicationOfADeadSource: what the source would have to say is unknown, and
// an obligation where that was accepted; what the target says counts.
func TestReplicationOfADeadSource(t *testing.T) {
	t.Parallel()
	w := mirroredLake(t)
	w.minio[east].Kill()
	w.run.SourceUnreachable = true
	obs := w.sees("storage.replication", "lake", verdict.Unknown)
	if !action.OnlySourceUnreachable(obs) {
		t.Errorf("something else than the source's silence was found\n%s", told(obs))
	}
	const owed = "Compare bucket lake of us-east-1 with its copy in us-west-2 before anything is copied back"
	if !slices.ContainsFunc(obs, func(o action.Observation) bool { return o.Obligation == owed }) {
		t.Errorf("no obligation %q\n%s", owed, told(obs))
	}
	w.sees("storage.standby-ready", "lake", verdict.Pass)
}

// TestReplicationOfWhatIsNotThere: of nothing, nothing follows; and a bucket that
// belongs to no group has rules and no objective.
func TestReplicationOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	archive, _ := w.estate.Bucket("archive")
	archive.DeleteMarkers, archive.ReverseRule = estate.Replicate, estate.Disabled
	obs := w.sees("storage.replication", "archive", verdict.Fail)
	failsOn(t, obs, "the bucket has no rules", "0 enabled rules", "the source holds nothing there")
	_, err := w.s3[west].PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String("archive-west"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
	})
	w.must(err)
	failsOn(t, w.sees("storage.standby-ready", "archive", verdict.Fail), "it is off, or suspended", "there is nothing to read", "the bucket has no rules")
}
