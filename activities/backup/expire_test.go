package backup

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
	"breakwater/internal/lake"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestExpire(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.BackedUp()
	v.As("expiry")
	t.Run("nothing goes before its time", func(t *testing.T) {
		v.Run.Started = time.Now().Add(30 * world.InDays)
		d, r := v.Expiry()
		if ch, err := d.Plan(t.Context(), r, nil); err != nil || len(ch.Effects) > 0 {
			t.Errorf("%+v, %v", ch.Effects, err)
		}
	})
	v.Pass(40 * world.InDays)
	t.Run("refused", func(t *testing.T) { refusesToExpire(t, v) })
	v.Verified()
	named := v.Named()
	// Who adds can put over anything. Over a manifest that goes, that would be left
	// in its place; over anything else it is in nobody's way, and of no backup.
	for _, key := range []string{"manifests/000000000002", named[5][3]} {
		_, err := v.Store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("vault"), Key: aws.String("lakehouse/orders/" + key), Body: strings.NewReader("put over")})
		v.Must(err)
	}
	_, err := v.Store.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("vault"), Key: aws.String("lakehouse/probes/old"), Body: strings.NewReader("tried"),
		ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(3 * time.Second)),
	})
	v.Must(err)
	v.Ended("lakehouse/probes/old", "")
	t.Run("prove", func(t *testing.T) {
		d, r := v.Expiry()
		ch, err := d.Plan(t.Context(), r, nil)
		v.Must(err)
		if !strings.Contains(ch.Summary, "3 backups") || !strings.Contains(ch.Summary, "1 version never held") || len(ch.Accepts) != 1 || len(ch.Effects) != 5 {
			t.Errorf("%s: %+v %+v", ch.Summary, ch.Effects, ch.Accepts)
		}
		prove.Action(t, d, r, v.FaultSet())
	})
	if t.Failed() {
		return
	}
	out, err := v.Store.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("vault"), Prefix: aws.String("lakehouse/probes/")})
	v.Must(err)
	if len(out.Versions) > 0 {
		t.Errorf("of trying the wall, %d objects are left", len(out.Versions))
	}
	have := v.Stored()
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
	v.Restored("orders", map[string]any{})
}

// refusesToExpire asks for plans where the newest backups would not be safe
// afterwards. Nothing of it was restored yet.
func refusesToExpire(t *testing.T, v *world.Vaulted) {
	t.Helper()
	before := v.Stored()
	refused := func(what, why string) {
		t.Helper()
		d, r := v.Expiry()
		if _, err := d.Plan(t.Context(), r, nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want it to be refused: %s", what, err, why)
		}
	}
	refused("no backup that stays was restored", "none was ever restored")
	damaged, err := v.FaultSet().Find("backup.manifest-damaged")
	v.Must(err)
	v.Must(damaged.Inject(t.Context()))
	refused("the newest manifest cannot be believed", "cannot be believed")
	v.Must(damaged.Heal(t.Context()))
	lose, find := v.ObjectGone(5)
	v.Must(lose(t.Context()))
	refused("an object of a backup that stays is gone", "lack 1 object")
	v.Must(find(t.Context()))
	was := v.Estate.Backup.Expiry
	v.Estate.Backup.Expiry = ""
	refused("nobody may expire", "add backup.expiry")
	v.Estate.Backup.Expiry = was
	if after := v.Stored(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("plans changed %v to %v", before, after)
	}
}

// TestExpireBrokenOff lets a worker die after every batch of removals, and plan
// again now and then: at each moment every backup that is there is whole, the chain
// holds, and in the end nothing is left over. What is needed or held again
// meanwhile stays.
func TestExpireBrokenOff(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.BackedUp()
	v.As("expiry")
	v.Verified()
	v.Pass(40 * world.InDays)
	d, r := v.Expiry()
	plan := func() expirePlan {
		t.Helper()
		ch, err := d.Plan(t.Context(), r, nil)
		v.Must(err)
		r.Plan = &ch
		p, err := action.Decode[expirePlan](ch.Data)
		v.Must(err)
		return p
	}
	p := plan()
	named := v.Named()

	again := expirePlan{Newest: p.Newest, Manifests: p.Manifests, First: p.First, Cut: p.Cut} // as plans were before they had no names
	for _, o := range v.Versions() {
		if key := strings.TrimPrefix(*o.Key, "lakehouse/"); key == "orders/"+named[5][0] {
			again.Versions = append(slices.Clone(p.Shown), backup.Stored{Key: key, Version: *o.VersionId, Size: *o.Size})
		}
	}
	bad, change := r, *r.Plan
	var err error
	change.Data, err = action.Encode(again)
	v.Must(err)
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
				return prove.ErrGuard
			}
			return nil
		}
		if out, err := d.Apply(t.Context(), broken, nil); !errors.Is(err, prove.ErrGuard) || out.Mutations == 0 {
			t.Fatalf("Apply that was broken off = %+v, %v", out, err)
		}
		have := v.Stored()
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
		b, err := lake.New(v.Systems).Backups(t.Context(), v.Estate, "orders")
		v.Must(err)
		if breaks := backup.Check(b.All, v.Run.Started); len(breaks) > 0 || len(b.All) != 4-n {
			t.Errorf("broken off after %d manifests, %d are there: %v", n+1, len(b.All), breaks)
		}
		obs, err := d.Verify(t.Context(), r, nil)
		v.Must(err)
		if got := action.Worst(obs); got != verdict.Fail {
			t.Errorf("broken off after %d manifests: %s\n%s", n+1, got, prove.Told(obs))
		}
	}

	p = plan() // of what is left over, and named by nobody
	last := p.Shown[len(p.Shown)-1]
	hold := func(until time.Time) {
		_, err := v.Store.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: aws.String("vault"), Key: aws.String("lakehouse/" + last.Key), VersionId: &last.Version, BypassGovernanceRetention: aws.Bool(true),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until},
		})
		v.Must(err)
	}
	hold(time.Now().Add(100 * world.InDays))
	if out, err := d.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply on a version that is held again = %+v, %v; want ErrMoved", out, err)
	}
	if v.Stored()[strings.TrimPrefix(last.Key, "orders/")] != 1 {
		t.Error("what was held again is gone")
	}
	v.Pass(101 * world.InDays)
	r.Run.Started = v.Run.Started
	plan()
	if out, err := d.Apply(t.Context(), r, nil); err != nil || out.Mutations == 0 {
		t.Errorf("Apply in the end = %+v, %v", out, err)
	}
	obs, err := d.Verify(t.Context(), r, nil)
	v.Must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Errorf("in the end: %s\n%s", got, prove.Told(obs))
	}
}
