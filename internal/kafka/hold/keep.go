package hold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"breakwater/internal/kafka"
	"breakwater/internal/plural"
	"breakwater/internal/poll"
)

// ErrMoved means that the group is not as it was left, by no doing of the mirror
// that could be undone, or that the mirror moves it without end. It adds no words to
// an error's text.
var ErrMoved = errors.New("the group moved")

// movedError is an error that is ErrMoved.
type movedError struct{ error }

func (movedError) Is(target error) bool { return target == ErrMoved }

func (e movedError) Unwrap() error { return e.error }

func moved(format string, args ...any) error { return movedError{fmt.Errorf(format, args...)} }

// Groups are the target's consumer groups; *kafka.Client is one. The methods do what
// that one's do.
type Groups interface {
	GroupState(ctx context.Context, group string) (kafka.Group, error)
	CommittedOffsets(ctx context.Context, group string) (kafka.Offsets, error)
	CommitOffsets(ctx context.Context, group string, offsets kafka.Offsets) error
	DeleteOffsets(ctx context.Context, group string, partitions []kafka.Partition) error
}

var _ Groups = (*kafka.Client)(nil)

// Keeper places one group and keeps it there.
type Keeper struct {
	Groups Groups
	Group  string
	Region string // of the target, for errors

	// Rights and Open are needed for a hold with a [Bar].
	Rights Rights
	Open   Open

	// Guard is asked before each change, and its error ends the keeping.
	Guard func(context.Context) error
	// Progress is told, about every second, for how many seconds of how many nothing
	// has moved the group, and what is being done.
	Progress func(seconds, of int64, doing string)
}

// Kept is what came of placing a group.
type Kept struct {
	Mutations int64  // partitions that were committed or whose commit was deleted
	Text      string // what was seen of the group afterwards: the end of a summary
}

// Keep puts a group where it is not yet, in the partitions left, and then watches
// all of those in which it is to be: whenever the mirror moved it, it is placed again,
// until nothing has for the hold's whole time. A group with members is theirs, and no
// longer watched. Without a hold nothing is watched, and with a bar that is seen to
// keep the mirror out one look is enough.
//
// It may be broken off and begun anew, and then watches for the whole time again.
// Also beside an error Kept says what was done. [ErrMoved] if somebody else commits
// for the group, if the broker refuses its place, or if the mirror goes on moving it
// for longer than the hold allows.
func (k Keeper) Keep(ctx context.Context, left, to kafka.Offsets, h *Hold) (Kept, error) {
	var out Kept
	var err error
	var barred bool
	var said string
	if h != nil && h.Bar != nil {
		// First the bar, then the place: what the mirror sent before is then behind it.
		if barred, said, out.Mutations, err = k.bar(ctx, *h.Bar); err != nil {
			return out, err
		}
	}
	n, err := k.put(ctx, left, h)
	out.Mutations += n
	if err != nil || h == nil {
		return out, err
	}
	w := watch{Keeper: k, to: to, hold: h, barred: barred}
	out.Text, err = w.run(ctx)
	out.Text += said
	out.Mutations += w.mutations
	return out, err
}

// put commits positions of a group, and takes back its commits where it is to
// have none. That somebody committed again at once is for the hold to see.
func (k Keeper) put(ctx context.Context, to kafka.Offsets, h *Hold) (done int64, err error) {
	commit, forget := kafka.Offsets{}, []kafka.Partition{}
	for at, o := range to {
		if o == NoCommit {
			forget = append(forget, at)
		} else {
			commit[at] = o
		}
	}
	if len(commit) > 0 {
		if err := k.Guard(ctx); err != nil {
			return 0, err
		}
		err := k.Groups.CommitOffsets(ctx, k.Group, commit)
		switch {
		case err == nil, h != nil && errors.Is(err, kafka.ErrNotKept):
		case errors.Is(err, kafka.ErrGroupActive), errors.Is(err, kafka.ErrOutOfLog), errors.Is(err, kafka.ErrNotKept):
			return 0, movedError{err}
		default:
			return 0, err
		}
		done += int64(len(commit))
	}
	if len(forget) > 0 {
		if err := k.Guard(ctx); err != nil {
			return done, err
		}
		slices.SortFunc(forget, kafka.Partition.Compare)
		if err := k.Groups.DeleteOffsets(ctx, k.Group, forget); err != nil {
			return done, fmt.Errorf("delete commits of consumer group %s in %s: %w", k.Group, k.Region, err)
		}
		done += int64(len(forget))
	}
	return done, nil
}

// watch is the watching of a group that was placed.
type watch struct {
	Keeper
	to        kafka.Offsets // [NoCommit] where it is to have none
	hold      *Hold
	barred    bool // the mirror is seen to be kept out: one look is enough
	again     int  // how often it was placed again
	mutations int64
}

func (w *watch) on() string { return "consumer group " + w.Group + " in " + w.Region }

// run watches, and returns the end of the summary.
func (w *watch) run(ctx context.Context) (string, error) {
	long := w.hold.Watch.Std()
	if w.barred {
		long = 0
	}
	look := max(min(long/10, time.Second), time.Millisecond)
	begun := time.Now()
	since, doing := begun, "watching that no sync of the mirror moves it"
	for {
		quiet := time.Since(since) // as it is before the look: later it would claim more than was seen
		g, at, err := w.look(ctx)
		if err != nil {
			return "", err
		}
		if !g.Idle() {
			return fmt.Sprintf(", and became %s with %s after %s%s", g.State, plural.Of(g.Members, "member"), quiet.Round(time.Millisecond), w.times()), nil
		}
		back, text, err := w.compare(at)
		switch {
		case err != nil:
			return "", err
		case len(back) == 0 && w.barred:
			return ", and no sync can move it" + w.times(), nil
		case len(back) == 0 && quiet >= long:
			return fmt.Sprintf(", and stayed there for %s%s", long, w.times()), nil
		case len(back) > 0 && time.Since(begun) >= w.hold.Within.Std():
			return "", moved("%s was placed %d times within %s and moved on each time (%s), although its mirror is stopped: Connect gave up on a task that still runs and syncs it; restart the Connect worker, then retry",
				w.on(), w.again+1, w.hold.Within, text)
		case len(back) > 0:
			n, err := w.put(ctx, back, w.hold)
			w.mutations += n
			if err != nil {
				return "", err
			}
			w.again++
			since, quiet = time.Now(), 0
			doing = fmt.Sprintf("the mirror's abandoned task still syncs it (%s)%s; restart the Connect worker to end it; watching", text, w.times())
		}
		w.Progress(int64(quiet.Seconds()), int64(long.Seconds()), doing+", in seconds")
		if err := poll.Wait(ctx, look); err != nil {
			return "", err
		}
	}
}

// look reads how the group is and where it stands.
func (w *watch) look(ctx context.Context) (kafka.Group, kafka.Offsets, error) {
	g, err := w.Groups.GroupState(ctx, w.Group)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return g, nil, err
	}
	at, err := w.Groups.CommittedOffsets(ctx, w.Group)
	return g, at, err
}

// compare finds where the group is not where it is to be. What cannot be the
// mirror's doing is [ErrMoved].
func (w *watch) compare(committed kafka.Offsets) (kafka.Offsets, string, error) {
	back := kafka.Offsets{}
	var texts []string
	for _, at := range slices.SortedFunc(maps.Keys(w.to), kafka.Partition.Compare) {
		to, now := w.to[at], int64(NoCommit)
		if o, ok := committed[at]; ok {
			now = o
		}
		if now == to {
			continue
		}
		if !w.hold.mayHaveSynced(at, to, now) {
			return nil, "", moved("somebody moved %s, which is idle: %s, where the mirror would not; look who commits for it, and plan again",
				w.on(), movedText(at, to, now))
		}
		back[at] = to
		texts = append(texts, movedText(at, to, now))
	}
	return back, strings.Join(texts, ", "), nil
}

// movedText says where a group was found in a partition.
func movedText(at kafka.Partition, from, now int64) string {
	name := func(o int64) string {
		if o == NoCommit {
			return "no commit"
		}
		return fmt.Sprint(o)
	}
	return fmt.Sprintf("%v from %s to %s", at, name(from), name(now))
}

// times says how often the group was placed again.
func (w *watch) times() string {
	switch w.again {
	case 0:
		return ""
	case 1:
		return "; placed again once"
	}
	return fmt.Sprintf("; placed again %d times", w.again)
}
