package policy_test

import (
	"slices"
	"strings"
	"testing"

	"breakwater/internal/objectstore/policy"
)

// The documents of releases before this package, byte for byte: stored plans and
// ledgers hold them, and what a run finds is compared with that.
const (
	fenceAtAWS   = `{"Action":["s3:AbortMultipartUpload","s3:BypassGovernanceRetention","s3:Delete*","s3:Put*","s3:ReplicateDelete","s3:ReplicateObject","s3:ReplicateTags","s3:RestoreObject"],"Effect":"Deny","Principal":{"AWS":["arn:aws:iam::123456789012:role/\u003cetl\u003e","arn:aws:iam::123456789012:user/loader"]},"Resource":["arn:aws:s3:::lake","arn:aws:s3:::lake/*"],"Sid":"breakwater-r1-0a1b2c3d"}`
	fenceAtMinIO = `{"Statement":[{"Action":["s3:AbortMultipartUpload","s3:BypassGovernanceRetention","s3:Delete*","s3:Put*","s3:ReplicateDelete","s3:ReplicateObject","s3:ReplicateTags","s3:RestoreObject","s3:ForceDeleteBucket"],"Effect":"Deny","Resource":["arn:aws:s3:::lake","arn:aws:s3:::lake/*"],"Sid":"breakwater-r1-0a1b2c3d"}],"Version":"2012-10-17"}`
	access       = `{"Statement":[{"Action":["s3:GetBucketLocation"],"Effect":"Allow","Resource":["arn:aws:s3:::lake"]},{"Action":["s3:ListBucket"],"Condition":{"StringLike":{"s3:prefix":["orders/orders","orders/orders/*","orders/a\u0026b","orders/a\u0026b/*"]}},"Effect":"Allow","Resource":["arn:aws:s3:::lake"]},{"Action":["s3:GetObject","s3:PutObject"],"Effect":"Allow","Resource":["arn:aws:s3:::lake/orders/orders/*","arn:aws:s3:::lake/orders/a\u0026b/*"]}],"Version":"2012-10-17"}`
	canonical    = `{"Statement":[{"Action":"s3:GetBucketLocation","Effect":"Allow","Resource":"arn:aws:s3:::lake"},{"Action":"s3:ListBucket","Condition":{"StringLike":{"s3:prefix":["orders/a\u0026b","orders/a\u0026b/*","orders/orders","orders/orders/*"]}},"Effect":"Allow","Resource":"arn:aws:s3:::lake"},{"Action":["s3:GetObject","s3:PutObject"],"Effect":"Allow","Resource":["arn:aws:s3:::lake/orders/a\u0026b/*","arn:aws:s3:::lake/orders/orders/*"]}],"Version":"2012-10-17"}`
)

func accessDocument() policy.Document {
	lake := policy.Bucket("lake")
	return policy.New(
		policy.Statement{Effect: policy.Allow, Action: []string{"s3:GetBucketLocation"}, Resource: []string{lake}},
		policy.Statement{
			Effect: policy.Allow, Action: []string{"s3:ListBucket"}, Resource: []string{lake},
			Condition: policy.Below("orders/orders", "orders/orders/*", "orders/a&b", "orders/a&b/*"),
		},
		policy.Statement{
			Effect: policy.Allow, Action: []string{"s3:GetObject", "s3:PutObject"},
			Resource: []string{lake + "/orders/orders/*", lake + "/orders/a&b/*"},
		},
	)
}

func TestDocumentsAreThoseOfEarlierReleases(t *testing.T) {
	lake := policy.Bucket("lake")
	deny := policy.Statement{
		Sid: "breakwater-r1-0a1b2c3d", Effect: policy.Deny, Action: policy.Writes(), Resource: []string{lake, lake + "/*"},
		Principal: &policy.Principal{AWS: []string{"arn:aws:iam::123456789012:role/<etl>", "arn:aws:iam::123456789012:user/loader"}},
	}
	of, err := policy.Parse("")
	if err == nil {
		err = of.Add(deny)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := of.Text()
	if want := `{"Statement":[` + fenceAtAWS + `],"Version":"2012-10-17"}`; err != nil || text != want {
		t.Errorf("the fence at AWS is\n%s, %v; want\n%s", text, err, want)
	}
	deny.Principal, deny.Action = nil, append(policy.Writes(), "s3:ForceDeleteBucket")
	for name, tc := range map[string]struct {
		doc  policy.Document
		want string
	}{
		"the fence at MinIO": {policy.New(deny), fenceAtMinIO},
		"access":             {accessDocument(), access},
	} {
		if got, err := tc.doc.JSON(); err != nil || string(got) != tc.want {
			t.Errorf("%s is\n%s, %v; want\n%s", name, got, err, tc.want)
		}
	}
	if got, err := accessDocument().Canonical(); err != nil || string(got) != canonical {
		t.Errorf("in canonical form it is\n%s, %v; want\n%s", got, err, canonical)
	}
}

func TestSame(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"", access, false},
		{access, canonical, true},
		{access, strings.Replace(access, "s3:PutObject", "s3:Put*", 1), false},
		{`{"Action":["b","a"],"Sid":"x"}`, `{ "Sid": "x", "Action": ["a", "b"] }`, true},
		{`{"Action":["a"]}`, `{"Action":"a"}`, true},
		{`{"Action":[]}`, `{"Action":"a"}`, false},
		{"torn {", "torn {", true},
		{"torn {", "torn  {", false},
	} {
		if got := policy.Same(tc.a, tc.b); got != tc.want {
			t.Errorf("Same(%s, %s) = %v", tc.a, tc.b, got)
		}
	}
}

// Somebody's document keeps everything but what is taken and added.
func TestForeign(t *testing.T) {
	const mine = `{"Sid":"mine","Effect":"Deny"}`
	for name, tc := range map[string]struct {
		doc, without string
		taken        []string
	}{
		"nothing":              {"", "", nil},
		"others' only":         {`{"Id":"x", "Statement": [ {"Sid":"Public","N":12345678901234567890} ]}`, `{"Id":"x","Statement":[{"Sid":"Public","N":12345678901234567890}]}`, nil},
		"a single statement":   {`{"Statement":{"Sid":"One"}}`, `{"Statement":[{"Sid":"One"}]}`, nil},
		"mine among others'":   {`{"Statement":[{"Sid":"A"},` + mine + `,{"Effect":"Allow"}]}`, `{"Statement":[{"Sid":"A"},{"Effect":"Allow"}]}`, []string{mine}},
		"mine alone":           {`{"Statement":[` + mine + `]}`, "", []string{mine}},
		"mine, without a list": {`{"Statement":` + mine + `}`, "", []string{mine}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := policy.Parse(tc.doc)
			if err != nil {
				t.Fatal(err)
			}
			taken, err := f.Take(func(sid string) bool { return sid == "mine" })
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, s := range taken {
				texts = append(texts, s.Text)
			}
			if got, err := f.Text(); err != nil || got != tc.without || !slices.Equal(texts, tc.taken) {
				t.Errorf("without mine it is %s, %v, and mine is %q; want %s and %q", got, err, texts, tc.without, tc.taken)
			}
		})
	}
	for _, bad := range []string{"null", "[]", `{"Statement":[`, `{"Statement":"x"}`} {
		f, err := policy.Parse(bad)
		if err == nil {
			_, err = f.Take(func(string) bool { return true })
		}
		if err == nil {
			t.Errorf("%s was read as a policy", bad)
		}
	}
}
