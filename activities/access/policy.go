package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/policy"
)

type accessLevel string

const (
	readLevel  accessLevel = "read"
	writeLevel accessLevel = "write" // with reading
)

// grant is a change of one policy and of who has it, forth or back.
type grant struct {
	Policy string     `json:"policy"` // empty: nothing to change
	Users  []string   `json:"users"`
	From   grantState `json:"from"`
	To     grantState `json:"to"`
	// Could read without this policy.
	Could []string `json:"could,omitempty"`
}

// grantState is what there is of a grant.
type grantState struct {
	Doc string   `json:"doc"` // in canonical form; empty: no such policy
	Has []string `json:"has"` // those of the users that have it; sorted
	// Others are the users' other policies, without those of other grants of this
	// estate, which come and go beside this one.
	Others map[string][]string `json:"others"`
}

const grantMark = "access-"

var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// policyName is named after estate, group and level; the digest keeps apart what
// the letters allowed in a policy's name would bring together.
func policyName(estate, group string, level accessLevel) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", estate, group, level))
	return grantMark + unfit.ReplaceAllString(fmt.Sprintf("%s-%s-%s", estate, group, level), "_") + "-" + hex.EncodeToString(sum[:4])
}

// policyDocument allows a level on the prefixes of the group's tables alone.
func policyDocument(places []place, level accessLevel) (string, error) {
	objects := []string{"s3:GetObject", "s3:GetObjectVersion"}
	if level == writeLevel {
		objects = append(objects, "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
	}
	var statements []policy.Statement
	for _, p := range places {
		bucket := policy.Bucket(p.bucket)
		var within, below []string
		for _, prefix := range p.prefixes {
			within = append(within, bucket+"/"+prefix+"/*")
			below = append(below, prefix, prefix+"/*")
		}
		statements = append(statements,
			policy.Statement{Effect: policy.Allow, Action: []string{"s3:GetBucketLocation"}, Resource: []string{bucket}},
			policy.Statement{Effect: policy.Allow, Action: []string{"s3:ListBucket"}, Resource: []string{bucket}, Condition: policy.Below(below...)},
			policy.Statement{Effect: policy.Allow, Action: objects, Resource: within})
	}
	text, err := policy.New(statements...).Canonical()
	return string(text), err
}

// see reads what there is of a grant.
func see(ctx context.Context, admin objectstore.Granter, granted string, users []string) (grantState, error) {
	st := grantState{Has: []string{}, Others: map[string][]string{}}
	doc, err := admin.Policy(ctx, granted)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return st, err
	default:
		text, err := policy.Canonical(doc)
		if err != nil {
			return st, fmt.Errorf("policy %s: %w", granted, err)
		}
		st.Doc = string(text)
	}
	for _, name := range users {
		u, err := admin.User(ctx, name)
		if err != nil {
			return st, err
		}
		st.Others[name] = []string{}
		for _, p := range u.Policies {
			switch {
			case p == granted:
				st.Has = append(st.Has, name)
			case len(p) < len(grantMark) || p[:len(grantMark)] != grantMark:
				st.Others[name] = append(st.Others[name], p)
			}
		}
	}
	return st, nil
}

func (st grantState) sameOthers(o grantState) bool {
	return maps.EqualFunc(st.Others, o.Others, slices.Equal[[]string])
}
