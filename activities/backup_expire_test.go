package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const inDays = 24 * time.Hour

// backedUp takes five backups of the group orders: two that are kept for 35 days,
// one that begins a generation of its own, and two for 70 days that share with it.
func (v *vaulted) backedUp() {
	v.t.Helper()
	v.written()
	v.take("one")
	v.append("orders", 5)
	v.take("two")
	v.estate.Backup.FullEvery = 1
	v.append("payments", 5)
	v.take("three")
	v.estate.Backup.FullEvery, v.estate.Backup.Retention = 0, estate.Duration(70*inDays)
	v.append("orders", 6)
	v.take("four")
	v.append("orders", 8)
	v.take("five")
}

// verified notes of the newest backup that it was restored.
func (v *vaulted) verified() {
	v.t.Helper()
	d := v.action("backup.restorable")
	r := v.request(d, "orders")
	ch, err := d.Plan(v.t.Context(), r, nil)
	v.must(err)
	r.Plan = &ch
	_, err = d.Apply(v.t.Context(), r, nil)
	v.must(err)
}

// pass lets time pass, for a run that begins after it: what would be held no more
// by then is held for a second longer.
func (v *vaulted) pass(t time.Duration) {
	v.t.Helper()
	v.run.Started = time.Now().Add(t).UTC()
	soon := time.Now().Add(1500 * time.Millisecond)
	for _, o := range v.versions() {
		head, err := v.store.HeadObject(v.t.Context(), &s3.HeadObjectInput{Bucket: aws.String("vault"), Key: o.Key, VersionId: o.VersionId})
		v.must(err)
		if head.ObjectLockRetainUntilDate == nil || head.ObjectLockRetainUntilDate.After(v.run.Started) {
			continue
		}
		_, err = v.store.PutObjectRetention(v.t.Context(), &s3.PutObjectRetentionInput{
			Bucket: aws.String("vault"), Key: o.Key, VersionId: o.VersionId, BypassGovernanceRetention: aws.Bool(true),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &soon},
		})
		v.must(err)
	}
	select {
	case <-time.After(time.Until(soon) + time.Second): // the store keeps whole seconds
	case <-v.t.Context().Done():
	}
}

// versions are all that lie in the group's folder.
func (v *vaulted) versions() []types.ObjectVersion {
	v.t.Helper()
	out, err := v.store.ListObjectVersions(v.t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("vault"), Prefix: aws.String("lakehouse/orders/")})
	v.must(err)
	return out.Versions
}

// named are the keys of all objects that manifests name, in the form of stored.
func (v *vaulted) named() map[int64][]string {
	v.t.Helper()
	b, err := v.systems.backupsOf(v.t.Context(), v.estate, "orders")
	v.must(err)
	named := map[int64][]string{}
	for _, f := range b.all {
		for _, t := range f.Manifest.Tables {
			objects, err := b.List(v.t.Context(), t)
			v.must(err)
			named[f.Seq] = append(named[f.Seq], strings.TrimPrefix(t.List.Key, "orders/"))
			for _, o := range objects {
				named[f.Seq] = append(named[f.Seq], strings.TrimPrefix(o.Copy.Key, "orders/"))
			}
		}
	}
	return named
}

// expiry is a request of backup.expire.
func (v *vaulted) expiry() (*action.Definition, action.Request) {
	d := v.action("backup.expire")
	r := v.request(d, "orders")
	r.Guard = func(context.Context) error { return nil }
	return d, r
}

func TestExpire(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.backedUp()
	v.as("expiry")
	t.Run("nothing goes before its time", func(t *testing.T) {
		v.run.Started = time.Now().Add(30 * inDays)
		d, r := v.expiry()
		if ch, err := d.Plan(t.Context(), r, nil); err != nil || len(ch.Effects) > 0 {
			t.Errorf("%+v, %v", ch.Effects, err)
		}
	})
	v.pass(40 * inDays)
	t.Run("refused", func(t *testing.T) { refusesToExpire(t, v) })
	v.verified()
	named := v.named()
	// Who adds can put over anything. Over a manifest that goes, that would be left
	// in its place; over anything else it is in nobody's way, and of no backup.
	for _, key := range []string{"manifests/000000000002", named[5][3]} {
		_, err := v.store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("vault"), Key: aws.String("lakehouse/orders/" + key), Body: strings.NewReader("put over")})
		v.must(err)
	}
	_, err := v.store.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("vault"), Key: aws.String("lakehouse/probes/old"), Body: strings.NewReader("tried"),
		ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(2 * time.Second)),
	})
	v.must(err)
	<-time.After(3 * time.Second) // until its lock has ended
	t.Run("prove", func(t *testing.T) {
		d, r := v.expiry()
		ch, err := d.Plan(t.Context(), r, nil)
		v.must(err)
		if !strings.Contains(ch.Summary, "3 backups") || !strings.Contains(ch.Summary, "1 versions that were never held") || len(ch.Accepts) != 1 || len(ch.Effects) != 4 {
			t.Errorf("%s: %+v %+v", ch.Summary, ch.Effects, ch.Accepts)
		}
		proveAction(t, d, r, v.faultSet())
	})
	if t.Failed() {
		return
	}
	out, err := v.store.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("vault"), Prefix: aws.String("lakehouse/probes/")})
	v.must(err)
	if len(out.Versions) > 0 {
		t.Errorf("of trying the wall, %d objects are left", len(out.Versions))
	}
	have := v.stored()
	for seq, keys := range named {
		for _, key := range keys {
			needed := slices.Contains(named[4], key) || slices.Contains(named[5], key)
			if (have[key] > 0) != needed {
				t.Errorf("%s of backup %d: there %v, needed %v", key, seq, have[key] > 0, needed)
			}
		}
	}
	// The generation goes on: its full backup is gone, and what is shared is there.
	shared := slices.ContainsFunc(named[3], func(key string) bool { return slices.Contains(named[5], key) })
	if have["manifests/000000000002"]+have["manifests/000000000003"] > 0 || have[named[5][3]] != 2 || have["manifests/000000000004"] != 1 || have["manifests/000000000005"] != 1 || !shared {
		t.Errorf("left: %v", have)
	}
	v.restored("orders", map[string]any{})
}

// refusesToExpire asks for plans where the newest backups would not be safe
// afterwards. Nothing of it was restored yet.
func refusesToExpire(t *testing.T, v *vaulted) {
	t.Helper()
	before := v.stored()
	refused := func(what, why string) {
		t.Helper()
		d, r := v.expiry()
		if _, err := d.Plan(t.Context(), r, nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want it to be refused: %s", what, err, why)
		}
	}
	refused("no backup that stays was restored", "none was ever restored")
	damaged, err := v.faultSet().Find("backup.manifest-damaged")
	v.must(err)
	v.must(damaged.Inject(t.Context()))
	refused("the newest manifest cannot be believed", "cannot be believed")
	v.must(damaged.Heal(t.Context()))
	lose, find := v.objectGone(5)
	v.must(lose(t.Context()))
	refused("an object of a backup that stays is gone", "lack 1 objects")
	v.must(find(t.Context()))
	was := v.estate.Backup.Expiry
	v.estate.Backup.Expiry = ""
	refused("nobody may expire", "add backup.expiry")
	v.estate.Backup.Expiry = was
	if after := v.stored(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("plans changed %v to %v", before, after)
	}
}

// TestExpireBrokenOff lets a worker die after every batch of removals, and plan
// again now and then: at each moment every backup that is there is whole, the chain
// holds, and in the end nothing is left over. What is needed or held again
// meanwhile stays.
func TestExpireBrokenOff(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.backedUp()
	v.as("expiry")
	v.verified()
	v.pass(40 * inDays)
	d, r := v.expiry()
	plan := func() expirePlan {
		t.Helper()
		ch, err := d.Plan(t.Context(), r, nil)
		v.must(err)
		r.Plan = &ch
		p, err := action.Decode[expirePlan](ch.Data)
		v.must(err)
		return p
	}
	p := plan()
	named := v.named()

	again := p
	for _, o := range v.versions() {
		if key := strings.TrimPrefix(*o.Key, "lakehouse/"); key == "orders/"+named[5][0] {
			again.Versions = append(slices.Clone(p.Versions), backup.Stored{Key: key, Version: *o.VersionId, Size: *o.Size})
		}
	}
	bad, change := r, *r.Plan
	var err error
	change.Data, err = action.Encode(again)
	v.must(err)
	bad.Plan = &change
	if out, err := d.Apply(t.Context(), bad, nil); !errors.Is(err, action.ErrMoved) || out.Mutations != 0 {
		t.Errorf("Apply of a plan that takes what a backup needs = %+v, %v; want ErrMoved", out, err)
	}

	for n := range p.Manifests {
		if n == 1 {
			plan()
		}
		asked := 0
		broken := r
		broken.Guard = func(context.Context) error {
			if asked++; asked > 1 {
				return errGuard
			}
			return nil
		}
		if out, err := d.Apply(t.Context(), broken, nil); !errors.Is(err, errGuard) || out.Mutations == 0 {
			t.Fatalf("Apply that was broken off = %+v, %v", out, err)
		}
		have := v.stored()
		for seq, keys := range named {
			if have[backup.ManifestKey("orders", seq)[len("orders/"):]] == 0 {
				continue
			}
			for _, key := range keys {
				if have[key] == 0 {
					t.Errorf("broken off after %d manifests: backup %d is there, and %s is not", n+1, seq, key)
				}
			}
		}
		b, err := v.systems.backupsOf(t.Context(), v.estate, "orders")
		v.must(err)
		if breaks := backup.Check(b.all, v.run.Started); len(breaks) > 0 || len(b.all) != 4-n {
			t.Errorf("broken off after %d manifests, %d are there: %v", n+1, len(b.all), breaks)
		}
		obs, err := d.Verify(t.Context(), r, nil)
		v.must(err)
		if got := action.Worst(obs); got != verdict.Fail {
			t.Errorf("broken off after %d manifests: %s\n%s", n+1, got, told(obs))
		}
	}

	p = plan() // of what is left over, and named by nobody
	last := p.Versions[len(p.Versions)-1]
	hold := func(until time.Time) {
		_, err := v.store.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: aws.String("vault"), Key: aws.String("lakehouse/" + last.Key), VersionId: &last.Version, BypassGovernanceRetention: aws.Bool(true),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until},
		})
		v.must(err)
	}
	hold(time.Now().Add(100 * inDays))
	if out, err := d.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply on a version that is held again = %+v, %v; want ErrMoved", out, err)
	}
	if v.stored()[strings.TrimPrefix(last.Key, "orders/")] != 1 {
		t.Error("what was held again is gone")
	}
	v.pass(101 * inDays)
	r.Run.Started = v.run.Started
	plan()
	if out, err := d.Apply(t.Context(), r, nil); err != nil || out.Mutations == 0 {
		t.Errorf("Apply in the end = %+v, %v", out, err)
	}
	obs, err := d.Verify(t.Context(), r, nil)
	v.must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Errorf("in the end: %s\n%s", got, told(obs))
	}
}
