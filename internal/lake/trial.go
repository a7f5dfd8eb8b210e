package lake

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/poll"
)

// ProbePart is the part of a table's prefix below which rights are tried.
const ProbePart = permit.ProbePart

// Trial tries what principals may do in a bucket, with their own credentials: a
// policy's text says what somebody meant, and only an attempt says what holds.
type Trial struct {
	S          Lake
	Run        action.Run
	Estate     *estate.Estate
	Region     *estate.Region
	Bucket     string
	Obligation string // should the region be an unreachable source
}

// key is a fresh key to try below a prefix.
func (t Trial) key(prefix string) string {
	return prefix + "/" + ProbePart + "/" + t.Run.FirstRun + "/" + rand.Text()
}

// as is the bucket as a principal has it.
func (t Trial) as(ctx context.Context, name string, ref estate.Ref) (objectstore.Bucket, error) {
	c, err := t.S.StorageAs(ctx, t.Estate, t.Region.Region, ref, name)
	return objectstore.Bind(c, t.Bucket), err
}

// Unknown is the observation of an attempt that could not be made.
func (t Trial) Unknown(what, want string, err error) action.Observation {
	return action.Unknown(t.Run, t.Region.Region, what, want, err, t.Obligation)
}

// inconclusive is an attempt that failed in a way that proves nothing, although
// an answer came.
func (t Trial) inconclusive(what, want string, err error) action.Observation {
	o := t.Unknown(what, want, err)
	o.Got = "neither allowed nor denied: " + o.Got
	return o
}

// Control is the positive control beside denials: the store serves recovery's own
// reads, so that it is not a broken store that denies everybody.
func (t Trial) Control(ctx context.Context) action.Observation {
	what, want := "the store serves recovery's reads of s3://"+t.Bucket, "a listing, and an object of it"
	c, err := t.as(ctx, "recovery", t.Region.Storage.Credentials)
	if err != nil {
		return t.Unknown(what, want, err)
	}
	for o, err := range c.List(ctx, "") {
		if err != nil {
			return t.Unknown(what, want, err)
		}
		if _, err := c.ReadAt(ctx, o.Key, make([]byte, min(o.Size, 1)), 0); err != nil {
			return t.Unknown(what, want, err)
		}
		return action.Saw(what, want, "both", true)
	}
	return action.Saw(what, want, "a listing of an empty bucket", true)
}

// CannotWrite attempts to put and to delete below every prefix.
func (t Trial) CannotWrite(ctx context.Context, name string, ref estate.Ref, prefixes []string) action.Observation {
	what := fmt.Sprintf("%s cannot write to s3://%s", name, t.Bucket)
	want := "AccessDenied for its own credentials below " + plural.Few(prefixes)
	c, err := t.as(ctx, name, ref)
	if err != nil {
		return t.Unknown(what, want, err)
	}
	for _, prefix := range prefixes {
		key := t.key(prefix)
		o, err := c.Put(ctx, key, []byte("A write of run "+t.Run.FirstRun+" that should have been denied.\n"))
		if outcome := objectstore.Attempted(err); outcome == objectstore.ProbeAllowed {
			return action.Saw(what, want, "it wrote "+o.Key+t.cleaned(ctx, c, key), false)
		} else if outcome != objectstore.ProbeDenied {
			return t.inconclusive(what, want, err)
		}
		_, err = c.Delete(ctx, key)
		if outcome := objectstore.Attempted(err); outcome == objectstore.ProbeAllowed {
			return action.Saw(what, want, "it was denied a put and let delete "+key+t.cleaned(ctx, c, key), false)
		} else if outcome != objectstore.ProbeDenied {
			return t.inconclusive(what, want, err)
		}
	}
	return action.Saw(what, want, fmt.Sprintf("a put and a delete denied at %d of %s", len(prefixes), plural.Of(len(prefixes), "place")), true)
}

// CanWrite writes below every prefix, reads that back, and removes it for good.
func (t Trial) CanWrite(ctx context.Context, name string, ref estate.Ref, prefixes []string) action.Observation {
	what := fmt.Sprintf("%s can write to s3://%s", name, t.Bucket)
	want := "a write that reads back below " + plural.Few(prefixes)
	c, err := t.as(ctx, name, ref)
	if err != nil {
		return t.Unknown(what, want, err)
	}
	late := ""
	for _, prefix := range prefixes {
		key := t.key(prefix)
		body := "A write of run " + t.Run.FirstRun + " to prove that it may.\n"
		_, err := c.Put(ctx, key, []byte(body))
		switch objectstore.Attempted(err) {
		case objectstore.ProbeAllowed:
		case objectstore.ProbeUnreachable:
			return t.Unknown(what, want, err)
		default: // it cannot, for whatever reason
			return action.Saw(what, want, err.Error(), false)
		}
		back, _, err := c.Get(ctx, key)
		left := t.cleaned(ctx, c, key)
		switch {
		case objectstore.Attempted(err) == objectstore.ProbeUnreachable:
			return t.Unknown(what, want, err)
		case err != nil:
			return action.Saw(what, want, "written, but it cannot read it back: "+err.Error()+left, false)
		case string(back) != body:
			return action.Saw(what, want, fmt.Sprintf("written, but other %s read back%s", plural.Of(len(back), "byte"), left), false)
		case !strings.HasPrefix(left, removed):
			return action.Saw(what, want, "written and read back"+left, false)
		}
		late = cmp.Or(late, strings.TrimPrefix(left, removed))
	}
	return action.Saw(what, want, fmt.Sprintf("written, read back and removed at %d of %s%s", len(prefixes), plural.Of(len(prefixes), "place"), late), true)
}

const removed = ", removed again"

// crossing is how long a probe's replica is waited for.
const crossing = 10 * time.Second

// cleaned removes every version of a probe for good, as the administrator, and
// says what came of that. Where the bucket is replicated, a probe crosses at once and
// its removal does not: so it is waited for, and removed there too.
func (t Trial) cleaned(ctx context.Context, c objectstore.Bucket, key string) string {
	admin, err := t.as(ctx, "the administrator", t.Region.Storage.Admin)
	if err != nil {
		return fmt.Sprintf(", and not removed: %v", err)
	}
	status := crossed(ctx, c, key)
	if left := removeAll(ctx, admin, key); left != "" {
		return left
	}
	if status != objectstore.ReplicationCompleted && status != objectstore.ReplicationPending {
		return removed
	}
	for region, bucket := range t.replicas() {
		other := t
		other.Bucket = bucket
		if other.Region, err = t.Estate.RegionNamed(region); err != nil {
			return fmt.Sprintf(", and its replica in %s not removed: %v", region, err)
		}
		admin, err := other.as(ctx, "the administrator", other.Region.Storage.Admin)
		if err != nil {
			return fmt.Sprintf(", and its replica in %s not removed: %v", region, err)
		}
		if left := removeAll(ctx, admin, key); left != "" {
			return ", removed; in " + region + left
		}
		if status == objectstore.ReplicationPending {
			return fmt.Sprintf("%s, but a replica may yet come to %s: remove %s there", removed, region, key)
		}
	}
	return removed
}

// replicas are the real buckets of the same logical one in other regions.
func (t Trial) replicas() map[string]string {
	for _, b := range t.Estate.Buckets {
		if b.In[t.Region.Region] == t.Bucket {
			others := maps.Clone(b.In)
			delete(others, t.Region.Region)
			return others
		}
	}
	return nil
}

// crossed waits for a probe that is to be replicated, and says how that stands: empty
// where no rule takes it anywhere. Whoever wrote it asks, since they may read it.
func crossed(ctx context.Context, c objectstore.Bucket, key string) (status string) {
	ctx, cancel := context.WithTimeout(ctx, crossing)
	defer cancel()
	//nolint:errcheck // how far it came is the answer
	poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		o, err := c.HeadVersion(ctx, key, "")
		if err != nil {
			return true, err
		}
		status = o.ReplicationStatus
		return status != objectstore.ReplicationPending, nil
	})
	return status
}

// removeAll removes every version of a key, and says so where it could not.
func removeAll(ctx context.Context, admin objectstore.Bucket, key string) (left string) {
	for _, look := range []bool{false, true} {
		for v, err := range admin.ListVersions(ctx, key) {
			switch {
			case err != nil:
				return fmt.Sprintf(", and not removed: %v", err)
			case look:
				return fmt.Sprintf(", and version %s of %s is still there", v.VersionID, key)
			}
			if err := admin.DeleteVersion(ctx, v.Key, v.VersionID); err != nil {
				return fmt.Sprintf(", and not removed: %v", err)
			}
		}
	}
	return ""
}

// CanRead gets a real object below each prefix; sample finds them.
func (t Trial) CanRead(ctx context.Context, name string, ref estate.Ref, samples []objectstore.Object) action.Observation {
	what, want := fmt.Sprintf("%s can read s3://%s", name, t.Bucket), "the whole of "+plural.Few(keys(samples))
	c, err := t.as(ctx, name, ref)
	if err != nil {
		return t.Unknown(what, want, err)
	}
	for _, o := range samples {
		body, _, err := c.Get(ctx, o.Key)
		switch {
		case objectstore.Attempted(err) == objectstore.ProbeUnreachable:
			return t.Unknown(what, want, err)
		case err != nil:
			return action.Saw(what, want, err.Error(), false)
		case int64(len(body)) != o.Size:
			return action.Saw(what, want, fmt.Sprintf("%s of %s, which has %d", plural.Of(len(body), "byte"), o.Key, o.Size), false)
		}
	}
	return action.Saw(what, want, fmt.Sprintf("%d of %s read", len(samples), plural.Of(len(samples), "object")), true)
}

// CannotRead attempts to get the objects.
func (t Trial) CannotRead(ctx context.Context, name string, ref estate.Ref, samples []objectstore.Object) action.Observation {
	what, want := fmt.Sprintf("%s cannot read s3://%s", name, t.Bucket), "AccessDenied for its own credentials for "+plural.Few(keys(samples))
	c, err := t.as(ctx, name, ref)
	if err != nil {
		return t.Unknown(what, want, err)
	}
	for _, o := range samples {
		_, _, err := c.Get(ctx, o.Key)
		switch objectstore.Attempted(err) {
		case objectstore.ProbeDenied:
		case objectstore.ProbeAllowed:
			return action.Saw(what, want, "it read "+o.Key, false)
		default:
			return t.inconclusive(what, want, err)
		}
	}
	return action.Saw(what, want, fmt.Sprintf("denied at %d of %s", len(samples), plural.Of(len(samples), "object")), true)
}

func keys(objects []objectstore.Object) []string {
	var ks []string
	for _, o := range objects {
		ks = append(ks, o.Key)
	}
	return ks
}
