package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/recovery"
	"breakwater/internal/table"
)

// NotHereError says that a table does not come back here, whatever is done here: who
// decides which of its commits count is asked elsewhere, or its format asks for more
// than is known here. It takes nothing from the other tables of its group.
type NotHereError struct {
	recovery.LeftOut
	Loss recovery.Loss // as the group's recovery point has it
}

func (e *NotHereError) Error() string {
	return fmt.Sprintf("table %s does not come back here: %s", e.Dataset, e.Why)
}

// NotHere is the error of a table that does not come back here. Nothing is known of what
// it loses.
func (t Table) NotHere(why string) *NotHereError {
	return &NotHereError{
		LeftOut: recovery.LeftOut{Dataset: t.Name, Kind: "table", Why: why},
		Loss:    recovery.Loss{Dataset: t.Name, Kind: "table", Unit: "rows", Out: true},
	}
}

// Screen says why a table that was opened does not come back here; empty where nothing
// says that it does not.
func (t Table) Screen(ctx context.Context, l table.Table) (why string, err error) {
	if why = t.Catalogs(); why != "" {
		return why, nil
	}
	screened, ok := l.(table.Screened)
	if !ok {
		return "", nil
	}
	by, err := screened.Screen(ctx)
	if why = notHere(by, err); why != "" {
		return why, nil
	}
	return "", err
}

// Catalogs says why a table that the estate gives to a catalog does not come back here.
func (t Table) Catalogs() string {
	if t.Decl == nil || t.Decl.LogStore != estate.Catalog {
		return ""
	}
	return "the estate says that a catalog or commit coordinator decides which of its commits count (log_store: catalog); recover it through that one"
}

// coordinatorOf is who decides which commits of a version's table count; empty where the
// log does.
func coordinatorOf(s table.Snapshot) string {
	if c, ok := s.(table.Coordinated); ok {
		return c.Coordinator()
	}
	return ""
}

// notHere says why a table does not come back here, by who decides its commits or by the
// error that came in its place; empty where nothing says that it does not.
func notHere(coordinator string, err error) string {
	var managed interface {
		error
		Managed() bool
	}
	switch {
	case errors.As(err, &managed) && managed.Managed():
		return managed.Error()
	case errors.Is(err, table.ErrUnsupported):
		return err.Error()
	case err == nil && coordinator != "":
		return fmt.Sprintf("a catalog or commit coordinator decides which of its commits count (%s), and would not follow what is done to its log; recover it through that one, or take the table out of its hands while the source answers", coordinator)
	}
	return ""
}

// LookOrLeaveOut is [TableEvidence.Look], and leaves out a table that does not come back
// here. Its head says who decides, whole or not.
func (t *TableEvidence) LookOrLeaveOut(ctx context.Context) error {
	if why := t.Catalogs(); why != "" {
		t.leaveOut(why)
		return nil
	}
	err := t.Look(ctx)
	why := notHere(t.coordinator, err)
	if err == nil && why == "" && len(t.above) > 0 {
		if why, err = t.Screen(ctx, t.Log); err != nil && LogBroken(err) {
			err = nil
		}
	}
	if why != "" {
		t.leaveOut(why)
		return nil
	}
	return err
}

// leaveOut takes a table out of what a cut is chosen from.
func (t *TableEvidence) leaveOut(why string) {
	t.State.LeftOut = why
	t.Log, t.Newest, t.above, t.Odd, t.State.Versions = nil, nil, nil, nil, nil
}

// PeopleLeaveOut is why a table or a topic is left out that people name.
const PeopleLeaveOut = "people leave it out (input leave_out); bring it back by itself, from a backup or when its replication is whole"

// Named is a table or a topic that an input names.
type Named struct{ Kind, Name string } // Kind is "table" or "topic"

// NamedIn reads the tables and topics of an estate that an input names, separated by
// commas: by its name, or as table:NAME or topic:NAME, which a name that both have needs.
func NamedIn(e *estate.Estate, input, list string) ([]Named, error) {
	var all []Named
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		kind, name, said := strings.Cut(text, ":")
		if !said {
			kind, name = "", text
		}
		var found []Named
		for _, n := range []Named{{"table", name}, {"topic", name}} {
			if (!said || kind == n.Kind) && n.of(e) {
				found = append(found, n)
			}
		}
		switch len(found) {
		case 0:
			return nil, fmt.Errorf("%w: %s names %q, and estate %s has no table or topic of that name", action.ErrRefused, input, text, e.Estate)
		case 1:
			all = append(all, found[0])
		default:
			return nil, fmt.Errorf("%w: %s names %q, and estate %s has both a table and a topic of that name: write table:%s or topic:%s, or both",
				action.ErrRefused, input, text, e.Estate, name, name)
		}
	}
	return all, nil
}

// of tells whether the estate has it.
func (n Named) of(e *estate.Estate) bool {
	return slices.ContainsFunc(e.Groups, func(g estate.Group) bool {
		if n.Kind == "table" {
			return slices.ContainsFunc(g.Tables, func(t estate.Table) bool { return t.Table == n.Name })
		}
		return slices.ContainsFunc(g.Topics, func(t estate.Topic) bool { return t.Topic == n.Name })
	})
}

// LeaveOut leaves out a table or a topic, where the group has it.
func (ev *GroupEvidence) LeaveOut(n Named, why string) {
	for _, t := range ev.Tables {
		if n == (Named{"table", t.Name}) {
			t.leaveOut(why)
		}
	}
	for i := range ev.Topics {
		if n == (Named{"topic", ev.Topics[i].Name}) {
			ev.Topics[i].LeftOut = why
		}
	}
}

// LeftOut is what does not come back here.
func (ev *GroupEvidence) LeftOut() []recovery.LeftOut {
	return recovery.LeftOutOf(ev.States(), ev.Topics)
}
