package pipelines

import (
	"fmt"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/pipeline"
)

// draft is a plan in the making.
type draft struct {
	action.Change
	left []string // who is left as they are, and why
}

// ofSchedules are the rules of all actions that change a schedule.
var ofSchedules = []action.Rule{
	{Do: "pause", Says: "the schedule is paused, with the note that the line says", Sends: []string{"pause {on}"}},
	{Do: "resume", Says: "the schedule goes on, with a note of the run or the one that it had", Sends: []string{"resume {on}"}},
}

// needs makes a schedule's state now a precondition.
func (d *draft) needs(p scheduled, now pipeline.Seen) {
	d.Preconditions = append(d.Preconditions, action.Precondition{Resource: p.String(), Version: now.String()})
}

// does adds an effect on a schedule.
func (d *draft) does(p scheduled, now pipeline.Seen, do string, to pipeline.State) {
	d.Effects = append(d.Effects, action.EffectLine{On: p.String(), Do: do, From: now.String(), To: string(to)})
}

// leaves says that something is left as it is.
func (d *draft) leaves(format string, args ...any) {
	d.left = append(d.left, fmt.Sprintf(format, args...))
}

// plan is the plan, with what is left as it is in its summary. undo is nil for the
// plan of an undo.
func (d *draft) plan(summary, left string, data, undo any) (action.Change, error) {
	d.Summary = summary
	if len(d.left) > 0 {
		d.Summary += left + strings.Join(d.left, ", ")
	}
	var err error
	if d.Data, err = action.Encode(data); err == nil && undo != nil {
		d.Undo, err = action.Encode(undo)
	}
	return d.Change, err
}
