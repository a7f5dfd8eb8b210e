package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/poll"
)

// Hold keeps a group where it was placed, against a mirror that is stopped.
//
// Connect says STOPPED once it has given up on a task, which need not have ended:
// MirrorCheckpointTask asks a dead source for one group's offsets after the other
// and waits out a time-out for each (default.api.timeout.ms, a minute by default).
// Until it is through, its own scheduler goes on moving idle groups at the target
// forward to their checkpoints, and REST does not show it. A group that is placed
// lower, since its tables hold no more, would then skip what they lack.
type Hold struct {
	// Reach is the highest position to which the mirror can move the group, in
	// those partitions where it is placed lower. That is not its newest checkpoint:
	// a task syncs to checkpoints that it did not come to write down. None lies
	// past the newest offset sync.
	Reach kafka.Offsets `json:"reach"`
	// Points are the group's newest checkpoints that were written down.
	Points kafka.Offsets `json:"points,omitempty"`

	Every   estate.Duration `json:"every"`             // how often the mirror syncs
	Assumed bool            `json:"assumed,omitempty"` // MirrorMaker's default, since Connect did not say
	Watch   estate.Duration `json:"watch"`             // for how long nothing may have moved the group
	Within  estate.Duration `json:"within"`            // after how long it is no longer placed again
}

const (
	// A task that lives moves the group within one round of its scheduler; the
	// second round is for one that failed, the rest for one that was late.
	roundsWatched = 2
	roundLate     = time.Second
	longestWatch  = 10 * time.Minute

	longestHold = 10 * time.Minute

	syncsEvery = time.Minute // MirrorMaker's default
)

// noCommit stands for a partition in which a group is to have no commit.
const noCommit = -1

// checkpointsOf reads what the mirror of the source noted at the target. Syncs are
// nil where they are kept at the source, which is MirrorMaker's default.
func checkpointsOf(ctx context.Context, k *kafka.Client, source string) ([]kafka.Checkpoint, map[kafka.Partition]kafka.Syncs, error) {
	checkpoints, err := k.Checkpoints(ctx, source)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	syncs, err := k.OffsetSyncs(ctx, source)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	return checkpoints, syncs, nil
}

// holdOf plans how a group is kept where it is to be. It is nil where no sync can
// move it.
func (s room) holdOf(ctx context.Context, c action.Call[action.None], k *kafka.Client, decl *estate.ConsumerGroup, to kafka.Offsets) (*Hold, error) {
	src, err := c.Estate.RegionNamed(c.Run.Source)
	if err != nil {
		return nil, err
	}
	dst, err := c.Estate.RegionNamed(c.Run.Target)
	if err != nil || src.Kafka == nil || dst.Connect == nil || len(to) == 0 {
		return nil, err
	}
	h := &Hold{Reach: kafka.Offsets{}, Points: kafka.Offsets{}}
	checkpoints, syncs, err := checkpointsOf(ctx, k, src.Kafka.Alias)
	if err != nil {
		return nil, err
	}
	ends, err := k.Ends(ctx, decl.Topics...)
	if err != nil {
		return nil, err
	}
	for _, cp := range checkpoints {
		if _, ours := to[cp.Partition]; ours && cp.Group == decl.ConsumerGroup && cp.Downstream >= 0 {
			h.Points[cp.Partition] = cp.Downstream
		}
	}
	for at, place := range to {
		reach := int64(noCommit)
		if known := syncs[at]; len(known) > 0 {
			reach = known[len(known)-1].Downstream + 1
		} else if syncs == nil {
			reach = ends[at].Stable
		}
		if point, ok := h.Points[at]; ok {
			reach = max(reach, point)
		}
		if reach = min(reach, ends[at].Stable); place < reach {
			h.Reach[at] = reach
		}
	}
	if len(h.Reach) == 0 {
		return nil, nil
	}
	every, err := s.syncInterval(ctx, c)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil: // whoever does not answer may sync all the same
		every, h.Assumed = syncsEvery, true
	case every < 0:
		return nil, nil
	}
	quiet, within := min(roundsWatched*every+roundLate, longestWatch), longestHold
	if s.HoldTimes() != nil {
		quiet, within = s.HoldTimes()(every)
	}
	h.Every, h.Watch, h.Within = estate.Duration(every), estate.Duration(quiet), estate.Duration(within)
	return h, nil
}

// syncInterval asks Connect how often the mirror syncs groups; negative if never.
func (s room) syncInterval(ctx context.Context, c action.Call[action.None]) (time.Duration, error) {
	w, decl, err := s.Connect(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return 0, err
	}
	config, err := w.Config(ctx, decl.Checkpoint)
	if err != nil {
		return 0, err
	}
	if enabled, set := config["sync.group.offsets.enabled"]; !set || strings.EqualFold(strings.TrimSpace(enabled), "false") {
		return -1, nil
	}
	text, set := config["sync.group.offsets.interval.seconds"]
	if !set {
		return syncsEvery, nil
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	return time.Duration(seconds) * time.Second, err
}

// note is what a plan says of the hold.
func (h *Hold) note() string {
	if h == nil {
		return ""
	}
	every := fmt.Sprintf("every %s", h.Every)
	if h.Assumed {
		every += ", it is assumed, since Connect does not say"
	}
	if h.Watch.Std() < h.Every.Std() {
		every += ": too rarely to be seen, so restart the Connect worker before"
	}
	return fmt.Sprintf("; then watched until nothing moved it for %s, since a task of the stopped mirror may live on and sync it (%s)", h.Watch, every)
}

// didSync reports whether a position can be the mirror's doing: what it wrote down
// for the group. It is the one thing that tells its commits from a person's.
func (h *Hold) didSync(at kafka.Partition, now int64) bool {
	if h == nil {
		return false
	}
	point, ok := h.Points[at]
	return ok && now == point
}

// mayHaveSynced is [Hold.didSync] of a group that has just been placed, in which
// nobody but the mirror has a reason to commit: it may know a newer checkpoint.
func (h *Hold) mayHaveSynced(at kafka.Partition, place, now int64) bool {
	return h.didSync(at, now) || now > place && now <= h.Reach[at]
}

// movedText says where a group was found in a partition.
func movedText(at kafka.Partition, from, now int64) string {
	name := func(o int64) string {
		if o == noCommit {
			return "no commit"
		}
		return fmt.Sprint(o)
	}
	return fmt.Sprintf("%v from %s to %s", at, name(from), name(now))
}

// heldGroup is a group that is to stay where it was placed.
type heldGroup struct {
	to   kafka.Offsets // [noCommit] where it is to have none
	hold *Hold         // nil if nothing is to be feared
}

// stayed is what came of a hold.
type stayed struct {
	mutations int64
	again     int    // how often the group was placed again
	text      string // the end of the outcome's summary
}

// putGroup commits positions of a group, and takes back its commits where it is to
// have none. That somebody committed again at once is for the hold to see.
func (s room) putGroup(ctx context.Context, c action.Call[action.None], k *kafka.Client, group string, to kafka.Offsets, h *Hold) (done int64, err error) {
	commit, forget := kafka.Offsets{}, []kafka.Partition{}
	for at, o := range to {
		if o == noCommit {
			forget = append(forget, at)
		} else {
			commit[at] = o
		}
	}
	if len(commit) > 0 {
		if err := c.Guard(ctx); err != nil {
			return 0, err
		}
		if err := k.CommitOffsets(ctx, group, commit); err != nil && (h == nil || !errors.Is(err, kafka.ErrNotKept)) {
			return 0, kafkaMoved(err)
		}
		done += int64(len(commit))
	}
	if len(forget) > 0 {
		if err := c.Guard(ctx); err != nil {
			return done, err
		}
		if err := s.forget(ctx, c.Estate, c.Run.Target, group, forget); err != nil {
			return done, err
		}
		done += int64(len(forget))
	}
	return done, nil
}

// placeAndHold puts what is left to be put, and holds the group.
func (s room) placeAndHold(ctx context.Context, c action.Call[action.None], k *kafka.Client, group string, out action.Outcome, left kafka.Offsets, in heldGroup) (action.Outcome, error) {
	n, err := s.putGroup(ctx, c, k, group, left, in.hold)
	out.Mutations = n
	if err != nil {
		return out, err
	}
	st, err := s.hold(ctx, c, k, in)
	out.Mutations += st.mutations
	out.Summary += st.text
	return out, err
}

// hold watches a group that was placed, and places it again whenever the mirror
// moved it, until nothing has for the whole time. A group with members is theirs.
// Broken off and begun anew, it watches for the whole time again.
func (s room) hold(ctx context.Context, c action.Call[action.None], k *kafka.Client, in heldGroup) (stayed, error) {
	var out stayed
	if in.hold == nil {
		return out, nil
	}
	watch := in.hold.Watch.Std()
	look := max(min(watch/10, time.Second), time.Millisecond)
	begun := time.Now()
	since, doing := begun, "watching that no sync of the mirror moves it"
	for {
		quiet := time.Since(since) // as it is before the look: later it would claim more than was seen
		g, _, err := s.consumerGroup(ctx, c, k)
		if err != nil {
			return out, err
		}
		if !g.Idle() {
			out.text = fmt.Sprintf(", and became %s with %d members after %s%s", g.State, g.Members, quiet.Round(time.Millisecond), out.times())
			return out, nil
		}
		moved, text, err := in.moved(g, c.Run.Target)
		switch {
		case err != nil:
			return out, err
		case len(moved) == 0 && quiet >= watch:
			out.text = fmt.Sprintf(", and stayed there for %s%s", watch, out.times())
			return out, nil
		case len(moved) > 0 && time.Since(begun) >= in.hold.Within.Std():
			return out, fmt.Errorf("%w: %s was placed %d times within %s and moved on each time (%s), although its mirror is stopped: Connect gave up on a task that still runs and syncs it; restart the Connect worker, then retry",
				action.ErrMoved, g.on(c.Run.Target), out.again+1, in.hold.Within, text)
		case len(moved) > 0:
			n, err := s.putGroup(ctx, c, k, g.name, moved, in.hold)
			out.mutations += n
			if err != nil {
				return out, err
			}
			out.again++
			since, quiet = time.Now(), 0
			doing = fmt.Sprintf("the mirror's abandoned task still syncs it (%s)%s; restart the Connect worker to end it; watching", text, out.times())
		}
		c.Progress(int64(quiet.Seconds()), int64(watch.Seconds()), doing+", in seconds")
		if err := poll.Wait(ctx, look); err != nil {
			return out, err
		}
	}
}

// moved finds where the group is not where it is to be. What cannot be the
// mirror's doing is [action.ErrMoved].
func (h heldGroup) moved(g consumer, region string) (kafka.Offsets, string, error) {
	back := kafka.Offsets{}
	var texts []string
	for _, at := range slices.SortedFunc(maps.Keys(h.to), kafka.Partition.Compare) {
		to, now := h.to[at], int64(noCommit)
		if o, ok := g.committed[at]; ok {
			now = o
		}
		if now == to {
			continue
		}
		if !h.hold.mayHaveSynced(at, to, now) {
			return nil, "", fmt.Errorf("%w: somebody moved %s, which is idle: %s, where the mirror would not; look who commits for it, and plan again",
				action.ErrMoved, g.on(region), movedText(at, to, now))
		}
		back[at] = to
		texts = append(texts, movedText(at, to, now))
	}
	return back, strings.Join(texts, ", "), nil
}

// times says how often the group was placed again.
func (o stayed) times() string {
	switch o.again {
	case 0:
		return ""
	case 1:
		return "; placed again once"
	}
	return fmt.Sprintf("; placed again %d times", o.again)
}
