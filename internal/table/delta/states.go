package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"breakwater/internal/table"
)

// States yields, in order, what time travel finds at each listed version. It
// lists the table once and reads each commit once.
func (l *Log) States(ctx context.Context) iter.Seq2[table.State, error] {
	return func(yield func(table.State, error) bool) {
		have, err := l.listData(ctx)
		if err != nil {
			yield(table.State{}, err)
			return
		}
		w := &surveyor{l: l, have: have, yield: yield, next: -1}
		for _, r := range l.Versions() {
			if !w.run(ctx, r) {
				return
			}
		}
		w.unknown(l.Head()+1, nil)
	}
}

// surveyor yields states in the order of versions.
type surveyor struct {
	l     *Log
	have  *holdings
	yield func(table.State, error) bool
	next  int64 // the least version not yielded yet
	ended bool
}

// say yields a state, and before it those of versions that no start leads to.
func (w *surveyor) say(s table.State) {
	if s.Version.Number < w.next || s.Version.Number < 0 || w.ended {
		return
	}
	if !w.unknown(s.Version.Number, nil) || !w.yield(s, nil) {
		w.ended = true
	}
	w.next = s.Version.Number + 1
}

// unknown yields the listed versions below one as not to be reconstructed.
func (w *surveyor) unknown(below int64, why error) bool {
	known := w.l.known()
	from, _ := slices.BinarySearch(known, w.next)
	for _, v := range known[from:] {
		if v >= below || w.ended {
			break
		}
		fault := "cannot be reconstructed: a part of the log before it is absent or corrupt"
		if why != nil {
			fault, why = why.Error(), nil
		}
		w.next = v + 1
		if !w.yield(table.State{Version: table.Version{Number: v}, Fault: fault}, nil) {
			w.ended = true
		}
	}
	return !w.ended
}

// run surveys a run of versions from its first start on, and begins anew at a later
// start where it cannot go on: each start is tried once, so that it ends.
func (w *surveyor) run(ctx context.Context, r table.Range) bool {
	at := r.First
	var why error // nothing led to the versions from at on
	for _, c := range slices.Backward(w.l.starts(r.Last)) {
		if first := max(c.version, 0); first < at || !c.whole() && c.version >= 0 {
			continue
		} else if !w.unknown(first, why) {
			return false
		}
		reached, err := w.segment(ctx, c, r.Last)
		switch {
		case w.ended:
			return false
		case err == nil:
			return true
		case !broken(err):
			w.yield(table.State{}, err)
			w.ended = true
			return false
		}
		at, why = max(at, reached+1), err
	}
	return w.unknown(r.Last+1, why)
}

// segment surveys from a start and returns the last version that it reached, that
// before the start where it cannot begin.
func (w *surveyor) segment(ctx context.Context, c checkpoint, last int64) (int64, error) {
	r, err := w.l.start(ctx, c)
	if err != nil {
		return c.version - 1, err
	}
	lacking, total := map[fileID]int{}, 0
	var fail error
	judge := func(id fileID, a *Add) {
		total -= lacking[id]
		delete(lacking, id)
		if a == nil {
			return
		}
		lacks, err := w.have.lacks(ctx, a)
		fail = errors.Join(fail, err)
		if len(lacks) > 0 {
			lacking[id] = len(lacks)
			total += len(lacks)
		}
	}
	if c.version >= 0 {
		fail = w.have.settle(ctx, r.s.files.all())
		for a := range r.s.files.all() {
			judge(a.id(), a)
		}
		w.say(table.State{Version: r.s.Version, Lacks: total})
	}
	err = w.l.replay(ctx, r, last, func(acts *actions) {
		for _, id := range acts.removes {
			judge(id, nil)
		}
		fail = errors.Join(fail, w.have.settle(ctx, acts.each()))
		for a := range acts.each() {
			judge(a.id(), a)
		}
		if fail == nil {
			w.say(table.State{Version: r.s.Version, Lacks: total})
		}
	})
	if fail != nil {
		err = fail
	}
	if err != nil {
		err = fmt.Errorf("survey delta table %s: %w", w.l.root, err)
	}
	return r.s.Version.Number, err
}
