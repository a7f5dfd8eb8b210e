package activities

import (
	"context"
	"encoding/json"
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
	t.Run("restorable", func(t *testing.T) {
		v.as("drill")
		d := v.action("backup.restorable")
		proveAction(t, d, v.request(d, "orders"), v.faultSet())
	})
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

// TestBatchIsNotBelieved lets batches end Complete that did not copy everything, or
// something else.
func TestBatchIsNotBelieved(t *testing.T) {
	t.Parallel()
	v, control := newBatched(t)
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
	control.Faults = batchtest.Faults{}
	v.take("another run")
}

// TestFailedBatchIsFollowedByAnother lets a batch fail on an object. Who has put the
// cause right says "again" to the same step, and gets another batch.
func TestFailedBatchIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	v, control := newBatched(t)
	v.as("again")
	d, r := v.plannedBackup()
	for n := 1; n <= 2; n++ { // payments has no batch before orders has its copies
		control.Refuse = v.dataOf("orders", 3)[0]
		if _, err := d.Apply(t.Context(), r, nil); !errors.Is(err, batchops.ErrIncomplete) {
			t.Fatalf("Apply %d: %v, want ErrIncomplete", n, err)
		}
		if control.Created() != n {
			t.Errorf("Apply %d has left %d batches", n, control.Created())
		}
	}
	control.Refuse = ""
	v.take("again")
	if n := control.Created(); n != 4 {
		t.Errorf("%d batches, want three of orders and one of payments", n)
	}
}

// TestBatchIsFoundAgain breaks Apply off while the batch of the first table runs. The
// next attempt finds that batch, although it wants longer locks by now; and then it
// finds it ended.
func TestBatchIsFoundAgain(t *testing.T) {
	t.Parallel()
	v, control := newBatched(t)
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
		if n := control.Created(); n != 1 {
			t.Errorf("broken off while it was %s: %d batches", status, n)
		}
		v.estate.Backup.Retention += estate.Duration(24 * time.Hour) // as after midnight
	}
	v.take("broken off")
	if n := control.Created(); n != 2 {
		t.Errorf("%d batches for two tables", n)
	}
	for key, n := range v.batchedKeys() {
		if n != 1 {
			t.Errorf("%s was copied %d times", key, n)
		}
	}
}

// TestWhoCopies asks who copies, and why: the plan says it.
func TestWhoCopies(t *testing.T) {
	t.Parallel()
	v, control := newBatched(t)
	for _, tc := range []struct {
		name string
		set  func()
		want string
	}{
		{"enough", func() {}, "S3 Batch Operations copy 5 data objects as " + batchtest.Role + ", since they are 3 or more"},
		{"too few", func() { v.estate.Backup.Batch.FromObjects = 7 }, "object by object, since a batch would copy fewer than 7"},
		{"not declared", func() { v.estate.Backup.Batch = nil }, "with the one before"},
	} {
		tc.set()
		_, r := v.plannedBackup()
		for _, e := range r.Plan.Effects {
			if !strings.HasSuffix(e.Do, tc.want) {
				t.Errorf("%s: %q, want it to end with %q", tc.name, e.Do, tc.want)
			}
		}
	}
	v.estate.Backup.Batch = &estate.Batch{Role: batchtest.Role, FromObjects: 3}
	v.take("one")
	v.append("orders", 3)
	v.as("two")
	_, r := v.plannedBackup()
	var p takePlan
	v.must(json.Unmarshal(r.Plan.Data, &p))
	for _, row := range p.Tables {
		if row.Batch > 0 {
			t.Errorf("%s: a batch of %d objects, of %d to copy", row.Table, row.Batch, row.Copy)
		}
	}
	v.take("two")
	if n := control.Created(); n != 2 {
		t.Errorf("%d batches, want those of the first backup", n)
	}
}
