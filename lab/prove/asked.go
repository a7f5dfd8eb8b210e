package prove

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/rewind"
)

// tapped is the request by which an action changes something: its servers are those
// behind the tap, and what was asked of them before was asked by somebody else.
func (p *proof) tapped() action.Request {
	p.tap.Take()
	r := p.req
	r.Estate = p.through
	return r
}

// asked holds what the servers were asked to change since the last time against a plan;
// without one nothing was to be changed.
func (p *proof) asked(phase string, plan *action.Change) {
	p.t.Helper()
	requests := p.tap.Take()
	if plan == nil {
		for _, r := range requests {
			p.t.Errorf("%s of %s changes something: %s", phase, p.def.Name, r)
		}
		return
	}
	unnamed, idle, err := action.Unfollowed(p.def.Rules, *plan, requests)
	p.must("the rules for "+phase, err)
	for _, r := range unnamed {
		p.t.Errorf("%s of %s did what no line of its plan names, nor a rule: %s", phase, p.def.Name, r)
	}
	for _, l := range idle {
		p.t.Errorf("%s of %s asked for nothing that follows from this line of its plan: on %s: %s", phase, p.def.Name, l.On, l.Do)
	}
	if p.t.Failed() {
		b := &strings.Builder{}
		for _, l := range plan.Effects {
			b.WriteString("\n  planned: on " + l.On + ": " + l.Do)
		}
		for _, r := range requests {
			b.WriteString("\n  asked:   " + r)
		}
		p.t.Logf("%s of %s%s", phase, p.def.Name, b)
	}
}

// shows holds that who approves a plan sees every value that Apply and Undo read.
func (p *proof) shows(plan *action.Change, show action.Show) {
	p.t.Helper()
	lines, err := show(*plan)
	p.must("Show", err)
	text := strings.Join(lines, "\n")
	for _, raw := range []json.RawMessage{plan.Data, plan.Undo} {
		if len(raw) == 0 {
			continue
		}
		var v any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		p.must("Show", d.Decode(&v))
		for _, value := range values(v) {
			if encoded, err := base64.StdEncoding.DecodeString(value); err == nil && len(encoded) > 0 {
				if _, err := rewind.Decode(encoded); err == nil {
					continue // it is shown in words
				}
			}
			if quoted := strconv.Quote(value); !strings.Contains(text, value) && !strings.Contains(text, quoted) {
				p.t.Errorf("the plan of %s keeps %s, which nobody is shown:\n%s", p.def.Name, quoted, text)
			}
		}
	}
}

// values are the texts and numbers in a JSON value.
func values(v any) []string {
	var all []string
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			all = append(all, values(item)...)
		}
	case map[string]any:
		for _, item := range v {
			all = append(all, values(item)...)
		}
	case string:
		return []string{v}
	case json.Number:
		return []string{v.String()}
	}
	return all
}
