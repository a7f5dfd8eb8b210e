package review

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// Step is the plan of one step, its items grouped by what would be done to them.
type Step struct {
	ID            string  `json:"step"`
	Action        string  `json:"action"`
	Items         int     `json:"items"`
	Effects       int     `json:"effects"`
	Preconditions int     `json:"preconditions"`
	Looks         bool    `json:"looks,omitempty"` // a check: nothing is done
	Groups        []Group `json:"groups"`          // the largest first
}

// Group is items of a step to which the same kinds of things would be done, or of which
// a check found the same.
type Group struct {
	Does     []string       `json:"does"` // "quarantine 3..17 files"; empty: nothing
	Items    []string       `json:"items"`
	Kind     string         `json:"kind"`               // of the items: "table"
	Outliers []Outlier      `json:"outliers,omitempty"` // of a group of many
	Docs     []wire.PlanDoc `json:"-"`                  // in the order of Items
}

// Outlier is what makes items unlike their group, and which they are.
type Outlier struct {
	Why   string   `json:"why"`
	Items []string `json:"items"`
}

// Few is how many items a group may have for each to be shown whole.
const Few = 3

// Steps groups the documents of a plan, which come step by step.
func Steps(docs []wire.PlanDoc) []Step {
	var all []Step
	for len(docs) > 0 {
		n := 1
		for n < len(docs) && docs[n].Step == docs[0].Step {
			n++
		}
		all, docs = append(all, step(docs[:n])), docs[n:]
	}
	return all
}

func step(docs []wire.PlanDoc) Step {
	s := Step{ID: docs[0].Step, Action: docs[0].Action, Items: len(docs), Looks: len(docs[0].Found) > 0}
	at := map[string]int{} // by what is done
	var drafts []*draft
	for _, d := range docs {
		s.Effects += len(d.Change.Effects)
		s.Preconditions += len(d.Change.Preconditions)
		lines := saying(d)
		key := lines.key(d.Item.Name)
		i, ok := at[key]
		if !ok {
			i, at[key] = len(drafts), len(drafts)
			drafts = append(drafts, &draft{})
		}
		drafts[i].add(d, lines)
	}
	for _, d := range drafts {
		s.Groups = append(s.Groups, d.group())
	}
	slices.SortStableFunc(s.Groups, func(a, b Group) int { return cmp.Compare(len(b.Items), len(a.Items)) })
	return s
}

// lines are what a plan says of one item.
type lines []string

// saying is what a plan would do to an item, a line for each thing; of a check what it
// found.
func saying(d wire.PlanDoc) lines {
	var all lines
	for _, e := range d.Change.Effects {
		text := e.Do
		if e.From != "" || e.To != "" {
			text += ", " + state(e.From) + " -> " + state(e.To)
		}
		all = append(all, text)
	}
	for _, o := range d.Found {
		text := o.Verdict.String() + ": " + o.What
		if o.Verdict != verdict.Pass && o.Got != "" {
			text += ": " + o.Got
		}
		all = append(all, text)
	}
	return all
}

// key is the same for items to which the same kinds of things are done, however often.
func (l lines) key(name string) string {
	var kinds []string
	for _, text := range l {
		if k := shape(text, name); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds, "\n")
}

// draft is a group in the making.
type draft struct {
	docs  []wire.PlanDoc
	order []string // shapes, as they first came
	says  map[string]*said
}

// said is one kind of thing that is done to the items of a group.
type said struct {
	blend
	least, most int // how often per item
}

func (g *draft) add(d wire.PlanDoc, l lines) {
	if g.says == nil {
		g.says = map[string]*said{}
	}
	times := map[string]int{}
	for _, text := range l {
		k := shape(text, d.Item.Name)
		if g.says[k] == nil {
			g.says[k], g.order = &said{}, append(g.order, k)
		}
		g.says[k].add(text)
		times[k]++
	}
	for k, n := range times {
		s := g.says[k]
		if s.least == 0 || n < s.least {
			s.least = n
		}
		s.most = max(s.most, n)
	}
	g.docs = append(g.docs, d)
}

func (g *draft) group() Group {
	out := Group{Kind: string(g.docs[0].Item.Kind), Docs: g.docs, Does: []string{}}
	for _, k := range g.order {
		s := g.says[k]
		text := s.String()
		if s.most > 1 {
			text += fmt.Sprintf(" (%s times)", span(float64(s.least), float64(s.most)))
		}
		out.Does = append(out.Does, text)
	}
	for _, d := range g.docs {
		out.Items = append(out.Items, d.Item.String())
	}
	if len(g.docs) > Few {
		out.Outliers = outliers(g.docs)
	}
	return out
}

// Of says how many of what the group is: "212 tables".
func (g Group) Of() string {
	if g.Kind == "" {
		return plural.Of(len(g.Items), "item")
	}
	return plural.Of(len(g.Items), strings.ReplaceAll(g.Kind, "-", " "))
}

// outliers are the items of a group of many that are unlike the others: which gives up
// the most, to which the most is done, and which have what most of the others lack. The
// rarest come first.
func outliers(docs []wire.PlanDoc) []Outlier {
	var all []Outlier
	add := func(d wire.PlanDoc, format string, args ...any) {
		all = append(all, Outlier{fmt.Sprintf(format, args...), []string{d.Item.String()}})
	}
	worst, busiest, least := -1, 0, len(docs[0].Change.Effects)
	for i, d := range docs {
		n := len(d.Change.Effects)
		least = min(least, n)
		if n > len(docs[busiest].Change.Effects) {
			busiest = i
		}
		if l := d.Change.Loss; l != nil && gives(*l) && (worst < 0 || Worse(*l, *docs[worst].Change.Loss) < 0) {
			worst = i
		}
	}
	if worst >= 0 && slices.ContainsFunc(docs, func(d wire.PlanDoc) bool {
		return d.Change.Loss == nil || Worse(*d.Change.Loss, *docs[worst].Change.Loss) > 0
	}) {
		add(docs[worst], "largest loss: %s", docs[worst].Change.Loss.Words())
	}
	if most := len(docs[busiest].Change.Effects); most > least {
		add(docs[busiest], "most changes: %d, where another has %d", most, least)
	}
	for _, f := range features() {
		all = append(all, rare(docs, f)...)
	}
	slices.SortStableFunc(all, func(a, b Outlier) int { return cmp.Compare(len(a.Items), len(b.Items)) })
	return all
}

// feature is something that an item's plan has or lacks.
type feature struct {
	what string
	of   func(wire.PlanDoc) map[string]string // by what is compared: for people
}

func features() []feature {
	return []feature{
		{"a place", places},
		{"a precondition", func(d wire.PlanDoc) map[string]string {
			all := map[string]string{}
			for _, p := range d.Change.Preconditions {
				all[shape(p.Resource, d.Item.Name)] = p.Resource + " at " + some(p.Version)
			}
			return all
		}},
		{"an acceptance", func(d wire.PlanDoc) map[string]string {
			all := map[string]string{}
			for _, a := range d.Change.Accepts {
				all[shape(a.ID+" "+a.Sentence, d.Item.Name)] = a.Sentence
			}
			return all
		}},
		{"data", func(d wire.PlanDoc) map[string]string { return members(d.Change.Data) }},
		{"undo", func(d wire.PlanDoc) map[string]string { return members(d.Change.Undo) }},
		{"a parameter", func(d wire.PlanDoc) map[string]string { return members(d.With) }},
	}
}

// members are the names in an action's own data that hold something.
func members(raw json.RawMessage) map[string]string {
	all := map[string]string{}
	var object map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &object) != nil {
		return all
	}
	for name, v := range object {
		switch string(bytes.TrimSpace(v)) {
		case "null", `""`, "[]", "{}", "0", "false":
		default:
			all[name] = name
		}
	}
	return all
}

// places are where the changes of an item are made, as far as items have that in common:
// of an address its server or bucket.
func places(d wire.PlanDoc) map[string]string {
	all := map[string]string{}
	for _, e := range d.Change.Effects {
		for _, w := range append([]string{e.On}, strings.Fields(e.Do+" "+e.From+" "+e.To)...) {
			scheme, rest, is := strings.Cut(w, "://")
			if !is {
				continue
			}
			root, _, _ := strings.Cut(rest, "/")
			root = scheme + "://" + strings.Trim(root, around)
			all[root] = root
		}
	}
	return all
}

// rare says of items that have what fewer than half of the others do, or lack what most
// of the others have.
func rare(docs []wire.PlanDoc, f feature) []Outlier {
	have := make([]map[string]string, len(docs))
	count, text := map[string]int{}, map[string]string{}
	for i, d := range docs {
		have[i] = f.of(d)
		for k, t := range have[i] {
			count[k]++
			if text[k] == "" {
				text[k] = t
			}
		}
	}
	var all []Outlier
	for _, k := range slices.Sorted(maps.Keys(count)) {
		n := count[k]
		var items []string
		for i, d := range docs {
			if _, has := have[i][k]; has == (2*n < len(docs)) {
				items = append(items, d.Item.String())
			}
		}
		switch {
		case n == len(docs):
		case 2*n < len(docs):
			all = append(all, Outlier{fmt.Sprintf("%s that %d others lack: %s", f.what, len(docs)-n, text[k]), items})
		default:
			all = append(all, Outlier{fmt.Sprintf("without what %d others have, %s: %s", n, f.what, text[k]), items})
		}
	}
	return all
}

// gives reports whether a loss may be any at all.
func gives(l recovery.Given) bool { return l.AtMost == nil || *l.AtMost > 0 || l.AtLeast > 0 }

// Worse orders losses, the worst first: one that nobody can bound before any other.
func Worse(a, b recovery.Given) int {
	bound := func(l recovery.Given) (int, int64) {
		if l.AtMost == nil {
			return 0, l.AtLeast
		}
		return 1, *l.AtMost
	}
	freeA, mostA := bound(a)
	freeB, mostB := bound(b)
	return cmp.Or(cmp.Compare(freeA, freeB), cmp.Compare(mostB, mostA), cmp.Compare(b.AtLeast, a.AtLeast))
}

// Loss is what a consistency group gives up.
type Loss struct {
	Group    string           `json:"group"`
	Datasets []recovery.Given `json:"datasets"`          // those that may give up anything, the worst first
	Nothing  int              `json:"nothing,omitempty"` // how many certainly give up nothing
}

// Losses are what the plans ask people to give up, by consistency group.
func Losses(docs []wire.PlanDoc) []Loss {
	var all []Loss
	seen := map[string]bool{}
	for _, d := range docs {
		l := d.Change.Loss
		if l == nil || seen[l.Unit+" "+l.Dataset] {
			continue
		}
		seen[l.Unit+" "+l.Dataset] = true
		i := slices.IndexFunc(all, func(x Loss) bool { return x.Group == d.Item.Group })
		if i < 0 {
			i, all = len(all), append(all, Loss{Group: d.Item.Group})
		}
		if gives(*l) {
			all[i].Datasets = append(all[i].Datasets, *l)
		} else {
			all[i].Nothing++
		}
	}
	for _, l := range all {
		slices.SortStableFunc(l.Datasets, Worse)
	}
	return all
}

// Sum says at least and at most how much of each unit the group gives up: "300 to 1200
// rows".
func (l Loss) Sum() string {
	var units []string
	sums := map[string]*recovery.Given{}
	for _, d := range l.Datasets {
		s := sums[d.Unit]
		if s == nil {
			zero := int64(0)
			s = &recovery.Given{Unit: d.Unit, AtMost: &zero}
			sums[d.Unit], units = s, append(units, d.Unit)
		}
		s.AtLeast += d.AtLeast
		if d.AtMost == nil || s.AtMost == nil {
			s.AtMost = nil
		} else {
			*s.AtMost += *d.AtMost
		}
	}
	for i, u := range units {
		units[i] = sums[u].Words()
	}
	if len(units) == 0 {
		return "nothing"
	}
	return strings.Join(units, "; ")
}

// Accepted is what approving accepts, of one item or of many alike.
type Accepted struct {
	Sentence string   `json:"sentence"`
	Items    []string `json:"items,omitempty"` // of whose plans, where there are several alike
}

// Accepts are what approving the plan accepts, those alike put together.
func Accepts(docs []wire.PlanDoc, more []action.Acceptance) []Accepted {
	type kind struct {
		blend
		sentences []string
		items     []string
	}
	kinds := map[string]*kind{}
	var order []string
	add := func(a action.Acceptance, name string) {
		k := shape(a.Sentence, name)
		if kinds[k] == nil {
			kinds[k], order = &kind{}, append(order, k)
		}
		if x := kinds[k]; !slices.Contains(x.sentences, a.Sentence) {
			x.add(a.Sentence)
			x.sentences, x.items = append(x.sentences, a.Sentence), append(x.items, name)
		}
	}
	for _, d := range docs {
		for _, a := range d.Change.Accepts {
			add(a, d.Item.Name)
		}
	}
	for _, a := range more { // what no document says
		if !slices.ContainsFunc(docs, func(d wire.PlanDoc) bool { return slices.Contains(d.Change.Accepts, a) }) {
			add(a, "")
		}
	}
	var all []Accepted
	for _, k := range order {
		x := kinds[k]
		if len(x.sentences) > Few {
			all = append(all, Accepted{x.String(), x.items})
			continue
		}
		for _, s := range x.sentences {
			all = append(all, Accepted{Sentence: s})
		}
	}
	return all
}
