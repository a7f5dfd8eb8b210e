package access

import (
	"testing"

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
}
