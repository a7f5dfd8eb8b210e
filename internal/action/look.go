package action

import (
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/clip"
	"breakwater/internal/reach"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

// AtOnce is how many items of a batch are worked on at once.
const AtOnce = 8

// Conclude concludes from what is wrong among n things looked at. Nothing follows from
// having looked at none.
func Conclude(what, want, got string, wrong []string, n int) Observation {
	switch {
	case len(wrong) > 0:
		return Saw(what, want, strings.Join(wrong, "; "), false)
	case n == 0:
		return Observation{What: what, Want: want, Got: got + ", from which nothing follows", Verdict: verdict.Unknown, Cause: CauseOther}
	}
	return Saw(what, want, got, true)
}

// Nothing is the observation that there is no such thing: nothing was looked at, and
// nothing was to be. It neither passes nor fails. A check that says nothing else is
// believed only where its action's [Action.Things] agree.
func Nothing(what, want, none string) Observation {
	return Observation{What: what, Want: want, Got: none, Verdict: verdict.Nothing}
}

// Finding is an observation as one line.
func Finding(o Observation) string {
	b := &strings.Builder{}
	if o.Item != "" {
		b.WriteString(o.Item + ": ")
	}
	fmt.Fprintf(b, "%s: want %s, got %s (%s)", o.What, o.Want, o.Got, o.Verdict)
	return clip.Text(b.String(), 500)
}

// Unknown is the observation of something that could not be looked at. Its cause
// is the unreachable source only if the error says that no answer came, and the
// region is the run's source.
func Unknown(run Run, region, what, want string, err error, obligation string) Observation {
	o := Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Unknown, Cause: CauseOther}
	if region == run.Source && run.Source != "" && reach.Unreachable(err) {
		o.Cause, o.Obligation = CauseSourceUnreachable, obligation
	}
	return o
}

// acceptLeftOut is how the ids of [LeftOut] begin.
const acceptLeftOut = "left-out "

// LeftOut asks people to accept that a table does not come back here, so that it does
// not keep its whole group from coming back. Why says what to do about it, too.
func LeftOut(table, why string) Acceptance {
	return Acceptance{ID: acceptLeftOut + table, Sentence: fmt.Sprintf(
		"Table %s does not come back here: %s. Everything else comes back without it, and nobody can say what it loses.", table, why)}
}

// LeftOutBy is the table that an acceptance of that id leaves out.
func LeftOutBy(id string) (table string, ok bool) { return strings.CutPrefix(id, acceptLeftOut) }

// AcceptUnwitnessed is the id of [Unwitnessed].
const AcceptUnwitnessed = "unwitnessed"

// Unwitnessed asks people to accept that rows are held against nothing that was written
// down, in an estate without a witness.
func Unwitnessed() Acceptance {
	return Acceptance{ID: AcceptUnwitnessed, Sentence: "The estate has no witness: nobody wrote down what the rows of its tables were. " +
		"That what comes back has the rows of the source becomes an obligation for each table."}
}

// NotHere is the observation of a table that does not come back here: unknown, until
// people prove elsewhere what the obligation says.
func NotHere(table, what, want, why, obligation string) Observation {
	return Observation{What: what, Item: table, Want: want, Got: why, Verdict: verdict.Unknown, Cause: CauseLeftOut, Obligation: obligation}
}

// Owed are the ids of what people must accept, so that observations which do not all
// pass may be carried as obligations; empty where all pass, and where one of them is
// nothing that can be accepted.
func Owed(obs []Observation) []string {
	var ids []string
	for _, o := range obs {
		var id string
		switch {
		case o.Verdict.Clear():
			continue
		case o.Verdict == verdict.Unknown && o.Cause == CauseSourceUnreachable:
			id = AcceptSourceUnreachable
		case o.Verdict == verdict.Unknown && o.Cause == CauseLeftOut:
			id = acceptLeftOut + o.Item
		case o.Verdict == verdict.Unknown && o.Cause == CauseUnwitnessed:
			id = AcceptUnwitnessed
		default:
			return nil
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Accepted reports whether a gate of the run accepted what has that id.
func (r Run) Accepted(id string) bool {
	if table, ok := LeftOutBy(id); ok {
		return slices.Contains(r.LeftOut, table)
	}
	if id == AcceptUnwitnessed {
		return r.Unwitnessed
	}
	return id == AcceptSourceUnreachable && r.SourceUnreachable
}

// Saw concludes from what was looked at.
func Saw(what, want, got string, ok bool) Observation {
	v := verdict.Fail
	if ok {
		v = verdict.Pass
	}
	return Observation{What: what, Want: want, Got: got, Verdict: v}
}

// None is the type of an action that takes no parameters.
type None struct{}

// Together looks at all of them, a few at a time, and gives the observations in
// order: a silent server costs its time-out once and not for each.
func Together[T any](all []T, look func(T) []Observation) []Observation {
	found := make([][]Observation, len(all))
	var g errgroup.Group
	g.SetLimit(AtOnce)
	for i, p := range all {
		g.Go(func() error {
			found[i] = look(p)
			return nil
		})
	}
	_ = g.Wait() // none of them errs: not having seen is an observation
	return slices.Concat(found...)
}
