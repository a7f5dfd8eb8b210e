package action

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Rule says which requests follow from effect lines of a plan. What an action asks of
// servers follows from its approved plan by its rules, and by nothing else; the proof of
// each action holds every request that reached a server against them.
//
// A request is a verb and a resource, as the recorder of lab/tap writes them:
//
//	put s3://lake/orders/part-0.parquet
//	write policy access-orders at us-west-2
//
// In Sends, {on} stands for the resource of the line, {bucket} for its bucket, {data.NAME} for each text that the
// plan's Data has there, NAME being names with dots between them, and {undo.NAME} for those of
// Undo. A * stands for anything.
type Rule struct {
	Says  string   // a sentence for people
	Do    string   // how the Do of the lines begins that it is about, with * for anything; empty for all of them
	Sends []string // the requests; none where a line is about the run's own record alone
}

var hole = regexp.MustCompile(`\*|\{[a-z0-9_.]+\}`)

// check holds that a rule says what it is, and names nothing that there is not.
func (r Rule) check() error {
	if r.Says == "" {
		return fmt.Errorf("a rule for lines %q does not say in words what follows", r.Do)
	}
	for _, p := range append([]string{r.Do}, r.Sends...) {
		if _, err := pattern(p, EffectLine{}, Change{}); err != nil {
			return err
		}
	}
	return nil
}

// Unfollowed holds the requests that reached the servers while a plan was applied against
// the rules: which of them follow from no line of the plan, and of which lines nothing
// was asked.
func Unfollowed(rules []Rule, plan Change, requests []string) (unnamed []string, idle []EffectLine, err error) {
	followed := make([]bool, len(requests))
	for _, line := range plan.Effects {
		seen := false
		for _, r := range rules {
			about, err := pattern(r.Do+"*", line, plan)
			if err != nil {
				return nil, nil, err
			}
			if !about.MatchString(line.Do) {
				continue
			}
			seen = seen || len(r.Sends) == 0
			for _, send := range r.Sends {
				p, err := pattern(send, line, plan)
				if err != nil {
					return nil, nil, err
				}
				for i, request := range requests {
					if p.MatchString(request) {
						followed[i], seen = true, true
					}
				}
			}
		}
		if !seen {
			idle = append(idle, line)
		}
	}
	for i, request := range requests {
		if !followed[i] && !slices.Contains(unnamed, request) {
			unnamed = append(unnamed, request)
		}
	}
	return unnamed, idle, nil
}

// pattern is what a rule sends for a line of a plan.
func pattern(send string, line EffectLine, plan Change) (*regexp.Regexp, error) {
	text := &strings.Builder{}
	text.WriteString("(?s)^")
	at := 0
	for _, h := range hole.FindAllStringIndex(send, -1) {
		text.WriteString(regexp.QuoteMeta(send[at:h[0]]))
		at = h[1]
		name := send[h[0]:h[1]]
		if name == "*" {
			text.WriteString(".*")
			continue
		}
		texts, err := plan.texts(name[1:len(name)-1], line)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", send, err)
		}
		for i, t := range texts {
			texts[i] = regexp.QuoteMeta(t)
		}
		if len(texts) == 0 {
			texts = []string{`[^\s\S]`} // nothing is there, and nothing follows
		}
		text.WriteString("(?:" + strings.Join(texts, "|") + ")")
	}
	text.WriteString(regexp.QuoteMeta(send[at:]) + "$")
	return regexp.Compile(text.String())
}

// texts are what a name in braces stands for.
func (c Change) texts(name string, line EffectLine) ([]string, error) {
	switch name {
	case "on":
		return []string{line.On}, nil
	case "bucket":
		bucket, _, _ := strings.Cut(strings.TrimPrefix(line.On, "s3://"), "/")
		return []string{"s3://" + bucket}, nil
	}
	from, path, _ := strings.Cut(name, ".")
	raw := c.Data
	switch from {
	case "data":
	case "undo":
		raw = c.Undo
	default:
		return nil, fmt.Errorf("{%s} stands for nothing: write {on}, {bucket}, {data.NAME} or {undo.NAME}", name)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return leaves(v, strings.Split(path, ".")), nil
}

// leaves are the texts below a path; a list counts as each of its items.
func leaves(v any, path []string) []string {
	switch v := v.(type) {
	case []any:
		var all []string
		for _, item := range v {
			all = append(all, leaves(item, path)...)
		}
		return all
	case map[string]any:
		if len(path) > 0 && path[0] != "" {
			return leaves(v[path[0]], path[1:])
		}
	case string:
		if len(path) == 0 {
			return []string{v}
		}
	}
	return nil
}
