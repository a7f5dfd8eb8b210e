package recovery

import (
	"fmt"
	"strings"

	"breakwater/internal/plural"
)

// Given is what of a loss a plan asks people to give up: its interval, without what
// that rests on. A nil bound is unbounded.
type Given struct {
	Dataset        string   `json:"dataset"`
	Unit           string   `json:"unit"` // "rows" or "messages"
	AtLeast        int64    `json:"at_least"`
	AtMost         *int64   `json:"at_most"` // nil: no bound is known
	SecondsAtLeast float64  `json:"seconds_at_least"`
	SecondsAtMost  *float64 `json:"seconds_at_most"`
	Offsets        int64    `json:"offsets,omitzero"` // seen beyond what is mirrored, of a topic
	Odd            []string `json:"odd,omitempty"`    // what contradicts the evidence
}

// Given is the loss as a plan carries it.
func (l Loss) Given() *Given {
	return &Given{
		Dataset: l.Dataset, Unit: l.Unit, AtLeast: l.Count.AtLeast, AtMost: l.Count.AtMost,
		SecondsAtLeast: l.Seconds.AtLeast, SecondsAtMost: l.Seconds.AtMost, Offsets: l.Offsets, Odd: l.Odd,
	}
}

// Words say the interval of a loss for people, and never an estimate.
func (g Given) Words() string {
	b := &strings.Builder{}
	switch {
	case g.AtMost == nil:
		fmt.Fprintf(b, "at least %d %s, no upper bound is known", g.AtLeast, g.Unit)
	case *g.AtMost == g.AtLeast:
		fmt.Fprintf(b, "%d %s", g.AtLeast, g.Unit)
	default:
		fmt.Fprintf(b, "%d to %d %s", g.AtLeast, *g.AtMost, g.Unit)
	}
	if g.SecondsAtMost != nil {
		fmt.Fprintf(b, ", at most %.1f s", *g.SecondsAtMost)
	}
	if g.Offsets > g.AtLeast {
		fmt.Fprintf(b, "; %s seen beyond what is mirrored, each a message or none", plural.Of(g.Offsets, "offset", "was", "were"))
	}
	for _, o := range g.Odd {
		fmt.Fprintf(b, "; %s", o)
	}
	return b.String()
}

// Words say a loss in a sentence, with whether the source said so.
func (l Loss) Words() string {
	switch {
	case l.LeftOut():
		return "nobody knows how much: it does not come back here"
	case l.Count.AtMost == nil:
		return fmt.Sprintf("at least %d %s, and nobody can say at most how many", l.Count.AtLeast, l.Unit)
	case l.Exact && *l.Count.AtMost == 0:
		return "nothing: the source says so"
	case l.Exact:
		return fmt.Sprintf("exactly %d %s", l.Count.AtLeast, l.Unit)
	}
	return fmt.Sprintf("between %d and %d %s", l.Count.AtLeast, *l.Count.AtMost, l.Unit)
}
