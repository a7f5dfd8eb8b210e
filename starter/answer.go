package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/wire"

	"github.com/spf13/cobra"
)

// answerFlags are those of decide.
type answerFlags struct {
	key, by, reason, owner, due string
	items                       []string
	look                        reviewFlags
	expires                     time.Duration
	print, signal               bool
}

func (a *app) decideCommand() *cobra.Command {
	var f answerFlags
	c := &cobra.Command{
		Use:   "decide RUN retry|verify|waive|undo|done|abort|pause|resume|note",
		Short: "Answer a question of a run",
		Long: `Answers what a run asks: a plan that failed, a look that is red, a step that
did not pass, an undo that failed, or a manual step.

  retry   do it again, from where it stands; planned again if the world moved
  verify  it was done by hand: look again, and do nothing
  waive   go on although the items of --item are not proven: two people, each
          with a --reason; the run is no plain pass then
  undo    plan taking back what the run did; that plan is approved at a gate
  done    the manual step was done; its check then proves it or does not
  abort   stop the run; nothing is taken back by itself

and, whatever the run is doing:

  pause   begin nothing more; what has begun is finished
  resume  let a paused run go on
  note    write --reason into the run's record

In a live run waive, undo, done and resume are signed, with --key, by a member
of the role that is asked. What only stops, or looks again, needs no signature.
Before it is signed, what is asked is read from the run's ledger and held
against your estate, as approve does.`,
		Example: `  breakwater decide RegionalFailover-lab-20261121-031205 retry --by ana
  breakwater decide RegionalFailover-lab-20261121-031205 undo --key ~/.ssh/id_ed25519
  breakwater decide RegionalFailover-lab-20261121-031205 waive \
      --item restore-meaning@tier-1/1-table.promote/orders \
      --reason "rebuilt from the events" --key ~/.ssh/id_ed25519
  breakwater decide RegionalFailover-lab-20261121-031205 done --key ~/.ssh/id_ed25519 \
      --owner ana --due 2026-12-01`,
		Args: exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.decide(c.Context(), parseName(args[0]), approval.Verb(strings.ToLower(args[1])), f)
		},
	}
	c.Flags().StringVar(&f.key, "key", "", "your SSH key: private, or public with the private one in the agent (default: the agent's key that the role knows)")
	c.Flags().StringVar(&f.by, "by", "", "who decides: a member of the role that is asked; with a key, whose it is")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the record")
	c.Flags().StringArrayVar(&f.items, "item", nil, "what a waive is about, as STEP/ITEM; once for each")
	c.Flags().StringVar(&f.owner, "owner", "", "who takes over the obligations that are open")
	c.Flags().StringVar(&f.due, "due", "", "until when, as 2026-12-01")
	c.Flags().DurationVar(&f.expires, "expires", 15*time.Minute, "until when the signature counts; 0 for always")
	c.Flags().BoolVar(&f.print, "print", false, "send nothing: print the JSON, signed where it must be, to paste into the UI or tctl")
	f.look.addTrust(c)
	c.Flags().BoolVar(&f.signal, "signal", false, "send a signal, which waits for a worker, and gives no answer")
	return c
}

// decide sends a decision, signed where it must be.
func (a *app) decide(ctx context.Context, n name, verb approval.Verb, f answerFlags) error {
	d := approval.Decision{Verb: verb, By: f.by, Reason: f.reason, Owner: f.owner, Due: f.due}
	if len(f.items) > 0 {
		d.Items = slices.Compact(slices.Sorted(slices.Values(f.items)))
	}
	if d.Due != "" {
		if _, err := time.Parse(time.DateOnly, d.Due); err != nil {
			return wrong(errUsage, "", "--due %q is no date such as 2026-12-01", d.Due)
		}
	}
	if verb == approval.Approve || verb == approval.Reject {
		return wrong(errUsage, cmd(string(verb), n.workflow)+" --key FILE", "a plan is approved and rejected by commands of their own")
	}
	if verb == approval.Note && d.Reason == "" {
		return wrong(errUsage, "", `a note needs --reason: --reason "the status page says that the region is back"`)
	}
	s, err := a.status(ctx, n)
	if err != nil && !f.signal {
		return err
	}
	if err == nil && !slices.Contains([]approval.Verb{approval.Abort, approval.Pause, approval.Note}, verb) {
		if err := a.about(ctx, n, s, &d, f); err != nil {
			return err
		}
	}
	if f.print {
		return a.printDecision(wire.SignalDecide, n, d)
	}
	return a.send(ctx, n, wire.SignalDecide, d, f.signal)
}

// about makes a decision one about what the run asks now.
func (a *app) about(ctx context.Context, n name, s wire.Status, d *approval.Decision, f answerFlags) error {
	g, text := s.Open, ""
	switch {
	case d.Verb == approval.Resume && s.Paused == nil:
		return wrong(errRefused, cmd("status", n.workflow), "run %s is not paused: it is %s, %s", n, s.State, s.Doing)
	case d.Verb == approval.Resume:
		g, text = s.Paused.Open, "It is paused by "+s.Paused.By
	case g == nil:
		return wrong(errRefused, cmd("status", n.workflow), "run %s asks nothing now: it is %s, %s", n, s.State, s.Doing)
	case s.Ask != nil:
		text = s.Ask.Question
	case s.Gate != nil:
		text = "The plan of " + s.Gate.Stage
	}
	offer, ok := g.Spec.Offer(d.Verb)
	if !ok {
		var takes, why []string
		for _, o := range g.Spec.Offers {
			takes = append(takes, string(o.Verb))
		}
		if s.Ask != nil {
			why = s.Ask.NotOffered
		} else if s.Gate != nil {
			why = s.Gate.NotOffered
		}
		return wrong(errUsage, cmd("status", n.workflow), "%q is no answer here: %q takes %s%s", d.Verb, text, strings.Join(takes, ", "), strings.Join(append([]string{""}, why...), "; "))
	}
	if offer.Items && len(d.Items) == 0 {
		return wrong(errUsage, g.Command(d.Verb), "%s is about single items: name each with --item, of %s", d.Verb, strings.Join(g.Spec.Items, ", "))
	}
	if offer.Reason && d.Reason == "" {
		return wrong(errUsage, g.Command(d.Verb), "%s needs --reason, for whoever reads the report", d.Verb)
	}
	d.Gate, d.Attempt = g.Spec.About.Gate, g.Spec.About.Attempt
	if g.Spec.Role.Method != estate.Signed || !g.Spec.Proves(offer) && f.key == "" {
		return nil
	}
	p, err := a.vouch(ctx, s, g.Spec.About, f.look, f.again(n, d.Verb))
	if err != nil {
		return err
	}
	role, ok := p.estate.Role(g.Spec.Role.Role)
	if !ok {
		return wrong(errRefused, "", "role %q, which is asked, is not in the run's estate", g.Spec.Role.Role)
	}
	key, who, err := signer(ctx, f.key, f.by, *role)
	if err != nil {
		return err
	}
	d.By = who
	if f.expires > 0 {
		d.Expires = time.Now().Add(f.expires).UTC().Truncate(time.Second)
	}
	if d.Verb == approval.Resume {
		fmt.Fprintf(a.err, "%s\n", text)
	}
	if d.Signature, err = g.StatementOf(*d).Sign(key); err != nil {
		return fmt.Errorf("sign %s: %w", d.Verb, err)
	}
	return nil
}
