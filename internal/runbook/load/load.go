// Package load reads runbooks from YAML and knows where everything in them
// stands, so that each mistake names file, line and column.
//
// It judges a file by its own words: keys, types, exactly one of do, check and
// ask. What needs the catalogue of actions or the estate to be judged is
// [runbook.Lint]'s; [Lint] does both, and reports in file order.
package load

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/strictyaml"
)

// maxBytes bounds the size of a runbook's file. The longest honest one has a
// hundredth of it: people read these.
const maxBytes = 1 << 20

// File reads one runbook from the bytes of a file; the name is for positions.
//
// The runbook is nil only where the bytes are no YAML map. With mistakes it
// holds what could be read, enough to lint the rest, and must not be run.
func File(data []byte, name string) (*runbook.Runbook, []runbook.Mistake) {
	root, ms := strictyaml.Parse(name, data, maxBytes)
	if root == nil {
		return nil, mistake.Sort(ms)
	}
	r := &reader{mistakes: ms}
	rb := r.runbook(root)
	rb.Digest = digest(data)
	return rb, mistake.Sort(r.mistakes)
}

// digest identifies a file: SHA-256 of its bytes, "sha256:…".
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// FS reads every *.yaml file at the top of fsys, sorted by the file's name. Two
// files with one runbook's name are a mistake, since workflows are registered by
// it. A file that cannot be read is a mistake at its beginning.
func FS(fsys fs.FS) ([]*runbook.Runbook, []runbook.Mistake) {
	return each(fsys, func(*runbook.Runbook) []runbook.Mistake { return nil })
}

// Lint reads every runbook as [FS] does and holds it against the catalogue and,
// unless it is nil, the estate.
func Lint(fsys fs.FS, cat *action.Catalogue, e *estate.Estate) ([]*runbook.Runbook, []runbook.Mistake) {
	return each(fsys, func(rb *runbook.Runbook) []runbook.Mistake { return runbook.Lint(rb, cat, e) })
}

func each(fsys fs.FS, more func(*runbook.Runbook) []runbook.Mistake) (all []*runbook.Runbook, ms []runbook.Mistake) {
	files, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, []runbook.Mistake{{At: start("."), Text: fmt.Sprintf("the folder cannot be read: %v", err)}}
	}
	stands := map[string]mistake.Position{}
	for _, f := range files {
		if f.IsDir() || path.Ext(f.Name()) != ".yaml" {
			continue
		}
		data, err := fs.ReadFile(fsys, f.Name())
		if err != nil {
			ms = append(ms, runbook.Mistake{At: start(f.Name()), Text: fmt.Sprintf("the file cannot be read: %v", err)})
			continue
		}
		rb, found := File(data, f.Name())
		ms = append(ms, found...)
		if rb == nil {
			continue
		}
		ms = append(ms, more(rb)...)
		if first, twice := stands[rb.Name]; twice && rb.Name != "" {
			ms = append(ms, runbook.Mistake{At: rb.Keys.At("runbook", rb.At), Text: fmt.Sprintf("runbook %q is declared twice: it stands in %s already", rb.Name, first)})
		} else {
			stands[rb.Name] = rb.Keys.At("runbook", rb.At)
		}
		all = append(all, rb)
	}
	return all, mistake.Sort(ms)
}

func start(file string) mistake.Position { return mistake.Position{File: file, Line: 1, Column: 1} }

// The file as it is written. A *strictyaml.Node is a part whose shape depends on
// its keys, or whose order counts.
type (
	fileForm struct {
		Runbook string             `yaml:"runbook"`
		Summary string             `yaml:"summary"`
		Owner   string             `yaml:"owner"`
		Inputs  *strictyaml.Node   `yaml:"inputs,omitempty"`
		Stages  []*strictyaml.Node `yaml:"stages"`
	}
	inputForm struct {
		Type     string `yaml:"type"`
		Help     string `yaml:"help"`
		Optional bool   `yaml:"optional,omitempty"`
	}
	perForm struct {
		Per    string             `yaml:"per"`
		Stages []*strictyaml.Node `yaml:"stages"`
	}
	stageForm struct {
		Stage           string             `yaml:"stage"`
		Approval        *strictyaml.Node   `yaml:"approval,omitempty"`
		Milestone       string             `yaml:"milestone,omitempty"`
		PointOfNoReturn bool               `yaml:"point-of-no-return,omitempty"`
		Steps           []*strictyaml.Node `yaml:"steps"`
	}
	approvalForm struct {
		Role     string          `yaml:"role"`
		Quorum   int             `yaml:"quorum,omitempty"`
		Reminder estate.Duration `yaml:"reminder,omitempty"`
		Escalate string          `yaml:"escalate,omitempty"`
	}
	stepForm struct {
		Step  string           `yaml:"step"`
		Do    string           `yaml:"do,omitempty"`
		Check string           `yaml:"check,omitempty"`
		Ask   string           `yaml:"ask,omitempty"`
		With  *strictyaml.Node `yaml:"with,omitempty"`
		Each  string           `yaml:"each,omitempty"`
		Where *strictyaml.Node `yaml:"where,omitempty"`
		Owner string           `yaml:"owner,omitempty"`
	}
)

type reader struct{ mistakes []mistake.Mistake }

func (r *reader) bad(at mistake.Position, format string, args ...any) {
	r.mistakes = append(r.mistakes, mistake.Mistake{At: at, Text: fmt.Sprintf(format, args...)})
}

func (r *reader) decode(n *strictyaml.Node, into any) {
	r.mistakes = append(r.mistakes, strictyaml.Decode(n, into)...)
}

// keys notes where each key of a part stands: the value, where it is a scalar,
// since that is what is usually wrong; the key otherwise.
func keys(n *strictyaml.Node, prefix string, into runbook.Keys) runbook.Keys {
	if into == nil {
		into = runbook.Keys{}
	}
	for _, e := range n.Entries {
		at := e.At
		if e.Value.Kind == strictyaml.Scalar {
			at = e.Value.At
		}
		if list := e.Key == "stages" || e.Key == "steps"; list && e.Value.Kind != strictyaml.List {
			continue // reported, and not to be called empty
		}
		into[prefix+e.Key] = at
		if prefix == "" && e.Value.Kind == strictyaml.Map {
			keys(e.Value, e.Key+".", into)
		}
	}
	return into
}

func (r *reader) runbook(root *strictyaml.Node) *runbook.Runbook {
	var f fileForm
	r.decode(root, &f)
	rb := &runbook.Runbook{Name: f.Runbook, Summary: f.Summary, Owner: f.Owner, At: root.At, Keys: keys(root, "", nil)}
	if f.Inputs != nil {
		r.inputs(rb, f.Inputs)
	}
	for _, n := range f.Stages {
		rb.Blocks = append(rb.Blocks, r.block(n))
	}
	return rb
}

func (r *reader) inputs(rb *runbook.Runbook, n *strictyaml.Node) {
	if n.Kind != strictyaml.Map {
		r.bad(n.At, "inputs must be a map of names to {type, help}")
		return
	}
	for _, e := range n.Entries {
		var in inputForm
		r.decode(e.Value, &in)
		rb.Inputs = append(rb.Inputs, runbook.InputDecl{
			Name: e.Key, Type: runbook.InputType(in.Type), Help: in.Help, Optional: in.Optional,
			At: e.At, Keys: keys(e.Value, "", nil),
		})
	}
}

func (r *reader) block(n *strictyaml.Node) runbook.Block {
	if _, per := n.Get("per"); !per {
		return runbook.Block{Stages: []runbook.StageDecl{r.stage(n)}, At: n.At}
	}
	var f perForm
	r.decode(n, &f)
	b := runbook.Block{PerTier: true, At: n.At}
	if e, _ := n.Get("per"); f.Per != "" && f.Per != "tier" {
		r.bad(e.Value.At, "per: %q is not known: per takes tier alone", f.Per)
	}
	if e, given := n.Get("stages"); given && e.Value.Kind == strictyaml.List && len(f.Stages) == 0 {
		r.bad(e.At, "per: tier has no stages")
	}
	for _, s := range f.Stages {
		if e, nested := s.Get("per"); nested {
			r.bad(e.At, "per stands inside per: tiers do not nest")
			continue
		}
		b.Stages = append(b.Stages, r.stage(s))
	}
	return b
}

func (r *reader) stage(n *strictyaml.Node) runbook.StageDecl {
	var f stageForm
	r.decode(n, &f)
	s := runbook.StageDecl{
		Title: f.Stage, Milestone: f.Milestone, PointOfNoReturn: f.PointOfNoReturn, At: n.At, Keys: keys(n, "", nil),
	}
	if f.Approval != nil {
		s.Approval = r.approval(f.Approval)
	}
	for _, step := range f.Steps {
		s.Steps = append(s.Steps, r.step(step))
	}
	return s
}

func (r *reader) approval(n *strictyaml.Node) *runbook.Approval {
	f := approvalForm{Quorum: 1}
	r.decode(n, &f)
	return &runbook.Approval{Role: f.Role, Quorum: f.Quorum, Reminder: f.Reminder, Escalate: f.Escalate, At: n.At}
}

func (r *reader) step(n *strictyaml.Node) runbook.StepDecl {
	var f stepForm
	r.decode(n, &f)
	s := runbook.StepDecl{Title: f.Step, Question: f.Ask, Each: estate.Kind(f.Each), Owner: f.Owner, At: n.At, Keys: keys(n, "", nil)}
	r.kind(n, f, &s)
	if f.With != nil {
		if f.With.Kind != strictyaml.Map {
			r.bad(f.With.At, "with must be a map of parameters")
		} else {
			var ms []mistake.Mistake
			s.With, ms = f.With.JSON()
			r.mistakes = append(r.mistakes, ms...)
		}
	}
	if f.Where != nil {
		r.where(f.Where, &s)
	}
	return s
}

// where reads a filter: each value a word, or {input: NAME}.
func (r *reader) where(n *strictyaml.Node, s *runbook.StepDecl) {
	words := *n
	words.Entries = nil
	for _, e := range n.Entries {
		if _, ref := e.Value.Get("input"); !ref || len(e.Value.Entries) != 1 {
			words.Entries = append(words.Entries, e)
			continue
		}
		named, ms := e.Value.Words()
		r.mistakes = append(r.mistakes, ms...)
		if s.WhereInput == nil {
			s.WhereInput = map[string]string{}
		}
		s.WhereInput[e.Key] = named["input"]
	}
	var ms []mistake.Mistake
	s.Where, ms = words.Words()
	r.mistakes = append(r.mistakes, ms...)
}

// kind demands exactly one of do, check, and ask with a check of its own.
func (r *reader) kind(n *strictyaml.Node, f stepForm, s *runbook.StepDecl) {
	var given []string
	for _, part := range []struct{ key, value string }{{"do", f.Do}, {"check", f.Check}, {"ask", f.Ask}} {
		if _, written := s.Keys[part.key]; written || part.value != "" {
			given = append(given, part.key)
		}
	}
	switch strings.Join(given, " and ") {
	case "":
		r.bad(n.At, "the step has none of do, check and ask: it needs exactly one")
	case "do":
		s.Kind, s.Action = runbook.Do, f.Do
	case "check":
		s.Kind, s.Action = runbook.Check, f.Check
	case "check and ask":
		s.Kind, s.Action = runbook.Ask, f.Check
	case "ask":
		s.Kind = runbook.Ask
		r.bad(s.Keys.At("ask", n.At), "ask has no check: a manual step is proven like any other, so add check: with the action that looks")
	default:
		s.Kind, s.Action = runbook.Do, f.Do
		r.bad(s.Keys.At(given[1], n.At), "the step has %s: it takes exactly one of do, check, and ask with a check", strings.Join(given, " and "))
	}
	key := string(s.Kind)
	if s.Kind == runbook.Ask {
		key = "check"
	}
	s.ActionAt = s.Keys.At(key, s.At)
}
