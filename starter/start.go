package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/shell"
	"breakwater/internal/temporalerr"
	"breakwater/internal/wire"

	"github.com/spf13/cobra"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// startFlags are those of start.
type startFlags struct {
	estate, mode, incident, id, input string
	groups                            []string
	watch                             bool
}

func (a *app) startCommand() *cobra.Command {
	var f startFlags
	c := &cobra.Command{
		Use:   "start RUNBOOK --estate NAME [input=value ...]",
		Short: "Start a run of a runbook",
		Long: `Starts a run. Without --mode it plans: it shows what every stage would do and
changes nothing. The inputs are checked here first where the estate is at hand;
the worker checks them again in any case.

A live run needs --incident. It still changes nothing before people approve the
first plan.`,
		Example: `  breakwater start RegionalFailover --estate lab \
      source=us-east-1 target=us-west-2 --watch
  breakwater start RegionalFailover --estate lab --mode live \
      --incident INC-2041 source=us-east-1 target=us-west-2
  breakwater start RegionalFailover \
      --input '{"estate":"lab","source":"us-east-1","target":"us-west-2"}'`,
		Args: between(1, 1000),
		RunE: func(c *cobra.Command, args []string) error { return a.start(c.Context(), args[0], args[1:], f) },
	}
	c.Flags().StringVar(&f.estate, "estate", "", "the estate to recover, by name")
	c.Flags().StringVar(&f.mode, "mode", "", "plan, drill or live (default plan)")
	c.Flags().StringVar(&f.incident, "incident", "", "why: an incident id such as INC-2041; live needs it")
	c.Flags().StringSliceVar(&f.groups, "groups", nil, "only these consistency groups: orders,payments")
	c.Flags().StringVar(&f.id, "id", "", "id of the run (default RUNBOOK-ESTATE-DATE-TIME)")
	c.Flags().StringVar(&f.input, "input", "", "all inputs as one flat JSON object")
	c.Flags().BoolVar(&f.watch, "watch", false, "watch the run until it ends")
	return c
}

func (a *app) start(ctx context.Context, book string, pairs []string, f startFlags) error {
	rb, err := a.book(book)
	if err != nil {
		return err
	}
	input, err := makeInput(rb, pairs, f)
	if err != nil {
		return err
	}
	if err := a.checkInput(ctx, rb, input); err != nil {
		return err
	}
	var about struct {
		Estate   string      `json:"estate"`
		Mode     action.Mode `json:"mode"`
		Incident string      `json:"incident"`
	}
	if err := json.Unmarshal(input, &about); err != nil {
		return wrong(errUsage, "breakwater start --help", "the input of %s: %w", rb.Name, err)
	}
	if about.Mode == "" {
		about.Mode = action.ModePlan
	}
	n := name{workflow: f.id}
	if f.id == "" {
		n.workflow = fmt.Sprintf("%s-%s-%s", rb.Name, about.Estate, time.Now().UTC().Format("20060102-150405"))
	}
	if why := estate.RunID(n.workflow); why != "" {
		return wrong(errUsage, "breakwater start --help", "start run %q: %s; give another with --id, or another name to the estate", n.workflow, why)
	}
	t, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	attributes := []temporal.SearchAttributeUpdate{
		temporal.NewSearchAttributeKeyKeyword(wire.AttrEstate).ValueSet(about.Estate),
		temporal.NewSearchAttributeKeyKeyword(wire.AttrMode).ValueSet(string(about.Mode)),
	}
	if about.Incident != "" {
		attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(wire.AttrIncident).ValueSet(about.Incident))
	}
	sctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := t.ExecuteWorkflow(sctx, client.StartWorkflowOptions{
		ID: n.workflow, TaskQueue: a.cfg.TaskQueue,
		// An id names one run for ever: evidence and approvals quote it.
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes: temporal.NewSearchAttributes(attributes...),
		StaticSummary:         strings.TrimSpace(fmt.Sprintf("%s %s of %s %s", about.Mode, rb.Name, about.Estate, about.Incident)),
	}, rb.Name, input)
	if err != nil {
		return a.startError(n, err)
	}
	n.first = r.GetRunID()
	if a.json {
		a.line("started", struct {
			Run      string          `json:"run"`
			FirstRun string          `json:"first_run"`
			Runbook  string          `json:"runbook"`
			Mode     action.Mode     `json:"mode"`
			Input    json.RawMessage `json:"input"`
			Link     string          `json:"link,omitempty"`
		}{n.workflow, n.first, rb.Name, about.Mode, input, a.link(n)})
	}
	a.say("%s", n.workflow)
	if about.Mode == action.ModePlan {
		fmt.Fprintln(a.err, "Mode plan: every stage is planned, nothing is changed.")
	}
	if l := a.link(n); l != "" {
		fmt.Fprintln(a.err, "UI:", l)
	}
	if !a.polled(ctx) {
		fmt.Fprintf(a.err, "No worker polls task queue %s yet: the run waits until one does.\n  breakwater-worker --estates DIR\n", a.cfg.TaskQueue)
	}
	if f.watch {
		return a.watch(ctx, n)
	}
	fmt.Fprintf(a.err, "Watch it with:\n  %s\n", cmd("watch", n.workflow))
	return nil
}

func (a *app) startError(n name, err error) error {
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	var bad *serviceerror.InvalidArgument
	switch {
	case errors.As(err, &there):
		return wrong(errRefused, cmd("status", n.workflow), "start run %s: there is a run of that id already; leave --id out, or give another", n)
	case errors.As(err, &bad):
		return wrong(errFailed, "breakwater-worker --estates DIR", "start run %s: %w; if it names a search attribute: a worker registers them when it starts", n, err)
	}
	return fmt.Errorf("start run %s at %s: %w", n, a.options.HostPort, temporalerr.Mark(err))
}

// book finds a runbook by name.
func (a *app) book(want string) (*runbook.Runbook, error) {
	books, ms := a.cfg.Books()
	var known []string
	for _, rb := range books {
		if rb.Name == want {
			return rb, nil
		}
		known = append(known, rb.Name)
	}
	if err := mistake.Error(ms); err != nil {
		return nil, wrong(errUsage, "breakwater runbooks lint", "find runbook %q: %s has mistakes: %w", want, a.cfg.From(), err)
	}
	slices.Sort(known)
	return nil, wrong(errUsage, "breakwater runbooks list", "there is no runbook %q in %s: there are %s%s", want, a.cfg.From(), strings.Join(known, ", "), mistake.DidYouMean(want, known))
}

// makeInput builds the flat JSON of a start from what was typed.
func makeInput(rb *runbook.Runbook, pairs []string, f startFlags) (json.RawMessage, error) {
	fields := map[string]any{}
	if f.input != "" {
		if len(pairs) > 0 || f.estate != "" || f.mode != "" || f.incident != "" || len(f.groups) > 0 {
			return nil, wrong(errUsage, "breakwater start --help", "--input holds all inputs: give either it, or flags and input=value")
		}
		return json.RawMessage(f.input), nil
	}
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return nil, wrong(errUsage, "breakwater start --help", "%q is no input: write name=value, as in source=us-east-1", p)
		}
		if _, twice := fields[key]; twice {
			return nil, wrong(errUsage, "", "%s is given twice", key)
		}
		fields[key] = value
		if i := slices.IndexFunc(rb.Inputs, func(d runbook.InputDecl) bool { return d.Name == key }); i >= 0 {
			fields[key] = typed(rb.Inputs[i].Type, value)
		}
		if key == "groups" {
			fields[key] = strings.Split(value, ",")
		}
	}
	for key, value := range map[string]string{"estate": f.estate, "mode": f.mode, "incident": f.incident} {
		if value == "" {
			continue
		}
		if _, twice := fields[key]; twice {
			return nil, wrong(errUsage, "", "%s is given twice, as --%s and as %s=…", key, key, key)
		}
		fields[key] = value
	}
	if len(f.groups) > 0 {
		fields["groups"] = f.groups
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("write the input as JSON: %w", err)
	}
	return raw, nil
}

// typed gives a number or truth value where the input wants one; what is none is
// left for the check to refuse in its own words.
func typed(t runbook.InputType, value string) any {
	switch t {
	case runbook.IntegerInput:
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return n
		}
	case runbook.BoolInput:
		if b, err := strconv.ParseBool(value); err == nil {
			return b
		}
	}
	return value
}

// checkInput holds the input against the runbook and the estate, where the
// estate is at hand. Otherwise the run does it as its first step.
func (a *app) checkInput(ctx context.Context, rb *runbook.Runbook, input json.RawMessage) error {
	en, err := runbook.EstateOf(input)
	if err != nil {
		return wrong(errUsage, "breakwater start --help", "start %s: %w", rb.Name, err)
	}
	if a.cfg.Estates == "" {
		fmt.Fprintln(a.err, "The estates are not at hand (--estates): the worker checks the inputs.")
		return nil
	}
	e, err := a.systems.Load(ctx, en)
	if errors.Is(err, fs.ErrNotExist) {
		return wrong(errUsage, shell.Command("ls", a.cfg.Estates), "start %s: there is no estate %q in %s%s", rb.Name, en, a.cfg.Estates, mistake.DidYouMean(en, a.estateNames()))
	} else if err != nil {
		return wrong(errUsage, cmd("estate", "check", en), "start %s: %w", rb.Name, err)
	}
	if err := a.refused(rb, e, input); err != nil {
		return wrong(errUsage, "breakwater start --help", "start %s: %w", rb.Name, err)
	}
	return nil
}
