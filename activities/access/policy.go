package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"

	"breakwater/internal/objectstore/policy"
)

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
