package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"

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
	for _, v := range w.l.known() {
		if v < w.next || v >= below || w.ended {
			continue
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

// run surveys a run of versions from its first start on, and begins anew at a
// later start where it cannot go on.
func (w *surveyor) run(ctx context.Context, r table.Range) bool {
	for at := r.First; at <= r.Last; {
		c, ok := w.l.startFrom(at, r.Last)
		if !ok {
			return true
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
		at = max(reached, c.version) + 1
		if !w.unknown(at, err) {
			return false
		}
	}
	return true
}

// startFrom is the oldest start at or after a version.
func (l *Log) startFrom(at, last int64) (checkpoint, bool) {
	if _, ok := l.commits[0]; ok && at == 0 {
		return checkpoint{version: -1}, true
	}
	var found checkpoint
	ok := false
	for _, c := range l.checkpoints { // newest first
		if c.whole() && c.version >= at && c.version <= last {
			found, ok = c, true
		}
	}
	return found, ok
}

// segment surveys from a start and returns the last version that it reached.
func (w *surveyor) segment(ctx context.Context, c checkpoint, last int64) (int64, error) {
	r, err := w.l.start(ctx, c)
	if err != nil {
		return c.version, err
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
		for a := range r.s.files.all() {
			judge(a.id(), a)
		}
		w.say(table.State{Version: r.s.Version, Lacks: total})
	}
	err = w.l.replay(ctx, r, last, func(acts *actions) {
		for _, id := range acts.removes {
			judge(id, nil)
		}
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
