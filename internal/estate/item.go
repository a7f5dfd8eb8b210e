package estate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind is what a step may fan out over with `each`.
type Kind string

// The kinds of item. Nothing is the kind of a step without `each`: it acts once,
// on the estate.
const (
	Nothing           Kind = ""
	BucketKind        Kind = "bucket"
	TableKind         Kind = "table"
	TopicKind         Kind = "topic"
	ConsumerGroupKind Kind = "consumer-group"
	GroupKind         Kind = "group"
	PipelineKind      Kind = "pipeline"
)

// Kinds lists every kind that `each` accepts.
func Kinds() []Kind {
	return []Kind{BucketKind, TableKind, TopicKind, ConsumerGroupKind, GroupKind, PipelineKind}
}

// PerTier reports whether items of the kind belong to exactly one tier, so that
// a step over them may stand inside `per: tier`.
func (k Kind) PerTier() bool { return k != Nothing && k != BucketKind }

// Item is one thing that a step acts on. Its name is unique within its kind.
type Item struct {
	Kind  Kind   `json:"kind,omitempty"`
	Name  string `json:"name"`
	Group string `json:"group,omitempty"` // the consistency group it belongs to
	Tier  int    `json:"tier,omitempty"`  // 0: it belongs to none
}

// String gives the item as a person reads it.
func (i Item) String() string {
	if i.Kind == Nothing {
		return "estate"
	}
	return i.Name
}

// Filter narrows an enumeration. The zero Filter takes everything.
type Filter struct {
	Tier   int               `json:"tier,omitempty"`   // only this tier
	Groups []string          `json:"groups,omitempty"` // only these consistency groups; empty means all
	Where  map[string]string `json:"where,omitempty"`  // equality on the kind's [FilterFields]
}

// FilterFields are the names that [Filter.Where] may use for items of a kind. A bucket
// is of the groups and tiers of the tables that it holds; a group is one of a table that
// it has.
func FilterFields(k Kind) []string {
	if k == BucketKind || k == GroupKind {
		return []string{"group", "name", "table", "tier"}
	}
	return []string{"group", "name", "tier"}
}

func (f Filter) takes(i Item) bool {
	if f.Tier != 0 && i.Tier != 0 && i.Tier != f.Tier {
		return false
	}
	if len(f.Groups) > 0 && i.Group != "" && !slices.Contains(f.Groups, i.Group) {
		return false
	}
	return f.holds(map[string]string{"group": i.Group, "name": i.Name, "tier": fmt.Sprint(i.Tier)})
}

// takesGroup reports whether the group is meant by the table that is asked for, and the
// filter that is left to hold it against.
func (f Filter) takesGroup(g *Group) (Filter, bool) {
	table, asked := f.Where["table"]
	if !asked {
		return f, true
	}
	f.Where = maps.Clone(f.Where)
	delete(f.Where, "table")
	return f, slices.ContainsFunc(g.Tables, func(t Table) bool { return t.Table == table })
}

// holds reports whether an item with these fields is as Where demands.
func (f Filter) holds(fields map[string]string) bool {
	for k, v := range f.Where {
		if got, known := fields[k]; !known || got != v {
			return false
		}
	}
	return true
}

// takesBucket reports whether the bucket is meant: by its name, and by one of the tables
// that it holds. One that holds no table is of every group.
func (f Filter) takesBucket(e *Estate, bucket string) bool {
	name, named := f.Where["name"]
	if named && name != bucket {
		return false
	}
	holdsNone := true
	for gi := range e.Groups {
		g := &e.Groups[gi]
		for _, t := range g.Tables {
			if t.Bucket != bucket {
				continue
			}
			holdsNone = false
			fields := map[string]string{"name": bucket, "table": t.Table, "group": g.Group, "tier": fmt.Sprint(g.Tier)}
			if (len(f.Groups) == 0 || slices.Contains(f.Groups, g.Group)) && f.holds(fields) {
				return true
			}
		}
	}
	return holdsNone && f.holds(map[string]string{"name": bucket})
}

// Items enumerates the estate's items of a kind, sorted by name. Kind Nothing
// gives one item, the estate itself.
func (e *Estate) Items(kind Kind, f Filter) []Item {
	if kind == Nothing {
		return []Item{{Name: e.Estate}}
	}
	var items []Item
	add := func(name string, g *Group) {
		i := Item{Kind: kind, Name: name}
		if g != nil {
			i.Group, i.Tier = g.Group, g.Tier
		}
		if f.takes(i) {
			items = append(items, i)
		}
	}
	if kind == BucketKind {
		for _, b := range e.Buckets {
			if f.takesBucket(e, b.Bucket) {
				items = append(items, Item{Kind: kind, Name: b.Bucket})
			}
		}
	}
	for gi := range e.Groups {
		g := &e.Groups[gi]
		switch kind {
		case GroupKind:
			i := Item{Kind: kind, Name: g.Group, Group: g.Group, Tier: g.Tier}
			if rest, meant := f.takesGroup(g); meant && rest.takes(i) {
				items = append(items, i)
			}
		case TableKind:
			for _, t := range g.Tables {
				add(t.Table, g)
			}
		case TopicKind:
			for _, t := range g.Topics {
				add(t.Topic, g)
			}
		case ConsumerGroupKind:
			for _, c := range g.ConsumerGroups {
				add(c.ConsumerGroup, g)
			}
		case PipelineKind:
			for _, p := range g.Pipelines {
				add(p.Pipeline, g)
			}
		}
	}
	slices.SortFunc(items, func(a, b Item) int { return cmp.Compare(a.Name, b.Name) })
	return items
}

// OwnedBy lists the groups that a role owns, sorted by name.
func (e *Estate) OwnedBy(role string) []Item {
	return slices.DeleteFunc(e.Items(GroupKind, Filter{}), func(i Item) bool {
		g, _ := e.Group(i.Name)
		return !SameName(g.Owner, role)
	})
}

// Table returns the table of that name and its group.
func (e *Estate) Table(name string) (*Table, *Group, bool) {
	for gi := range e.Groups {
		for ti := range e.Groups[gi].Tables {
			if e.Groups[gi].Tables[ti].Table == name {
				return &e.Groups[gi].Tables[ti], &e.Groups[gi], true
			}
		}
	}
	return nil, nil, false
}

// Topic returns the topic of that name and its group.
func (e *Estate) Topic(name string) (*Topic, *Group, bool) {
	for gi := range e.Groups {
		for ti := range e.Groups[gi].Topics {
			if e.Groups[gi].Topics[ti].Topic == name {
				return &e.Groups[gi].Topics[ti], &e.Groups[gi], true
			}
		}
	}
	return nil, nil, false
}

// ConsumerGroup returns the consumer group of that name and its consistency group.
func (e *Estate) ConsumerGroup(name string) (*ConsumerGroup, *Group, bool) {
	for gi := range e.Groups {
		for ci := range e.Groups[gi].ConsumerGroups {
			if e.Groups[gi].ConsumerGroups[ci].ConsumerGroup == name {
				return &e.Groups[gi].ConsumerGroups[ci], &e.Groups[gi], true
			}
		}
	}
	return nil, nil, false
}

// RealBucket gives the name of a logical bucket in a region.
func (e *Estate) RealBucket(logical, region string) (string, error) {
	b, ok := e.Bucket(logical)
	if !ok {
		return "", fmt.Errorf("the estate has no bucket %q: it has %s", logical, e.bucketNames())
	}
	name := b.In[region]
	if name == "" {
		return "", fmt.Errorf("bucket %q has no name in region %q: add it under buckets in the estate file", logical, region)
	}
	return name, nil
}

func (e *Estate) bucketNames() string {
	var names []string
	for _, b := range e.Buckets {
		names = append(names, b.Bucket)
	}
	return strings.Join(names, ", ")
}

// Datasets are the names of a group's tables and topics, in the estate's order.
func (g Group) Datasets() []string {
	var names []string
	for _, t := range g.Tables {
		names = append(names, t.Table)
	}
	for _, t := range g.Topics {
		names = append(names, t.Topic)
	}
	return names
}
