package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/wire"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
)

// voteFlags are those of approve and reject.
type voteFlags struct {
	key, as, reason          string
	expires                  time.Duration
	print, text, yes, signal bool
}

func (f *voteFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.key, "key", "", "your SSH key: private, or public with the private one in the agent (default: the agent's key that the role knows)")
	c.Flags().StringVar(&f.as, "as", "", "the member of the role that you are (default: whose key it is)")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the record")
	c.Flags().DurationVar(&f.expires, "expires", 15*time.Minute, "until when the signature counts; 0 for always")
	c.Flags().BoolVar(&f.print, "print", false, "send nothing: print the signed JSON, to paste into the UI or tctl")
	c.Flags().BoolVar(&f.text, "text", false, "with --print: only the statement, and the ssh-keygen command that signs it")
	c.Flags().BoolVar(&f.signal, "signal", false, "send a signal, which waits for a worker, and gives no answer")
}

func (a *app) approveCommand() *cobra.Command {
	var f voteFlags
	var look reviewFlags
	c := &cobra.Command{
		Use:   "approve RUN --key FILE",
		Short: "Approve the plan of a run's open gate, after recomputing it",
		Long: `Shows what the open gate asks for and approves it with your SSH signature.

All of it is read from the ledger, not from Temporal: the whole chain is held
against the signatures of workers that your estate trusts, every document
against its digest, their root against the gate's, and what the run says of
itself against its first entries. If anything differs, nothing is signed and the
exit code is 4.

Your estate must be at hand, and be the one that the run was started with. Where
it is another one, the difference is shown field by field, and nothing is signed
unless --accept-estate names the run's by its digest. Without an estate, --dir,
--signers and --accept-estate say where the ledger is, whom to trust, and for
what you sign.

Items to which the same is done are shown as one line, those that stand out by
name. --all shows every item, --item NAME one of them with all that Apply reads.`,
		Example: `  breakwater approve RegionalFailover-lab-20261121-031205 --key ~/.ssh/id_ed25519
  breakwater approve RegionalFailover-lab-20261121-031205 --key me.pub --yes
  breakwater approve RegionalFailover-lab-20261121-031205 --item orders
  breakwater approve RegionalFailover-lab-20261121-031205 --key me --print
  breakwater approve RegionalFailover-lab-20261121-031205 --print --text`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.approve(c.Context(), parseName(args[0]), f, look)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask: approve if the recomputed plan is the gate's")
	look.add(c)
	return c
}

func (a *app) rejectCommand() *cobra.Command {
	var f voteFlags
	c := &cobra.Command{
		Use:   "reject RUN --key FILE --reason TEXT",
		Short: "Reject the plan of a run's open gate: the run stops there",
		Long: `Rejects the plan of the open gate. The run stops there and nothing is undone by
itself. It is signed like an approval; the plan is not recomputed, since nothing
comes of it.`,
		Example: `  breakwater reject RegionalFailover-lab-20261121-031205 --key ~/.ssh/id_ed25519 \
      --reason "the region is back"`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.reason == "" && !f.print {
				return wrong(errUsage, "", `reject needs --reason, for the record: --reason "the region is back"`)
			}
			n := parseName(args[0])
			s, err := a.atGate(c.Context(), n)
			if err != nil {
				return err
			}
			role, err := a.role(c.Context(), s)
			if err != nil {
				return err
			}
			return a.vote(c.Context(), n, s, approval.Reject, role, f)
		},
	}
	f.add(c)
	return c
}

// atGate asks a run for its open gate.
func (a *app) atGate(ctx context.Context, n name) (wire.Status, error) {
	s, err := a.status(ctx, n)
	if err != nil {
		return s, err
	}
	if s.Gate == nil {
		return s, wrong(errRefused, cmd("status", n.workflow), "run %s has no open gate: it is %s, %s", n, s.State, s.Doing)
	}
	return s, nil
}

func (a *app) approve(ctx context.Context, n name, f voteFlags, look reviewFlags) error {
	s, err := a.atGate(ctx, n)
	if err != nil {
		return err
	}
	p, err := a.examine(ctx, s, look, f.again(n))
	if err != nil {
		return err
	}
	if look.item != "" {
		return a.showOne(p, look.item)
	}
	role, ok := p.compiled.Role(s.Gate.Role)
	if !ok {
		return wrong(errRefused, "", "role %q of the gate is not in the run's estate", s.Gate.Role)
	}
	if !f.print {
		if a.json {
			a.line("plan", p.told())
		}
		p.show(a.people(), a.styles(a.people()), look.all, time.Now())
		if err := a.sure(ctx, f.yes, fmt.Sprintf("Approve %q, %s, %s?", p.name(), p.mode(), p.regions())); err != nil {
			return err
		}
	}
	return a.vote(ctx, n, s, approval.Approve, role, f)
}

// sure asks on a terminal; without one it wants --yes.
func (a *app) sure(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if !terminal(a.in) {
		return wrong(errUsage, "", "nobody can be asked, since this is no terminal: add --yes to approve what is shown above")
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // a read from a terminal cannot be cancelled
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if err != nil {
			line = ""
		}
		answer <- line
	}()
	select {
	case <-ctx.Done():
		return wrong(errInterrupted, "", "interrupted: nothing was signed")
	case line := <-answer:
		if slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line))) {
			return nil
		}
		return wrong(errRefused, "", "not approved: nothing was signed")
	}
}

// role is the gate's, from the estate here; its keys tell whose signature it is.
func (a *app) role(ctx context.Context, s wire.Status) (estate.Role, error) {
	return a.roleOf(ctx, s, s.Gate.Role)
}

func (a *app) roleOf(ctx context.Context, s wire.Status, name string) (estate.Role, error) {
	e, err := a.estate(ctx, "find the members of role "+name, s.Estate)
	if err != nil {
		return estate.Role{}, err
	}
	r, ok := e.Role(name)
	if !ok {
		return estate.Role{}, wrong(errRefused, cmd("estate", "check", s.Estate), "role %q, which is asked, is not in estate %s here", name, s.Estate)
	}
	return *r, nil
}

// vote signs and sends a decision about the open gate, or prints it.
func (a *app) vote(ctx context.Context, n name, s wire.Status, verb approval.Verb, role estate.Role, f voteFlags) error {
	g := s.Gate
	about := approval.Statement{
		Namespace: a.options.Namespace, Run: ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun},
		Gate: g.ID, Attempt: g.Attempt, Decision: verb, Plan: g.Root,
		Mode: string(s.Run.Mode), Direction: g.Direction, Estate: g.EstateDigest, Head: g.Head,
	}
	d := approval.Decision{Gate: g.ID, Attempt: g.Attempt, Verb: verb, Plan: g.Root, By: f.as, Reason: f.reason}
	if f.expires > 0 {
		about.Expires = time.Now().Add(f.expires).UTC().Truncate(time.Second)
		d.Expires = about.Expires
	}
	if f.text {
		return a.printStatement(about, d, f)
	}
	switch role.Method {
	case estate.Signed:
		key, who, err := signer(ctx, f.key, f.as, role)
		if err != nil {
			return err
		}
		if d.Signature, err = about.Sign(key); err != nil {
			return err
		}
		d.By = who
	case estate.PrincipalMethod: // only a signal carries who sent it
		f.signal = true
	default:
		if d.By == "" {
			return wrong(errUsage, "", "role %s goes by names: say who you are with --as, one of %s", role.Role, members(role))
		}
	}
	if f.print {
		return a.printDecision(string(verb), n, d)
	}
	return a.send(ctx, n, string(verb), d, f.signal)
}

// printStatement prints what is to be signed, and how.
func (a *app) printStatement(about approval.Statement, d approval.Decision, f voteFlags) error {
	if !f.print {
		return wrong(errUsage, "", "--text goes with --print")
	}
	key := f.key
	if key == "" {
		key = "~/.ssh/id_ed25519"
	}
	if a.json {
		a.line("statement", struct {
			Text     string            `json:"text"`
			Command  string            `json:"command"`
			Decision approval.Decision `json:"decision"`
		}{string(about.Text()), about.Shell(key), d})
		return nil
	}
	fmt.Fprintln(a.out, about.Shell(key))
	fmt.Fprintf(a.err, "Send the signature as the member \"signature\", with \"expires\": %q, of the signal\n%s.\n", d.Expires.Format(time.RFC3339), about.Decision)
	return nil
}

// printDecision prints the payload of a signal.
func (a *app) printDecision(signal string, n name, d approval.Decision) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write the decision as JSON: %w", err)
	}
	fmt.Fprintf(a.out, "%s\n", raw)
	fmt.Fprintf(a.err, "Paste it into the UI as signal %s, or:\n  tctl workflow signal -w %s -n %s --input '…'\n", signal, n, signal)
	return nil
}

// send gives a decision to the run and says what became of it.
func (a *app) send(ctx context.Context, n name, signal string, d approval.Decision, bySignal bool) error {
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	sctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	if bySignal {
		if err := c.SignalWorkflow(sctx, n.workflow, "", signal, d); err != nil {
			return a.explain("send "+signal, n, err)
		}
		a.say("Sent. The run takes it when a worker serves it; see what became of it with:\n  %s", cmd("status", n.workflow))
		if a.json {
			a.line("sent", struct {
				Run    string `json:"run"`
				Signal string `json:"signal"`
			}{n.workflow, signal})
		}
		return nil
	}
	var answer wire.Answer
	h, err := c.UpdateWorkflow(sctx, client.UpdateWorkflowOptions{
		WorkflowID: n.workflow, UpdateName: wire.UpdateDecide, Args: []any{d}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = h.Get(sctx, &answer)
	}
	var late *client.WorkflowUpdateServiceTimeoutOrCanceledError
	switch {
	case ctx.Err() != nil:
		return wrong(errInterrupted, cmd("status", n.workflow), "interrupted while %s was under way: whether it counted is not known", signal)
	case errors.As(err, &late), noWorker(err):
		return wrong(errUnknown, cmd(string(signal), n.workflow)+" … --signal", "%s: no worker answered for run %s; a signal waits for one", signal, n)
	case err != nil:
		return a.explain("send "+signal, n, err)
	}
	if a.json {
		a.line("answer", struct {
			Run string `json:"run"`
			wire.Answer
		}{n.workflow, answer})
	}
	if !answer.Counted && !strings.HasPrefix(answer.Outcome, string(approval.Duplicate)) {
		return wrong(errRefused, cmd("status", n.workflow), "%s did not count: %s", signal, strings.TrimPrefix(answer.Outcome, string(approval.Refused)+": "))
	}
	a.say("%s", answer.Outcome)
	return nil
}

func (a *app) abortCommand() *cobra.Command {
	d := approval.Decision{Verb: approval.Abort}
	var signal bool
	c := &cobra.Command{
		Use:   "abort RUN --reason TEXT",
		Short: "Stop a run where it is; nothing is undone by itself",
		Long: `Stops a run at the next safe moment: what is being applied is finished first.
Nothing is undone by itself, and the report says what was done. It works in
every state of the run.`,
		Example: `  breakwater abort RegionalFailover-lab-20261121-031205 \
      --reason "the region is back"`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if d.Reason == "" {
				return wrong(errUsage, "", `abort needs --reason, for the record: --reason "the region is back"`)
			}
			if d.By == "" {
				d.By = os.Getenv("USER")
			}
			return a.send(c.Context(), parseName(args[0]), wire.SignalAbort, d, signal)
		},
	}
	c.Flags().StringVar(&d.Reason, "reason", "", "why, for the record")
	c.Flags().StringVar(&d.By, "by", "", "who decides (default: your login)")
	c.Flags().BoolVar(&signal, "signal", false, "send a signal, which waits for a worker, and gives no answer")
	return c
}
