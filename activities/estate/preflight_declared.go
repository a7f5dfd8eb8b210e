package estate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/mirror"
	"breakwater/internal/sshsig"
)

// mirrorDeclared holds what the estate says of the mirror against the mirror itself. By a
// wrong alias or topic of offsets no later step finds anything red: it finds nothing.
func (p *preflight) mirrorDeclared(ctx context.Context, m mirror.Mirror) {
	a, can := m.(mirror.Auditor)
	if !can {
		return
	}
	what, want := "the mirror into "+p.r.Region+" is the one that the estate describes", "the same cluster, classes, aliases, names of topics and topic of offsets"
	odd, err := a.Contradictions(ctx)
	switch {
	case err != nil:
		p.err(what, want, err)
	case len(odd) > 0:
		p.saw(what, want, strings.Join(odd, "; "), false)
	default:
		p.saw(what, want, "nothing says otherwise", true)
	}
}

// signer holds the worker's key against those whose signed heads are trusted: what is
// signed by another is evidence for nobody.
func (p *preflight) signer(ctx context.Context) {
	const what = "the worker signs the ledger with a key that the estate trusts"
	want := "one of its signers"
	key, err := p.s.Signer(ctx, p.c.Estate)
	if err != nil {
		p.err(what, want, err)
		return
	}
	trusted, err := p.c.Estate.Ledger.Trusted(time.Now())
	if err != nil {
		p.err(what, want, err)
		return
	}
	mine := sshsig.Public(key)
	got := mine.Fingerprint()
	ok := slices.ContainsFunc(trusted, mine.Equal)
	if !ok {
		got = fmt.Sprintf("%s, to which %s leads; add its public key to signers of ledger in the estate", got, p.c.Estate.Ledger.SigningKey)
	}
	p.saw(what, want, got, ok)
}
