package main

import (
	"context"
	"slices"

	"breakwater/activities"
	"breakwater/internal/permit"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"

	"github.com/spf13/cobra"
)

func (a *app) policiesCommand() *cobra.Command {
	var only []string
	c := &cobra.Command{
		Use: "policies FILE|NAME", Short: "Print what the worker's credentials must be allowed",
		Long: `Prints a policy for each credential of an estate with which the worker asks
outside systems: documents of IAM for object stores, rules for vaults, ACLs for
Kafka, and the requests that what stands before Connect and Temporal must let
through. They hold what the runbooks need, all of them unless some are named.

It asks no system, and changes nothing.`,
		Example: "  breakwater estate policies estates/lab.yaml\n  breakwater estate policies lab --runbook RegionalFailover --runbook Witness --json",
		Args:    exactly(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.policies(c.Context(), args[0], only) },
	}
	c.Flags().StringArrayVar(&only, "runbook", nil, "only what this runbook needs; may be repeated")
	return c
}

func (a *app) policies(ctx context.Context, given string, only []string) error {
	e, err := a.soundEstate(ctx, given)
	if err != nil {
		return err
	}
	books, ms := load.Lint(a.cfg.RunbookFS(), a.catalogue(), nil)
	if len(ms) > 0 {
		a.mistakes(under(a.cfg.Runbooks, ms))
		return wrong(errFailed, "", "%s in %s", countOf(int64(len(ms)), "mistake", "mistakes"), a.cfg.From())
	}
	for _, name := range only {
		if !slices.ContainsFunc(books, func(rb *runbook.Runbook) bool { return rb.Name == name }) {
			return wrong(errUsage, "breakwater runbooks list", "there is no runbook %q in %s", name, a.cfg.From())
		}
	}
	if len(only) > 0 {
		books = slices.DeleteFunc(books, func(rb *runbook.Runbook) bool { return !slices.Contains(only, rb.Name) })
	}
	all, err := activities.Policies(books, e)
	if err != nil {
		return err
	}
	for _, p := range all {
		text := p.Text()
		if a.json {
			a.line("policy", struct {
				permit.Policy
				Text string `json:"text"`
			}{p, text})
			continue
		}
		where := ""
		if p.Region != "" {
			where = " in " + p.Region
		}
		reference := ""
		if p.Reference != "" {
			reference = " (" + string(p.Reference) + ")"
		}
		a.say("%s%s%s", p.Holder, where, reference)
		a.say("%s", text)
	}
	return nil
}
