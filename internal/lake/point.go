package lake

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
)

// TablePoint is a table at the target and the version it comes back to.
type TablePoint struct {
	Site Table
	recovery.TablePoint
	Loss recovery.Loss
	Cut  recovery.Cut
}

// PointOf reads the recovery point that this run recorded for a table. A [NotHereError]
// says that it recorded that the table does not come back here.
func (s Lake) PointOf(ctx context.Context, c action.Call[action.None]) (TablePoint, error) {
	site, err := s.Table(ctx, c.Estate, c.Run.Target, c.Item.Name)
	if err != nil {
		return TablePoint{}, err
	}
	p, _, err := record.GroupPoint.Read(ctx, c.Records, site.Group.Group)
	if err != nil {
		return TablePoint{}, err
	}
	t, l, ok := p.Table(c.Item.Name)
	if left, loss, not := p.NotHere(c.Item.Name); not {
		return TablePoint{Site: site}, &NotHereError{LeftOut: left, Loss: loss}
	}
	if !ok {
		return TablePoint{}, fmt.Errorf("%w: the recovery point of group %s says nothing about table %s", action.ErrRefused, p.Group, c.Item.Name)
	}
	return TablePoint{Site: site, TablePoint: t, Loss: l, Cut: p.Cut}, nil
}

// AcceptUnchanged asks people to accept that a table is taken to be unchanged, with the
// loss that it risks.
func AcceptUnchanged(p recovery.TablePoint, l recovery.Loss) action.Acceptance {
	return action.Acceptance{ID: "unchanged " + p.Name, Sentence: fmt.Sprintf(
		"Table %s is taken to be unchanged since %s, up to when it is known. What was written to it after that is lost: %s.",
		p.Name, p.AssumedSince.UTC().Format(time.RFC3339Nano), l.Words())}
}
