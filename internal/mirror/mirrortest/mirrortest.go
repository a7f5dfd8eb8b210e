// Package mirrortest is what package mirror promises, as a test that runs against
// any mirror between two clusters.
//
// [Run] asks for nothing but a [Pair]: the mirror, and a few things that can be done
// to its two clusters without it. What a mirror is not able to do is not asked of
// it, and that it does not do it all the same is. The tests of this package hold the
// suite against mirrors that each break one promise.
package mirrortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/poll"
	"breakwater/internal/promise"
)

// Pair is a mirror that runs between two clusters, with one topic that nobody else
// uses and that is empty at first. Each promise leaves all links running.
type Pair struct {
	Mirror mirror.Mirror
	Source mirror.Source // answers
	Topic  string        // mirrored, with one partition or more

	// Produce sends n data records to every partition of the source, one after the
	// other and in no transaction.
	Produce func(ctx context.Context, n int) error
	// Held reads the offsets of the data records that the target holds, rising, by
	// partition of the topic at the source.
	Held func(ctx context.Context) (map[kafka.Partition][]int64, error)
	// Ends reads the ends of those of the target's topics that are there.
	Ends func(ctx context.Context, topics []string) (map[kafka.Partition]kafka.Ends, error)
	// Commit commits for a group of the source in every partition of the topic.
	Commit func(ctx context.Context, group string, at int64) error
	// Committed reads where a group of the target stands; a group that is not there
	// stands nowhere.
	Committed func(ctx context.Context, group string) (kafka.Offsets, error)

	Patience time.Duration // how long a mirror that runs may take for anything
	Quiet    time.Duration // after which a mirror that copied nothing will not: longer than its intervals
}

// Run runs the suite on one pair.
func Run(t *testing.T, p Pair) {
	t.Helper()
	promises.Run(t, &suite{Pair: p})
}

// suite is the state of a pair between promises.
type suite struct {
	Pair
	sent   int // records in each partition of the source
	groups int // made so far
}

var promises = promise.Suite[*suite]{
	{Name: "what runs is said to run", Check: check(runs)},
	{Name: "a link that is not there is said to be missing", Check: check(missing)},
	{Name: "a topic is where its names say", Check: check(named)},
	{Name: "what the source has arrives once, and no position is past it", Check: check(arrives)},
	{Name: "a silent source is unknown, and not empty", Check: check(silent)},
	{Name: "what cannot be told is an error", Check: check(refused)},
	{Name: "its own topics move while it copies", Check: check(ownTopics)},
	{Name: "resumed, it goes on where it was stopped", Check: check(resumes)},
	{Name: "what is stopped writes nothing", Check: check(stops)},
	{Name: "a second stop or resume changes nothing", Check: check(idempotent)},
	{Name: "a link's stop leaves the others alone", Check: check(alone)},
	{Name: "in its own words it delivered what its positions say", Check: check(tells)},
	{Name: "a translated group misses no record", Check: check(translates)},
	{Name: "groups are moved as it says", Check: check(syncsGroups)},
}

func check(holds func(*trial)) func(testing.TB, *suite) {
	return func(t testing.TB, s *suite) { holds(&trial{t, s}) }
}

// trial is one promise on trial.
type trial struct {
	testing.TB
	*suite
}

func (t *trial) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks until nothing is missing, for as long as the pair has patience.
func (t *trial) eventually(what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), t.Patience)
	defer cancel()
	if err := poll.Until(ctx, t.Patience/200, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		return err == nil, err
	}); err != nil {
		t.Fatalf("%s: not within %s: %v", what, t.Patience, err)
	}
}

// never asks again and again that nothing is wrong, for as long as it takes to be
// sure of that.
func (t *trial) never(what string, ask func(context.Context) error) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < t.Quiet; {
		if err := ask(t.Context()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		t.must(poll.Wait(t.Context(), t.Quiet/10))
	}
}

func (t *trial) look(link string) mirror.Link {
	t.Helper()
	l, err := t.Mirror.Look(t.Context(), link)
	t.must(err)
	if l.Name != link {
		t.Errorf("asked for %s, it answers for %q", link, l.Name)
	}
	return l
}

func (t *trial) is(link string, want mirror.State) {
	t.Helper()
	if l := t.look(link); l.State != want || l.Works != (want == mirror.Running) || l.Works != (l.Tasks > 0) || l.Said == "" {
		t.Errorf("%s is %+v, want it to be %s", link, l, want)
	}
}

// bounded gives a call as much time as the pair has patience.
func (t *trial) bounded(call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), t.Patience)
	defer cancel()
	return call(ctx)
}

func (t *trial) stop(links ...string) {
	t.Helper()
	t.each(links, t.Mirror.Stop)
}

func (t *trial) resume(links ...string) {
	t.Helper()
	t.each(links, t.resumes)
}

// resumes resumes a link that has something to do.
func (t *trial) resumes(ctx context.Context, link string) error {
	return t.Mirror.Resume(ctx, link, false)
}

// each does the same to links at the same time.
func (t *trial) each(links []string, do func(context.Context, string) error) {
	t.Helper()
	var g errgroup.Group
	for _, l := range links {
		g.Go(func() error { return t.bounded(func(ctx context.Context) error { return do(ctx, l) }) })
	}
	t.must(g.Wait())
}

func (t *trial) produce(n int) {
	t.Helper()
	t.must(t.Produce(t.Context(), n))
	t.sent += n
}

func (t *trial) held() map[kafka.Partition][]int64 {
	t.Helper()
	held, err := t.Held(t.Context())
	t.must(err)
	if len(held) == 0 {
		t.Fatalf("the target has no partition of %s", t.Topic)
	}
	return held
}

// positions asks how far the mirror has come, and holds every answer against what
// both clusters have.
func (t *trial) positions() map[kafka.Partition]mirror.Position {
	t.Helper()
	at, silence, err := t.Mirror.Positions(t.Context(), t.Source, t.Topic)
	t.must(errors.Join(err, silence))
	held := t.held() // later: it may have more, and never less
	for p, records := range held {
		pos, ok := at[p]
		switch {
		case !ok:
			t.Errorf("there is no position of %v", p)
		case pos.Next > int64(len(records)):
			t.Errorf("%v is said to be mirrored through %d, and the target holds %d records", p, pos.Next, len(records))
		case pos.Source == nil || pos.Source.End > int64(t.sent):
			t.Errorf("%v is said to end at %+v in the source, which has %d records", p, pos.Source, t.sent)
		case len(records) > 0 && pos.Next > 0 && (pos.Newest.Newest.IsZero() || pos.Target.End <= records[pos.Next-1]):
			t.Errorf("%v is said to be mirrored through %d, with a log of %+v and the newest record of %v", p, pos.Next, pos.Target, pos.Newest.Newest)
		}
	}
	if len(at) != len(held) {
		t.Errorf("there are positions of %d partitions, want %d", len(at), len(held))
	}
	return at
}

// there is what the topic is called at the target.
func (t *trial) there() string { return t.Mirror.Names().AtTarget(t.Topic) }

// drained waits until the mirror says that all is there, and believes it only if it is.
func (t *trial) drained() {
	t.Helper()
	t.eventually("all that was sent is mirrored", func(context.Context) error {
		for p, pos := range t.positions() {
			if drained, known := pos.Drained(); !drained || !known {
				return fmt.Errorf("%v is mirrored through %d of %+v", p, pos.Next, pos.Source)
			}
		}
		return nil
	})
	t.must(t.once())
}

// once asks that the target holds each record once.
func (t *trial) once() (err error) {
	t.Helper()
	for p, records := range t.held() {
		if len(records) != t.sent {
			err = errors.Join(err, fmt.Errorf("%v holds %d records, and %d were sent", p, len(records), t.sent))
		}
	}
	return err
}

// still asks that the target does not change, in the topic and in the mirror's own.
func (t *trial) still(what string) {
	t.Helper()
	topics := append([]string{t.there()}, t.Mirror.Own()...)
	before, err := t.Ends(t.Context(), topics)
	t.must(err)
	t.never(what, func(ctx context.Context) error {
		now, err := t.Ends(ctx, topics)
		for p, e := range now {
			if before[p] != e {
				err = errors.Join(err, fmt.Errorf("%v moved from %+v to %+v", p, before[p], e))
			}
		}
		return err
	})
}

// group is the name of a group that was not there before.
func (t *trial) group() string {
	t.groups++
	return fmt.Sprintf("mirrortest-%d", t.groups)
}

// links are the declared ones, of which there is one at least.
func (t *trial) links() []string {
	t.Helper()
	links := t.Mirror.Links()
	if len(links) == 0 || len(slices.Compact(slices.Sorted(slices.Values(links)))) != len(links) {
		t.Fatalf("its links are %q, want one at least, and each once", links)
	}
	return links
}
