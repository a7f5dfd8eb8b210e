package arn_test

import (
	"testing"

	"breakwater/internal/arn"
)

func TestParseRole(t *testing.T) {
	for text, want := range map[string]arn.Role{
		"arn:aws:iam::111122223333:role/batch":         {Partition: "aws", Account: "111122223333"},
		"arn:aws-cn:iam::111122223333:role/ops/batch":  {Partition: "aws-cn", Account: "111122223333"},
		"arn:aws-us-gov:iam::111122223333:role/b@x,=+": {Partition: "aws-us-gov", Account: "111122223333"},

		"backup-batch":                                {},
		"arn:aws:iam::111122223333:role/":             {},
		"arn:aws:iam::111122223333:user/batch":        {},
		"arn:aws:iam::11112222333:role/batch":         {},
		"arn:aws:iam:us-east-1:111122223333:role/a":   {},
		"arn:aws:sts::111122223333:assumed-role/a/b":  {},
		"xarn:aws:iam::111122223333:role/batch":       {},
		"arn:minio:iam::111122223333:role/batch":      {},
		"arn:aws:iam::111122223333:role/batch\nother": {},
		"": {},
	} {
		if got, ok := arn.ParseRole(text); got != want || ok != (want != arn.Role{}) {
			t.Errorf("ParseRole(%q) = %+v, %v; want %+v", text, got, ok, want)
		}
	}
}
