package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/arn"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/policy"
)

// Admin administers buckets at AWS. It is a [objectstore.Fencer]; for what a bucket
// does by itself any [Client] with the rights can be asked.
type Admin struct{ client *Client }

var (
	_ objectstore.Admin  = (*Admin)(nil)
	_ objectstore.Fencer = (*Admin)(nil)
)

// NewAdmin returns an administrator with the given credentials. It asks nothing of
// the endpoint.
func NewAdmin(cfg Config) (*Admin, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return &Admin{c}, nil
}

// Store is that of [objectstore.Admin].
func (a *Admin) Store() objectstore.Store { return a.client }

// Endpoint is that of [objectstore.Admin].
func (a *Admin) Endpoint() string { return a.client.Endpoint() }

// Fence is that of [objectstore.Fencer]: one Deny statement in the bucket's policy,
// whose Sid is the run's [objectstore.FenceName]. A Deny there outranks every Allow of
// the writers' own policies, whatever account they are in. Principals are ARNs, such
// as arn:aws:iam::123456789012:role/etl, and the administrator must be none of them.
//
// It does nothing at MinIO, which lets a user's own policies outrank the bucket's: use
// package minio there.
//
// Not verified against AWS. Verified against a fake that keeps a policy document as it
// got it. AWS applies policy changes with a delay, so a write may have to be tried
// again before it is denied.
func (a *Admin) Fence(bucket string, principals []string) objectstore.Fence {
	return &policyFence{client: a.client, bucket: bucket, writers: principals}
}

// policyFence is a fence by bucket policy.
type policyFence struct {
	client  *Client
	bucket  string
	writers []string
}

func (f *policyFence) scope() string { return objectstore.FenceScope(f.writers) }

// Name is [objectstore.Fence.Name]: of a statement in the bucket's policy.
func (f *policyFence) Name(run string) (string, error) { return objectstore.FenceName(run, f.scope()) }

// Read is [objectstore.Fence.Read]. Base is the policy document: byte for byte as it is, or
// without the fence's statement where there is one; empty for no policy.
func (f *policyFence) Read(ctx context.Context) (objectstore.FenceState, error) {
	doc, err := f.client.BucketPolicy(ctx, f.bucket)
	if err != nil {
		return objectstore.FenceState{}, err
	}
	st, err := f.state(doc)
	if err != nil {
		return objectstore.FenceState{}, fmt.Errorf("read the policy of s3://%s: %w", f.bucket, err)
	}
	return st, nil
}

func (f *policyFence) state(doc string) (objectstore.FenceState, error) {
	p, err := policy.Parse(doc)
	if err != nil {
		return objectstore.FenceState{}, err
	}
	ours := func(sid string) bool {
		_, ok := objectstore.FenceRun(sid, f.scope())
		return ok
	}
	fences, err := p.Take(ours)
	if err != nil {
		return objectstore.FenceState{}, err
	}
	st := objectstore.FenceState{Base: doc}
	for _, s := range fences {
		run, _ := objectstore.FenceRun(s.Sid, f.scope())
		want, err := f.statement(run)
		if err != nil {
			return objectstore.FenceState{}, err
		}
		text, err := want.JSON()
		if err != nil {
			return objectstore.FenceState{}, err
		}
		// A second one of another run leaves it to a person which of them counts.
		st.Closed = st.Run == "" && policy.Same(s.Text, string(text))
		st.Run = run
	}
	if st.Run != "" {
		st.Base, err = p.Text()
	}
	return st, err
}

// Close is [objectstore.Fence.Close].
func (f *policyFence) Close(ctx context.Context, seen objectstore.FenceState, run string) error {
	fail := func(err error) error {
		return fmt.Errorf("fence the writers out of s3://%s: %w", f.bucket, err)
	}
	if len(f.writers) == 0 {
		return fail(errors.New("no writers named; a fence without them denies nobody"))
	}
	now, err := f.Read(ctx)
	switch {
	case err != nil:
		return fail(err)
	case now.Run != "" && now.Run != run:
		return fail(fmt.Errorf("%w: run %s", objectstore.ErrFenced, now.Run))
	case !policy.Same(now.Base, seen.Base):
		return fail(fmt.Errorf("the bucket's policy: %w; plan again", objectstore.ErrChanged))
	case now.Closed:
		return nil
	}
	doc, err := f.with(seen.Base, run)
	if err != nil {
		return fail(err)
	}
	if err := f.client.setBucketPolicy(ctx, f.bucket, doc); err != nil {
		return fail(err)
	}
	return f.confirm(ctx, fail, func(st objectstore.FenceState) bool {
		return st.Closed && st.Run == run && policy.Same(st.Base, seen.Base)
	})
}

// Open is [objectstore.Fence.Open]. The policy becomes was.Base byte for byte.
func (f *policyFence) Open(ctx context.Context, was objectstore.FenceState, run string) error {
	fail := func(err error) error {
		return fmt.Errorf("let the writers back into s3://%s: %w", f.bucket, err)
	}
	now, err := f.Read(ctx)
	switch {
	case err != nil:
		return fail(err)
	case now.Run != "" && now.Run != run:
		return fail(fmt.Errorf("%w: run %s", objectstore.ErrFenced, now.Run))
	case !policy.Same(now.Base, was.Base):
		return fail(fmt.Errorf("the rest of the bucket's policy: %w; the fence stays; read it again and open on that", objectstore.ErrChanged))
	case now.Run == "":
		return nil
	}
	if err := f.client.setBucketPolicy(ctx, f.bucket, was.Base); err != nil {
		return fail(err)
	}
	return f.confirm(ctx, fail, func(st objectstore.FenceState) bool { return st.Run == "" && policy.Same(st.Base, was.Base) })
}

func (f *policyFence) confirm(ctx context.Context, fail func(error) error, ok func(objectstore.FenceState) bool) error {
	st, err := f.Read(ctx)
	if err != nil {
		return fail(fmt.Errorf("written, but reading it back: %w", err))
	}
	if !ok(st) {
		return fail(fmt.Errorf("written, but somebody else wrote at the same time: %w; read it again", objectstore.ErrChanged))
	}
	return nil
}

// statement is the Deny of a run.
func (f *policyFence) statement(run string) (policy.Statement, error) {
	sid, err := objectstore.FenceName(run, f.scope())
	if err != nil {
		return policy.Statement{}, err
	}
	partition := arn.Standard // aws-cn, aws-us-gov: as the writers'
	if p := strings.Split(f.writers[0], ":"); len(p) > 2 && p[0] == "arn" {
		partition = p[1]
	}
	bucket := policy.BucketIn(partition, f.bucket)
	return policy.Statement{
		Sid: sid, Effect: policy.Deny,
		Principal: &policy.Principal{AWS: slices.Sorted(slices.Values(f.writers))},
		Action:    policy.Writes(),
		Resource:  []string{bucket, bucket + "/*"},
	}, nil
}

// with is the policy with the run's statement added, all the rest kept.
func (f *policyFence) with(doc, run string) (string, error) {
	p, err := policy.Parse(doc)
	if err != nil {
		return "", err
	}
	s, err := f.statement(run)
	if err != nil {
		return "", err
	}
	if err := p.Add(s); err != nil {
		return "", err
	}
	return p.Text()
}
