// Package arn reads Amazon Resource Names, for the estate, which checks those that it
// is given, and for the clients that use them: what passes a check must be of use.
package arn

import "regexp"

// Standard is the partition of the commercial regions, which stores that are not AWS
// take, too.
const Standard = "aws"

// Role is an IAM role by its ARN.
type Role struct {
	Partition string // "aws", "aws-cn"
	Account   string // twelve digits
}

var role = regexp.MustCompile(`^arn:(aws[a-z-]*):iam::(\d{12}):role/.+$`)

// ParseRole reads the ARN of a role; false if it is none.
func ParseRole(arn string) (Role, bool) {
	m := role.FindStringSubmatch(arn)
	if m == nil {
		return Role{}, false
	}
	return Role{Partition: m[1], Account: m[2]}, true
}
