package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"breakwater/internal/action"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
)

// names says what the estate's topics are called at the run's target.
func (s room) names(c action.Call[action.None]) mirror.Names {
	return s.Names(c.Estate, c.Run.Source, c.Run.Target)
}

// called names a topic at the target, with its name at the source where that is another.
func called(n mirror.Names, topic string) string {
	if n.Keep() {
		return topic
	}
	return fmt.Sprintf("%s (%s at the source)", n.AtTarget(topic), topic)
}

// asDeclared refuses a mirror that names topics in another way than the estate says:
// then another log would be taken for the copy. Where the mirror does not say, people
// accept the estate's word.
func asDeclared(ctx context.Context, c action.Call[action.None], m mirror.Mirror) ([]action.Acceptance, error) {
	conforms, ok := m.(mirror.Conformer)
	if !ok {
		return nil, nil
	}
	err := conforms.Conform(ctx)
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil, errors.Is(err, mirror.ErrDiffers):
		return nil, action.Classed(err, mirror.ErrDiffers, action.ErrRefused)
	}
	so := "by the same names"
	if n := m.Names(); !n.Keep() {
		so = fmt.Sprintf("with %q before their names", n.Prefix)
	}
	return []action.Acceptance{{ID: "names of topics", Sentence: fmt.Sprintf(
		"The mirror does not say what it calls topics at %s, since %s. It is taken to copy them there %s, as the estate says; if it does not, what is said of them is of other topics.", c.Run.Target, why(err), so)}}, nil
}

// why says why a mirror could not be asked in words that are the same each time: a plan
// is approved by them.
func why(err error) string {
	switch {
	case reach.Unreachable(err):
		return "its worker does not answer"
	case errors.Is(err, fs.ErrPermission):
		return "its worker refuses to say"
	case errors.Is(err, fs.ErrNotExist):
		return "its worker has no connector of that name"
	}
	return "its worker cannot be asked"
}
