package table

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
)

// verifyPromote looks at the table as a reader does: it lists and opens it anew.
// What its format knows beside that, the format looks at.
func (s room) verifyPromote(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	if left, out := leftOutBy(c.Plan); out {
		return s.verifyLeftOut(ctx, c, left)
	}
	t, err := s.promoting(ctx, c)
	if err != nil {
		return nil, err
	}
	v := t.head.Version
	what := fmt.Sprintf("the head is version %d", v)
	l, err := t.Open(ctx)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a log", err)}, nil
	}
	head := l.Extent().Head
	obs := []action.Observation{t.About(action.Saw(what, fmt.Sprint(v), fmt.Sprint(head), head == v))}
	what = fmt.Sprintf("the newest complete version is %d", v)
	switch n, err := l.Newest(ctx, time.Time{}); {
	case err != nil:
		obs = append(obs, t.NotSeen(c.Run, what, fmt.Sprint(v), err))
	default:
		got := n.Snapshot.Version().Number
		obs = append(obs, t.About(action.Saw(what, fmt.Sprint(v), fmt.Sprint(got), got == v)))
	}
	obs = append(obs, t.Whole(ctx, c.Run, l, v))
	return append(obs, t.Looked(c.Run, t.promoter.Promoted(ctx, t.Site(), l, c.Plan.Data)...)...), nil
}
