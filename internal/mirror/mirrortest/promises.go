package mirrortest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
)

func runs(t *trial) {
	t.produce(1) // so that every link has something to do
	t.must(t.Commit(t.Context(), t.group(), int64(t.sent)))
	known, err := t.Mirror.Known(t.Context())
	t.must(err)
	for _, link := range t.links() {
		if !slices.Contains(known, link) {
			t.Errorf("it knows %q, and not %s", known, link)
		}
		t.eventually(link+" runs", func(context.Context) error {
			if l := t.look(link); l.State != mirror.Running || !l.Works || l.Said == "" {
				return fmt.Errorf("it is %+v", l)
			}
			return nil
		})
	}
}

func missing(t *trial) {
	const nobody = "no-such-link"
	t.is(nobody, mirror.Missing)
	for doing, call := range map[string]func(context.Context, string) error{"stop": t.Mirror.Stop, "resume": t.resumes} {
		if err := t.bounded(func(ctx context.Context) error { return call(ctx, nobody) }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s a link that is not there: %v, want fs.ErrNotExist", doing, err)
		}
	}
}

func named(t *trial) {
	names := t.Mirror.Names()
	ends, err := t.Ends(t.Context(), []string{t.there()})
	t.must(err)
	held := t.held()
	if len(ends) != len(held) {
		t.Errorf("%s has %d partitions at the target as %s, want %d", t.Topic, len(ends), t.there(), len(held))
	}
	for p := range held {
		if _, ok := ends[names.Target(p)]; !ok {
			t.Errorf("%v is not at the target as %v", p, names.Target(p))
		}
		if back, ok := names.Source(names.Target(p)); !ok || back != p {
			t.Errorf("%v is %v at the target, which is said to be the copy of %v (%t)", p, names.Target(p), back, ok)
		}
	}
}

func arrives(t *trial) {
	t.positions()
	for range 2 {
		t.produce(3)
		t.drained()
	}
}

// source is a source that does not answer, or refuses to.
type source struct{ err error }

func (s source) Ends(context.Context, ...string) (map[kafka.Partition]kafka.Ends, error) {
	return nil, s.err
}

func silent(t *trial) {
	t.produce(1)
	t.drained()
	want := t.positions()
	for name, src := range map[string]mirror.Source{"no source": nil, "a silent source": source{fmt.Errorf("ask it: %w", reach.ErrUnreachable)}} {
		at, silence, err := t.Mirror.Positions(t.Context(), src, t.Topic)
		if err != nil || !errors.Is(silence, reach.ErrUnreachable) {
			t.Errorf("with %s: silence is %v, the error %v; want the silence alone, unreachable", name, silence, err)
		}
		for p, w := range want {
			pos, ok := at[p]
			if _, known := pos.Drained(); !ok || known || pos.Source != nil {
				t.Errorf("with %s, %v is said to be %+v: of the source nothing is known", name, p, pos)
			}
			if pos.Next < w.Next || pos.Target.End < w.Target.End || !pos.Newest.Newest.Equal(w.Newest.Newest) {
				t.Errorf("with %s, %v is said to be %+v, and was %+v", name, p, pos, w)
			}
		}
	}
}

func refused(t *trial) {
	for name, tc := range map[string]struct {
		source mirror.Source
		topics []string
		want   error
	}{
		"a source that refuses":      {source{fs.ErrPermission}, []string{t.Topic}, fs.ErrPermission},
		"a topic that is not there":  {t.Source, []string{t.Topic, "no-such-topic"}, fs.ErrNotExist},
		"partitions of another kind": {source{nil}, []string{t.Topic}, fs.ErrNotExist}, // it has none of them
	} {
		if at, silence, err := t.Mirror.Positions(t.Context(), tc.source, tc.topics...); !errors.Is(err, tc.want) || len(at) > 0 || silence != nil {
			t.Errorf("%s: %+v, silence %v, error %v; want nothing but %v", name, at, silence, err, tc.want)
		}
	}
}

func ownTopics(t *trial) {
	own := t.Mirror.Own()
	if len(own) == 0 {
		return
	}
	before, err := t.Ends(t.Context(), own)
	t.must(err)
	t.produce(1)
	t.must(t.Commit(t.Context(), t.group(), int64(t.sent)))
	t.drained()
	t.eventually(fmt.Sprintf("it notes its progress in one of %q", own), func(ctx context.Context) error {
		now, err := t.Ends(ctx, own)
		for p, e := range now {
			if e != before[p] {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("they are at %v", now))
	})
}

func stops(t *trial) {
	links := t.links()
	t.drained()
	t.stop(links...)
	defer t.resume(links...)
	for _, link := range links {
		t.is(link, mirror.Stopped)
	}
	held := t.held()
	t.must(t.Commit(t.Context(), t.group(), int64(t.sent)))
	t.produce(2)
	t.still("a mirror that says it is stopped writes on")
	for p, pos := range t.positions() {
		if drained, known := pos.Drained(); drained || !known {
			t.Errorf("%v is said to be drained (known: %t) with 2 records to come: %+v of %+v", p, known, pos, pos.Source)
		}
		if now := int64(len(held[p])); pos.Next != now {
			t.Errorf("%v is stopped after %d records, and said to be mirrored through %d", p, now, pos.Next)
		}
	}
}

func idempotent(t *trial) {
	for _, link := range t.links() {
		t.stop(link)
		t.stop(link)
		t.is(link, mirror.Stopped)
		t.resume(link)
		t.resume(link)
		t.is(link, mirror.Running)
	}
	t.produce(1)
	t.drained()
}

func alone(t *trial) {
	links := t.links()
	first, others := links[0], links[1:]
	t.stop(others...)
	for _, link := range others {
		t.is(link, mirror.Stopped)
	}
	t.is(first, mirror.Running)
	t.produce(1)
	t.drained()
	t.resume(others...)
	t.stop(first)
	for _, link := range others {
		t.is(link, mirror.Running)
	}
	t.resume(first)
}

func resumes(t *trial) {
	t.produce(2)
	t.drained()
	links := t.links()
	t.stop(links...)
	t.produce(4)
	t.resume(links...)
	for _, link := range links {
		t.is(link, mirror.Running)
	}
	t.produce(1)
	t.drained()
	t.never("after it was resumed", func(context.Context) error { return t.once() })
}

func tells(t *trial) {
	teller, ok := t.Mirror.(mirror.Teller)
	if !ok {
		return
	}
	t.produce(1)
	t.drained()
	t.eventually("it says what its positions say", func(ctx context.Context) error {
		told, err := teller.Delivered(ctx)
		for p, pos := range t.positions() {
			if told[p] != pos.Next {
				err = errors.Join(err, fmt.Errorf("%v is mirrored through %d, and it says that it delivered up to %d", p, pos.Next, told[p]))
			}
		}
		return err
	})
}

// truth is where the record of a source's offset is in the copy; after all of them
// it is past the last.
func truth(held []int64, upstream int64, end int64) int64 {
	if upstream < int64(len(held)) {
		return held[upstream]
	}
	return end
}

func translates(t *trial) {
	translator, ok := t.Mirror.(mirror.Translator)
	if !ok {
		return
	}
	group := t.group()
	t.produce(3)
	t.drained()
	t.must(t.Commit(t.Context(), group, int64(t.sent)-1))
	var known mirror.Translation
	t.eventually("the mirror knows how the partitions' numbers correspond, or that the target cannot tell", func(ctx context.Context) (err error) {
		known, err = translator.Translation(ctx)
		for p := range t.held() {
			if known.Numbers != nil && known.Numbers[t.Mirror.Names().Target(p)] == nil {
				err = errors.Join(err, fmt.Errorf("nothing is known of %v", p))
			}
		}
		return err
	})
	held := t.held()
	ends, err := t.Ends(t.Context(), []string{t.there()})
	t.must(err)
	for p, numbers := range known.Numbers {
		from, _ := t.Mirror.Names().Source(p)
		if p.Topic != t.there() {
			continue
		}
		for up := range int64(t.sent) + 1 {
			down, exact, ok := numbers.Translate(up)
			right := truth(held[from], up, ends[p].End)
			switch {
			case ok && down > right:
				t.Errorf("%d of %v is translated to %d, and its record is at %d: records are missed", up, p, down, right)
			case ok && exact && down < right && up < int64(t.sent):
				t.Errorf("%d of %v is translated to %d and called exact, and its record is at %d", up, p, down, right)
			case ok && down > numbers.Reach():
				t.Errorf("%d of %v is translated to %d, past its reach of %d", up, p, down, numbers.Reach())
			}
		}
	}
	t.checkpoints(known.Checkpoints, held, ends)
}

// checkpoints holds the groups' checkpoints against the records.
func (t *trial) checkpoints(all []mirror.Checkpoint, held map[kafka.Partition][]int64, ends map[kafka.Partition]kafka.Ends) {
	t.Helper()
	for _, cp := range all {
		from, _ := t.Mirror.Names().Source(cp.Partition)
		if cp.Partition.Topic != t.there() {
			continue
		}
		if right := truth(held[from], cp.Upstream, ends[cp.Partition].End); cp.Downstream > right {
			t.Errorf("the checkpoint %+v is past its record, which is at %d: records are missed", cp, right)
		}
	}
}

func syncsGroups(t *trial) {
	group := t.group()
	t.produce(3)
	t.drained()
	t.must(t.Commit(t.Context(), group, int64(t.sent)))
	if syncer, ok := t.Mirror.(mirror.GroupSyncer); ok {
		every, err := syncer.GroupSync(t.Context())
		t.must(err)
		if every >= 0 {
			t.eventually(fmt.Sprintf("a group is moved, as is said to be done every %s", every), func(ctx context.Context) error {
				at, err := t.Committed(ctx, group)
				if err == nil && len(at) == 0 {
					err = errors.New("it has no commit")
				}
				return err
			})
			at, err := t.Committed(t.Context(), group)
			t.must(err)
			ends, err := t.Ends(t.Context(), []string{t.there()})
			t.must(err)
			for p, o := range at {
				if o > ends[p].End {
					t.Errorf("the group was moved to %d in %v, which ends at %d", o, p, ends[p].End)
				}
			}
			return
		}
	}
	t.never("a mirror that moves no groups", func(ctx context.Context) error {
		at, err := t.Committed(ctx, group)
		if len(at) > 0 {
			err = errors.Join(err, fmt.Errorf("moved one to %v", at))
		}
		return err
	})
}
