package mirror

import (
	"context"
	"errors"
	"strings"

	"breakwater/internal/kafka"
)

// Names says what the topics of a source are called at the target. The zero value is
// that of a mirror under which they keep their names.
//
// It is the one place where the name of one becomes that of the other. The target may
// have a topic of its own with the name that the source's has there: another log, in
// which the source's groups have nothing to look for.
type Names struct {
	Prefix string // of every name at the target
}

// Keep reports whether topics keep their names.
func (n Names) Keep() bool { return n.Prefix == "" }

// AtTarget is what a topic of the source is called at the target.
func (n Names) AtTarget(topic string) string { return n.Prefix + topic }

// AllAtTarget is [Names.AtTarget] of each.
func (n Names) AllAtTarget(topics []string) []string {
	out := make([]string, len(topics))
	for i, t := range topics {
		out[i] = n.AtTarget(t)
	}
	return out
}

// Target is the copy of a partition of the source.
func (n Names) Target(p kafka.Partition) kafka.Partition {
	return kafka.Partition{Topic: n.AtTarget(p.Topic), ID: p.ID}
}

// Source is what a partition of the target is a copy of; not ok if it is of a topic of
// the target's own.
func (n Names) Source(p kafka.Partition) (from kafka.Partition, ok bool) {
	topic, ok := strings.CutPrefix(p.Topic, n.Prefix)
	return kafka.Partition{Topic: topic, ID: p.ID}, ok
}

// Conformer is the ability of a mirror to be held against what was declared of it.
type Conformer interface {
	// Conform asks how the mirror names topics and clusters, and changes nothing.
	// [ErrDiffers] is in the chain where that is not as declared; any other error means
	// that it could not be compared.
	Conform(ctx context.Context) error
}

// ErrDiffers means that a mirror is set to something else than was declared.
var ErrDiffers = errors.New("other than declared")
