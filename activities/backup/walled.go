package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
)

// wallProbes is where the objects lie on which the wall is tried, below the
// estate's prefix. They are of no group.
const wallProbes = "probes/"

// attacker is a principal that must not be able to destroy a backup.
type attacker struct {
	name   string
	region string // empty for those of the backup place itself
	client objectstore.Store
	err    error // why there is no client
	// deletes: it may delete what no lock holds, and hide anything.
	deletes bool
	// home is a request that shows whether the credentials are good where they
	// belong.
	home func(context.Context) error
}

// attackers are everybody whose credentials the estate has. Who may expire comes
// last, since the others are tried on what it could have deleted.
func (s room) attackers(ctx context.Context, e *estate.Estate, p depot.Depot) []attacker {
	all := []attacker{{name: "who adds backups", client: p.Adder}, {name: "who restores backups", client: p.Reader}}
	for _, r := range e.Regions {
		add := func(name string, ref estate.Ref) {
			if ref == "" {
				return
			}
			a := attacker{name: name + " of " + r.Region, region: r.Region}
			var at objectstore.Store
			if at, a.err = s.StorageAs(ctx, e, r.Region, ref, name); a.err == nil {
				a.home = homeOf(e, r.Region, at)
				a.client, a.err = s.Intruder(ctx, e, r.Region, ref, name)
			}
			all = append(all, a)
		}
		add("recovery", r.Storage.Credentials)
		add("the administrator", r.Storage.Admin)
		for _, w := range r.Storage.Writers {
			add("writer "+w.Name, w.Credentials)
		}
		if rep := r.Storage.Replication; rep != nil {
			add("replication by "+rep.Name, rep.Credentials)
		}
	}
	if e.Backup.Expiry != "" {
		a := attacker{name: "who expires backups", deletes: true}
		a.client, a.err = s.Expirer(ctx, e)
		all = append(all, a)
	}
	return all
}

// homeOf asks for anything in a region: a denial shows that the credentials are
// good as well as an answer does.
func homeOf(e *estate.Estate, region string, c objectstore.Reader) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, b := range e.Buckets {
			return objectstore.CanList(ctx, c, b.In[region], "")
		}
		return fmt.Errorf("estate %s has no bucket to ask %s for", e.Estate, region)
	}
}

// verifyWalled adds an object of its own, held, and lets everybody try to destroy
// it, and what keeps it.
func (s room) verifyWalled(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	p, err := s.Depot(ctx, c.Estate)
	if err != nil {
		return nil, err
	}
	w := &walled{c: c, p: p}
	w.wall.Bucket, w.wall.Key = p.Bucket, p.Prefix+wallProbes+c.Run.FirstRun+"/"+rand.Text()
	// Held as long as a backup: a policy may allow no shorter hold.
	w.wall.Hold = objectstore.Hold{Mode: p.Mode, Until: promised(c).Until(time.Now()).Add(time.Hour)}
	w.bucket(ctx)
	if !w.controls(ctx) {
		return w.obs, ctx.Err()
	}
	all := s.attackers(ctx, c.Estate, p)
	for i, a := range all {
		c.Progress(int64(i), int64(len(all)), "trying the wall as "+a.name)
		w.try(ctx, a)
	}
	w.stands(ctx)
	return w.obs, ctx.Err()
}

// walled collects what came of trying.
type walled struct {
	c    action.Call[action.None]
	p    depot.Depot
	wall objectstore.Wall
	body []byte
	obs  []action.Observation
}

func (w *walled) saw(what, want, got string, ok bool) {
	w.obs = append(w.obs, action.Saw(what, want, got, ok))
}

func (w *walled) unknown(region, what, want string, err error) {
	w.obs = append(w.obs, action.Unknown(w.c.Run, region, what, want, err, "try the wall of the backups again: "+what))
}

// bucket looks at what the bucket itself promises.
func (w *walled) bucket(ctx context.Context) {
	what, want := "the backup place keeps versions under lock", "versioning and Object Lock"
	versions, err := w.p.Reader.Versioning(ctx, w.p.Bucket)
	lock := false
	if err == nil {
		lock, err = w.p.Reader.LockEnabled(ctx, w.p.Bucket)
	}
	if err != nil {
		w.unknown("", what, want, err)
	} else {
		w.saw(what, want, fmt.Sprintf("versioning %v, Object Lock %v", versions.On, lock), versions.On && lock)
	}
	// What can be written over by whoever may is read first, to be put back.
	tester, err := tester(w.p.Reader)
	var doc string
	if err == nil {
		doc, err = tester.BucketPolicy(ctx, w.p.Bucket)
	}
	if err != nil {
		w.unknown("", "the bucket's policy is known, so that changing it can be tried", "it can be read", err)
	} else {
		w.wall.Policy = &doc
	}
	// The quiet delete: a rule by age takes what a manifest still names.
	what, want = "no lifecycle rule deletes backups by age", "none for s3://"+w.p.Bucket+"/"+w.p.Prefix
	overseer, err := objectstore.As[objectstore.Overseer](w.p.Reader, "say what a bucket's lifecycle removes")
	var cycle objectstore.Lifecycle
	if err == nil {
		cycle, err = overseer.Lifecycle(ctx, w.p.Bucket)
	}
	if err != nil {
		w.unknown("", what, want, err)
		w.wall.HasLifecycle = true // as far as is known
		return
	}
	w.wall.HasLifecycle = cycle.Any
	got := "none"
	for _, r := range cycle.Removals {
		if r.What != objectstore.RemovesBareMarkers && r.Touches(w.p.Prefix) {
			got = fmt.Sprintf("rule %q deletes after %s below %q", r.Rule, r.After, r.Prefix)
		}
	}
	w.saw(what, want, got, got == "none")
}

// controls does what must work, without which a denial proves nothing: whoever
// adds can add and hold longer, and whoever restores can read that.
func (w *walled) controls(ctx context.Context) bool {
	what, want := "a backup can be added and read back", "an object added, held longer, and read by who restores"
	w.body = []byte("An object of run " + w.c.Run.FirstRun + " on which the wall of the backups is tried.\n")
	first := w.wall.Hold
	first.Until = first.Until.Add(-time.Hour)
	o, err := w.p.Adder.Add(ctx, w.p.Bucket, w.wall.Key, w.body, first)
	if err == nil {
		w.wall.Version = o.VersionID
		err = w.p.Adder.Hold(ctx, w.p.Bucket, w.wall.Key, o.VersionID, w.wall.Hold)
	}
	var back []byte
	if err == nil {
		back, _, err = w.p.Reader.GetVersion(ctx, w.p.Bucket, w.wall.Key, o.VersionID)
	}
	if err != nil {
		w.unknown("", what, want, err)
		return false
	}
	w.saw(what, want, fmt.Sprintf("%d of %s read back", len(back), plural.Of(len(w.body), "byte")), bytes.Equal(back, w.body))
	return true
}

// tester is a principal that can try the wall.
func tester(s objectstore.Store) (objectstore.WallTester, error) {
	return objectstore.As[objectstore.WallTester](s, "have its walls tried")
}

// try makes every attempt as one principal. A key that the backup place does not
// know at all is denied everything, if it is good at home.
func (w *walled) try(ctx context.Context, a attacker) {
	what, want := a.name+" cannot destroy a backup", "every attempt denied"
	if a.err != nil {
		w.unknown(a.region, what, want, a.err)
		return
	}
	tester, err := tester(a.client)
	if err != nil {
		w.unknown(a.region, what, want, err)
		return
	}
	attempts, untried := tester.Attempts(w.wall)
	denied, could, may := 0, "", ""
	var unclear error
	for _, at := range attempts {
		err := at.Try(ctx)
		switch outcome := objectstore.Attempted(err); {
		case outcome == objectstore.ProbeDenied:
			denied++
		case outcome == objectstore.ProbeOther && !errors.Is(err, objectstore.ErrNobody) && (a.deletes && at.Deletes || at.Shortens && w.p.Mode == objectstore.Compliance):
			denied++ // by the lock; that the object is still there is looked at last
		case outcome == objectstore.ProbeAllowed && a.deletes && at.Marks:
			may = "; it could " + at.What + ", which nobody follows who reads by version"
		case outcome == objectstore.ProbeAllowed:
			could += "; it could " + at.What
			if at.Undo != nil {
				could += undone(at.Undo(ctx))
			}
		case errors.Is(err, objectstore.ErrNobody) && a.home != nil:
			w.stranger(ctx, a, what)
			return
		case outcome == objectstore.ProbeUnreachable:
			w.unknown("", what, want, err)
			return
		default: // perhaps the lock alone stands in its way
			unclear = fmt.Errorf("neither allowed nor denied to %s: %w", at.What, err)
		}
	}
	switch {
	case could != "":
		w.saw(what, want, fmt.Sprintf("%d of %s denied%s", denied, plural.Of(len(attempts), "attempt"), could), false)
		return
	case unclear != nil:
		w.unknown("", what, want, unclear)
		return
	}
	got := fmt.Sprintf("%d of %s denied%s", denied, plural.Of(len(attempts), "attempt"), may)
	if untried != "" {
		got += "; " + untried
	}
	ok := true
	_, err = a.client.Put(ctx, w.p.Bucket, w.wall.Key, []byte("written over\n"))
	switch outcome := objectstore.Attempted(err); {
	case outcome == objectstore.ProbeDenied:
		got += ", and a put over an object"
	case outcome == objectstore.ProbeAllowed && a.client == w.p.Adder:
		// Who may put may put over, where a store's policies know no condition; the
		// version that a manifest names is not touched by that, which is looked at last.
		got += "; a put over an object makes a version of its own beside it"
	case outcome == objectstore.ProbeAllowed:
		got, ok = "it put over an object", false
	default:
		w.unknown("", what, want, fmt.Errorf("neither allowed nor denied to put over an object: %w", err))
		return
	}
	w.saw(what, want, got, ok)
}

// stranger judges a principal whose key the backup place does not know.
func (w *walled) stranger(ctx context.Context, a attacker, what string) {
	want := "unknown there, and good at home"
	switch err := a.home(ctx); objectstore.Attempted(err) {
	case objectstore.ProbeAllowed, objectstore.ProbeDenied:
		w.saw(what, want, want, true)
	default:
		w.unknown(a.region, what, want, fmt.Errorf("nobody of that key there, and at home it shows nothing: %w", err))
	}
}

func undone(err error) string {
	if err != nil {
		return fmt.Sprintf(", and that stays: %v", err)
	}
	return ", taken back"
}

// stands looks at the object after all attempts.
func (w *walled) stands(ctx context.Context) {
	what, want := "what was attacked is as it was added", "the version, its bytes and its lock"
	err := w.wall.Stands(ctx, w.p.Reader, int64(len(w.body)))
	switch {
	case err == nil:
		w.saw(what, want, want, true)
	case depot.Answered(err):
		w.saw(what, want, err.Error(), false)
	default:
		w.unknown("", what, want, err)
	}
}
