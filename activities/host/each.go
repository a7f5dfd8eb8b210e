package host

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
	"breakwater/internal/wire"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"
)

// errSkipped is an item that this phase is not about: the phase before failed on it.
var errSkipped = errors.New("skipped")

// each does f for every item of the batch, keeps the document that f returns
// under name, and gives back the reference to it, or to an index of them. The
// first document ever kept for an item at this attempt stays: it is what seen is
// called with, whether this call wrote it or one that died.
//
// An item on which f fails stops none of the others. As long as the activity has tries
// left and time may cure one of the failures, the result is an error: the next try has
// only these to do. After that the result names what failed, and the index holds each.
func each[D any](ctx context.Context, b *batch, name string, f func(context.Context, action.Request) (D, error), seen func(D)) (ledger.DocRef, wire.Failures, error) {
	refs, docs, errs := make([]ledger.DocRef, len(b.items)), make([]D, len(b.items)), make([]error, len(b.items))
	within, cancel := inTime(ctx)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(action.AtOnce)
	for n, item := range b.items {
		g.Go(func() error {
			refs[n], errs[n] = one(within, b, item, name, f, &docs[n])
			b.say(ctx, "%d of %s", b.total.Add(1), plural.Of(len(b.items), "item"))
			return nil
		})
	}
	if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
		return ledger.DocRef{}, wire.Failures{}, err
	}
	var failures wire.Failures
	var index ledger.Index
	var curable []string
	for n, item := range b.items {
		switch err := errs[n]; {
		case err == nil:
			seen(docs[n])
			index.Docs = append(index.Docs, refs[n])
			b.left = append(b.left, refs[n])
		case errors.Is(err, errSkipped):
			index.Failed = append(index.Failed, wire.ItemError{Item: item.Name, Error: err.Error()})
		default:
			e := wire.ItemError{Item: item.Name, Error: err.Error(), Refused: final(err), Moved: errors.Is(err, action.ErrMoved)}
			index.Failed = append(index.Failed, e)
			failures.Add(e)
			if errors.Is(err, store.ErrSuperseded) {
				failures.Superseded = e.Error
			}
			if !e.Refused {
				curable = append(curable, fmt.Sprintf("%s: %v", item, err))
			}
		}
	}
	if len(curable) > 0 && triesLeft(ctx) {
		return ledger.DocRef{}, failures, fmt.Errorf("%d of %s failed and are tried again: %s", len(curable), plural.Of(len(b.items), "item"), curable[0])
	}
	if len(b.items) == 1 && len(index.Failed) == 0 {
		return refs[0], failures, nil
	}
	raw, err := ledger.Encode(index)
	if err != nil {
		return ledger.DocRef{}, failures, err
	}
	// The kind of document is in its name.
	kind := ledger.DocIndex
	if len(index.Failed) > 0 {
		kind = ledger.PartialIndex(raw)
	}
	ref, _, err := store.PutDoc(ctx, b.ledger, b.signer, b.trusted, ledger.DocKey(b.run, b.step.ID, b.label+" "+string(b.phase), b.in.Attempt, kind), raw)
	return ref, failures, err
}

// one does f for one item, unless it has its document.
func one[D any](ctx context.Context, b *batch, item estate.Item, name string, f func(context.Context, action.Request) (D, error), into *D) (ledger.DocRef, error) {
	ref, raw, err := b.earlier(ctx, item.Name, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		doc, err := f(ctx, b.request(ctx, item))
		if err != nil {
			return ledger.DocRef{}, err
		}
		if raw, err = ledger.Encode(doc); err != nil {
			return ledger.DocRef{}, err
		}
		if ref, raw, err = store.PutDoc(ctx, b.ledger, b.signer, b.trusted, b.key(item.Name, name), raw); err != nil {
			return ref, err
		}
		return ref, json.Unmarshal(raw, into)
	case err != nil:
		return ledger.DocRef{}, fmt.Errorf("look for an earlier answer: %w", err)
	}
	return ref, json.Unmarshal(raw, into)
}

// earlier finds the document that the item has already, else it is fs.ErrNotExist: of
// this attempt; or of an earlier one in which the item passed by the same plan, since what
// passed is not done again when a step is retried.
func (b *batch) earlier(ctx context.Context, item, name string) (ledger.DocRef, []byte, error) {
	find := func(key string) (ledger.DocRef, []byte, error) {
		return store.FindDoc(ctx, b.ledger, b.trusted, key)
	}
	ref, raw, err := find(b.key(item, name))
	if !errors.Is(err, fs.ErrNotExist) || name == ledger.DocPlan {
		return ref, raw, err
	}
	for attempt := b.in.Attempt - 1; attempt > 0; attempt-- {
		_, before, seenErr := find(b.keyAt(attempt, item, ledger.DocObserved))
		if errors.Is(seenErr, fs.ErrNotExist) {
			continue
		}
		var doc wire.ObservedDoc
		if seenErr == nil {
			seenErr = json.Unmarshal(before, &doc)
		}
		if seenErr != nil {
			return ref, nil, seenErr
		}
		if !doc.Verdict.Clear() || doc.Plan != b.plans[item].digest {
			break
		}
		if passed, raw, getErr := find(b.keyAt(attempt, item, name)); !errors.Is(getErr, fs.ErrNotExist) {
			return passed, raw, getErr
		}
	}
	return ref, nil, err
}

// readPriors reads what Apply left for every item of the batch. An Apply that died half-way
// left nothing: then the undo has only the plan, and must look. What an attempt failed on
// may have an outcome of an earlier one.
func (b *batch) readPriors(ctx context.Context) error {
	if err := b.knownPrior(); err != nil {
		return err
	}
	outcomes := make(map[string]action.Outcome, len(b.items))
	if b.in.Prior != nil {
		refs, err := store.Expand(ctx, b.ledger, b.trusted, *b.in.Prior)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			raw, err := store.GetDoc(ctx, b.ledger, b.trusted, ref)
			if err != nil {
				return err
			}
			var doc wire.OutcomeDoc
			if err := json.Unmarshal(raw, &doc); err != nil {
				return fmt.Errorf("read outcome %s: %w", ref.Key, err)
			}
			outcomes[doc.Item.Name] = doc.Outcome
		}
	}
	for _, item := range b.items {
		if _, ok := outcomes[item.Name]; ok || !b.undoes() && b.in.Attempt == 1 {
			continue
		}
		o, err := b.lastOutcome(ctx, item.Name)
		switch {
		case err == nil:
			outcomes[item.Name] = o
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	b.priors = outcomes
	return nil
}

// lastOutcome is what the last Apply of this step on the item left.
func (b *batch) lastOutcome(ctx context.Context, item string) (action.Outcome, error) {
	at := func(attempt int) string { return ledger.DocKey(b.run, b.step.ID, item, attempt, ledger.DocOutcome) }
	first := at(1)
	prefix, end := first[:strings.LastIndex(first[:strings.LastIndex(first, "/")], "/")+1], first[strings.LastIndex(first, "/"):]
	var keys []string
	for key, err := range b.ledger.List(ctx, prefix) {
		if err != nil {
			return action.Outcome{}, fmt.Errorf("look for what was done to %s: %w", item, err)
		}
		if strings.HasSuffix(key, end) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return action.Outcome{}, fs.ErrNotExist
	}
	_, raw, err := store.FindDoc(ctx, b.ledger, b.trusted, slices.Max(keys))
	if err != nil {
		return action.Outcome{}, fmt.Errorf("read what was done to %s: %w", item, err)
	}
	var doc wire.OutcomeDoc
	err = json.Unmarshal(raw, &doc)
	return doc.Outcome, err
}

// skipped are the items that the Apply before this Verify failed on, with why.
func (b *batch) skipped(ctx context.Context) (map[string]error, error) {
	if b.in.Applied == nil {
		return nil, nil
	}
	index, err := store.GetIndex(ctx, b.ledger, b.trusted, *b.in.Applied)
	if err != nil {
		return nil, err
	}
	not := map[string]error{}
	for _, e := range index.Failed {
		not[e.Item] = fmt.Errorf("%w, since it was not applied: %s", errSkipped, e.Error)
	}
	return not, nil
}

// inTime ends a little before the activity's time does, so that an item that hangs does
// not take the answers of the others with it.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	info := activity.GetInfo(ctx)
	if info.Deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	left := time.Until(info.Deadline)
	return context.WithDeadline(ctx, info.Deadline.Add(-min(left/10, 2*time.Second)))
}

// triesLeft reports whether the server would try the activity again after an error.
func triesLeft(ctx context.Context) bool {
	info := activity.GetInfo(ctx)
	return info.RetryPolicy != nil && (info.RetryPolicy.MaximumAttempts == 0 || info.Attempt < info.RetryPolicy.MaximumAttempts)
}

// final reports whether an error is an answer: trying again alone does not help.
func final(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(classify(err), &app) && app.NonRetryable()
}
