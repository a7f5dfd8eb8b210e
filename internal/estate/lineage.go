package estate

import (
	"fmt"
	"slices"
	"strings"
)

// Lineage says where OpenLineage events are kept, as whoever runs the jobs writes them:
// in the copy of each region's bucket those of the region.
type Lineage struct {
	Bucket string `json:"bucket" yaml:"bucket"` // a logical bucket, whose copy in each region has the events of that region
	Prefix string `json:"prefix" yaml:"prefix"` // below which every object holds OpenLineage events, as JSON or JSON lines; outside of every table
}

// Dataset is a table or a topic of an estate.
type Dataset struct {
	Kind Kind // [TableKind] or [TopicKind]
	Name string
}

// String names the dataset for people.
func (d Dataset) String() string { return string(d.Kind) + " " + d.Name }

// Datasets are the tables and topics of an estate by name.
type Datasets map[string][]Dataset

// Datasets lists them.
func (e *Estate) Datasets() Datasets {
	all := Datasets{}
	for i := range e.Groups {
		for _, t := range e.Groups[i].Tables {
			all.add(Dataset{TableKind, t.Table})
		}
		for _, t := range e.Groups[i].Topics {
			all.add(Dataset{TopicKind, t.Topic})
		}
	}
	return all
}

// Of is what a name among reads and writes means: a table or a topic, as table:NAME or
// topic:NAME where both have it. False where it means nothing, or two things.
func (all Datasets) Of(text string) (Dataset, bool) {
	meant := all.meant(text)
	if len(meant) != 1 {
		return Dataset{}, false
	}
	return meant[0], true
}

func (all Datasets) add(d Dataset) {
	if !slices.Contains(all[d.Name], d) {
		all[d.Name] = append(all[d.Name], d)
	}
}

// meant is what a text can mean.
func (all Datasets) meant(text string) []Dataset {
	if found := all[text]; len(found) > 0 {
		return found
	}
	kind, name, _ := strings.Cut(text, ":")
	return slices.DeleteFunc(slices.Clone(all[name]), func(d Dataset) bool { return string(d.Kind) != kind })
}

// flows holds what a group's pipelines and consumer groups read and write against the
// tables and topics that there are, of which names are the names in order.
func (v *validator) flows(at string, g *Group, all Datasets, names []string) {
	for i, p := range g.Pipelines {
		at, what := fmt.Sprintf("%s/pipelines/%d", at, i), fmt.Sprintf("pipeline %q", p.Pipeline)
		v.flow(at+"/reads", what, p.Reads, all, names)
		v.flow(at+"/writes", what, p.Writes, all, names)
	}
	for i, c := range g.ConsumerGroups {
		v.flow(fmt.Sprintf("%s/consumer_groups/%d/writes", at, i), fmt.Sprintf("consumer group %q", c.ConsumerGroup), c.Writes, all, names)
	}
}

func (v *validator) flow(at, who string, said []string, all Datasets, names []string) {
	once := set{}
	for i, text := range said {
		at := fmt.Sprintf("%s/%d", at, i)
		switch meant := all.meant(text); {
		case len(meant) == 0:
			v.reference(at, "table or topic", text, names)
		case len(meant) > 1:
			v.bad(at, "%q is a table and a topic: write table:%s or topic:%s", text, text, text)
		default:
			v.once(once, meant[0].String(), at, "%s names %s twice", who, meant[0])
		}
	}
}

// lineage keeps events apart from the tables: what promotes a table quarantines what is
// no part of it, and a table's files are no events.
func (v *validator) lineage() {
	l := v.Lineage
	if l == nil {
		return
	}
	v.reference("/lineage/bucket", "bucket", l.Bucket, each(v.Buckets, func(b Bucket) string { return b.Bucket }))
	v.within("/lineage/prefix", "prefix", l.Prefix)
	v.outside("/lineage/prefix", l.Bucket, l.Prefix, "the events a prefix of their own, such as _lineage")
}
