package backup

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/batch"
	"breakwater/internal/objectstore/s3/batchops"
	"breakwater/internal/objectstore/s3/batchops/batchtest"
	"breakwater/internal/system"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// byControl is the systems with a fake of S3 Control, since nothing here runs batches.
type byControl struct {
	*system.Systems
	control http.RoundTripper
}

// Batches asks the fake as who adds backups.
func (s byControl) Batches(_ context.Context, e *estate.Estate, reader objectstore.Store) (batch.Copier, error) {
	return batchops.New(batchops.Config{
		Role: e.Backup.Batch.Role, Region: "us-east-1", AccessKey: "adder", SecretKey: world.SecretOf("adder"), Transport: s.control,
	}, reader)
}

// newBatched is a lake with a backup place where batches copy three data objects or
// more. It runs none itself: a fake of S3 Control copies on the two MinIOs.
func newBatched(t *testing.T) (*world.Vaulted, *batchtest.Control) {
	t.Helper()
	v := world.NewVaulted(t)
	control := batchtest.New(t, v.Minio[world.East].Client(t), v.Server.As(t, world.VaultRoot, world.VaultSecret), "us-east-1")
	s := byControl{v.Systems, control}
	v.Instead = func(c *action.Catalogue, _ *system.Systems) {
		room{systems: s, lake: lake.New(s)}.backupActions(c)
	}
	v.Estate.Backup.Batch = &estate.Batch{Role: batchtest.Role, FromObjects: 3}
	v.Written()
	return v, control
}

func TestBackupByBatch(t *testing.T) {
	t.Parallel()
	v, control := newBatched(t)
	t.Run("prove", func(t *testing.T) {
		v.As("first")
		d := v.Lake.World.Action("backup.take")
		prove.Action(t, d, v.Request(d, "orders"), v.FaultSet())
	})
	if n := control.Created(); n != 2 {
		t.Errorf("%d batches for two tables", n)
	}
	first := v.BatchedKeys()
	notes := 0
	for k := range v.Stored() {
		if !strings.HasPrefix(k, "batches/") {
			continue
		}
		notes++
		if _, err := v.Store.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: aws.String("vault"), Key: aws.String("lakehouse/orders/" + k)}); err != nil {
			t.Errorf("%s is not held: %v", k, err)
		}
	}
	if notes != 6 {
		t.Errorf("%d notes of two batches, want a manifest and two files of the report each", notes)
	}
	if len(first) != 10 {
		t.Errorf("batches wrote %d objects, want the five data files of each table: %v", len(first), first)
	}
	v.As("drill")
	d := v.Lake.World.Action("backup.restorable")
	r := v.Request(d, "orders")
	ch, err := d.Plan(t.Context(), r, nil)
	v.Must(err)
	r.Plan = &ch
	_, err = d.Apply(t.Context(), r, nil)
	v.Must(err)
	t.Run("restored", func(t *testing.T) {
		v.As("restore")
		v.Overwrite(world.East, "orders")
		want := v.Truth["orders"][len(v.Truth["orders"])-1].String()
		v.Restored("orders", map[string]any{})
		log, store := v.Log(world.West, "orders")
		snap, err := log.Snapshot(t.Context(), log.Head())
		v.Must(err)
		if got, err := scan.Sum(t.Context(), store, snap); err != nil || !strings.Contains(want, got.Hash()) {
			t.Errorf("orders restored: %s, %v; want %s", got, err, want)
		}
	})
	copyGone(v, t)
	copyReplaced(v, t)
}

// aCopy is a copy by a batch, of the table that the newest backup is tried with.
func aCopy(v *world.Vaulted) backup.Stored {
	v.T.Helper()
	b, err := lake.New(v.Systems).Backups(v.T.Context(), v.Estate, "orders")
	v.Must(err)
	f, _, err := newest(b)
	v.Must(err)
	objects, err := b.List(v.T.Context(), trialOf(f.Manifest))
	v.Must(err)
	for _, o := range objects {
		if strings.Contains(o.Copy.Key, "/batch/") {
			return o.Copy
		}
	}
	v.T.Fatal("the newest backup names no copy of a batch")
	return backup.Stored{}
}

// restorable verifies backup.restorable and asks for a verdict.
func restorable(v *world.Vaulted, when string, want verdict.Verdict) {
	v.T.Helper()
	v.As("drill")
	d := v.Lake.World.Action("backup.restorable")
	obs, err := d.Verify(v.T.Context(), v.Request(d, "orders"), nil)
	v.Must(err)
	if got := action.Worst(obs); got != want {
		v.T.Errorf("backup.restorable %s: %s, want %s\n%s", when, got, want, prove.Told(obs))
	}
}

// copyGone loses a copy by a batch.
func copyGone(v *world.Vaulted, t *testing.T) {
	from := filepath.Join(v.Server.Folder, "vault", "lakehouse", filepath.FromSlash(aCopy(v).Key))
	to := filepath.Join(t.TempDir(), "lost")
	restorable(v, "of a whole backup", verdict.Pass)
	v.Must(os.Rename(from, to))
	restorable(v, "with a copy of a batch gone", verdict.Fail)
	v.Must(os.Rename(to, from))
	restorable(v, "with the copy back", verdict.Pass)
}

// copyReplaced puts other bytes of the same length in the place of a copy by a batch,
// as root, who may take its lock away.
func copyReplaced(v *world.Vaulted, t *testing.T) {
	c := aCopy(v)
	key := aws.String("lakehouse/" + c.Key)
	_, err := v.Store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("vault"), Key: key, Body: strings.NewReader(strings.Repeat("x", int(c.Size)))})
	v.Must(err)
	restorable(v, "with another version over a copy", verdict.Pass)
	_, err = v.Store.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("vault"), Key: key, VersionId: &c.Version, BypassGovernanceRetention: aws.Bool(true)})
	v.Must(err)
	restorable(v, "with another version in the place of a copy", verdict.Fail)
}

// TestBatches takes backups of one group by batches that fail, lie and are broken off.
func TestBatches(t *testing.T) {
	t.Parallel()
	v, control := newBatched(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *world.Vaulted, *batchtest.Control)
	}{
		{"who copies", whoCopies}, {"not believed", notBelieved}, {"another", failedBatchIsFollowedByAnother}, {"found again", batchIsFoundAgain},
		{"too little", tooLittleForABatch},
	} {
		t.Run(part.name, func(t *testing.T) {
			control.Faults = batchtest.Faults{}
			v.Estate.Backup.Batch = &estate.Batch{Role: batchtest.Role, FromObjects: 3}
			part.test(t, v, control)
		})
	}
}

// whoCopies asks who copies, and why: the plan says it.
func whoCopies(t *testing.T, v *world.Vaulted, _ *batchtest.Control) {
	for _, tc := range []struct {
		name  string
		batch *estate.Batch
		want  string
	}{
		{"enough", &estate.Batch{Role: batchtest.Role, FromObjects: 3}, "S3 Batch Operations copy 5 data objects as " + batchtest.Role + ", since they are 3 or more"},
		{"too few", &estate.Batch{Role: batchtest.Role, FromObjects: 6}, "object by object, since a batch would copy fewer than 6"},
		{"not declared", nil, "with the one before"},
	} {
		v.Estate.Backup.Batch = tc.batch
		_, r := v.PlannedBackup()
		for _, e := range r.Plan.Effects {
			if strings.HasPrefix(e.Do, "add version") && !strings.HasSuffix(e.Do, tc.want) {
				t.Errorf("%s: %q, want it to end with %q", tc.name, e.Do, tc.want)
			}
		}
	}
}

// notBelieved lets batches end Complete that did not copy everything, or something
// else.
func notBelieved(t *testing.T, v *world.Vaulted, control *batchtest.Control) {
	key := v.DataOf("orders", 3)[0]
	source := "s3://lake-east/" + key
	started := 0
	for _, tc := range []struct {
		name   string
		faults batchtest.Faults
		want   string
	}{
		{"a line failed", batchtest.Faults{Refuse: key}, "1 object failed: " + source},
		{"a line failed, says the report alone", batchtest.Faults{Refuse: key, Quiet: true}, "1 object failed: " + source},
		{"the report lacks a line", batchtest.Faults{Drop: key}, "the report lacks 1 lines of the manifest: " + source},
		{"a copy is not there", batchtest.Faults{Lose: key}, "the batch says that it copied " + source},
		{"a copy has other bytes", batchtest.Faults{Alter: key}, key + " has other bytes than version"},
		{"a copy has other bytes, and no checksum", batchtest.Faults{Alter: key, Unsummed: true}, key + " has other bytes than version"},
		{"a copy is not held", batchtest.Faults{Unheld: key}, key + " is held until no time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v.As("unbelieved")
			control.Faults = tc.faults
			d, r := v.PlannedBackup()
			_, err := d.Apply(t.Context(), r, nil)
			if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Apply: %v\nwant it refused, with %q", err, tc.want)
			}
			if obs, err := d.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail {
				t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
			}
			if now := control.Created(); now > started+1 {
				t.Errorf("it took %d batches to find that out", now-started)
			} else {
				started = now
			}
		})
	}
}

// failedBatchIsFollowedByAnother lets a batch fail on an object. Who has put the
// cause right says "again" to the same step, and gets another batch.
func failedBatchIsFollowedByAnother(t *testing.T, v *world.Vaulted, control *batchtest.Control) {
	before := control.Created()
	v.As("again")
	d, r := v.PlannedBackup()
	for n := 1; n <= 2; n++ { // payments has no batch before orders has its copies
		control.Refuse = v.DataOf("orders", 3)[0]
		if _, err := d.Apply(t.Context(), r, nil); !errors.Is(err, batch.ErrIncomplete) {
			t.Fatalf("Apply %d: %v, want ErrIncomplete", n, err)
		}
		if control.Created() != before+n {
			t.Errorf("Apply %d has left %d batches", n, control.Created()-before)
		}
	}
	control.Refuse = ""
	v.Take("again")
	if n := control.Created() - before; n != 4 {
		t.Errorf("%d batches, want three of orders and one of payments", n)
	}
}

// batchIsFoundAgain breaks Apply off while the batch of the first table runs. The
// next attempt finds that batch, although it wants longer locks by now; and then it
// finds it ended.
func batchIsFoundAgain(t *testing.T, v *world.Vaulted, control *batchtest.Control) {
	v.Estate.Backup.FullEvery = 1
	defer func() { v.Estate.Backup.FullEvery = 0 }()
	before, had := control.Created(), v.BatchedKeys()
	control.Unsummed = true // so that the copies are read
	v.As("broken off")
	for _, status := range []string{"New", "Active", "Complete"} {
		d, r := v.PlannedBackup()
		ctx, cancel := context.WithCancel(t.Context())
		r.Progress = func(_, _ int64, sentence string) {
			if strings.HasSuffix(sentence, "is "+status) {
				cancel()
			}
		}
		_, err := d.Apply(ctx, r, nil)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("Apply broken off while the batch was %s: %v", status, err)
		}
		if n := control.Created() - before; n != 1 {
			t.Errorf("broken off while it was %s: %d batches", status, n)
		}
		v.Estate.Backup.Retention += estate.Duration(24 * time.Hour) // as after midnight
	}
	v.Take("broken off")
	if n := control.Created() - before; n != 2 {
		t.Errorf("%d batches for two tables", n)
	}
	have := v.BatchedKeys()
	if len(have) != len(had)+10 {
		t.Errorf("%d objects were copied, want the five data files of each table", len(have)-len(had))
	}
	for key, n := range have {
		if n != 1 {
			t.Errorf("%s was copied %d times", key, n)
		}
	}
}

// tooLittleForABatch takes a backup of a few new objects.
func tooLittleForABatch(t *testing.T, v *world.Vaulted, control *batchtest.Control) {
	before := control.Created()
	v.Append("orders", 3)
	v.Take("of little")
	if n := control.Created() - before; n != 0 {
		t.Errorf("%d batches for one data file", n)
	}
}
