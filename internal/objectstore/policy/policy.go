// Package policy is the policy document of IAM, which S3 and MinIO read: what
// somebody may do to what, or may not.
//
// A [Document] is one that we write. A [Foreign] is somebody's, of which only the
// list of statements is known, so that all the rest of it is kept. Plans and ledgers
// hold both as text: the bytes that a document gives never change.
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Effect says whether a statement allows or denies. A Deny outranks every Allow.
type Effect string

// The effects of a statement.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Language is the version of the policy language that we write.
const Language = "2012-10-17"

// Document is a policy document. Its fields stand in the order of their names, in
// which every document has been written so far.
type Document struct {
	Statement []Statement
	Version   string // [Language]
}

// Statement is one statement of a document.
type Statement struct {
	Action    []string   // such as s3:GetObject; a star stands for anything
	Condition Condition  `json:",omitempty"`
	Effect    Effect     //
	Principal *Principal `json:",omitempty"` // in a bucket's policy; a user's own needs none
	Resource  []string   // ARNs; see [Bucket]
	Sid       string     `json:",omitempty"` // the statement's name
}

// Condition narrows a statement: by operator and key, the values of which one must
// be met.
type Condition map[string]map[string][]string

// Principal is whom a statement is about.
type Principal struct {
	AWS []string // ARNs
}

// New is a document of statements.
func New(statements ...Statement) Document {
	return Document{Statement: statements, Version: Language}
}

// Below is the condition that a listing is asked for with one of the prefixes, in
// which a star stands for anything.
func Below(prefixes ...string) Condition {
	return Condition{"StringLike": {"s3:prefix": prefixes}}
}

// Bucket is the ARN of a bucket, as MinIO has it and most of AWS.
func Bucket(name string) string { return "arn:aws:s3:::" + name }

// BucketIn is the ARN of a bucket in another partition, such as aws-cn.
func BucketIn(partition, name string) string { return "arn:" + partition + ":s3:::" + name }

// Writes are the actions that a fence denies: everything that changes an object, a
// version, its lock, or the bucket's configuration, replication included. Reading,
// listing and starting nothing else is left alone.
func Writes() []string {
	return []string{
		"s3:AbortMultipartUpload", "s3:BypassGovernanceRetention", "s3:Delete*", "s3:Put*",
		"s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags", "s3:RestoreObject",
	}
}

// JSON is the document as a store takes it.
func (d Document) JSON() ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write a policy: %w", err)
	}
	return text, nil
}

// JSON is the statement as it stands in a document.
func (s Statement) JSON() ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("policy statement: %w", err)
	}
	return text, nil
}

// Canonical is the document in the form of the function [Canonical].
func (d Document) Canonical() ([]byte, error) {
	text, err := d.JSON()
	if err != nil {
		return nil, err
	}
	return Canonical(text)
}

// Canonical is a policy document in a form in which equal meaning is equal text, as
// far as that goes without knowing the words: keys and lists of words sorted, a list
// of one given as its element.
func Canonical(doc []byte) ([]byte, error) {
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

// Same reports whether two documents, or two statements, mean the same. Stores
// rewrite their form. An empty text stands for no document.
func Same(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := Canonical([]byte(a))
	y, errY := Canonical([]byte(b))
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
