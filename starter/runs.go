package main

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"github.com/spf13/cobra"
	enums "go.temporal.io/api/enums/v1"
)

// listed is a run as `runs` shows it.
type listed struct {
	Run      string          `json:"run"`
	FirstRun string          `json:"first_run"`
	Runbook  string          `json:"runbook"`
	Estate   string          `json:"estate,omitempty"`
	Mode     string          `json:"mode,omitempty"`
	State    string          `json:"state"`
	Stage    string          `json:"stage,omitempty"`
	Verdict  verdict.Verdict `json:"verdict"`
	Incident string          `json:"incident,omitempty"`
	Since    time.Time       `json:"since"`
}

func (a *app) runsCommand() *cobra.Command {
	var open bool
	var most int
	c := &cobra.Command{
		Use:   "runs",
		Short: "List runs, newest first",
		Long: `Lists runs: what each does, in which mode, and its verdict. A run has no verdict
before it has ended. Whoever waits for you is shown as waiting-for-approval or
waiting-for-decision.`,
		Example: `  breakwater runs --open
  breakwater runs --json | jq -r 'select(.state=="waiting-for-approval").run'`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error { return a.runs(c.Context(), open, most) },
	}
	c.Flags().BoolVar(&open, "open", false, "only those that have not ended")
	c.Flags().IntVar(&most, "limit", 20, "how many at most")
	return c
}

func (a *app) runs(ctx context.Context, open bool, most int) error {
	query := wire.AttrMode + " IS NOT NULL"
	if open {
		query += " AND ExecutionStatus = 'Running'"
	}
	pages, err := a.list(ctx, query, most)
	if err != nil {
		return err
	}
	var all []listed
	for _, p := range pages {
		for i, e := range p.GetExecutions() {
			l := listed{
				Run: e.GetExecution().GetWorkflowId(), FirstRun: e.GetFirstRunId(), Runbook: e.GetType().GetName(),
				Estate: keyword(p, i, wire.AttrEstate), Mode: keyword(p, i, wire.AttrMode), State: keyword(p, i, wire.AttrState),
				Stage: keyword(p, i, wire.AttrStage), Incident: keyword(p, i, wire.AttrIncident), Since: e.GetStartTime().AsTime(),
			}
			switch e.GetStatus() {
			case enums.WORKFLOW_EXECUTION_STATUS_RUNNING:
				if l.State == "" {
					l.State = string(wire.StateStarting)
				}
			case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:
				l.State, l.Verdict = string(wire.StateEnded), verdict.Pass
			case enums.WORKFLOW_EXECUTION_STATUS_FAILED: // a run without a pass ends as an error
				l.State, l.Verdict = string(wire.StateEnded), verdict.Fail
			case enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
				continue // the run goes on as the next one
			default:
				l.State = "ended: " + e.GetStatus().String()
			}
			// The run itself says more than Temporal does: one without a pass has not
			// always failed.
			var said verdict.Verdict
			if err := said.UnmarshalText([]byte(keyword(p, i, wire.AttrVerdict))); err == nil && l.State == string(wire.StateEnded) {
				l.Verdict = said
			}
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(x, y listed) int { return y.Since.Compare(x.Since) })
	if a.json {
		for _, l := range all {
			a.line("run", l)
		}
		return nil
	}
	if len(all) == 0 {
		a.say("No run%s. Start one with:\n  breakwater start RUNBOOK --estate NAME", map[bool]string{true: " is open", false: ""}[open])
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tMODE\tSTATE\tVERDICT\tSINCE")
	for _, l := range all {
		v := l.Verdict.String()
		if l.State != string(wire.StateEnded) {
			v = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Run, l.Mode, l.State, v, ago(time.Since(l.Since)))
	}
	return w.Flush()
}

// ago is a length of time in few letters.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
