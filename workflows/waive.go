package workflows

import (
	"slices"
	"strings"

	"breakwater/internal/wire"
)

// A waive lets single items be although they are not proven: two people, a reason, and
// each item by its name. It says so wherever the run is told of, and proves nothing.

// itemsOf names items of a step as a waive does.
func itemsOf(step string, items []string) []string {
	if len(items) == 0 {
		return nil
	}
	named := make([]string, len(items))
	for i, item := range items {
		named[i] = step + "/" + item
	}
	return named
}

// stuckItems are the items of a look that nobody waived yet.
func (r *run) stuckItems(l wire.Look) []string {
	var left []string
	for _, item := range l.Red {
		if !r.isWaived(item) {
			left = append(left, item)
		}
	}
	return slices.Sorted(slices.Values(left))
}

func (r *run) isWaived(item string) bool {
	return slices.ContainsFunc(r.Status.Waived, func(w wire.Waived) bool { return w.Item == item })
}

// letBe reports whether people waived each item of a look that is not clear. Where it is
// not known which those are, nobody can have.
func (r *run) letBe(l wire.Look) bool {
	return len(l.Red) > 0 && l.RedMore == 0 && len(r.stuckItems(l)) == 0
}

// waive takes over what people waived in a stage.
func (r *run) waive(n int, got answer) {
	for _, item := range got.Items {
		w := wire.Waived{Item: item, By: got.by, Reason: got.Reason}
		for _, st := range r.Compiled.Stages[n].Steps {
			if strings.HasPrefix(item, st.ID+"/") {
				w.Step, w.Title = st.ID, st.Title
			}
		}
		r.Status.Waived = append(r.Status.Waived, w)
	}
}

// named is a look whose items are named as a waive names them.
func named(step string, l wire.Look) wire.Look {
	l.Red = itemsOf(step, l.Red)
	return l
}
