package activities

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore/batchops"
	"breakwater/internal/objectstore/batchops/batchtest"
	"breakwater/internal/verdict"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// newBatched is a lake with a backup place where batches copy three data objects or
// more. It runs none itself: a fake of S3 Control copies on the two MinIOs.
func newBatched(t *testing.T) (*vaulted, *batchtest.Control) {
	t.Helper()
	v := newVaulted(t)
	control := batchtest.New(t, v.minio[east].Client(t), v.server.As(t, vaultRoot, vaultSecret), "us-east-1")
	v.systems.S3Control = control
	v.estate.Backup.Batch = &estate.Batch{Role: batchtest.Role, FromObjects: 3}
	v.written()
	return v, control
}

// batchedKeys are the keys below the group's backups that batches wrote.
func (v *vaulted) batchedKeys() map[string]int {
	v.t.Helper()
	keys := v.stored()
	for k := range keys {
		if !strings.Contains(k, "/batch/") {
			delete(keys, k)
		}
	}
	return keys
}

// plannedBackup plans a backup of the group orders.
func (v *vaulted) plannedBackup() (*action.Definition, action.Request) {
	v.t.Helper()
	d := v.action("backup.take")
	r := v.request(d, "orders")
	ch, err := d.Plan(v.t.Context(), r, nil)
	v.must(err)
	r.Plan = &ch
	return d, r
}

func TestBackupByBatch(t *testing.T) {
	t.Parallel()
	v, control := newBatched(t)
	t.Run("prove", func(t *testing.T) {
		v.as("first")
		d := v.action("backup.take")
		proveAction(t, d, v.request(d, "orders"), v.faultSet())
	})
	if n := control.Created(); n != 2 {
		t.Errorf("%d batches for two tables", n)
	}
	first := v.batchedKeys()
	notes := 0
	for k := range v.stored() {
		if !strings.HasPrefix(k, "batches/") {
			continue
		}
		notes++
		if _, err := v.store.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: aws.String("vault"), Key: aws.String("lakehouse/orders/" + k)}); err != nil {
			t.Errorf("%s is not held: %v", k, err)
		}
	}
	if notes != 6 {
		t.Errorf("%d notes of two batches, want a manifest and two files of the report each", notes)
	}
	if len(first) != 10 {
		t.Errorf("batches wrote %d objects, want the five data files of each table: %v", len(first), first)
	}
	v.as("drill")
	d := v.action("backup.restorable")
	r := v.request(d, "orders")
	ch, err := d.Plan(t.Context(), r, nil)
	v.must(err)
	r.Plan = &ch
	_, err = d.Apply(t.Context(), r, nil)
	v.must(err)
	t.Run("restored", func(t *testing.T) {
		v.as("restore")
		v.overwrite(east, "orders")
		want := v.truth["orders"][len(v.truth["orders"])-1].String()
		v.restored("orders", map[string]any{})
		log, store := v.log(west, "orders")
		snap, err := log.Snapshot(t.Context(), log.Head())
		v.must(err)
		if _, hash, err := rowsOf(t.Context(), store, snap); err != nil || !strings.Contains(want, hash) {
			t.Errorf("orders restored: hash %s, %v; want %s", hash, err, want)
		}
	})
	v.copyGone(t)
	v.copyReplaced(t)
}

// aCopy is a copy by a batch, of the table that the newest backup is tried with.
func (v *vaulted) aCopy() backup.Stored {
	v.t.Helper()
	b, err := v.systems.backupsOf(v.t.Context(), v.estate, "orders")
	v.must(err)
	f, _, err := b.newest()
	v.must(err)
	objects, err := b.List(v.t.Context(), trialOf(f.Manifest))
	v.must(err)
	for _, o := range objects {
		if strings.Contains(o.Copy.Key, "/batch/") {
			return o.Copy
		}
	}
	v.t.Fatal("the newest backup names no copy of a batch")
	return backup.Stored{}
}

// restorable verifies backup.restorable and asks for a verdict.
func (v *vaulted) restorable(when string, want verdict.Verdict) {
	v.t.Helper()
	v.as("drill")
	d := v.action("backup.restorable")
	obs, err := d.Verify(v.t.Context(), v.request(d, "orders"), nil)
	v.must(err)
	if got := action.Worst(obs); got != want {
		v.t.Errorf("backup.restorable %s: %s, want %s\n%s", when, got, want, told(obs))
	}
}

// copyGone loses a copy by a batch.
func (v *vaulted) copyGone(t *testing.T) {
	from := filepath.Join(v.server.Folder, "vault", "lakehouse", filepath.FromSlash(v.aCopy().Key))
	to := filepath.Join(t.TempDir(), "lost")
	v.restorable("of a whole backup", verdict.Pass)
	v.must(os.Rename(from, to))
	v.restorable("with a copy of a batch gone", verdict.Fail)
	v.must(os.Rename(to, from))
	v.restorable("with the copy back", verdict.Pass)
}

// copyReplaced puts other bytes of the same length in the place of a copy by a batch,
// as root, who may take its lock away.
func (v *vaulted) copyReplaced(t *testing.T) {
	c := v.aCopy()
	key := aws.String("lakehouse/" + c.Key)
	_, err := v.store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("vault"), Key: key, Body: strings.NewReader(strings.Repeat("x", int(c.Size)))})
	v.must(err)
	v.restorable("with another version over a copy", verdict.Pass)
	_, err = v.store.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("vault"), Key: key, VersionId: &c.Version, BypassGovernanceRetention: aws.Bool(true)})
	v.must(err)
	v.restorable("with another version in the place of a copy", verdict.Fail)
}

// TestBatches takes backups of one group by batches that fail, lie and are broken off.
func TestBatches(t *testing.T) {
	t.Parallel()
	v, control := newBatched(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *vaulted, *batchtest.Control)
	}{
		{"who copies", whoCopies}, {"not believed", notBelieved}, {"another", failedBatchIsFollowedByAnother}, {"found again", batchIsFoundAgain},
		{"too little", tooLittleForABatch},
	} {
		t.Run(part.name, func(t *testing.T) {
			control.Faults = batchtest.Faults{}
			v.estate.Backup.Batch = &estate.Batch{Role: batchtest.Role, FromObjects: 3}
			part.test(t, v, control)
		})
	}
}

// whoCopies asks who copies, and why: the plan says it.
func whoCopies(t *testing.T, v *vaulted, _ *batchtest.Control) {
	for _, tc := range []struct {
		name  string
		batch *estate.Batch
		want  string
	}{
		{"enough", &estate.Batch{Role: batchtest.Role, FromObjects: 3}, "S3 Batch Operations copy 5 data objects as " + batchtest.Role + ", since they are 3 or more"},
		{"too few", &estate.Batch{Role: batchtest.Role, FromObjects: 6}, "object by object, since a batch would copy fewer than 6"},
		{"not declared", nil, "with the one before"},
	} {
		v.estate.Backup.Batch = tc.batch
		_, r := v.plannedBackup()
		for _, e := range r.Plan.Effects {
			if !strings.HasSuffix(e.Do, tc.want) {
				t.Errorf("%s: %q, want it to end with %q", tc.name, e.Do, tc.want)
			}
		}
	}
}

// notBelieved lets batches end Complete that did not copy everything, or something
// else.
func notBelieved(t *testing.T, v *vaulted, control *batchtest.Control) {
	key := v.dataOf("orders", 3)[0]
	source := "s3://lake-east/" + key
	started := 0
	for _, tc := range []struct {
		name   string
		faults batchtest.Faults
		want   string
	}{
		{"a line failed", batchtest.Faults{Refuse: key}, "1 objects failed: " + source},
		{"a line failed, says the report alone", batchtest.Faults{Refuse: key, Quiet: true}, "1 objects failed: " + source},
		{"the report lacks a line", batchtest.Faults{Drop: key}, "the report lacks 1 lines of the manifest: " + source},
		{"a copy is not there", batchtest.Faults{Lose: key}, "the batch says that it copied " + source},
		{"a copy has other bytes", batchtest.Faults{Alter: key}, key + " has other bytes than version"},
		{"a copy has other bytes, and no checksum", batchtest.Faults{Alter: key, Unsummed: true}, key + " has other bytes than version"},
		{"a copy is not held", batchtest.Faults{Unheld: key}, key + " is held until no time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v.as("unbelieved")
			control.Faults = tc.faults
			d, r := v.plannedBackup()
			_, err := d.Apply(t.Context(), r, nil)
			if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Apply: %v\nwant it refused, with %q", err, tc.want)
			}
			if obs, err := d.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail {
				t.Errorf("Verify: %v\n%s", err, told(obs))
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
func failedBatchIsFollowedByAnother(t *testing.T, v *vaulted, control *batchtest.Control) {
	before := control.Created()
	v.as("again")
	d, r := v.plannedBackup()
	for n := 1; n <= 2; n++ { // payments has no batch before orders has its copies
		control.Refuse = v.dataOf("orders", 3)[0]
		if _, err := d.Apply(t.Context(), r, nil); !errors.Is(err, batchops.ErrIncomplete) {
			t.Fatalf("Apply %d: %v, want ErrIncomplete", n, err)
		}
		if control.Created() != before+n {
			t.Errorf("Apply %d has left %d batches", n, control.Created()-before)
		}
	}
	control.Refuse = ""
	v.take("again")
	if n := control.Created() - before; n != 4 {
		t.Errorf("%d batches, want three of orders and one of payments", n)
	}
}

// batchIsFoundAgain breaks Apply off while the batch of the first table runs. The
// next attempt finds that batch, although it wants longer locks by now; and then it
// finds it ended.
func batchIsFoundAgain(t *testing.T, v *vaulted, control *batchtest.Control) {
	v.estate.Backup.FullEvery = 1
	defer func() { v.estate.Backup.FullEvery = 0 }()
	before, had := control.Created(), v.batchedKeys()
	control.Unsummed = true // so that the copies are read
	v.as("broken off")
	for _, status := range []string{"New", "Active", "Complete"} {
		d, r := v.plannedBackup()
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
		v.estate.Backup.Retention += estate.Duration(24 * time.Hour) // as after midnight
	}
	v.take("broken off")
	if n := control.Created() - before; n != 2 {
		t.Errorf("%d batches for two tables", n)
	}
	have := v.batchedKeys()
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
func tooLittleForABatch(t *testing.T, v *vaulted, control *batchtest.Control) {
	before := control.Created()
	v.append("orders", 3)
	v.take("of little")
	if n := control.Created() - before; n != 0 {
		t.Errorf("%d batches for one data file", n)
	}
}
