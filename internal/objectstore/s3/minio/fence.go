package minio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/policy"
)

// Fence is that of [objectstore.Fencer], for MinIO, where a Deny in a bucket's
// policy stops nobody. It gives each writer one more policy, named after the run,
// that denies writes to the bucket. A Deny outranks every Allow of the writer's
// other policies and groups, holds at once, and binds the user's service accounts
// and temporary credentials too. The writers' own policies stay untouched, so
// opening is taking this one away.
//
// Principals are users; the administrator must be none of them. It cannot hold root,
// nor identities from LDAP or OpenID, which have no policies of their own here:
// reading the fence then fails with [fs.ErrNotExist].
//
// The same fence closes a standby's intake: name the user that replication writes
// as (see [objectstore.Route]) on the standby's server.
func (a *Admin) Fence(bucket string, principals []string) objectstore.Fence {
	return &policyFence{admin: a, bucket: bucket, writers: principals}
}

// policyFence is a fence by a policy of each writer.
type policyFence struct {
	admin   *Admin
	bucket  string
	writers []string
}

// base is what the fence found: the undo data in full, although opening needs
// only what Close added.
type base struct {
	Users    []user                     `json:"users"`
	Policies map[string]json.RawMessage `json:"policies"` // null: attached, but missing
}

type user struct {
	Name     string   `json:"name"`
	Enabled  bool     `json:"enabled"`
	Policies []string `json:"policies"` // without fences
	Groups   []string `json:"groups,omitempty"`
}

func (f *policyFence) scope() string { return objectstore.FenceScope(f.writers, []string{f.bucket}) }

// Name is [objectstore.Fence.Name]: of a policy.
func (f *policyFence) Name(run string) (string, error) { return objectstore.FenceName(run, f.scope()) }

// Read is [objectstore.Fence.Read]. Base holds each writer's attachments and the
// documents of the attached policies, without fences, this one's or others'.
func (f *policyFence) Read(ctx context.Context) (objectstore.FenceState, error) {
	if len(f.writers) == 0 || f.bucket == "" {
		return objectstore.FenceState{}, errors.New("read a fence: no writers or no bucket named; a fence without them denies nobody")
	}
	var (
		st      objectstore.FenceState
		b       = base{Policies: map[string]json.RawMessage{}}
		fences  = map[string]int{} // this fence's policies, by the number of writers that have them
		writers = slices.Compact(slices.Sorted(slices.Values(f.writers)))
	)
	for _, name := range writers {
		u, err := f.admin.User(ctx, name)
		if err != nil {
			return st, err
		}
		own := []string{}
		for _, p := range u.Policies {
			if _, ok := objectstore.FenceRun(p, f.scope()); ok {
				fences[p]++
			}
			if strings.HasPrefix(p, objectstore.FenceMark) {
				continue
			}
			own = append(own, p)
			if _, read := b.Policies[p]; read {
				continue
			}
			doc, err := f.admin.Policy(ctx, p)
			if errors.Is(err, fs.ErrNotExist) {
				doc, err = json.RawMessage("null"), nil
			}
			if err != nil {
				return st, err
			}
			if b.Policies[p], err = policy.Canonical(doc); err != nil {
				return st, fmt.Errorf("policy %s: %w", p, err)
			}
		}
		b.Users = append(b.Users, user{name, u.Enabled, own, u.Groups})
	}
	text, err := json.Marshal(b)
	if err != nil {
		return st, fmt.Errorf("record the policies of %s: %w", strings.Join(writers, ", "), err)
	}
	st.Base = string(text)
	for name, n := range fences {
		st.Run, _ = objectstore.FenceRun(name, f.scope())
		whole, err := f.whole(ctx, name, st.Run)
		if err != nil {
			return st, err
		}
		st.Closed = whole && n == len(writers) && len(fences) == 1
	}
	return st, nil
}

// whole reports whether the policy is still the one that Close wrote.
func (f *policyFence) whole(ctx context.Context, name, run string) (bool, error) {
	got, err := f.admin.Policy(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	want, err := f.document(run)
	if err != nil {
		return false, err
	}
	if got, err = policy.Canonical(got); err != nil {
		return false, fmt.Errorf("policy %s: %w", name, err)
	}
	if want, err = policy.Canonical(want); err != nil {
		return false, fmt.Errorf("policy %s: %w", name, err)
	}
	return bytes.Equal(got, want), nil
}

// Close is [objectstore.Fence.Close].
func (f *policyFence) Close(ctx context.Context, seen objectstore.FenceState, run string) error {
	fail := func(err error) error {
		return fmt.Errorf("fence %s out of %s: %w", strings.Join(f.writers, ", "), f.bucket, err)
	}
	if slices.Contains(f.writers, f.admin.store.AccessKey()) {
		return fail(fmt.Errorf("%s is the administrator that would have to open it; use other credentials", f.admin.store.AccessKey()))
	}
	name, err := objectstore.FenceName(run, f.scope())
	if err != nil {
		return fail(err)
	}
	doc, err := f.document(run)
	if err != nil {
		return fail(err)
	}
	now, err := f.Read(ctx)
	switch {
	case err != nil:
		return fail(err)
	case now.Run != "" && now.Run != run:
		return fail(fmt.Errorf("%w: run %s", objectstore.ErrFenced, now.Run))
	case now.Base != seen.Base:
		return fail(fmt.Errorf("the writers' policies: %w; plan again", objectstore.ErrChanged))
	case now.Closed:
		return nil
	}
	if err := f.admin.SetPolicy(ctx, name, doc); err != nil {
		return fail(err)
	}
	for _, w := range f.writers {
		if err := f.admin.Attach(ctx, w, name); err != nil {
			return fail(err)
		}
	}
	return f.confirm(ctx, fail, func(st objectstore.FenceState) bool { return st.Closed && st.Run == run && st.Base == seen.Base })
}

// Open is [objectstore.Fence.Open].
func (f *policyFence) Open(ctx context.Context, was objectstore.FenceState, run string) error {
	fail := func(err error) error {
		return fmt.Errorf("let %s back into %s: %w", strings.Join(f.writers, ", "), f.bucket, err)
	}
	name, err := objectstore.FenceName(run, f.scope())
	if err != nil {
		return fail(err)
	}
	now, err := f.Read(ctx)
	switch {
	case err != nil:
		return fail(err)
	case now.Run != "" && now.Run != run:
		return fail(fmt.Errorf("%w: run %s", objectstore.ErrFenced, now.Run))
	case now.Base != was.Base:
		return fail(fmt.Errorf("the writers' other policies: %w; the fence stays; read it again and open on that", objectstore.ErrChanged))
	}
	for _, w := range f.writers {
		if err := f.admin.Detach(ctx, w, name); err != nil {
			return fail(err)
		}
	}
	if err := f.admin.RemovePolicy(ctx, name); err != nil { // also after a Close that broke off early
		return fail(err)
	}
	return f.confirm(ctx, fail, func(st objectstore.FenceState) bool { return st.Run == "" && st.Base == was.Base })
}

func (f *policyFence) confirm(ctx context.Context, fail func(error) error, ok func(objectstore.FenceState) bool) error {
	st, err := f.Read(ctx)
	if err != nil {
		return fail(fmt.Errorf("written, but reading it back: %w", err))
	}
	if !ok(st) {
		return fail(fmt.Errorf("written, but somebody else changed the writers' policies at the same time: %w; read it again", objectstore.ErrChanged))
	}
	return nil
}

// document is the policy that denies.
func (f *policyFence) document(run string) ([]byte, error) {
	name, err := objectstore.FenceName(run, f.scope())
	if err != nil {
		return nil, err
	}
	bucket := policy.Bucket(f.bucket)
	return policy.New(policy.Statement{
		Sid: name, Effect: policy.Deny,
		Action:   append(policy.Writes(), "s3:ForceDeleteBucket"), // MinIO's own
		Resource: []string{bucket, bucket + "/*"},
	}).JSON()
}
