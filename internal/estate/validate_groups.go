package estate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// groups holds each consistency group against the rest of the estate.
func (v *validator) groups() {
	roles := each(v.Roles, func(r Role) string { return r.Role })
	regions := each(v.Regions, func(r Region) string { return r.Region })
	home := map[string]*Group{} // of each topic
	for i := range v.Groups {
		for _, t := range v.Groups[i].Topics {
			home[t.Topic] = &v.Groups[i]
		}
	}
	topics := slices.Sorted(maps.Keys(home))
	all := v.Datasets()
	names := slices.Sorted(maps.Keys(all))
	schedules := set{}
	for i := range v.Groups {
		g, at := &v.Groups[i], pointer("groups", i)
		if _, ok := v.Tier(g.Tier); !ok {
			v.bad(at+"/tier", "tier %d is not in the estate: it has %s", g.Tier, cmp.Or(joined(v.TierNumbers()), "none"))
		}
		v.reference(at+"/owner", "role", g.Owner, roles)
		if len(g.Tables)+len(g.Topics)+len(g.ConsumerGroups)+len(g.Pipelines) == 0 {
			v.bad(at, "group %q has nothing in it: give it tables, topics, consumer_groups or pipelines", g.Group)
		}
		v.datasets(at, g)
		v.consumers(at, g, home, topics)
		v.flows(at, g, all, names)
		v.access(at, g, regions)
		v.pipelines(at, g, schedules)
	}
}

func (v *validator) datasets(at string, g *Group) {
	for j, t := range g.Tables {
		at := fmt.Sprintf("%s/tables/%d", at, j)
		v.oneOf(at+"/format", "format", t.Format, Formats())
		v.oneOf(at+"/log_store", "log_store", t.LogStore, []string{S3DynamoDB, Catalog})
		if t.PeakRows < 0 {
			v.bad(at+"/peak_rows_per_second", "peak_rows_per_second of table %q is negative", t.Table)
		}
		if t.PeakBurst < 0 {
			v.bad(at+"/peak_burst_rows", "peak_burst_rows of table %q is negative", t.Table)
		}
		v.queries(at, t)
	}
	for j, t := range g.Topics {
		v.formed(fmt.Sprintf("%s/topics/%d/topic", at, j), "topic", t.Topic, topicForm)
		if t.PeakBurst < 0 {
			v.bad(fmt.Sprintf("%s/topics/%d/peak_burst_messages", at, j), "peak_burst_messages of topic %q is negative", t.Topic)
		}
		if t.PeakMessages < 0 {
			v.bad(fmt.Sprintf("%s/topics/%d/peak_messages_per_second", at, j), "peak_messages_per_second of topic %q is negative", t.Topic)
		}
	}
	if len(g.Topics) == 0 {
		return
	}
	for _, r := range v.Regions {
		if r.Kafka == nil && r.Region != "" {
			v.bad(at+"/topics", "group %q has topics and region %q has no kafka", g.Group, r.Region)
		}
	}
}

// queries holds the golden and quality queries of a table to their form. Only
// asking tells whether the SQL is sound.
func (v *validator) queries(at string, t Table) {
	for j, q := range t.Queries {
		at := fmt.Sprintf("%s/queries/%d", at, j)
		switch {
		case slices.IndexFunc(t.Queries, func(o Query) bool { return o.Query == q.Query }) != j:
			v.bad(at+"/query", "query %q of table %q is declared twice", q.Query, t.Table)
		case (q.Golden == "") == (q.Quality == ""):
			v.bad(at, "query %q must have either golden or quality: the SQL whose answer is known, or that selects the rows that must not be", q.Query)
		case q.Golden != "" && len(q.Answer) == 0:
			v.bad(at, "golden query %q has no answer: give each of its rows, such as '[42,\"eu\"]'", q.Query)
		case q.Quality != "" && len(q.Answer) > 0:
			v.bad(at+"/answer", "quality query %q has an answer: it selects the rows that must not be, and may have none", q.Query)
		}
		for n, row := range q.Answer {
			var values []json.RawMessage
			if err := json.Unmarshal([]byte(row), &values); err != nil {
				v.bad(fmt.Sprintf("%s/answer/%d", at, n), "answer of query %q must have each row as a JSON list, such as '[42,\"eu\"]', found %q", q.Query, row)
			}
		}
	}
}

func (v *validator) consumers(at string, g *Group, home map[string]*Group, topics []string) {
	for j, c := range g.ConsumerGroups {
		at := fmt.Sprintf("%s/consumer_groups/%d/topics", at, j)
		if len(c.Topics) == 0 {
			v.bad(at, "consumer group %q has no topics: there are no offsets to restore", c.ConsumerGroup)
		}
		for n, topic := range c.Topics {
			at := fmt.Sprintf("%s/%d", at, n)
			switch owner := home[topic]; {
			case owner == nil:
				v.reference(at, "topic", topic, topics)
			case owner.Tier != g.Tier:
				v.bad(at, "consumer group %q of tier %d reads topic %q of tier %d: a consumer group crosses no tier", c.ConsumerGroup, g.Tier, topic, owner.Tier)
			}
		}
	}
	if g.Canary != nil && !slices.ContainsFunc(g.Topics, func(t Topic) bool { return t.Topic == g.Canary.Topic }) {
		v.bad(at+"/canary/topic", "canary topic %q is none of group %q's own topics", g.Canary.Topic, g.Group)
	}
}

func (v *validator) access(at string, g *Group, regions []string) {
	if a := g.Access; a != nil {
		for _, side := range []struct {
			key string
			all []AccessPrincipal
		}{{"readers", a.Readers}, {"writers", a.Writers}} {
			for j, p := range side.all {
				v.reference(fmt.Sprintf("%s/access/%s/%d/region", at, side.key, j), "region", p.Region, regions)
			}
		}
	}
	if r := g.Routing; r != nil {
		v.everyRegion(at+"/routing/values", fmt.Sprintf("routing of group %q", g.Group), slices.Sorted(maps.Keys(r.Values)))
		v.routed(at+"/routing", g)
		for _, region := range v.Regions {
			if region.Vault == nil && region.Region != "" {
				v.bad(at+"/routing", "group %q has routing and region %q has no vault", g.Group, region.Region)
			}
		}
	}
}

// pipelines are of one Temporal, in which a schedule is of one region: the one that is
// paused at the source cannot be the one that runs at the target.
func (v *validator) pipelines(at string, g *Group, schedules set) {
	for j, p := range g.Pipelines {
		at := fmt.Sprintf("%s/pipelines/%d", at, j)
		v.oneOf(at+"/connector", "connector", p.Connector, Connectors())
		v.everyRegion(at+"/in", fmt.Sprintf("pipeline %q", p.Pipeline), slices.Sorted(maps.Keys(p.In)))
		for _, region := range slices.Sorted(maps.Keys(p.In)) {
			v.carried(at+"/in/"+escape(region), "schedule", p.In[region])
			if p.In[region] == "" {
				v.bad(at+"/in/"+escape(region), "pipeline %q has no name in region %q: give that of its schedule", p.Pipeline, region)
				continue
			}
			v.declare(schedules, "schedule", p.In[region], at+"/in/"+escape(region))
		}
	}
}

// paths refuses tables that lie inside one another: what promotes one would take
// the other's files for strays.
func (v *validator) paths() {
	type place struct{ bucket, path, table, at string }
	var places []place
	there := each(v.Buckets, func(b Bucket) string { return b.Bucket })
	for i, g := range v.Groups {
		for j, t := range g.Tables {
			at := pointer("groups", i, "tables", j)
			v.reference(at+"/bucket", "bucket", t.Bucket, there)
			at += "/path"
			switch {
			case t.Path == "":
			case v.slashes(at, "path", t.Path):
				places = append(places, place{t.Bucket, t.Path + "/", t.Table, at})
			}
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.path, b.path))
	})
	var outer place
	for _, p := range places {
		if p.bucket == outer.bucket && outer.path != "" && strings.HasPrefix(p.path, outer.path) {
			v.bad(p.at, "path of table %q lies inside that of table %q", p.table, outer.table)
			continue
		}
		outer = p
	}
}

func joined(ns []int) string {
	words := make([]string, len(ns))
	for i, n := range ns {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, ", ")
}
