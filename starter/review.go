package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/review"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"

	"github.com/spf13/cobra"
)

// reviewFlags say what whoever approves trusts, and how much is shown.
type reviewFlags struct {
	dir, signers, accept, item string
	all                        bool
}

func (f *reviewFlags) add(c *cobra.Command) {
	f.addTrust(c)
	c.Flags().BoolVar(&f.all, "all", false, "show every item and every change of the plan")
	c.Flags().StringVar(&f.item, "item", "", "show this item of the plan whole, with its data, and sign nothing")
}

// addTrust adds those that say what is trusted.
func (f *reviewFlags) addTrust(c *cobra.Command) {
	c.Flags().StringVar(&f.accept, "accept-estate", "", "sign for the run's estate of this digest, although yours differs or is not at hand")
	c.Flags().StringVar(&f.dir, "dir", "", "read the ledger from this folder, to which it was exported")
	c.Flags().StringVar(&f.signers, "signers", "", "file with the workers' public keys (default: those of your estate)")
}

// reviewed is a plan that may be shown and signed: recomputed from a verified ledger,
// for an estate that is the one at hand, or was accepted by its digest.
type reviewed struct {
	*plan
	gate     *wire.GateStatus
	run      string
	atHand   bool                // an estate to hold it against
	differs  []estate.Difference // A is the run's, B the one at hand
	read     []review.Step
	losses   []review.Loss
	accepts  []review.Accepted
	contacts []contact
}

// examine reads the plan of an open gate from the ledger, and refuses what must not be
// signed. again is the command that asked, as far as it was typed.
func (a *app) examine(ctx context.Context, s wire.Status, f reviewFlags, again []string) (*reviewed, error) {
	doing := fmt.Sprintf("recompute the plan of gate %s of run %s", s.Gate.ID, s.Run.Workflow)
	local, err := a.estateAtHand(ctx, doing, s.Estate)
	if err != nil {
		return nil, err
	}
	from, trusted, done, err := a.evidenceOf(ctx, doing, s, s.Gate.EstateDigest, local, f, again)
	if err != nil {
		return nil, err
	}
	defer done()
	p, err := recompute(ctx, from, trusted, s)
	if err := a.untrue(doing, s, err); err != nil {
		return nil, err
	}
	r := &reviewed{plan: p, gate: s.Gate, run: s.Run.Workflow}
	if err := a.sameEstate(r, local, s.Estate, f.accept, again); err != nil {
		return nil, err
	}
	if err := a.readable(r); err != nil {
		return nil, err
	}
	r.read, r.losses, r.accepts = review.Steps(p.docs), review.Losses(p.docs), review.Accepts(p.docs, p.body.Accepts)
	r.contacts = r.whom()
	return r, nil
}

// untrue words why what is asked cannot be signed; nil where nothing speaks against it.
func (a *app) untrue(doing string, s wire.Status, err error) error {
	var said *contradicted
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case reach.Unreachable(err): // nothing was found to be wrong
		return wrong(errUnknown, "", "%s: %w; nothing was signed", doing, err)
	case errors.As(err, &said) && a.json:
		a.line("contradiction", struct {
			Run string                 `json:"run"`
			All []review.Contradiction `json:"contradictions"`
		}{s.Run.Workflow, said.all})
	}
	return wrong(errRefused, cmd("verify-evidence", s.Run.Workflow),
		"%s: %w; nothing was signed. Do not sign it: find out who changed it", doing, err)
}

// estateAtHand loads the estate by which whoever approves judges the run's; nil where
// there is none.
func (a *app) estateAtHand(ctx context.Context, doing, name string) (*estate.Estate, error) {
	if a.cfg.Estates == "" {
		return nil, nil
	}
	e, err := a.systems.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, hint(fmt.Errorf("%s: %w", doing, err), cmd("estate", "check", name))
	}
	return e, nil
}

// evidenceOf finds the run's ledger and whose signatures count: by the estate at hand,
// or where the flags say.
func (a *app) evidenceOf(ctx context.Context, doing string, s wire.Status, digest string, local *estate.Estate, f reviewFlags, again []string) (ledger.Reader, []sshsig.Key, func(), error) {
	trusted, err := readSigners(f.signers)
	if err != nil {
		return nil, nil, nil, err
	}
	if local == nil && (f.dir == "" || trusted == nil || f.accept == "") {
		return nil, nil, nil, wrong(errRefused, cmd(append(slices.Clone(again), "--dir", "EVIDENCE", "--signers", "WORKERS.pub", "--accept-estate", digest)...),
			"%s: no estate %s is at hand%s, by which to judge the run's own. Nothing was signed. Name the folder of estates with --estates DIR; or, to sign without one, give the exported ledger, the workers' public keys from where you trust them, and accept the run's estate by its digest",
			doing, s.Estate, in(a.cfg.Estates))
	}
	if trusted == nil {
		if trusted, err = local.Ledger.Trusted(time.Now()); err != nil {
			return nil, nil, nil, fmt.Errorf("%s, estate %s: %w", doing, s.Estate, err)
		}
	}
	if f.dir != "" {
		folder, err := store.OpenFolder(f.dir)
		if err != nil {
			return nil, nil, nil, wrong(errUsage, "", "open the exported evidence: %w", err)
		}
		return folder, trusted, func() { folder.Close() }, nil //nolint:errcheck // it was only read
	}
	from, err := a.systems.Ledger(ctx, local)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", doing, err)
	}
	return from, trusted, func() {}, nil
}

func in(folder string) string {
	if folder == "" {
		return ""
	}
	return " in " + folder
}

// sameEstate refuses a run whose estate is not the one at hand, unless it was accepted
// by its very digest.
func (a *app) sameEstate(r *reviewed, local *estate.Estate, name, accept string, again []string) error {
	if accept != "" && accept != r.digest {
		return wrong(errRefused, cmd(append(slices.Clone(again), "--accept-estate", r.digest)...),
			"--accept-estate %s is not the estate of this run, which is %s; nothing was signed", accept, r.digest)
	}
	if r.atHand = local != nil; !r.atHand {
		return nil // it was accepted, or nothing had been read
	}
	here, err := local.Digest()
	if err != nil {
		return err
	}
	if here == r.digest {
		return nil
	}
	r.differs = estate.Compare(&r.estate, local)
	if accept != "" {
		return nil
	}
	if a.json {
		a.line("estate", struct {
			Run         string              `json:"run"`
			Estate      string              `json:"estate"`
			Digest      string              `json:"digest"`
			Here        string              `json:"here"`
			Differences []estate.Difference `json:"differences"`
		}{r.run, name, r.digest, here, r.differs})
	}
	st := a.styles(a.err)
	fmt.Fprintln(a.err, st.bad("The estate of this run is not the one here:"))
	for _, l := range differenceLines(r.differs, false) {
		fmt.Fprintln(a.err, l)
	}
	return wrong(errRefused, cmd(append(slices.Clone(again), "--accept-estate", r.digest)...),
		"the estate of this run is not the one here, in %s; nothing was signed. Find out who changed which of them. To sign for the run's own all the same",
		countOf(int64(len(r.differs)), "field", "fields"))
}

// readable refuses a plan whose own data cannot be shown: nobody approves what they did
// not see.
func (a *app) readable(r *reviewed) error {
	cat := a.catalogue()
	for _, d := range r.docs {
		if _, err := kept(cat, d, r.body.Undo); err != nil {
			return wrong(errRefused, cmd("approve", r.run, "--item", d.Item.String()), "the plan for %s (%s): %w; nothing was signed", d.Item, d.Action, err)
		}
	}
	return nil
}

// kept is what a plan keeps for Apply and Undo, in the action's own words.
func kept(cat *action.Catalogue, d wire.PlanDoc, undo bool) ([]string, error) {
	def, ok := cat.Get(d.Action)
	switch {
	case !ok:
		lines, err := raw(d.Change)
		return append([]string{fmt.Sprintf("This command does not know action %s: its data, as it is", d.Action)}, lines...), err
	case undo:
		return def.ShowUndo(d.Change)
	default:
		return def.Show(d.Change)
	}
}

// raw is what a plan keeps, as it is written.
func raw(c action.Change) ([]string, error) {
	text, err := json.MarshalIndent(struct {
		Data  json.RawMessage `json:"data,omitempty"`
		Undo  json.RawMessage `json:"undo,omitempty"`
		Parts []string        `json:"parts,omitempty"`
	}{c.Data, c.Undo, c.Parts}, "", "  ")
	return strings.Split(string(text), "\n"), err
}

// contact is a role that has a say or a part in this, and its people.
type contact struct {
	Role    string   `json:"role"`
	Why     []string `json:"why"`
	Members []person `json:"members"`
}

// person is somebody, and how to reach them.
type person struct {
	Name    string `json:"name"`
	Contact string `json:"contact,omitempty"`
}

// whom says whom to ask: who approves, who is told next, and who owns what is in scope.
func (p *plan) whom() []contact {
	var all []contact
	add := func(role, why string) {
		if role == "" {
			return
		}
		if i := slices.IndexFunc(all, func(c contact) bool { return c.Role == role }); i >= 0 {
			all[i].Why = append(all[i].Why, why)
			return
		}
		c := contact{Role: role, Why: []string{why}}
		if r, ok := p.estate.Role(role); ok {
			for _, m := range r.Members {
				c.Members = append(c.Members, person{m.Name, m.Contact})
			}
		}
		all = append(all, c)
	}
	add(p.facts.Role, "approves")
	if s, ok := p.stage(); ok && s.Approval != nil {
		add(s.Approval.Escalate, "is told after two reminders")
	}
	owned := map[string][]string{}
	var owners []string
	for _, g := range p.estate.Groups {
		if len(p.facts.Groups) > 0 && !slices.Contains(p.facts.Groups, g.Group) {
			continue
		}
		if owned[g.Owner] == nil {
			owners = append(owners, g.Owner)
		}
		owned[g.Owner] = append(owned[g.Owner], g.Group)
	}
	for _, o := range owners {
		add(o, "owns "+plural.Few(owned[o]))
	}
	add(p.compiled.Owner, "owns the runbook")
	return all
}

// stage is the one whose gate is open.
func (p *plan) stage() (runbook.Stage, bool) {
	i := slices.IndexFunc(p.compiled.Stages, func(s runbook.Stage) bool { return s.ID == p.facts.Stage })
	if i < 0 {
		return runbook.Stage{}, false
	}
	return p.compiled.Stages[i], true
}

// name is what is to be approved, in words of the signed run.
func (p *plan) name() string {
	if p.body.Undo {
		return "Take back what this run did"
	}
	if s, ok := p.stage(); ok {
		return s.Title
	}
	return p.facts.Stage
}

// again is the command that approves, as far as it was typed.
func (f voteFlags) again(n name) []string {
	words := []string{"approve", n.workflow}
	for _, flag := range [][2]string{{"--key", f.key}, {"--as", f.as}, {"--reason", f.reason}} {
		if flag[1] != "" {
			words = append(words, flag[0], flag[1])
		}
	}
	return words
}

// showOne shows the plans for one item whole.
func (a *app) showOne(r *reviewed, item string) error {
	if !r.showWhole(a.people(), a.styles(a.people()), a.catalogue(), item) {
		return wrong(errUsage, cmd("approve", r.run, "--all"), "the plan has no item %q", item)
	}
	if a.json {
		for _, d := range r.docs {
			if d.Item.String() == item || d.Item.Name == item {
				a.line("item", d)
			}
		}
	}
	return nil
}
