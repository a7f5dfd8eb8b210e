package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/clip"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/takeover"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
)

func (a *app) lockCommand() *cobra.Command {
	show := &cobra.Command{
		Use: "show ESTATE", Short: "Show which run holds an estate, and since when",
		Long: `Shows the lock of an estate as its ledger has it: the epoch, the run that may
change the estate, when that run was last heard of in its ledger, and whether
somebody has asked to take the lock over. Temporal is not asked.`,
		Example: "  breakwater lock show lab",
		Args:    exactly(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.showLock(c.Context(), args[0], time.Now()) },
	}
	var f takeFlags
	take := &cobra.Command{
		Use: "take-over ESTATE --run ID --reason TEXT", Short: "Take an estate's lock from a run that will not give it back",
		Long: fmt.Sprintf(`Takes the lock of an estate from the run that holds it, for a run that is
started afterwards with that id. It takes two members of the role that approves
the first gate of the runbook; each runs the same command with their own key.
First abort the run, if it can be aborted: that gives the lock back.

The first signature stops the holder: it changes nothing from then on. The
second counts %d seconds later, when no request of the holder can be under way
any more, and until %d minutes later. Without a second one the holder may go on
after %d minutes. The run that takes over has both signatures in its ledger.

What is signed lies in the ledger of the estate, which this command must be
allowed to write. If that ledger is lost for good, let the estate name an empty
location, and say what the end of the former run says with --lost, --holder,
--epoch and --runbook: the new run's ledger begins with that.`, int(takeover.Wait.Seconds()), int((takeover.Valid - takeover.Wait).Minutes()), int(takeover.Valid.Minutes())),
		Example: `  breakwater lock take-over lab --run RegionalFailover-lab-2 \
      --reason "its Temporal is gone" --key ~/.ssh/id_ed25519`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error { return a.takeLock(c.Context(), args[0], f) },
	}
	take.Flags().StringVar(&f.run, "run", "", "id of the run that takes over, to be started afterwards")
	take.Flags().StringVar(&f.book, "runbook", "", "its runbook (default that of the holder)")
	take.Flags().StringVar(&f.reason, "reason", "", "why, for the record")
	take.Flags().StringVar(&f.key, "key", "", "your SSH key, as for approve")
	take.Flags().StringVar(&f.as, "as", "", "the member that you are (default: whose key it is)")
	take.Flags().StringVar(&f.lost, "lost", "", "the ledger is lost: its last known entry, NUMBER:HASH")
	take.Flags().StringVar(&f.holder, "holder", "", "with --lost: the run that held it, ID/FIRST-RUN")
	take.Flags().Int64Var(&f.epoch, "epoch", 0, "with --lost: the epoch of that run")
	take.Flags().BoolVar(&f.yes, "yes", false, "do not ask: sign what is shown")
	return group(&cobra.Command{Use: "lock", Short: "Show an estate's lock, or take it over"}, show, take)
}

type takeFlags struct {
	run, book, reason, key, as string
	lost, holder               string
	epoch                      int64
	yes                        bool
}

// gone makes of a location without anything the lock that was lost with its ledger, as the
// last word of the run that held it has it.
func (f takeFlags) gone(ctx context.Context, e *estate.Estate, s store.Store, state *store.LockState) error {
	if f.lost == "" {
		return nil
	}
	const help = "breakwater lock take-over --help"
	doing := "take over the lock of estate " + e.Estate + " without its ledger"
	workflow, first, ok := strings.Cut(f.holder, "/")
	seq, hash, head := strings.Cut(f.lost, ":")
	if _, err := strconv.ParseInt(seq, 10, 64); err != nil || !head || len(hash) != 64 || !ok || workflow == "" || first == "" || f.epoch < 1 || f.book == "" {
		return wrong(errUsage, help, "%s: say with --lost, --holder, --epoch and --runbook what the end of the former run says: its last entry as NUMBER:HASH, the run as ID/FIRST-RUN, and its epoch", doing)
	}
	if state.Claim != nil && state.Claim.Statement.Lost == f.lost && state.Epoch == f.epoch {
		return nil // the first signature is there
	}
	runs, err := store.Runs(ctx, s)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if len(runs) > 0 || state.Epoch > 0 || state.Holder != nil {
		return wrong(errRefused, cmd("lock", "show", e.Estate), "%s: its ledger's location is not empty, so nothing is lost there: take the lock over without --lost", doing)
	}
	state.Epoch, state.Holder = f.epoch, &store.Holder{Run: ledger.Run{Workflow: workflow, FirstRun: first}, Runbook: f.book, Mode: "live"}
	return nil
}

// theLock opens the lock of an estate.
func (a *app) theLock(ctx context.Context, doing, name string) (*estate.Estate, store.Store, error) {
	e, err := a.estate(ctx, doing, name)
	if err != nil {
		return nil, nil, err
	}
	s, err := a.systems.Ledger(ctx, e)
	if err != nil {
		return nil, nil, fmt.Errorf("%s of estate %s: %w", doing, name, err)
	}
	return e, s, nil
}

// heard is the last that the ledger has of a run.
type heard struct {
	Seq  int64       `json:"seq"`
	Kind ledger.Kind `json:"kind"`
	At   time.Time   `json:"at"`
}

// lastHeard says when the run's ledger was written last, and what; nil if it has nothing.
func lastHeard(ctx context.Context, s store.Store, run ledger.Run) (*heard, string) {
	if run.FirstRun == "" {
		return nil, "It has not begun."
	}
	entries, _, err := store.Load(ctx, s, run)
	switch {
	case err != nil:
		return nil, fmt.Sprintf("Its ledger cannot be read: %v.", err)
	case len(entries) == 0:
		return nil, "Its ledger has no entry."
	}
	last := entries[len(entries)-1]
	return &heard{last.Seq, last.Kind, last.Time.UTC()}, fmt.Sprintf("The last entry of its ledger is %d (%s), of %s.", last.Seq, last.Kind, clock(last.Time))
}

// clock is a time as the statement has it.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// tell writes a paragraph. What it says may be of whoever can write to the ledger.
func (a *app) tell(format string, args ...any) {
	for _, l := range wrap(clip.Clean(fmt.Sprintf(format, args...)), 80, "") {
		a.say("%s", l)
	}
}

// paste writes a command to go on with.
func (a *app) paste(command string) { a.say("  %s", clip.Clean(command)) }

// showLock prints the lock's state.
func (a *app) showLock(ctx context.Context, name string, now time.Time) error {
	e, s, err := a.theLock(ctx, "show the lock", name)
	if err != nil {
		return err
	}
	state, err := store.NewLock(s, name).Recalled(ctx)
	if err != nil {
		return err
	}
	told := struct {
		store.LockState
		LastEntry *heard   `json:"last_entry,omitempty"`
		ClaimedBy string   `json:"claimed_by,omitempty"`
		TakenBy   []string `json:"taken_by,omitempty"`
		Next      string   `json:"next,omitempty"`
		Lost      string   `json:"lost,omitempty"`
	}{LockState: state, Lost: state.Lost}
	h := state.Holder
	if state.Lost != "" {
		a.tell("Careful: %s. Find out who. It is shown as that record has it; whether that run gave it back is not known.", state.Lost)
	}
	if h == nil {
		a.tell("Estate %s is free, at epoch %d: a live run can be started.", name, state.Epoch)
	} else {
		var last string
		told.LastEntry, last = lastHeard(ctx, s, h.Run)
		a.tell("Estate %s, epoch %d: held by run %s. %s", name, state.Epoch, h, last)
		told.Next = cmd("lock", "take-over", name, "--run", "NEW-ID", "--reason", "TEXT", "--key", "FILE")
	}
	if t := state.TakenOver(); t != nil && h != nil {
		role, err := a.takers(e, t.Statement.Runbook)
		if err == nil {
			told.TakenBy, err = t.Check(role)
		}
		if err == nil {
			a.tell("By two signatures: %s.", t.Statement.Sentence(told.TakenBy))
		} else {
			a.tell("It is said to be taken over, and no worker here will believe it: %v.", err)
		}
		if h.Run.FirstRun == "" && err == nil {
			told.Next = t.Statement.Start(h.Inputs()...)
		}
	}
	if c := state.Claim; c != nil && state.About(c.Statement) == nil {
		if role, err := a.takers(e, c.Statement.Runbook); err == nil {
			told.ClaimedBy = c.Claims(role, now)
		}
		switch {
		case told.ClaimedBy == "":
			a.tell("Somebody asks in it to take it over, and no member of the role signed that, or it is over: it stops nobody.")
		case now.Before(c.Statement.Until()):
			told.Next = c.Statement.Command()
			a.tell("%s signed at %s that run %s of %s takes it over: %s. Until %s the holder changes nothing. A second member of role %s signs from %s to %s:",
				told.ClaimedBy, clock(c.Statement.At), c.Statement.Run, c.Statement.Runbook, c.Statement.Reason, clock(c.Statement.Lapses()),
				c.Statement.Role, clock(c.Statement.From()), clock(c.Statement.Until()))
		default:
			a.tell("%s signed at %s that run %s takes it over, and nobody signed it too: the holder goes on at %s.",
				told.ClaimedBy, clock(c.Statement.At), c.Statement.Run, clock(c.Statement.Lapses()))
		}
	}
	if told.ClaimedBy == "" && told.Next != "" && h.Run.FirstRun == "" && told.TakenBy != nil {
		a.tell("Start the run that it waits for:")
	} else if told.ClaimedBy == "" && told.Next != "" {
		a.tell("If that run can neither go on nor be aborted, two people take the lock over:")
	}
	if told.Next != "" {
		a.paste(told.Next)
	}
	if a.json {
		a.line("lock", told)
	}
	return nil
}

// takers are those who may take an estate over for a run of a runbook.
func (a *app) takers(e *estate.Estate, book string) (estate.Role, error) {
	rb, err := a.book(book)
	if err != nil {
		return estate.Role{}, err
	}
	name, err := runbook.FirstRole(rb)
	if err != nil {
		return estate.Role{}, wrong(errRefused, "", "%w", err)
	}
	role, ok := e.Role(name)
	switch {
	case !ok:
		return estate.Role{}, wrong(errRefused, cmd("estate", "check", e.Estate), "role %s of the first gate of runbook %s is not in estate %s", name, book, e.Estate)
	case role.Method != estate.Signed:
		return estate.Role{}, wrong(errRefused, "", "role %s of the first gate of runbook %s is one of method %s, and a lock is taken over by signatures", name, book, role.Method)
	}
	return *role, nil
}

// takeLock signs a take-over, and carries it out with the second signature.
func (a *app) takeLock(ctx context.Context, name string, f takeFlags) error {
	e, s, err := a.theLock(ctx, "take over the lock", name)
	if err != nil {
		return err
	}
	return a.takeOver(ctx, e, s, f, time.Now, func(role estate.Role) (ssh.Signer, string, error) {
		return signer(ctx, f.key, f.as, role)
	})
}

// takes is what a take-over came to, for programs.
type takes struct {
	takeover.Signed
	By     []string  `json:"by"`
	Needed int       `json:"needed"` // signatures
	From   time.Time `json:"from"`   // when the second one counts
	Until  time.Time `json:"until"`
	Epoch  int64     `json:"epoch,omitempty"` // the new one
	Next   string    `json:"next"`
}

// takeOver is one person's part in a take-over, by a clock.
func (a *app) takeOver(ctx context.Context, e *estate.Estate, s store.Store, f takeFlags, now func() time.Time, sign func(estate.Role) (ssh.Signer, string, error)) error {
	fail := func(err error, next string) error {
		return hint(fmt.Errorf("take over the lock of estate %s: %w", e.Estate, err), next)
	}
	show := cmd("lock", "show", e.Estate)
	lock := store.NewLock(s, e.Estate)
	state, err := lock.Recalled(ctx)
	if err != nil {
		return err
	}
	if err := f.gone(ctx, e, s, &state); err != nil {
		return err
	}
	if state.Holder == nil {
		return fail(wrong(errRefused, "", "nobody holds it, so a run can simply be started"), show)
	}
	claim, first, err := a.claim(e, state, f, now())
	if err != nil {
		return err
	}
	role, err := a.takers(e, claim.Statement.Runbook)
	if err != nil {
		return fail(err, show)
	}
	claim.Statement.Role = role.Role
	key, who, err := sign(role)
	if err != nil {
		return err
	}
	if estate.SameName(first, who) && first != "" {
		return fail(wrong(errRefused, "", "%s signed it already, and it takes another member of role %s, between %s and %s",
			who, role.Role, clock(claim.Statement.From()), clock(claim.Statement.Until())), show)
	}
	a.tell("Take over the lock of estate %s for run %s of %s: %s.", e.Estate, claim.Statement.Run, claim.Statement.Runbook, claim.Statement.Reason)
	_, last := lastHeard(ctx, s, state.Holder.Run)
	a.tell("It is held by run %s, at epoch %d. %s", state.Holder, state.Epoch, last)
	if state.Lost != "" {
		a.tell("Careful: %s.", state.Lost)
	}
	if claim.Statement.Lost != "" {
		a.tell("Careful%s.", claim.Statement.LostWords())
	}
	if first != "" {
		a.tell("%s signed that at %s.", first, clock(claim.Statement.At))
	}
	if err := a.sure(ctx, f.yes, fmt.Sprintf("Sign it as %s?", who)); err != nil {
		return err
	}
	at := now().UTC()
	if first == "" {
		claim.Statement.At = at.Truncate(time.Second)
	}
	sig, err := claim.Statement.Sign(key)
	if err != nil {
		return err
	}
	claim.Signatures = append(claim.Signatures[:len(claim.Signatures):len(claim.Signatures)], sig)
	out := takes{Signed: claim, From: claim.Statement.From(), Until: claim.Statement.Until()}
	if first == "" {
		counts := func(c takeover.Signed) bool { return c.Claims(role, at) != "" }
		if err := lock.Claim(ctx, claim, at, counts); err != nil {
			return fail(err, show)
		}
		out.By, out.Needed, out.Next = []string{who}, 1, claim.Statement.Command()
		a.tell("%s signed, 1 of 2. Run %s changes nothing from now on, until %s. Another member of role %s signs between %s and %s:",
			who, state.Holder.Run, clock(claim.Statement.Lapses()), role.Role, clock(out.From), clock(out.Until))
	} else {
		if out.By, err = claim.Check(role); err != nil {
			return fail(wrong(errRefused, "", "%w", err), show)
		}
		after, err := lock.TakeOver(ctx, claim, at)
		if errors.Is(err, store.ErrEarly) {
			return fail(fmt.Errorf("%w; sign it then", err), claim.Statement.Command())
		} else if err != nil {
			return fail(err, show)
		}
		out.Epoch, out.Next = after.Epoch, claim.Statement.Start(after.Holder.Inputs()...)
		a.tell("%s signed, 2 of 2. Estate %s is at epoch %d and waits for run %s alone, within a day. Start it:", who, e.Estate, after.Epoch, claim.Statement.Run)
	}
	a.paste(out.Next)
	if a.json {
		a.line("take-over", out)
	}
	return nil
}

// claim is what is to be signed, and who signed it first, if somebody did.
func (a *app) claim(e *estate.Estate, state store.LockState, f takeFlags, now time.Time) (claim takeover.Signed, first string, err error) {
	fail := func(kind error, next, format string, args ...any) (takeover.Signed, string, error) {
		return takeover.Signed{}, "", wrong(kind, next, "take over the lock of estate %s: %w", e.Estate, fmt.Errorf(format, args...))
	}
	const help = "breakwater lock take-over --help"
	if c := state.Claim; c != nil && state.About(c.Statement) == nil && now.Before(c.Statement.Until()) {
		role, err := a.takers(e, c.Statement.Runbook)
		if err == nil {
			first = c.Claims(role, now)
		}
		s := c.Statement
		switch {
		case first == "": // nobody's: it is in nobody's way
		case f.run != "" && f.run != s.Run, f.book != "" && f.book != s.Runbook:
			return fail(errRefused, s.Command(), "%s signed first, for run %s of %s, and it cannot be another one before %s", first, s.Run, s.Runbook, clock(s.Until()))
		default:
			return *c, first, nil
		}
	}
	claim = takeover.Signed{Statement: takeover.Statement{
		Estate: e.Estate, Epoch: state.Epoch, Holder: state.Holder.Run, Run: f.run, Runbook: f.book, Reason: strings.TrimSpace(f.reason),
		Lost: f.lost,
	}}
	s := &claim.Statement
	if s.Runbook == "" {
		s.Runbook = state.Holder.Runbook
	}
	switch {
	case s.Run == "" || s.Reason == "":
		return fail(errUsage, help, "say for which run, and why, with --run and --reason")
	case len(s.Reason) > takeover.ReasonMost:
		return fail(errUsage, help, "the reason has %d bytes, and at most %d are kept", len(s.Reason), takeover.ReasonMost)
	case s.Run == state.Holder.Run.Workflow:
		return fail(errUsage, help, "run %s holds it: an id names one run for ever, so give another", s.Run)
	}
	if why := estate.RunID(s.Run); why != "" {
		return fail(errUsage, help, "for run %q: %s", s.Run, why)
	}
	return claim, "", nil
}
