package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/crash"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/activity"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

// Estates hands out the estates that this worker is configured for.
type Estates interface {
	// Load reads the estate of that name as it is now. An unknown name wraps
	// fs.ErrNotExist.
	Load(ctx context.Context, name string) (*estate.Estate, error)
	// Ledger opens the estate's ledger.
	Ledger(ctx context.Context, e *estate.Estate) (store.Store, error)
	// Signer is the worker's key for the heads of the estate's ledger.
	Signer(ctx context.Context, e *estate.Estate) (ssh.Signer, error)
}

// Host serves a catalogue.
type Host struct {
	Catalogue *action.Catalogue
	Runbooks  []*runbook.Runbook
	Estates   Estates

	read sync.Map // digest → decoded document: compiled runs and estates
}

// Registry is the part of a Temporal worker, or of its test environment, that
// the Host needs.
type Registry interface {
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Register serves every phase of every action, and the run's own activities.
func (h *Host) Register(r Registry) {
	for _, d := range h.Catalogue.All() {
		phase := func(p wire.Phase, f any) {
			r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: wire.Activity(d.Name, p)})
		}
		phase(wire.PlanPhase, func(ctx context.Context, in wire.PhaseInput) (wire.PlanResult, error) {
			return h.plan(ctx, d, in, wire.PlanPhase)
		})
		phase(wire.VerifyPhase, func(ctx context.Context, in wire.PhaseInput) (wire.VerifyResult, error) {
			return h.verify(ctx, d, in, wire.VerifyPhase)
		})
		if d.IsCheck() {
			continue
		}
		phase(wire.ApplyPhase, func(ctx context.Context, in wire.PhaseInput) (wire.ApplyResult, error) {
			return h.apply(ctx, d, in, wire.ApplyPhase)
		})
		if !d.CanUndo() {
			continue
		}
		phase(wire.UndoPlanPhase, func(ctx context.Context, in wire.PhaseInput) (wire.PlanResult, error) {
			return h.plan(ctx, d, in, wire.UndoPlanPhase)
		})
		phase(wire.UndoApplyPhase, func(ctx context.Context, in wire.PhaseInput) (wire.ApplyResult, error) {
			return h.apply(ctx, d, in, wire.UndoApplyPhase)
		})
		phase(wire.UndoVerifyPhase, func(ctx context.Context, in wire.PhaseInput) (wire.VerifyResult, error) {
			return h.verify(ctx, d, in, wire.UndoVerifyPhase)
		})
	}
	own := func(name string, f any) { r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name}) }
	own(wire.CompileRun, h.compile)
	own(wire.AppendEntry, h.appendEntry)
	own(wire.AcquireLock, h.acquireLock)
	own(wire.ReleaseLock, h.releaseLock)
}

// job is a phase of a step on a batch, with everything resolved.
type job struct {
	in       wire.PhaseInput
	def      *action.Definition
	phase    wire.Phase
	run      ledger.Run
	compiled *runbook.Compiled
	stage    *runbook.Stage
	step     *runbook.Step
	estate   *estate.Estate
	ledger   store.Store
	items    []estate.Item
	label    string // of the batch
	total    atomic.Int64
	said     atomic.Value // string: the last sentence of progress
}

// beat is how often an activity says that its worker lives.
const beat = time.Second

// alive heartbeats until the returned function is called, so that a dead worker
// is noticed within seconds. A hang is bounded by the activity's time limit.
func (j *job) alive(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	go func() {
		t := time.NewTicker(beat)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-t.C:
				activity.RecordHeartbeat(ctx, j.said.Load())
			}
		}
	}()
	return func() { close(done) }
}

// say heartbeats with a sentence.
func (j *job) say(ctx context.Context, format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	j.said.Store(s)
	activity.RecordHeartbeat(ctx, s)
}

// open resolves a phase input. What it reads from the ledger is held against the
// digests in the input.
func (h *Host) open(ctx context.Context, d *action.Definition, in wire.PhaseInput, p wire.Phase) (*job, error) {
	j := &job{in: in, def: d, phase: p, run: ledger.Run{Workflow: in.Run.Workflow, FirstRun: in.Run.FirstRun}}
	j.said.Store("reading the run")
	e, err := document[estate.Estate](ctx, h, in.Files.Estate, in.Run)
	if err != nil {
		return nil, err
	}
	j.estate = e
	if j.ledger, err = h.Estates.Ledger(ctx, e); err != nil {
		return nil, err
	}
	if j.compiled, err = document[runbook.Compiled](ctx, h, in.Files.Compiled, in.Run); err != nil {
		return nil, err
	}
	var ok bool
	if j.stage, j.step, ok = j.compiled.Step(in.Step); !ok {
		return nil, fmt.Errorf("%w: the compiled run has no step %q", action.ErrRefused, in.Step)
	}
	all := e.Items(j.step.Each, j.step.Filter(j.stage.Tier, in.Run.Groups))
	if in.From < 0 || in.To > len(all) || in.From >= in.To {
		return nil, fmt.Errorf("%w: step %q has %d items, asked for %d to %d", action.ErrRefused, in.Step, len(all), in.From, in.To)
	}
	j.items = all[in.From:in.To]
	j.label = j.items[0].Name
	if len(j.items) > 1 {
		j.label = fmt.Sprintf("%s..%s", j.items[0].Name, j.items[len(j.items)-1].Name)
	}
	return j, nil
}

// document reads a document that was pinned when the run was compiled, once per
// worker. The estate tells where its ledger is, so the first read of an estate
// goes through the configured one of the same name; its digest must match.
func document[T any](ctx context.Context, h *Host, ref ledger.DocRef, run action.Run) (*T, error) {
	if have, ok := h.read.Load(ref.SHA256); ok {
		return have.(*T), nil
	}
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return nil, err
	}
	e, err := h.Estates.Load(ctx, id.Item)
	if err != nil {
		return nil, fmt.Errorf("estate %q of run %s: %w", id.Item, run.Workflow, err)
	}
	s, err := h.Estates.Ledger(ctx, e)
	if err != nil {
		return nil, err
	}
	raw, err := store.GetDoc(ctx, s, ref)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("read %s: %w", ref.Key, err)
	}
	h.read.Store(ref.SHA256, v)
	return v, nil
}

// request is what the action is called with for one item.
func (j *job) request(ctx context.Context, item estate.Item) action.Request {
	return action.Request{
		Run: j.in.Run, Stage: j.stage.ID, Step: j.step.ID, Title: j.step.Title, Item: item, Estate: j.estate,
		Records: records{j},
		Progress: func(done, total int64, sentence string) {
			j.say(ctx, "%s: %s (%d of %d)", item, sentence, done, total)
		},
		Guard: j.guard,
	}
}

// guard refuses to go on when the run lost the estate.
func (j *job) guard(ctx context.Context) error {
	if j.in.Run.Mode != action.ModeLive || j.def.Effect != action.Mutates {
		return nil
	}
	return store.NewLock(j.ledger, j.estate.Estate).CheckEpoch(ctx, j.in.Run.Epoch)
}

// key is where a document about an item lies.
func (j *job) key(item, name string) string {
	if j.phase == wire.UndoPlanPhase || j.phase == wire.UndoApplyPhase || j.phase == wire.UndoVerifyPhase {
		name = "undo-" + name
	}
	return ledger.DocKey(j.run, j.step.ID, item, j.in.Attempt, name)
}

// inBatch is how many items of a batch are worked on at the same time.
const inBatch = 8

// each does f for every item of the batch, keeps the document that f returns
// under name, and gives back the reference to it, or to an index of them. The
// first document ever kept for an item at this attempt stays: it is what seen is
// called with, whether this call wrote it or one that died.
func each[D any](ctx context.Context, j *job, name string, f func(context.Context, action.Request) (D, error), seen func(D)) (ledger.DocRef, []ledger.DocRef, error) {
	refs := make([]ledger.DocRef, len(j.items))
	docs := make([]D, len(j.items))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inBatch)
	for n, item := range j.items {
		g.Go(func() error {
			key := j.key(item.Name, name)
			raw, err := j.ledger.Get(ctx, key)
			if errors.Is(err, fs.ErrNotExist) {
				doc, err := f(ctx, j.request(ctx, item))
				if err != nil {
					return fmt.Errorf("%s: %w", item, err)
				}
				if raw, err = ledger.Encode(doc); err != nil {
					return err
				}
				if refs[n], raw, err = store.PutDoc(ctx, j.ledger, key, raw); err != nil {
					return err
				}
			} else if err != nil {
				return fmt.Errorf("%s: look for an earlier answer: %w", item, err)
			} else {
				refs[n] = ledger.Ref(key, raw)
			}
			j.say(ctx, "%d of %d items", j.total.Add(1), len(j.items))
			return json.Unmarshal(raw, &docs[n])
		})
	}
	if err := g.Wait(); err != nil {
		return ledger.DocRef{}, nil, err
	}
	for _, d := range docs {
		seen(d)
	}
	if len(refs) == 1 {
		return refs[0], refs, nil
	}
	raw, err := ledger.Encode(ledger.Index{Docs: refs})
	if err != nil {
		return ledger.DocRef{}, nil, err
	}
	// The kind of document is in the batch's name: an index ends in "index".
	ref, _, err := store.PutDoc(ctx, j.ledger, ledger.DocKey(j.run, j.step.ID, j.label+" "+string(j.phase), j.in.Attempt, ledger.DocIndex), raw)
	return ref, refs, err
}

// approved reads the approved plan of every item of the batch.
func (j *job) approved(ctx context.Context, ref *ledger.DocRef) (map[string]planned, error) {
	if ref == nil {
		return nil, nil
	}
	refs, err := expand(ctx, j.ledger, *ref)
	if err != nil {
		return nil, err
	}
	plans := make(map[string]planned, len(refs))
	for _, ref := range refs {
		raw, err := store.GetDoc(ctx, j.ledger, ref)
		if err != nil {
			return nil, err
		}
		var doc wire.PlanDoc
		if err := json.Unmarshal(raw, &doc); err != nil {
			return nil, fmt.Errorf("read plan %s: %w", ref.Key, err)
		}
		plans[doc.Item.Name] = planned{doc, ref.SHA256}
	}
	for _, i := range j.items {
		if _, ok := plans[i.Name]; !ok {
			return nil, fmt.Errorf("%w: the approved plan of step %q says nothing about %s", action.ErrRefused, j.step.Title, i)
		}
	}
	return plans, nil
}

type planned struct {
	wire.PlanDoc
	digest string
}

// expand gives the documents that a reference stands for: itself, or those of
// the index that it names.
func expand(ctx context.Context, s store.Store, ref ledger.DocRef) ([]ledger.DocRef, error) {
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return nil, err
	}
	if id.Name != ledger.DocIndex {
		return []ledger.DocRef{ref}, nil
	}
	raw, err := store.GetDoc(ctx, s, ref)
	if err != nil {
		return nil, err
	}
	var index ledger.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("read index %s: %w", ref.Key, err)
	}
	return index.Docs, nil
}

func (h *Host) plan(ctx context.Context, d *action.Definition, in wire.PhaseInput, p wire.Phase) (wire.PlanResult, error) {
	res := wire.PlanResult{Interval: wire.Interval{Phase: p, Start: time.Now().UTC()}}
	j, err := h.open(ctx, d, in, p)
	if err != nil {
		return res, err
	}
	defer j.alive(ctx)()
	undo := p == wire.UndoPlanPhase
	var plans map[string]planned
	var priors map[string]action.Outcome
	if undo {
		if plans, err = j.approved(ctx, in.Plan); err != nil {
			return res, err
		}
		if priors, err = j.priors(ctx); err != nil {
			return res, err
		}
	}
	var look []action.Observation
	res.Doc, _, err = each(ctx, j, ledger.DocPlan, func(ctx context.Context, r action.Request) (wire.PlanDoc, error) {
		doc := wire.PlanDoc{Step: j.step.ID, Action: d.Name, Item: r.Item, With: j.step.With}
		var err error
		switch {
		case undo:
			j.give(&r, plans, priors)
			doc.Change, err = d.UndoPlan(ctx, r, j.step.With)
		case d.IsCheck():
			crash.Point(j.point("before"))
			if doc.Found, err = d.Verify(ctx, r, j.step.With); err == nil {
				crash.Point(j.point("after"))
			}
			doc.Found = stable(doc.Found)
			doc.Change = action.Change{Summary: sentence(r.Item, doc.Found), Accepts: accepts(in.Run, doc.Found)}
		default:
			doc.Change, err = d.Plan(ctx, r, j.step.With)
		}
		return doc, err
	}, func(doc wire.PlanDoc) {
		res.Effects += int64(len(doc.Change.Effects))
		if len(res.Summaries) < wire.Shown {
			res.Summaries = append(res.Summaries, doc.Change.Summary)
		}
		for _, a := range doc.Change.Accepts {
			if !slices.Contains(res.Accepts, a) {
				res.Accepts = append(res.Accepts, a)
			}
		}
		if doc.Change.Loss != nil {
			res.Losses = append(res.Losses, *doc.Change.Loss)
		}
		look = append(look, doc.Found...)
	})
	if err != nil {
		return res, err
	}
	if res.Leaf, err = h.leaf(ctx, j, res.Doc); err != nil {
		return res, err
	}
	if d.IsCheck() {
		l := summarize(look)
		res.Look = &l
	}
	res.Interval.End = time.Now().UTC()
	return res, nil
}

// leaf is the batch's leaf of the stage's root: the plan's own where the batch
// is one item, else the root over its items.
func (h *Host) leaf(ctx context.Context, j *job, ref ledger.DocRef) (ledger.Leaf, error) {
	return Leaf(ctx, j.ledger, ref)
}

// Leaf recomputes the leaf that a planned batch has in its stage's root, from the
// documents in the ledger: what `breakwater approve` does before it signs.
func Leaf(ctx context.Context, s store.Store, ref ledger.DocRef) (ledger.Leaf, error) {
	refs, err := expand(ctx, s, ref)
	if err != nil {
		return ledger.Leaf{}, err
	}
	leaves := make([]ledger.Leaf, len(refs))
	for n, r := range refs {
		if _, err := store.GetDoc(ctx, s, r); err != nil {
			return ledger.Leaf{}, err
		}
		if leaves[n], err = r.Leaf(); err != nil {
			return ledger.Leaf{}, err
		}
	}
	if len(leaves) == 1 {
		return leaves[0], nil
	}
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return ledger.Leaf{}, err
	}
	return ledger.Leaf{Step: id.Step, Item: id.Item, SHA256: ledger.Root(leaves)}, nil
}

// give puts the approved plan, and in an undo what was done, into a request.
func (j *job) give(r *action.Request, plans map[string]planned, priors map[string]action.Outcome) (digest string) {
	if p, ok := plans[r.Item.Name]; ok {
		r.Plan, digest = &p.Change, p.digest
	}
	if o, ok := priors[r.Item.Name]; ok {
		r.Prior = &o
	}
	return digest
}

// priors reads what Apply left for every item of the batch. An Apply that died
// half-way left nothing: then the undo has only the plan, and must look.
func (j *job) priors(ctx context.Context) (map[string]action.Outcome, error) {
	if j.in.Prior == nil {
		return nil, nil
	}
	refs, err := expand(ctx, j.ledger, *j.in.Prior)
	if err != nil {
		return nil, err
	}
	outcomes := make(map[string]action.Outcome, len(refs))
	for _, ref := range refs {
		raw, err := store.GetDoc(ctx, j.ledger, ref)
		if err != nil {
			return nil, err
		}
		var doc wire.OutcomeDoc
		if err := json.Unmarshal(raw, &doc); err != nil {
			return nil, fmt.Errorf("read outcome %s: %w", ref.Key, err)
		}
		outcomes[doc.Item.Name] = doc.Outcome
	}
	return outcomes, nil
}

func (h *Host) apply(ctx context.Context, d *action.Definition, in wire.PhaseInput, p wire.Phase) (wire.ApplyResult, error) {
	res := wire.ApplyResult{Interval: wire.Interval{Phase: p, Start: time.Now().UTC()}}
	j, err := h.open(ctx, d, in, p)
	if err != nil {
		return res, err
	}
	defer j.alive(ctx)()
	plans, err := j.approved(ctx, in.Plan)
	if err != nil {
		return res, err
	}
	if plans == nil {
		return res, fmt.Errorf("%w: step %q has no approved plan", action.ErrRefused, j.step.Title)
	}
	priors, err := j.priors(ctx)
	if err != nil {
		return res, err
	}
	res.Doc, _, err = each(ctx, j, ledger.DocOutcome, func(ctx context.Context, r action.Request) (wire.OutcomeDoc, error) {
		doc := wire.OutcomeDoc{Step: j.step.ID, Action: d.Name, Item: r.Item, Start: time.Now().UTC()}
		doc.Plan = j.give(&r, plans, priors)
		if err := j.guard(ctx); err != nil {
			return doc, err
		}
		crash.Point(j.point("before"))
		do := d.Apply
		if p == wire.UndoApplyPhase {
			do = d.UndoApply
		}
		var err error
		if doc.Outcome, err = do(ctx, r, j.step.With); err != nil {
			return doc, err
		}
		crash.Point(j.point("after"))
		doc.End = time.Now().UTC()
		return doc, nil
	}, func(doc wire.OutcomeDoc) {
		res.Mutations += doc.Outcome.Mutations
		if len(res.Summaries) < wire.Shown {
			res.Summaries = append(res.Summaries, doc.Outcome.Summary)
		}
	})
	res.Interval.End = time.Now().UTC()
	return res, err
}

func (h *Host) verify(ctx context.Context, d *action.Definition, in wire.PhaseInput, p wire.Phase) (wire.VerifyResult, error) {
	res := wire.VerifyResult{Interval: wire.Interval{Phase: p, Start: time.Now().UTC()}}
	j, err := h.open(ctx, d, in, p)
	if err != nil {
		return res, err
	}
	defer j.alive(ctx)()
	plans, err := j.approved(ctx, in.Plan)
	if err != nil {
		return res, err
	}
	var all []action.Observation
	res.Doc, _, err = each(ctx, j, ledger.DocObserved, func(ctx context.Context, r action.Request) (wire.ObservedDoc, error) {
		doc := wire.ObservedDoc{Step: j.step.ID, Action: d.Name, Item: r.Item, Start: time.Now().UTC()}
		j.give(&r, plans, nil)
		look := d.Verify
		if p == wire.UndoVerifyPhase {
			look = d.UndoVerify
		}
		if d.IsCheck() {
			crash.Point(j.point("before"))
		}
		var err error
		if doc.Observations, err = look(ctx, r, j.step.With); err != nil {
			return doc, err
		}
		if d.IsCheck() {
			crash.Point(j.point("after"))
		}
		doc.Verdict, doc.End = action.Worst(doc.Observations), time.Now().UTC()
		return doc, nil
	}, func(doc wire.ObservedDoc) {
		if len(doc.Observations) == 0 {
			doc.Observations = []action.Observation{{What: d.Name + " looked at nothing", Item: doc.Item.Name}}
		}
		all = append(all, doc.Observations...)
	})
	res.Look = summarize(all)
	res.Interval.End = time.Now().UTC()
	return res, err
}

// point names a crash point of the step, as the tests derive it from the
// compiled run.
func (j *job) point(where string) string {
	return fmt.Sprintf("%s/%s/%s", j.step.ID, j.phase, where)
}
