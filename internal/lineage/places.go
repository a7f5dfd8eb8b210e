package lineage

import (
	"fmt"
	"strings"

	"breakwater/internal/estate"
)

// OfEstate is what an estate says of its pipelines and consumer groups. All of it is
// always so: it says of no time.
func OfEstate(e *estate.Estate) *Graph {
	g, all := &Graph{}, e.Datasets()
	for i := range e.Groups {
		for _, p := range e.Groups[i].Pipelines {
			n := Node{estate.PipelineKind, p.Pipeline}
			g.declared(all, n, p.Reads, func(d Node) Edge { return Edge{From: d, To: n} })
			g.declared(all, n, p.Writes, func(d Node) Edge { return Edge{From: n, To: d} })
		}
		for _, c := range e.Groups[i].ConsumerGroups {
			n := Node{estate.ConsumerGroupKind, c.ConsumerGroup}
			for _, t := range c.Topics {
				g.Add(Edge{From: Node{estate.TopicKind, t}, To: n, Says: "the estate says that it reads " + t})
			}
			g.declared(all, n, c.Writes, func(d Node) Edge { return Edge{From: n, To: d} })
		}
	}
	return g
}

func (g *Graph) declared(all estate.Datasets, by Node, names []string, edge func(Node) Edge) {
	for _, name := range names {
		d, ok := all.Of(name)
		if !ok {
			continue // the loader refuses it
		}
		one := edge(Node{d.Kind, d.Name})
		one.Says = fmt.Sprintf("the estate says that it reads %s", d)
		if one.From == by {
			one.Says = fmt.Sprintf("the estate says that %s writes it", by)
		}
		g.Add(one)
	}
}

// Places are where the tables and topics of an estate lie, in every region: what others
// call them by.
type Places map[string]Node

// PlacesOf lists them.
func PlacesOf(e *estate.Estate) Places {
	all := Places{}
	for i := range e.Groups {
		for _, t := range e.Groups[i].Tables {
			if b, ok := e.Bucket(t.Bucket); ok {
				for _, real := range b.In {
					all[place("s3://"+real, t.Path)] = Node{estate.TableKind, t.Table}
				}
			}
		}
		for _, t := range e.Groups[i].Topics {
			for _, r := range e.Regions {
				if r.Kafka == nil {
					continue
				}
				for _, b := range r.Kafka.Brokers {
					all[place("kafka://"+b, t.Topic)] = Node{estate.TopicKind, t.Topic}
				}
			}
		}
	}
	return all
}

// place writes a namespace and a name as one address, in one way.
func place(namespace, name string) string {
	address := strings.Trim(name, "/")
	if !strings.Contains(name, "://") { // else the name is an address itself
		address = strings.TrimRight(namespace, "/") + "/" + address
	}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "s3a", "s3n":
		scheme = "s3"
	}
	host, path, _ := strings.Cut(rest, "/")
	return scheme + "://" + strings.ToLower(host) + "/" + path
}

// At is what of the estate lies at an address, or around it: a part of a table is the
// table.
func (p Places) At(namespace, name string) (Node, bool) {
	at := place(namespace, name)
	for strings.Contains(at, "://") && !strings.HasSuffix(at, "://") {
		if n, ok := p[at]; ok {
			return n, true
		}
		i := strings.LastIndexByte(at, '/')
		at = at[:i]
	}
	return Node{}, false
}
