package activities

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
)

// probePart is the part of a table's prefix below which rights are tried. Table
// formats pass over what begins with a dot.
const probePart = ".breakwater-probe"

// trial tries what principals may do in a bucket, with their own credentials: a
// policy's text says what somebody meant, and only an attempt says what holds.
type trial struct {
	s          *Systems
	run        action.Run
	estate     *estate.Estate
	region     *estate.Region
	bucket     string
	obligation string // should the region be an unreachable source
}

// key is a fresh key to try below a prefix.
func (t trial) key(prefix string) string {
	return prefix + "/" + probePart + "/" + t.run.FirstRun + "/" + rand.Text()
}

func (t trial) as(ctx context.Context, name string, ref estate.Ref) (*objectstore.Client, error) {
	return t.s.StorageAs(ctx, t.estate, t.region.Region, ref, name)
}

func (t trial) unknown(what, want string, err error) action.Observation {
	return unknown(t.run, t.region.Region, what, want, err, t.obligation)
}

// inconclusive is an attempt that failed in a way that proves nothing, although
// an answer came.
func (t trial) inconclusive(what, want string, err error) action.Observation {
	o := t.unknown(what, want, err)
	o.Got = "neither allowed nor denied: " + o.Got
	return o
}

// control is the positive control beside denials: the store serves recovery's own
// reads, so that it is not a broken store that denies everybody.
func (t trial) control(ctx context.Context) action.Observation {
	what, want := "the store serves recovery's reads of s3://"+t.bucket, "a listing, and an object of it"
	c, err := t.as(ctx, "recovery", t.region.Storage.Credentials)
	if err != nil {
		return t.unknown(what, want, err)
	}
	for o, err := range c.List(ctx, t.bucket, "") {
		if err != nil {
			return t.unknown(what, want, err)
		}
		if _, err := c.ReadAt(ctx, t.bucket, o.Key, make([]byte, min(o.Size, 1)), 0); err != nil {
			return t.unknown(what, want, err)
		}
		return saw(what, want, "both", true)
	}
	return saw(what, want, "a listing of an empty bucket", true)
}

// cannotWrite attempts to put and to delete below every prefix.
func (t trial) cannotWrite(ctx context.Context, name string, ref estate.Ref, prefixes []string) action.Observation {
	what := fmt.Sprintf("%s cannot write to s3://%s", name, t.bucket)
	want := "AccessDenied for its own credentials below " + some(prefixes)
	c, err := t.as(ctx, name, ref)
	if err != nil {
		return t.unknown(what, want, err)
	}
	for _, prefix := range prefixes {
		key := t.key(prefix)
		o, err := c.Put(ctx, t.bucket, key, []byte("A write of run "+t.run.FirstRun+" that should have been denied.\n"))
		if outcome := objectstore.Attempted(err); outcome == objectstore.ProbeAllowed {
			return saw(what, want, "it wrote "+o.Key+t.cleaned(ctx, key), false)
		} else if outcome != objectstore.ProbeDenied {
			return t.inconclusive(what, want, err)
		}
		_, err = c.Delete(ctx, t.bucket, key)
		if outcome := objectstore.Attempted(err); outcome == objectstore.ProbeAllowed {
			return saw(what, want, "it was denied a put and let delete "+key+t.cleaned(ctx, key), false)
		} else if outcome != objectstore.ProbeDenied {
			return t.inconclusive(what, want, err)
		}
	}
	return saw(what, want, fmt.Sprintf("a put and a delete denied at %d of %d places", len(prefixes), len(prefixes)), true)
}

// canWrite writes below every prefix, reads that back, and removes it for good.
func (t trial) canWrite(ctx context.Context, name string, ref estate.Ref, prefixes []string) action.Observation {
	what := fmt.Sprintf("%s can write to s3://%s", name, t.bucket)
	want := "a write that reads back below " + some(prefixes)
	c, err := t.as(ctx, name, ref)
	if err != nil {
		return t.unknown(what, want, err)
	}
	for _, prefix := range prefixes {
		key := t.key(prefix)
		body := "A write of run " + t.run.FirstRun + " to prove that it may.\n"
		_, err := c.Put(ctx, t.bucket, key, []byte(body))
		switch objectstore.Attempted(err) {
		case objectstore.ProbeAllowed:
		case objectstore.ProbeUnreachable:
			return t.unknown(what, want, err)
		default: // it cannot, for whatever reason
			return saw(what, want, err.Error(), false)
		}
		back, _, err := c.Get(ctx, t.bucket, key)
		left := t.cleaned(ctx, key)
		switch {
		case objectstore.Attempted(err) == objectstore.ProbeUnreachable:
			return t.unknown(what, want, err)
		case err != nil:
			return saw(what, want, "written, but it cannot read it back: "+err.Error()+left, false)
		case string(back) != body:
			return saw(what, want, fmt.Sprintf("written, but other %d bytes read back%s", len(back), left), false)
		case left != removed:
			return saw(what, want, "written and read back"+left, false)
		}
	}
	return saw(what, want, fmt.Sprintf("written, read back and removed at %d of %d places", len(prefixes), len(prefixes)), true)
}

const removed = ", removed again"

// cleaned removes every version of a probe for good, as the administrator, and
// says what came of that.
func (t trial) cleaned(ctx context.Context, key string) string {
	admin, err := t.as(ctx, "the administrator", t.region.Storage.Admin)
	if err != nil {
		return fmt.Sprintf(", and not removed: %v", err)
	}
	for _, look := range []bool{false, true} {
		for v, err := range admin.ListVersions(ctx, t.bucket, key) {
			switch {
			case err != nil:
				return fmt.Sprintf(", and not removed: %v", err)
			case look:
				return fmt.Sprintf(", and version %s of %s is still there", v.VersionID, key)
			}
			if err := admin.DeleteVersion(ctx, t.bucket, v.Key, v.VersionID); err != nil {
				return fmt.Sprintf(", and not removed: %v", err)
			}
		}
	}
	return removed
}

// canRead gets a real object below each prefix; sample finds them.
func (t trial) canRead(ctx context.Context, name string, ref estate.Ref, samples []objectstore.Object) action.Observation {
	what, want := fmt.Sprintf("%s can read s3://%s", name, t.bucket), "the whole of "+some(keys(samples))
	c, err := t.as(ctx, name, ref)
	if err != nil {
		return t.unknown(what, want, err)
	}
	for _, o := range samples {
		body, _, err := c.Get(ctx, t.bucket, o.Key)
		switch {
		case objectstore.Attempted(err) == objectstore.ProbeUnreachable:
			return t.unknown(what, want, err)
		case err != nil:
			return saw(what, want, err.Error(), false)
		case int64(len(body)) != o.Size:
			return saw(what, want, fmt.Sprintf("%d bytes of %s, which has %d", len(body), o.Key, o.Size), false)
		}
	}
	return saw(what, want, fmt.Sprintf("%d of %d objects read", len(samples), len(samples)), true)
}

// cannotRead attempts to get the objects.
func (t trial) cannotRead(ctx context.Context, name string, ref estate.Ref, samples []objectstore.Object) action.Observation {
	what, want := fmt.Sprintf("%s cannot read s3://%s", name, t.bucket), "AccessDenied for its own credentials for "+some(keys(samples))
	c, err := t.as(ctx, name, ref)
	if err != nil {
		return t.unknown(what, want, err)
	}
	for _, o := range samples {
		_, _, err := c.Get(ctx, t.bucket, o.Key)
		switch objectstore.Attempted(err) {
		case objectstore.ProbeDenied:
		case objectstore.ProbeAllowed:
			return saw(what, want, "it read "+o.Key, false)
		default:
			return t.inconclusive(what, want, err)
		}
	}
	return saw(what, want, fmt.Sprintf("denied at %d of %d objects", len(samples), len(samples)), true)
}

func keys(objects []objectstore.Object) []string {
	var ks []string
	for _, o := range objects {
		ks = append(ks, o.Key)
	}
	return ks
}

// some names a few of many.
func some(names []string) string {
	const few = 3
	if len(names) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	}
	return strings.Join(names, ", ")
}
