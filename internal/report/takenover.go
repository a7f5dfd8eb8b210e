package report

import (
	"context"
	"fmt"
	"strings"

	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/takeover"
	"breakwater/internal/wire"
)

// ReadTakenOver reads from a ledger how its run got the estate from another one, and holds
// the signatures against the keys of the estate that the run was compiled for. It is nil
// where the run did not. Whether the ledger is as it was signed is for [ledger.Verify] to
// say.
func ReadTakenOver(ctx context.Context, from ledger.Reader, run ledger.Run) (*TakenOver, error) {
	b := &builder{reader: reader{Reader: from, run: run}, stages: map[string]int{}, rep: empty(run)}
	entries, _, err := b.chain(ctx)
	for _, e := range entries {
		switch {
		case err != nil:
		case e.Kind == ledger.Compiled:
			err = b.begin(ctx, e)
		case e.Kind == ledger.Lock:
			err = b.locked(ctx, e)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read how run %s got its estate: %w", run, err)
	}
	return b.rep.TakenOver, nil
}

// locked takes in how the run got its estate.
func (b *builder) locked(ctx context.Context, e ledger.Entry) error {
	l, ok := body[wire.LockBody](&b.reader, e)
	if !ok || l.Taken == nil {
		return nil
	}
	s := l.Taken.Statement
	t := TakenOver{
		From: s.Holder, Epoch: s.Epoch, By: list(l.Taken.By), Reason: s.Reason, At: s.At.UTC(),
		Lost: s.LostWords(), Statement: string(s.Text()), Signatures: list(l.Taken.Signatures), Proof: "2 signatures verified",
	}
	b.rep.TakenOver = &t
	var rb runbook.Runbook
	if len(b.file.Key) > 0 {
		if _, err := b.doc(ctx, b.file, &rb); err != nil {
			return err
		}
	}
	if err := b.tookOver(&rb, l); err != nil {
		t.Proof = "signatures NOT verified: " + err.Error()
	}
	return nil
}

// tookOver says why a take-over is not proven by its two signatures, if it is not.
func (b *builder) tookOver(rb *runbook.Runbook, l wire.LockBody) error {
	first, err := runbook.FirstRole(rb)
	if err != nil {
		return err
	}
	role, ok := b.estate.Role(first)
	if !ok {
		return fmt.Errorf("the run's estate has no role %q, which approves its first gate", first)
	}
	names, err := l.Taken.Check(*role)
	s := l.Taken.Statement
	switch {
	case err != nil:
		return err
	case s.Estate != b.rep.Estate || s.Epoch+1 != l.Epoch || s.For(b.run.Workflow, b.rep.Runbook) != nil:
		return fmt.Errorf("they are not about this run: %w", takeover.ErrUnsigned)
	case strings.Join(names, ", ") != strings.Join(l.Taken.By, ", "):
		return fmt.Errorf("they are those of %s", strings.Join(names, " and "))
	}
	return nil
}

// Proven reports whether both signatures were verified.
func (t TakenOver) Proven() bool { return !strings.Contains(t.Proof, "NOT") }

// Sentence says who took the estate over from whom, and why.
func (t TakenOver) Sentence() string {
	return fmt.Sprintf("from run %s at epoch %d, by %s (%s): %s", strings.TrimSuffix(t.From.String(), "/"), t.Epoch, strings.Join(t.By, " and "), t.Proof, t.Reason) + t.Lost
}
