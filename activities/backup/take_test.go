package backup

import (
	"errors"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestBackup(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	t.Run("take", func(t *testing.T) {
		v.As("first")
		d := v.Lake.World.Action("backup.take")
		prove.Action(t, d, v.Request(d, "orders"), v.FaultSet())
	})
	t.Run("walled", func(t *testing.T) {
		d := v.Lake.World.Action("backup.walled")
		prove.Action(t, d, v.Request(d, ""), v.FaultSet())
	})
	t.Run("restorable", func(t *testing.T) {
		if len(v.Stored()) == 0 {
			v.Take("first")
		}
		v.As("drill")
		d := v.Lake.World.Action("backup.restorable")
		prove.Action(t, d, v.Request(d, "orders"), v.FaultSet())
	})
}

// TestBackupWithoutACatalogsTable: a table that a catalog decides about keeps no other
// table of its group from being backed up, and is named.
func TestBackupWithoutACatalogsTable(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	decl, _, _ := v.Estate.Table("payments")
	decl.LogStore = estate.Catalog
	d := v.Lake.World.Action("backup.take")
	r := v.Request(d, "orders")
	out := v.Act(d, &r, nil)
	if !strings.Contains(r.Plan.Summary, "without payments") || out.Mutations == 0 {
		t.Errorf("plan %q, outcome %+v", r.Plan.Summary, out)
	}
	obs, err := d.Verify(t.Context(), r, nil)
	v.Must(err)
	if action.Worst(obs) != verdict.Pass || !strings.Contains(prove.Told(obs), "not held") {
		t.Errorf("Verify:\n%s", prove.Told(obs))
	}
	decl, _, _ = v.Estate.Table("orders")
	decl.LogStore = estate.Catalog
	v.As("again")
	if _, err := d.Plan(t.Context(), v.Request(d, "orders"), nil); !errors.Is(err, action.ErrRefused) {
		t.Errorf("of no table that can be backed up: %v, want it refused", err)
	}
}

// TestBackupIsIncremental takes three backups: the second copies only what is new,
// the third, after the time for it, everything.
func TestBackupIsIncremental(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	v.Take("one")
	one := v.Stored()
	v.Tick(time.Minute)
	v.Append("orders", 5)
	v.Take("two")
	two := v.Stored()
	fresh := map[string]int{}
	for key, n := range two {
		if n != 1 {
			t.Errorf("%s was written %d times", key, n)
		}
		fresh[strings.Split(key, "/")[0]]++
		if one[key] > 0 {
			fresh[strings.Split(key, "/")[0]]--
		}
	}
	// A data file, its commit and the list of orders; payments shares even its list,
	// unless the locks end a day later since.
	if fresh["manifests"] != 1 || fresh["data"] < 3 || fresh["data"] > 4 {
		t.Errorf("the second backup added %v", fresh)
	}
	v.Estate.Backup.FullEvery = 1
	v.Take("three")
	three := v.Stored()
	again := 0
	for key := range three {
		if strings.HasPrefix(key, "data/000000000003/") {
			again++
		}
	}
	if again < 10 {
		t.Errorf("the full backup has %d objects of its own: %v", again, three)
	}
}

// TestWallOfAPolicy lets a principal change the bucket's own policy: that is seen,
// and the policy is afterwards what it was. One that was left by an attempt of who
// could not take it away is in nobody's way.
func TestWallOfAPolicy(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	look := func() (verdict.Verdict, string) {
		t.Helper()
		d := v.Lake.World.Action("backup.walled")
		obs, err := d.Verify(t.Context(), v.Request(d, ""), nil)
		v.Must(err)
		return action.Worst(obs), prove.Told(obs)
	}
	policy := func() string {
		t.Helper()
		out, err := v.Store.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String("vault")})
		if err != nil {
			return err.Error()
		}
		return aws.ToString(out.Policy)
	}
	v.VaultMay("adder", world.Adds("s3:PutBucketPolicy")...)
	if got, all := look(); got != verdict.Fail || !strings.Contains(all, "it could write the bucket's policy, and that stays") {
		t.Errorf("who adds may write the policy: %s\n%s", got, all)
	}
	if !strings.Contains(policy(), "BreakwaterProbe") {
		t.Errorf("the policy is %s", policy())
	}
	v.VaultMay("adder", world.Adds("s3:DeleteBucketPolicy")...)
	if got, all := look(); got != verdict.Fail || !strings.Contains(all, "it could remove the bucket's policy") {
		t.Errorf("who adds may remove the policy: %s\n%s", got, all)
	}
	if !strings.Contains(policy(), "NoSuchBucketPolicy") {
		t.Errorf("the policy is %s", policy())
	}

	// Now the bucket has one that somebody made.
	const made = `{"Version":"2012-10-17","Statement":[{"Sid":"Wall","Effect":"Deny","Principal":{"AWS":["*"]},"Action":["s3:DeleteObjectVersion"],"Resource":["arn:aws:s3:::vault/*"]}]}`
	_, err := v.Store.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("vault"), Policy: aws.String(made)})
	v.Must(err)
	was := policy()
	for _, right := range []string{"s3:PutBucketPolicy", "s3:DeleteBucketPolicy"} {
		v.VaultMay("adder", world.Adds(right)...)
		got, all := look()
		if could := strings.Contains(all, "it could write the bucket's policy"); could != (right == "s3:PutBucketPolicy") || could != strings.Contains(got.String(), "fail") {
			t.Errorf("who adds has %s, and the bucket a policy: %s\n%s", right, got, all)
		}
		if policy() != was {
			t.Errorf("the policy is %s, was %s", policy(), was)
		}
	}
}

// TestBackupCompliance takes backups in mode compliance, with who adds having no
// more than the three rights: no condition has to stop it from shortening a lock.
// The store's root cannot take away what is held.
func TestBackupCompliance(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.VaultMay("adder", world.Adds()[0])
	v.Estate.Backup.Mode, v.Estate.Backup.Retention = estate.Compliance, estate.Duration(time.Hour)
	v.Written()
	v.Take("one")
	v.Append("orders", 5)
	v.Estate.Backup.Retention = estate.Duration(49 * time.Hour) // lengthens the locks of what is shared
	v.Take("two")
	d := v.Lake.World.Action("backup.walled")
	obs, err := d.Verify(t.Context(), v.Request(d, ""), nil)
	v.Must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Errorf("the wall in mode compliance: %s\n%s", got, prove.Told(obs))
	}
	all := v.Versions()
	for _, o := range all {
		_, err := v.Store.DeleteObject(t.Context(), &s3.DeleteObjectInput{
			Bucket: aws.String("vault"), Key: o.Key, VersionId: o.VersionId, BypassGovernanceRetention: aws.Bool(true),
		})
		if err == nil {
			t.Errorf("root deleted %s", aws.ToString(o.Key))
		}
	}
	if left := v.Versions(); len(left) != len(all) || len(all) < 20 {
		t.Errorf("%d of %d versions are left", len(left), len(all))
	}
	// Held in another mode than the estate says is red.
	v.Estate.Backup.Mode, v.Estate.Backup.Retention = estate.Governance, estate.Duration(24*time.Hour)
	v.Append("orders", 3)
	v.Take("three")
	v.Estate.Backup.Mode = estate.Compliance
	take := v.Lake.World.Action("backup.take")
	if obs, err = take.Verify(t.Context(), v.Request(take, "orders"), nil); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(prove.Told(obs), "is held in mode GOVERNANCE") {
		t.Errorf("a backup in governance where compliance is promised: %v\n%s", err, prove.Told(obs))
	}
}
