package runbook

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
)

// width is that of a terminal, and of what a mail client leaves whole.
const width = 80

// Markdown writes the runbook as paper: what an incident commander works from
// when neither Temporal nor a worker is there. It names who opens each gate, what
// each step does and how it is proven; with an estate (which may be nil) also the
// items, the people and how to reach them. Lines are at most 80 columns wide as
// far as names allow.
func Markdown(rb *Runbook, cat *action.Catalogue, e *estate.Estate) string {
	p := &paper{rb: rb, cat: cat, estate: e}
	p.head()
	n := 0
	for _, b := range rb.Blocks {
		if b.PerTier {
			p.tiers(n+1, n+len(b.Stages))
		}
		for _, s := range b.Stages {
			n++
			p.stage(n, s, b.PerTier)
		}
		if b.PerTier {
			p.lastTier(n - len(b.Stages) + 1)
		}
	}
	p.contacts()
	return p.out.String()
}

type paper struct {
	rb     *Runbook
	cat    *action.Catalogue
	estate *estate.Estate
	out    strings.Builder
}

// para writes a paragraph, its first line behind first, the others behind rest.
func (p *paper) para(first, rest, text string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && len([]rune(line))+1+len([]rune(word)) > width {
			p.out.WriteString(line + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	p.out.WriteString(line + "\n")
}

func (p *paper) blank() { p.out.WriteString("\n") }

func (p *paper) head() {
	p.para("# ", "", p.rb.Name)
	p.blank()
	p.para("", "", p.rb.Summary)
	p.blank()
	p.para("- ", "  ", "Owner of every step that names no other: "+p.rb.Owner)
	if p.estate != nil {
		p.para("- ", "  ", fmt.Sprintf("Estate: %s. Regions: %s.", p.estate.Estate, names(p.estate.Regions, func(r estate.Region) string {
			return fmt.Sprintf("%s (%s)", r.Region, r.Role)
		})))
	}
	if p.rb.Digest != "" {
		p.para("- ", "  ", "File: "+p.rb.Digest)
	}
	for _, in := range p.rb.Inputs {
		optional := ""
		if in.Optional {
			optional = ", optional"
		}
		p.para("- ", "  ", fmt.Sprintf("Input `%s` (%s%s): %s", in.Name, in.Type, optional, in.Help))
	}
	p.blank()
	p.para("", "", "By hand: work through the stages in order. Write down the time and the name at "+
		"every box. A step is done when the real system was looked at and shows it, "+
		"not when the command returned. What could not be looked at is unknown, and "+
		"unknown has not passed.")
}

func (p *paper) tiers(first, last int) {
	p.blank()
	which := "Every tier"
	if p.estate != nil {
		var tiers []string
		for _, n := range p.estate.TierNumbers() {
			t, _ := p.estate.Tier(n)
			tiers = append(tiers, fmt.Sprintf("tier %d (within %s, losing at most %s)", n, short(t.RTO), short(t.RPO)))
		}
		which = "Each of " + strings.Join(tiers, ", then ")
	}
	p.para("**Per tier.** ", "", fmt.Sprintf("%s goes through stages %d to %d before the next tier starts.", which, first, last))
}

func (p *paper) lastTier(first int) {
	p.blank()
	p.para("", "", fmt.Sprintf("**Another tier?** Back to stage %d with it.", first))
}

func (p *paper) stage(n int, s StageDecl, perTier bool) {
	p.blank()
	p.para("## ", "", fmt.Sprintf("%d. %s", n, s.Title))
	p.blank()
	if s.PointOfNoReturn {
		p.para("**Point of no return.** ", "", "From here on, going back is a failback.")
		p.blank()
	}
	if a := s.Approval; a != nil {
		p.para("- [ ] ", "  ", p.gate(a))
	} else {
		p.para("", "", "No approval: nothing of the estate is changed.")
	}
	p.blank()
	for i, d := range s.Steps {
		p.step(fmt.Sprintf("%d.%d", n, i+1), d, perTier)
	}
	if s.Milestone != "" {
		p.blank()
		p.para("", "", fmt.Sprintf("**Milestone: %s.** Note the time: ________", s.Milestone))
	}
}

func (p *paper) gate(a *Approval) string {
	text := "Approved by the role " + a.Role
	if a.Quorum > 1 {
		text = fmt.Sprintf("Approved by %d different people of the role %s", a.Quorum, a.Role)
	}
	if p.estate != nil {
		if r, ok := p.estate.Role(a.Role); ok {
			text += fmt.Sprintf(" (%s)", names(r.Members, func(m estate.Member) string { return m.Name }))
		}
	}
	text += ", after reading the plan."
	if a.Reminder > 0 {
		text += fmt.Sprintf(" Remind every %s", short(a.Reminder))
		if a.Escalate != "" {
			text += fmt.Sprintf("; after the second time tell %s", a.Escalate)
		}
		text += "."
	}
	return text
}

func (p *paper) step(n string, d StepDecl, perTier bool) {
	p.para("- [ ] ", "  ", fmt.Sprintf("**%s %s.**", n, strings.TrimSuffix(d.Title, ".")))
	doc := "an action that is not in the catalogue."
	if def, ok := p.cat.Get(d.Action); ok {
		doc = def.Doc
	}
	switch d.Kind {
	case Ask:
		p.item("Ask: " + d.Question)
		p.item(fmt.Sprintf("Proof: `%s`. %s", d.Action, doc))
	case Check:
		p.item(fmt.Sprintf("Check: `%s`. %s", d.Action, doc))
	default:
		p.item(fmt.Sprintf("Do: `%s`. %s", d.Action, doc))
	}
	if len(d.With) > 0 {
		p.item("With " + d.parameters())
	}
	if d.Owner != "" {
		p.item("Owner: " + d.Owner)
	}
	p.items(d, perTier)
}

// parameters are the step's parameters as a person reads them: values as JSON,
// and an input by its name.
func (d StepDecl) parameters() string {
	given := map[string]json.RawMessage{}
	if err := json.Unmarshal(d.With, &given); err != nil {
		return fmt.Sprintf("`%s`", d.With)
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if input, ok := reference(given[name]); ok {
			words = append(words, fmt.Sprintf("%s = the input `%s`", name, input))
		} else {
			words = append(words, fmt.Sprintf("%s = `%s`", name, given[name]))
		}
	}
	return strings.Join(words, ", ")
}

func (p *paper) item(text string) { p.para("  - ", "    ", text) }

// items lists what the step acts on, by tier where tiers take turns.
func (p *paper) items(d StepDecl, perTier bool) {
	if d.Each == estate.Nothing {
		return
	}
	where := ""
	for _, key := range slices.Sorted(maps.Keys(d.Where)) {
		where += fmt.Sprintf(", only %s %s", key, d.Where[key])
	}
	for _, key := range slices.Sorted(maps.Keys(d.WhereInput)) {
		where += fmt.Sprintf(", only the %s given as %s", key, d.WhereInput[key])
	}
	if p.estate == nil {
		p.item(fmt.Sprintf("Each %s%s", d.Each, where))
		return
	}
	tiers := []int{0}
	if perTier {
		tiers = p.estate.TierNumbers()
	}
	for _, tier := range tiers {
		found := p.estate.Items(d.Each, estate.Filter{Tier: tier, Where: d.Where})
		text := fmt.Sprintf("Each %s%s", d.Each, where)
		if tier != 0 {
			text += fmt.Sprintf(", tier %d", tier)
		}
		p.item(fmt.Sprintf("%s: %s", text, listed(found)))
	}
}

// listed names the first items and counts the rest: paper has an end.
func listed(items []estate.Item) string {
	const most = 40
	if len(items) == 0 {
		return "none: nothing to do"
	}
	text := names(items[:min(len(items), most)], estate.Item.String)
	if more := len(items) - most; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

func (p *paper) contacts() {
	if p.estate == nil {
		return
	}
	p.blank()
	p.para("## ", "", "Contacts")
	p.blank()
	for _, r := range p.estate.Roles {
		var members []string
		for _, m := range r.Members {
			contact := m.Contact
			if contact == "" {
				contact = "no contact given"
			}
			members = append(members, fmt.Sprintf("%s (%s)", m.Name, contact))
		}
		owns := ""
		if groups := p.estate.OwnedBy(r.Role); len(groups) > 0 {
			owns = ", who owns " + listed(groups)
		}
		p.para("- ", "  ", fmt.Sprintf("%s%s: %s", r.Role, owns, strings.Join(members, ", ")))
	}
}

// short writes 4h0m0s as 4h.
func short(d estate.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
