// Package hold keeps a consumer group where it was placed, against a mirror that is
// stopped.
//
// A mirror says that it is stopped once it has given up on its tasks, which need not
// have ended: MirrorMaker's MirrorCheckpointTask asks a dead source for one group's
// offsets after the other and waits out a time-out for each (default.api.timeout.ms,
// a minute by default). Until it is through, its own scheduler goes on moving idle
// groups at the target forward to their checkpoints, and nobody shows it. A group
// that is placed lower, since its tables hold no more, would then skip what they
// lack.
//
// [Plan] says what is to be feared, and [Keeper.Keep] places the group, watches it,
// and places it again. Where the mirror's principal can be denied to commit for the
// group, [PlanBar], and a try with its credentials shows that it is, nothing is left to
// fear and nothing is watched.
package hold

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
)

// NoCommit stands for a partition in which a group is to have no commit.
const NoCommit = -1

// Hold is what is to be feared for a group, and for how long it is watched. Its JSON
// is part of plans.
type Hold struct {
	// Reach is the highest position to which the mirror can move the group, in
	// those partitions where it is placed lower. That is not its newest checkpoint:
	// a task syncs to checkpoints that it did not come to write down. None lies
	// past the newest offset sync.
	Reach kafka.Offsets `json:"reach"`
	// Points are the group's newest checkpoints that were written down.
	Points kafka.Offsets `json:"points,omitempty"`

	Every   estate.Duration `json:"every"`             // how often the mirror syncs
	Assumed bool            `json:"assumed,omitempty"` // the mirror's default, since it did not say
	Watch   estate.Duration `json:"watch"`             // for how long nothing may have moved the group
	Within  estate.Duration `json:"within"`            // after how long it is no longer placed again

	Bar *Bar   `json:"bar,omitempty"` // what makes watching needless; nil without one
	Why string `json:"why,omitempty"` // why there is none
}

const (
	// A task that lives moves the group within one round of its scheduler; the
	// second round is for one that failed, the rest for one that was late.
	roundsWatched = 2
	roundLate     = time.Second
	longestWatch  = 10 * time.Minute

	longestHold = 10 * time.Minute
)

// Times says for how long a group is watched that a mirror syncs so often, and
// after how long it is no longer placed again.
type Times func(every time.Duration) (quiet, within time.Duration)

// Real are the times that real mirrors need.
func Real(every time.Duration) (quiet, within time.Duration) {
	return min(roundsWatched*every+roundLate, longestWatch), longestHold
}

// Log is the target, as far as a plan asks it.
type Log interface {
	// Ends is [kafka.Client.Ends].
	Ends(ctx context.Context, topics ...string) (map[kafka.Partition]kafka.Ends, error)
}

// Plan plans how a group of the target is kept where it is to be: at an offset or,
// with [NoCommit], without a commit. It is nil where nothing can move it.
func Plan(ctx context.Context, m mirror.Mirror, target Log, group string, to kafka.Offsets, times Times) (*Hold, error) {
	syncer, moves := m.(mirror.GroupSyncer)
	if !moves || len(to) == 0 {
		return nil, nil
	}
	var known mirror.Translation
	if translator, ok := m.(mirror.Translator); ok {
		var err error
		if known, err = translator.Translation(ctx); err != nil {
			return nil, err
		}
	}
	ends, err := target.Ends(ctx, topicsOf(to)...)
	if err != nil {
		return nil, err
	}
	h := &Hold{Reach: kafka.Offsets{}, Points: kafka.Offsets{}}
	for _, cp := range known.Checkpoints {
		if _, ours := to[cp.Partition]; ours && cp.Group == group && cp.Downstream >= 0 {
			h.Points[cp.Partition] = cp.Downstream
		}
	}
	for at, place := range to {
		reach := int64(NoCommit)
		if numbers := known.Numbers[at]; numbers != nil {
			reach = numbers.Reach()
		} else if known.Numbers == nil {
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
	every, err := syncer.GroupSync(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil: // whoever does not answer may sync all the same
		h.Assumed = true
	case every < 0:
		return nil, nil
	}
	quiet, within := times(every)
	h.Every, h.Watch, h.Within = estate.Duration(every), estate.Duration(quiet), estate.Duration(within)
	return h, nil
}

func topicsOf(all kafka.Offsets) []string {
	var topics []string
	seen := map[string]bool{}
	for p := range all {
		if !seen[p.Topic] {
			seen[p.Topic] = true
			topics = append(topics, p.Topic)
		}
	}
	return topics
}

// Note is what a plan says of the hold: the end of its summary, empty without one.
// groups is how many the run holds, this one among them, and atOnce at the same time.
func (h *Hold) Note(groups, atOnce int) string {
	if h == nil {
		return ""
	}
	rounds := (groups + atOnce - 1) / atOnce
	all := ""
	if rounds > 1 {
		all = fmt.Sprintf(", at most %s for all %d groups", time.Duration(rounds)*h.Watch.Std(), groups)
	}
	switch b := h.Bar; {
	case b == nil:
	case b.Put:
		return fmt.Sprintf("; %s is denied to commit for it, and if a try with its credentials is refused nothing is watched (if not, as of a super-user: %s%s). The denial stays: take it away before the mirror is to sync the group again", b.Principal, h.Watch, all)
	default:
		return fmt.Sprintf("; not watched while a try as %s is refused, as it is now (if not: %s%s)", b.Principal, h.Watch, all)
	}
	every := fmt.Sprintf("every %s", h.Every)
	if h.Assumed {
		every += ", it is assumed, since Connect does not say"
	}
	if h.Watch.Std() < h.Every.Std() {
		every += ": too rarely to be seen, so restart the Connect worker before"
	}
	why := ""
	if h.Why != "" {
		why = "; only watched, since " + h.Why
	}
	return fmt.Sprintf("; then watched until nothing moved it for %s%s, since a task of the stopped mirror may live on and sync it (%s)%s", h.Watch, all, every, why)
}

// DidSync reports whether a position can be the mirror's doing: what it wrote down
// for the group. It is the one thing that tells its commits from a person's.
func (h *Hold) DidSync(at kafka.Partition, now int64) bool {
	if h == nil {
		return false
	}
	point, ok := h.Points[at]
	return ok && now == point
}

// mayHaveSynced is [Hold.DidSync] of a group that has just been placed, in which
// nobody but the mirror has a reason to commit: it may know a newer checkpoint.
func (h *Hold) mayHaveSynced(at kafka.Partition, place, now int64) bool {
	return h.DidSync(at, now) || now > place && now <= h.Reach[at]
}
