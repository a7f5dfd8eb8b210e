package runbook

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/plural"
)

// Compile makes a run ready: it expands `per: tier`, resolves every action and
// role, and counts the items. A run that cannot pass a step, whatever happens, is refused
// here, before anything is changed. It expects a runbook that [Lint] accepts, and
// reports what it cannot resolve all at once.
func Compile(rb *Runbook, e *estate.Estate, cat *action.Catalogue, in Input) (*Compiled, error) {
	digest, err := e.Digest()
	if err != nil {
		return nil, err
	}
	c := &Compiled{
		Engine: Engine, Runbook: rb.Name, Summary: rb.Summary, Owner: rb.Owner, RunbookDigest: rb.Digest,
		Estate: e.Estate, EstateDigest: digest, Input: in,
		Roles: e.Roles, Tiers: e.Tiers, Skew: e.ClockSkew,
	}
	var errs []error
	for _, f := range Fit(rb, cat, e, &in) {
		if c.Lacks = append(c.Lacks, f); f.Stops() {
			errs = append(errs, fmt.Errorf("%s: %s can never pass: %s", f.At, f.Where(), f.Text))
		}
	}
	for _, b := range rb.Blocks {
		tiers := []int{0}
		if b.PerTier {
			tiers = c.tiersInScope(e, in.Groups)
		}
		for _, tier := range tiers {
			for _, s := range b.Stages {
				stage, err := c.stage(rb, e, cat, s, tier)
				errs = append(errs, err)
				c.Stages = append(c.Stages, stage)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("compile %s for estate %s: %w", rb.Name, e.Estate, err)
	}
	return c, nil
}

// tiersInScope leaves out the tiers in which the run has no group.
func (c *Compiled) tiersInScope(e *estate.Estate, groups []string) []int {
	var in []int
	for _, t := range e.TierNumbers() {
		if len(e.Items(estate.GroupKind, estate.Filter{Tier: t, Groups: groups})) > 0 {
			in = append(in, t)
		}
	}
	return in
}

func (c *Compiled) stage(rb *Runbook, e *estate.Estate, cat *action.Catalogue, s StageDecl, tier int) (Stage, error) {
	out := Stage{
		ID: slug(s.Title), Title: s.Title, Tier: tier, Approval: s.Approval,
		Milestone: s.Milestone, PointOfNoReturn: s.PointOfNoReturn,
	}
	if tier != 0 {
		out.ID = fmt.Sprintf("%s@tier-%d", out.ID, tier)
		out.Title = fmt.Sprintf("%s, tier %d", s.Title, tier)
	}
	var errs []error
	if a := s.Approval; a != nil {
		for _, name := range []string{a.Role, a.Escalate} {
			if _, ok := e.Role(name); name != "" && !ok {
				errs = append(errs, fmt.Errorf("%s: role %q is not in estate %s", a.At, name, e.Estate))
			}
		}
		if r, ok := e.Role(a.Role); ok && len(r.Members) < a.Quorum {
			errs = append(errs, fmt.Errorf("%s: quorum is %d and role %q has %s", a.At, a.Quorum, a.Role, plural.Of(len(r.Members), "member")))
		}
	}
	for n, d := range s.Steps {
		def, ok := cat.Get(d.Action)
		if !ok {
			errs = append(errs, fmt.Errorf("%s: no action %q", d.ActionAt, d.Action))
			continue
		}
		with, where, err := d.resolve(rb, c.Input)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		step := Step{
			ID: fmt.Sprintf("%s/%d-%s", out.ID, n+1, d.Action), Title: d.Title, Kind: d.Kind, Action: d.Action,
			Question: d.Question, With: with, Each: d.Each, Where: where, Owner: d.Owner,
			Effect: def.Effect, Drill: def.Drill, CanUndo: def.CanUndo(), Runs: def.Runs,
			Timeout: def.Timing.Timeout, Estimate: def.Timing.Estimate,
		}
		if step.Owner == "" {
			step.Owner = rb.Owner
		}
		items := e.Items(step.Each, step.Filter(tier, c.Input.Groups))
		step.Items = len(items)
		if len(items) <= few {
			for _, i := range items {
				step.Names = append(step.Names, i.Name)
			}
		}
		if _, ok := e.Role(step.Owner); !ok {
			errs = append(errs, fmt.Errorf("%s: owner %q of step %q is not a role of estate %s", d.At, step.Owner, d.Title, e.Estate))
		}
		out.Steps = append(out.Steps, step)
	}
	return out, errors.Join(errs...)
}

// slug makes an id of a title: "Choose the recovery point" → "choose-the-recovery-point".
func slug(title string) string {
	b := &strings.Builder{}
	dash := false
	for _, r := range strings.ToLower(title) {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
		default:
			dash = true
		}
	}
	return b.String()
}
