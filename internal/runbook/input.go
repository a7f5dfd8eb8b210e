package runbook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/mistake"
)

// Input is what a person types to start a run: one flat JSON object with the
// common fields below and the runbook's own.
type Input struct {
	Estate      string      `json:"estate"`
	Mode        action.Mode `json:"mode"`
	Groups      []string    `json:"groups,omitempty"`
	Incident    string      `json:"incident,omitempty"`
	OutageStart *time.Time  `json:"outage_start,omitempty"`
	DetectedAt  *time.Time  `json:"detected_at,omitempty"`
	// SourceDeadSince is [action.Run.SourceDeadSince], for a runbook with a source.
	SourceDeadSince *time.Time `json:"source_dead_since,omitempty"`

	Own map[string]string `json:"own,omitempty"` // the runbook's own inputs, by name, checked against their types
}

// commonInputs are the names that every runbook takes.
func commonInputs() []string {
	return []string{"estate", "mode", "groups", "incident", "outage_start", "detected_at", "source_dead_since"}
}

// Source and Target are the two inputs that most runbooks have.
func (i Input) Source() string { return i.Own["source"] }

// Target is the region that takes over.
func (i Input) Target() string { return i.Own["target"] }

// ParseInput reads the flat JSON of a start, strictly, against the runbook and
// the estate, and reports every mistake at once. An omitted mode is plan: nobody
// starts the real thing by leaving something out.
func ParseInput(rb *Runbook, e *estate.Estate, raw json.RawMessage) (Input, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	fields, err := flat(raw)
	if err != nil {
		return Input{}, fmt.Errorf("the input of %s must be one flat JSON object such as %s: %w", rb.Name, example(rb, e), err)
	}
	in := Input{Mode: action.ModePlan, Own: map[string]string{}}
	text := func(name string) (string, bool) {
		v, given := fields[name]
		delete(fields, name)
		if !given || string(v) == "null" {
			return "", false
		}
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			bad("%s must be a text in quotes, found %s", name, v)
			return "", false
		}
		s = strings.TrimSpace(s) // typed by hand, or pasted
		return s, s != ""
	}
	moment := func(name string) *time.Time {
		s, given := text(name)
		if !given {
			return nil
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			bad("%s must be a time such as 2026-11-21T03:04:05Z, found %q", name, s)
			return nil
		}
		return &t
	}

	if s, given := text("estate"); given {
		in.Estate = s
		if s != e.Estate {
			bad("estate is %q, and the estate read is %q", s, e.Estate)
		}
	} else {
		bad("estate is missing: name the estate, such as %q", e.Estate)
	}
	if s, given := text("mode"); given {
		in.Mode = action.Mode(s)
		if !slices.Contains([]action.Mode{action.ModePlan, action.ModeDrill, action.ModeLive}, in.Mode) {
			bad("mode %q is none of plan, drill, live", s)
		}
	}
	if v, given := fields["groups"]; given {
		delete(fields, "groups")
		if err := json.Unmarshal(v, &in.Groups); err != nil {
			bad("groups must be a list of texts, found %s", v)
		}
		slices.Sort(in.Groups)
		in.Groups = slices.Compact(in.Groups)
		for _, g := range in.Groups {
			if _, ok := e.Group(g); !ok {
				bad("group %q is not in estate %s: it has %s", g, e.Estate, names(e.Groups, func(g estate.Group) string { return g.Group }))
			}
		}
	}
	in.Incident, _ = text("incident")
	in.OutageStart, in.DetectedAt = moment("outage_start"), moment("detected_at")
	if in.OutageStart != nil && in.DetectedAt != nil && in.DetectedAt.Before(*in.OutageStart) {
		bad("detected_at %s is before outage_start %s", in.DetectedAt.Format(time.RFC3339), in.OutageStart.Format(time.RFC3339))
	}
	in.SourceDeadSince = moment("source_dead_since")
	if in.SourceDeadSince != nil && !slices.ContainsFunc(rb.Inputs, func(d InputDecl) bool { return d.Name == "source" }) {
		bad("source_dead_since is given, and %s has no source", rb.Name)
	}
	for _, decl := range rb.Inputs {
		v, given := fields[decl.Name]
		delete(fields, decl.Name)
		if !given || string(v) == "null" || string(v) == `""` {
			if !decl.Optional {
				bad("%s is missing: %s", decl.Name, decl.Help)
			}
			continue
		}
		s, err := decl.check(e, v)
		if err != nil {
			bad("%s %w", decl.Name, err)
			continue
		}
		in.Own[decl.Name] = s
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		allowed := commonInputs()
		for _, decl := range rb.Inputs {
			allowed = append(allowed, decl.Name)
		}
		bad("%s takes no input %q: it takes %s%s", rb.Name, name, strings.Join(allowed, ", "), mistake.DidYouMean(name, allowed))
	}
	errs = append(errs, in.rules(e)...)
	if err := errors.Join(errs...); err != nil {
		return Input{}, err
	}
	return in, nil
}

// EstateOf reads the one field that must be known before the rest can be
// checked: which estate the input is about.
func EstateOf(raw json.RawMessage) (string, error) {
	var in struct {
		Estate string `json:"estate"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return "", fmt.Errorf(`the input must be one flat JSON object such as {"estate":"lab"}: %w`, err)
	}
	if in.Estate == "" {
		return "", errors.New(`estate is missing: name the estate, as in {"estate":"lab"}`)
	}
	return in.Estate, nil
}

// flat reads one JSON object and nothing behind it. A key given twice is refused:
// which of two modes was meant is not ours to choose.
func flat(raw json.RawMessage) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, fmt.Errorf("found %s", raw)
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := fmt.Sprint(key)
		if seen[name] {
			return nil, fmt.Errorf("%q is given twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// rules are those that hold between inputs.
func (i Input) rules(e *estate.Estate) (errs []error) {
	if i.Mode == action.ModeLive && i.Incident == "" {
		errs = append(errs, errors.New("mode live needs an incident id, such as incident=INC-2041: it is the record of why this was done"))
	}
	source, target := i.Source(), i.Target()
	if source != "" && source == target {
		errs = append(errs, fmt.Errorf("source and target are both %q: a region cannot take over from itself", source))
		return errs
	}
	if r, ok := e.Region(source); ok && target != "" && r.Role != estate.Primary {
		errs = append(errs, fmt.Errorf("source %q is the estate's %s, not its primary: going back is the failback runbook", source, r.Role))
	}
	if r, ok := e.Region(target); ok && r.Role != estate.Standby {
		errs = append(errs, fmt.Errorf("target %q is the estate's %s, not its standby", target, r.Role))
	}
	return errs
}

func (d InputDecl) check(e *estate.Estate, v json.RawMessage) (string, error) {
	switch d.Type {
	case IntegerInput:
		var n int64
		if err := json.Unmarshal(v, &n); err != nil {
			return "", fmt.Errorf("must be a whole number, found %s", v)
		}
		return strconv.FormatInt(n, 10), nil
	case BoolInput:
		var b bool
		if err := json.Unmarshal(v, &b); err != nil {
			return "", fmt.Errorf("must be true or false, found %s", v)
		}
		return strconv.FormatBool(b), nil
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return "", fmt.Errorf("must be a text in quotes, found %s", v)
	}
	among := func(kind string, all []string) (string, error) {
		if !slices.Contains(all, s) {
			return "", fmt.Errorf("%q is not a %s of estate %s: it has %s%s", s, kind, e.Estate, strings.Join(all, ", "), mistake.DidYouMean(s, all))
		}
		return s, nil
	}
	switch d.Type {
	case RegionInput:
		var all []string
		for _, r := range e.Regions {
			all = append(all, r.Region)
		}
		return among("region", all)
	case TableInput:
		return among("table", itemNames(e.Items(estate.TableKind, estate.Filter{})))
	case GroupInput:
		return among("group", itemNames(e.Items(estate.GroupKind, estate.Filter{})))
	case TimeInput:
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			return "", fmt.Errorf("must be a time such as 2026-11-21T03:04:05Z, found %q", s)
		}
	case DurationInput:
		var dur estate.Duration
		if err := dur.UnmarshalText([]byte(s)); err != nil {
			return "", err
		}
	}
	return s, nil
}

// example is an input that a person can copy, with the estate's own names.
func example(rb *Runbook, e *estate.Estate) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, `{"estate":%q`, e.Estate)
	for _, d := range rb.Inputs {
		if d.Optional {
			continue
		}
		value := "…"
		for _, r := range e.Regions {
			if d.Type == RegionInput && (d.Name == "source") == (r.Role == estate.Primary) {
				value = r.Region
				break
			}
		}
		fmt.Fprintf(b, `,%q:%q`, d.Name, value)
	}
	b.WriteString(`}`)
	return b.String()
}

func itemNames(items []estate.Item) []string {
	return strings.Split(names(items, func(i estate.Item) string { return i.Name }), ", ")
}

func names[T any](all []T, name func(T) string) string {
	var ns []string
	for _, v := range all {
		ns = append(ns, name(v))
	}
	return strings.Join(ns, ", ")
}
