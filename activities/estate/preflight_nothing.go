package estate

import (
	"fmt"

	"breakwater/internal/action"
)

// counted is how much of the estate each part of the preflight is about.
type counted struct{ buckets, tables, witnessed, users, kafka, topics, connect, mirrored, secrets, roles int }

func (p *preflight) counts() counted {
	n := counted{buckets: len(p.c.Estate.Buckets), roles: len(p.c.Estate.Roles) + len(p.c.With.Gates)}
	if p.r.Kafka != nil {
		n.kafka = 1
	}
	if p.r.Connect != nil {
		n.connect = 1
	}
	for _, g := range p.groups() {
		n.tables, n.topics = n.tables+len(g.Tables), n.topics+len(g.Topics)+len(g.ConsumerGroups)
		readers, writers := g.AccessIn(p.r.Region)
		n.users += len(readers) + len(writers)
		if p.r.Connect != nil && p.r.Connect.Principal != nil {
			n.mirrored += len(g.ConsumerGroups)
		}
		if g.Routing != nil {
			n.secrets++
		}
		if tier, ok := p.c.Estate.Tier(g.Tier); ok && tier.RPO > 0 && p.c.Estate.Witness.Bucket != "" {
			n.witnessed += len(g.Tables)
		}
	}
	return n
}

// nothing says that a part had nothing to look at, or had and did not.
func (p *preflight) nothing(say string, of int) {
	what, want := "the preflight has looked at "+say, "what the estate names of it"
	if of == 0 {
		p.obs = append(p.obs, action.Nothing(what, want, fmt.Sprintf("the estate names none for %s in the scope of this run", p.r.Region)))
		return
	}
	err := fmt.Errorf("the estate has %d of it, or what needs it, and nothing of it was looked at: name it at region %s", of, p.r.Region)
	p.obs = append(p.obs, action.Unknown(p.c.Run, p.r.Region, what, want, err, ""))
}
