package objectstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// BucketPolicyFence is the [Fence] for AWS S3: one Deny statement in the bucket's
// policy, whose Sid is the run's [FenceName]. A Deny there outranks every Allow
// of the writers' own policies, whatever account they are in. It does nothing at
// MinIO, which lets a user's own policies outrank the bucket's: use package minio
// there.
//
// Not verified against AWS. Verified against a fake that keeps a policy document
// as it got it. AWS applies policy changes with a delay, so a [Probe] may have to
// be repeated before it is denied.
type BucketPolicyFence struct {
	Client  *Client  // may read and write the bucket's policy; must not be one of Writers
	Bucket  string   //
	Writers []string // ARNs of the principals to deny, such as arn:aws:iam::123456789012:role/etl
}

var _ Fence = (*BucketPolicyFence)(nil)

func (f *BucketPolicyFence) scope() string { return FenceScope(f.Writers) }

// Read is [Fence.Read]. Base is the policy document: byte for byte as it is, or
// without the fence's statement where there is one; empty for no policy.
func (f *BucketPolicyFence) Read(ctx context.Context) (FenceState, error) {
	doc, err := f.Client.BucketPolicy(ctx, f.Bucket)
	if err != nil {
		return FenceState{}, err
	}
	st, err := f.state(doc)
	if err != nil {
		return FenceState{}, fmt.Errorf("read the policy of s3://%s: %w", f.Bucket, err)
	}
	return st, nil
}

func (f *BucketPolicyFence) state(doc string) (FenceState, error) {
	p, err := parsePolicy(doc)
	if err != nil {
		return FenceState{}, err
	}
	st := FenceState{Base: doc}
	var rest []json.RawMessage
	for _, s := range p.statements {
		var head struct{ Sid string }
		if err := json.Unmarshal(s, &head); err != nil {
			return FenceState{}, fmt.Errorf("statement: %w", err)
		}
		run, ours := FenceRun(head.Sid, f.scope())
		if !ours {
			rest = append(rest, s)
			continue
		}
		want, err := f.statement(run)
		if err != nil {
			return FenceState{}, err
		}
		// A second one of another run leaves it to a person which of them counts.
		st.Closed = st.Run == "" && sameJSON(s, want)
		st.Run = run
	}
	if st.Run == "" {
		return st, nil
	}
	p.statements = rest
	st.Base, err = p.text()
	return st, err
}

// Close is [Fence.Close].
func (f *BucketPolicyFence) Close(ctx context.Context, seen FenceState, run string) error {
	fail := func(err error) error {
		return fmt.Errorf("fence the writers out of s3://%s: %w", f.Bucket, err)
	}
	if len(f.Writers) == 0 {
		return fail(errors.New("no writers named; a fence without them denies nobody"))
	}
	now, err := f.Read(ctx)
	switch {
	case err != nil:
		return fail(err)
	case now.Run != "" && now.Run != run:
		return fail(fmt.Errorf("%w: run %s", ErrFenced, now.Run))
	case !samePolicy(now.Base, seen.Base):
		return fail(fmt.Errorf("the bucket's policy: %w; plan again", ErrChanged))
	case now.Closed:
		return nil
	}
	doc, err := f.with(seen.Base, run)
	if err != nil {
		return fail(err)
	}
	if err := f.Client.setBucketPolicy(ctx, f.Bucket, doc); err != nil {
		return fail(err)
	}
	return f.confirm(ctx, fail, func(st FenceState) bool { return st.Closed && st.Run == run && samePolicy(st.Base, seen.Base) })
}

// Open is [Fence.Open]. The policy becomes was.Base byte for byte.
func (f *BucketPolicyFence) Open(ctx context.Context, was FenceState, run string) error {
	fail := func(err error) error {
		return fmt.Errorf("let the writers back into s3://%s: %w", f.Bucket, err)
	}
	now, err := f.Read(ctx)
	switch {
	case err != nil:
		return fail(err)
	case now.Run != "" && now.Run != run:
		return fail(fmt.Errorf("%w: run %s", ErrFenced, now.Run))
	case !samePolicy(now.Base, was.Base):
		return fail(fmt.Errorf("the rest of the bucket's policy: %w; the fence stays; read it again and open on that", ErrChanged))
	case now.Run == "":
		return nil
	}
	if err := f.Client.setBucketPolicy(ctx, f.Bucket, was.Base); err != nil {
		return fail(err)
	}
	return f.confirm(ctx, fail, func(st FenceState) bool { return st.Run == "" && samePolicy(st.Base, was.Base) })
}

func (f *BucketPolicyFence) confirm(ctx context.Context, fail func(error) error, ok func(FenceState) bool) error {
	st, err := f.Read(ctx)
	if err != nil {
		return fail(fmt.Errorf("written, but reading it back: %w", err))
	}
	if !ok(st) {
		return fail(fmt.Errorf("written, but somebody else wrote at the same time: %w; read it again", ErrChanged))
	}
	return nil
}

// statement is the Deny of a run.
func (f *BucketPolicyFence) statement(run string) (json.RawMessage, error) {
	sid, err := FenceName(run, f.scope())
	if err != nil {
		return nil, err
	}
	partition := "aws" // aws-cn, aws-us-gov: as the writers'
	if p := strings.Split(f.Writers[0], ":"); len(p) > 2 && p[0] == "arn" {
		partition = p[1]
	}
	bucket := "arn:" + partition + ":s3:::" + f.Bucket
	return json.Marshal(map[string]any{
		"Sid": sid, "Effect": "Deny",
		"Principal": map[string]any{"AWS": slices.Sorted(slices.Values(f.Writers))},
		"Action":    WriteActions(),
		"Resource":  []string{bucket, bucket + "/*"},
	})
}

// with is the policy with the run's statement added, all the rest kept.
func (f *BucketPolicyFence) with(doc, run string) (string, error) {
	p, err := parsePolicy(doc)
	if err != nil {
		return "", err
	}
	s, err := f.statement(run)
	if err != nil {
		return "", err
	}
	p.statements = append(p.statements, s)
	return p.text()
}

// policyDoc is a policy document of which only the list of statements is known.
type policyDoc struct {
	fields     map[string]json.RawMessage
	statements []json.RawMessage
}

func parsePolicy(doc string) (policyDoc, error) {
	if doc == "" {
		return policyDoc{fields: map[string]json.RawMessage{"Version": json.RawMessage(`"2012-10-17"`)}}, nil
	}
	var p policyDoc
	if err := json.Unmarshal([]byte(doc), &p.fields); err != nil {
		return policyDoc{}, fmt.Errorf("policy document: %w", err)
	}
	switch s := bytes.TrimSpace(p.fields["Statement"]); {
	case len(s) == 0:
	case s[0] == '[':
		if err := json.Unmarshal(s, &p.statements); err != nil {
			return policyDoc{}, fmt.Errorf("policy statements: %w", err)
		}
	default: // a single statement may stand without a list
		p.statements = []json.RawMessage{s}
	}
	return p, nil
}

// text is the document; empty if nothing is left to say, for a policy without
// statements is refused.
func (p policyDoc) text() (string, error) {
	if len(p.statements) == 0 {
		return "", nil
	}
	list, err := json.Marshal(p.statements)
	if err != nil {
		return "", fmt.Errorf("policy statements: %w", err)
	}
	p.fields["Statement"] = list
	doc, err := json.Marshal(p.fields)
	if err != nil {
		return "", fmt.Errorf("policy document: %w", err)
	}
	return string(doc), nil
}

func samePolicy(a, b string) bool {
	return a == b || a != "" && b != "" && sameJSON([]byte(a), []byte(b))
}

// sameJSON compares what policy documents mean; stores rewrite their form.
func sameJSON(a, b []byte) bool {
	x, errX := CanonicalPolicy(a)
	y, errY := CanonicalPolicy(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// CanonicalPolicy is a policy document in a form in which equal meaning is equal
// text, as far as that goes without knowing the words: keys and lists of words
// sorted, a list of one given as its element.
func CanonicalPolicy(doc []byte) ([]byte, error) {
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return nil, err
	}
	return json.Marshal(simplify(v))
}

func simplify(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = simplify(e)
		}
	case []any:
		words := make([]string, 0, len(v))
		for i, e := range v {
			v[i] = simplify(e)
			if s, ok := v[i].(string); ok {
				words = append(words, s)
			}
		}
		switch {
		case len(v) == 1:
			return v[0]
		case len(words) == len(v):
			slices.Sort(words)
			return words
		}
	}
	return v
}
