package access

import (
	"slices"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestProveGoldenQueries(t *testing.T) {
	t.Parallel()
	l := world.PromotedLake(t)
	d := l.Recorded("access.golden-queries")
	prove.Action(t, d, l.Request(d, "orders"), l.FaultSet())
	l.Verified("access.golden-queries", l.Request(d, "payments"), verdict.Pass)

	// Without a witness the table is read all the same, and what nobody wrote down may be
	// owed, once people accepted that.
	l.Estate.Witness = estate.Witness{}
	obs := l.Verified("access.golden-queries", l.Request(d, "payments"), verdict.Unknown)
	if owed := action.Owed(obs); !slices.Equal(owed, []string{action.AcceptUnwitnessed}) {
		t.Errorf("it owes %q of %+v", owed, obs)
	}
}
