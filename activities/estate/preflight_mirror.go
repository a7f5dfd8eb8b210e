package estate

import (
	"context"

	"breakwater/internal/kafka/hold"
)

// moves looks whether the mirror's user may still move the consumer groups of the
// region: a denial that an earlier failover put and nobody took away ends their sync, and
// only the mirror's log says so. Nothing can come of the tries.
func (p *preflight) moves(ctx context.Context) {
	if p.r.Kafka == nil || p.r.Connect == nil || p.r.Connect.Principal == nil {
		return
	}
	name := p.r.Connect.Principal.Name
	const want = "a commit as it is let in"
	k, end, err := p.s.KafkaAsMirror(ctx, p.c.Estate, p.r.Region)
	if err != nil {
		p.err("the mirror's user "+name+" may move groups at "+p.r.Region, want, err)
		return
	}
	defer end()
	for _, g := range p.groups() {
		for _, cg := range g.ConsumerGroups {
			what := "the mirror's user " + name + " may move " + cg.ConsumerGroup + " at " + p.r.Region
			switch out, err := hold.KeptOut(ctx, k, cg.ConsumerGroup); {
			case err != nil:
				p.err(what, want, err)
			case out:
				p.saw(what, want, "it is refused, and let in for group "+hold.Beside+": take away the denial that a failover has put (kafka-acls --list shows it), or this group is not synced", false)
			default:
				p.saw(what, want, "so", true)
			}
		}
	}
}
