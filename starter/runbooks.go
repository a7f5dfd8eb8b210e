package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"breakwater/activities"
	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"

	"github.com/spf13/cobra"
)

// catalogue is every action that this command knows: those of its own release.
func (a *app) catalogue() *action.Catalogue { return activities.Catalogue(a.systems) }

func (a *app) runbooksCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the runbooks, with their inputs",
		Example: "  breakwater runbooks list\n  breakwater runbooks list --runbooks ./runbooks",
		Args:    exactly(0),
		RunE:    func(*cobra.Command, []string) error { return a.listRunbooks() },
	}
	var of string
	lint := &cobra.Command{
		Use: "lint [PATH...]", Short: "Check runbook files, all mistakes at once",
		Long: `Checks runbook files, or folders of them: the language, the actions and their
parameters, the order of steps, and with --estate also roles, people, and what
the actions require of an estate. Every mistake is a line with file:line:column.
Without a path it checks the runbooks built in, or those that --runbooks names.`,
		Example: "  breakwater runbooks lint runbooks/\n  breakwater runbooks lint my.yaml --estate lab",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(c *cobra.Command, args []string) error { return a.lint(c.Context(), args, of) },
	}
	lint.Flags().StringVar(&of, "estate", "", "an estate, by name or file, that the runbooks must fit")
	render := &cobra.Command{
		Use: "render NAME", Short: "Print a runbook as paper, in Markdown",
		Long: `Prints a runbook as a person would work through it by hand, with boxes to tick.
With --estate it names the items, the people and how to reach them. Print it
before the day on which Temporal is gone.`,
		Example: "  breakwater runbooks render RegionalFailover --estate lab > paper.md",
		Args:    exactly(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.render(c.Context(), args[0], of) },
	}
	render.Flags().StringVar(&of, "estate", "", "an estate, by name or file")
	return group(&cobra.Command{Use: "runbooks", Short: "List, check and print runbooks"}, list, lint, render)
}

func (a *app) listRunbooks() error {
	books, ms := a.cfg.Books()
	if err := mistake.Error(ms); err != nil {
		return wrong(errFailed, "breakwater runbooks lint", "list %s: %w", a.cfg.From(), err)
	}
	if !a.json {
		for i, rb := range books {
			if i > 0 {
				fmt.Fprintln(a.out)
			}
			fmt.Fprintln(a.out, rb.Name)
			for _, l := range wrap("  "+rb.Summary, 80, "  ") {
				fmt.Fprintln(a.out, l)
			}
			for _, in := range rb.Inputs {
				optional := ""
				if in.Optional {
					optional = ", optional"
				}
				for _, l := range wrap(fmt.Sprintf("    %s (%s%s): %s", in.Name, in.Type, optional, in.Help), 80, "      ") {
					fmt.Fprintln(a.out, l)
				}
			}
		}
		return nil
	}
	type input struct {
		Name     string            `json:"name"`
		Type     runbook.InputType `json:"type"`
		Help     string            `json:"help"`
		Optional bool              `json:"optional,omitempty"`
	}
	for _, rb := range books {
		inputs := []input{}
		for _, in := range rb.Inputs {
			inputs = append(inputs, input{in.Name, in.Type, in.Help, in.Optional})
		}
		a.line("runbook", struct {
			Name    string  `json:"name"`
			Summary string  `json:"summary"`
			Owner   string  `json:"owner"`
			Digest  string  `json:"digest"`
			Inputs  []input `json:"inputs"`
		}{rb.Name, rb.Summary, rb.Owner, rb.Digest, inputs})
	}
	return nil
}

// lint checks files and folders.
func (a *app) lint(ctx context.Context, paths []string, of string) error {
	e, err := a.optionalEstate(ctx, of)
	if err != nil {
		return err
	}
	cat := a.catalogue()
	var all []mistake.Mistake
	var books []*runbook.Runbook
	n := 0
	if len(paths) == 0 {
		var ms []mistake.Mistake
		books, ms = load.Lint(a.cfg.RunbookFS(), cat, e)
		n, all = len(books), under(a.cfg.Runbooks, ms)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return wrong(errUsage, "", "lint %s: %w", path, err)
		}
		if info.IsDir() {
			found, ms := load.Lint(os.DirFS(path), cat, e)
			n += len(found)
			books = append(books, found...)
			all = append(all, under(path, ms)...)
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return wrong(errUsage, "", "lint %s: %w", path, err)
		}
		n++
		rb, ms := load.File(data, path)
		if rb != nil {
			ms = mistake.Sort(append(ms, runbook.Lint(rb, cat, e)...))
			books = append(books, rb)
		}
		all = append(all, ms...)
	}
	a.mistakes(all)
	if n > 0 {
		a.fits(books, e)
	}
	switch {
	case len(all) > 0:
		return wrong(errFailed, "", "%s in %s", countOf(int64(len(all)), "mistake", "mistakes"), files(all))
	case n == 0:
		return wrong(errUsage, "breakwater runbooks lint --help", "there is no *.yaml file in %s: nothing was checked", orAll(paths, a.cfg.From()))
	}
	a.say("%s without a mistake", countOf(int64(n), "runbook", "runbooks"))
	return nil
}

func orAll(paths []string, otherwise string) string {
	if len(paths) == 0 {
		return otherwise
	}
	return strings.Join(paths, ", ")
}

// under puts a folder before the files' names.
func under(dir string, ms []mistake.Mistake) []mistake.Mistake {
	for i := range ms {
		ms[i].At.File = filepath.Join(dir, ms[i].At.File)
	}
	return ms
}

// mistakes shows mistakes, a line each.
func (a *app) mistakes(ms []mistake.Mistake) {
	for _, m := range ms {
		if a.json {
			a.line("mistake", struct {
				mistake.Position
				Text string `json:"text"`
			}{m.At, m.Text})
			continue
		}
		fmt.Fprintln(a.out, m.Error())
	}
}

func files(ms []mistake.Mistake) string {
	var names []string
	for _, m := range ms {
		if !slices.Contains(names, m.At.File) {
			names = append(names, m.At.File)
		}
	}
	return countOf(int64(len(names)), "file", "files")
}

func (a *app) optionalEstate(ctx context.Context, of string) (*estate.Estate, error) {
	if of == "" {
		return nil, nil
	}
	e, ms, err := a.estateFile(ctx, of)
	if err == nil && len(ms) > 0 {
		err = wrong(errFailed, cmd("estate", "check", of), "estate %s has mistakes: %w", of, mistake.Error(ms))
	}
	return e, err
}

func (a *app) render(ctx context.Context, want, of string) error {
	rb, err := a.book(want)
	if err != nil {
		return err
	}
	e, err := a.optionalEstate(ctx, of)
	if err != nil {
		return err
	}
	text := runbook.Markdown(rb, a.catalogue(), e)
	if a.json {
		a.line("paper", struct {
			Runbook  string `json:"runbook"`
			Digest   string `json:"digest"`
			Markdown string `json:"markdown"`
		}{rb.Name, rb.Digest, text})
		return nil
	}
	fmt.Fprint(a.out, text)
	return nil
}

func (a *app) actionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "actions [NAME]", Short: "List what a step can do, or explain one action",
		Long: `Lists the actions that a runbook's steps are made of. With a name it explains
one: its parameters, what it does to the estate, whether it can be taken back,
and the faults that turn its proof red, each of which is injected by a test.`,
		Example: "  breakwater actions\n  breakwater actions storage.fence",
		Args:    between(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			cat := a.catalogue()
			if len(args) == 0 {
				return a.listActions(cat)
			}
			d, ok := cat.Get(args[0])
			if !ok {
				var names []string
				for _, d := range cat.All() {
					names = append(names, d.Name)
				}
				return wrong(errUsage, "breakwater actions", "there is no action %q%s", args[0], mistake.DidYouMean(args[0], names))
			}
			if a.json {
				a.line("action", describe(d))
				return nil
			}
			a.explainAction(d)
			return nil
		},
	}
}

// described is an action as JSON shows it.
type described struct {
	Name     string        `json:"name"`
	Doc      string        `json:"doc"`
	Each     estate.Kind   `json:"each,omitempty"`
	Needs    []string      `json:"needs,omitempty"`
	Requires []string      `json:"requires,omitempty"` // of an estate
	Effect   action.Effect `json:"effect"`
	Drill    action.Drill  `json:"drill"`
	Undo     bool          `json:"undo"`
	Params   []param       `json:"params,omitempty"`
	RedWhen  []red         `json:"red_when"`
}

type param struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Doc      string `json:"doc"`
	Required bool   `json:"required"`
}

type red struct {
	Fault   string `json:"fault"`
	Verdict string `json:"verdict"`
}

func describe(d *action.Definition) described {
	out := described{Name: d.Name, Doc: d.Doc, Each: d.Over, Needs: d.Needs, Effect: d.Effect, Drill: d.Drill, Undo: d.CanUndo()}
	for _, p := range d.Params {
		out.Params = append(out.Params, param(p))
	}
	for _, r := range d.Requires {
		out.Requires = append(out.Requires, r.Says)
	}
	for _, r := range d.RedWhen {
		out.RedWhen = append(out.RedWhen, red{string(r.Fault), r.Want.String()})
	}
	return out
}

func (a *app) listActions(cat *action.Catalogue) error {
	if a.json {
		for _, d := range cat.All() {
			a.line("action", describe(d))
		}
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTION\tEACH\tEFFECT\tUNDO\tDRILL")
	for _, d := range cat.All() {
		each, undo := string(d.Over), "no"
		if each == "" {
			each = "-"
		}
		if d.CanUndo() {
			undo = "yes"
		}
		if d.IsCheck() {
			undo = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Name, each, d.Effect, undo, d.Drill)
	}
	return w.Flush()
}

func (a *app) explainAction(d *action.Definition) {
	put := func(text, indent string) {
		for _, l := range wrap(text, 80, indent) {
			fmt.Fprintln(a.out, l)
		}
	}
	put(d.Name, "")
	put("  "+d.Doc, "  ")
	fmt.Fprintln(a.out)
	field := func(key, text string) {
		for i, l := range wrap(text, 69, "") {
			if i > 0 {
				key = ""
			}
			fmt.Fprintf(a.out, "  %-8s %s\n", key, l)
		}
	}
	each := "nothing; it acts once, on the estate"
	if d.Over != estate.Nothing {
		each = string(d.Over)
	}
	field("each:", each)
	field("effect:", map[action.Effect]string{
		action.ReadOnly: "none: it only looks", action.RecordsOnly: "writes records alone, and runs in every mode",
		action.Mutates: "changes the estate: needs an approved plan",
	}[d.Effect])
	undo := "impossible"
	switch {
	case d.IsCheck():
		undo = "nothing to undo"
	case d.CanUndo():
		undo = "planned, approved and proven like the act"
	}
	field("undo:", undo)
	field("drill:", string(d.Drill))
	if len(d.Needs) > 0 {
		field("needs:", strings.Join(d.Needs, ", ")+" in an earlier step")
	}
	for _, r := range d.Requires {
		field("estate:", r.Says)
	}
	fmt.Fprintln(a.out, "  with:")
	if len(d.Params) == 0 {
		fmt.Fprintln(a.out, "    no parameters")
	}
	for _, p := range d.Params {
		optional := ", optional"
		if p.Required {
			optional = ""
		}
		put(fmt.Sprintf("    %s (%s%s): %s", p.Name, p.Type, optional, p.Doc), "      ")
	}
	fmt.Fprintln(a.out, "  its proof turns, as tests show:")
	for _, r := range d.RedWhen {
		put(fmt.Sprintf("    to %s by %s", r.Want, r.Fault), "      ")
	}
	if with := example(d); with != "" {
		fmt.Fprintln(a.out, "\nAs a step:\n\n"+with)
	}
}

// example is the action as a runbook has it.
func example(d *action.Definition) string {
	kind := "do"
	if d.IsCheck() {
		kind = "check"
	}
	b := &strings.Builder{}
	fmt.Fprintf(b, "  - step: Say here what it is for\n    %s: %s", kind, d.Name)
	if d.Over != estate.Nothing {
		fmt.Fprintf(b, "\n    each: %s", d.Over)
	}
	with := map[string]string{}
	for _, p := range d.Params {
		if p.Required {
			with[p.Name] = "…"
		}
	}
	if len(with) > 0 {
		raw, err := json.Marshal(with)
		if err != nil {
			return ""
		}
		fmt.Fprintf(b, "\n    with: %s", raw)
	}
	return b.String()
}
