package lab

import (
	"context"
	"fmt"
	"slices"

	"breakwater/activities"
	"breakwater/internal/mistake"
	"breakwater/internal/permit"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/runbooks"
)

// makePolicies works out what the worker's credentials must be allowed, as the product
// prints it for an estate: the laboratory allows exactly that.
func (l *Lab) makePolicies() error {
	e, err := l.estate()
	if err != nil {
		return err
	}
	books, ms := load.FS(runbooks.FS)
	if err := mistake.Error(ms); err != nil {
		return err
	}
	books = slices.DeleteFunc(books, func(rb *runbook.Runbook) bool {
		return len(l.Runbooks) > 0 && !slices.Contains(l.Runbooks, rb.Name)
	})
	if l.policies, err = activities.Policies(books, e); err != nil {
		return fmt.Errorf("work out the policies of the laboratory: %w", err)
	}
	return nil
}

// granted is the policy of a credential. None means that no runbook asks with it, and a
// user without any would not be what the product prints.
func (l *Lab) granted(region string, holder permit.Holder) (permit.Policy, error) {
	for _, p := range l.policies {
		if p.Region == region && p.Holder == holder {
			return p, nil
		}
	}
	return permit.Policy{}, fmt.Errorf("no runbook of %v asks with %s of %q: name one that does", l.Runbooks, holder, region)
}

// worker makes a user of an object store with exactly the policy of a credential.
func (l *Lab) worker(ctx context.Context, place, name, region string, holder permit.Holder) error {
	p, err := l.granted(region, holder)
	if err != nil {
		return err
	}
	return l.user(ctx, place, name, p.Document.Statement...)
}
