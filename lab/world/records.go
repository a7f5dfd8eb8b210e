package world

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"breakwater/internal/action"
)

// LedgerRecords keeps outcomes as the ledger does.
type LedgerRecords struct {
	mu       sync.Mutex
	outcomes map[string]action.Outcome
	Seen     map[string][]action.Observation
}

// Kept is what earlier steps of a test's run left.
type Kept struct {
	NoRecords
	Outcomes map[string]action.Outcome // by action and item
}

// Outcome is [action.Records.Outcome].
func (k *Kept) Outcome(_ context.Context, name, item string) (action.Outcome, error) {
	o, ok := k.Outcomes[name+" "+item]
	if !ok {
		return o, fmt.Errorf("%s left nothing for %s: %w", name, item, fs.ErrNotExist)
	}
	return o, nil
}

// Put keeps an outcome.
func (k *Kept) Put(name, item string, o action.Outcome) {
	if k.Outcomes == nil {
		k.Outcomes = map[string]action.Outcome{}
	}
	k.Outcomes[name+" "+item] = o
}

// Keeping is the action alone, whose outcome is kept as the ledger keeps it.
func (k *Kept) Keeping(a action.Action[action.None]) *action.Definition {
	apply := a.Apply
	a.Apply = func(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
		o, err := apply(ctx, c)
		if err == nil {
			k.Put(a.Name, c.Item.Name, o)
		}
		return o, err
	}
	cat := action.NewCatalogue()
	action.Add(cat, a)
	d, _ := cat.Get(a.Name)
	return d
}
