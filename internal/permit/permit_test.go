package permit

import (
	"slices"
	"strings"
	"testing"

	"breakwater/internal/estate"
	"breakwater/internal/objectstore/policy"
)

// twoRegions is an estate of two regions, of which the second is on AWS.
func twoRegions() *estate.Estate {
	return &estate.Estate{
		Estate:  "shop",
		Ledger:  estate.Ledger{Bucket: "evidence", Prefix: "shop/", Credentials: "env:LEDGER"},
		Witness: estate.Witness{Bucket: "lake", Prefix: "_witness"},
		Regions: []estate.Region{
			{Region: "east", Role: estate.Primary, Storage: estate.Storage{Provider: "minio", Credentials: "env:EAST", Admin: "env:EAST_ADMIN"},
				Kafka: &estate.Kafka{Alias: "e"}, Vault: &estate.Vault{Mount: "kv", Sentinel: "alive", Credentials: "env:TOKEN"}},
			{Region: "west", Role: estate.Standby, Storage: estate.Storage{Provider: "aws", Credentials: "vault:kv/storage/west#s3", Admin: "env:WEST_ADMIN"},
				Kafka: &estate.Kafka{Alias: "w"}, Connect: &estate.Connect{OffsetsTopic: "offsets"}, Vault: &estate.Vault{Mount: "kv", Sentinel: "alive", Credentials: "env:TOKEN"}},
		},
		Buckets: []estate.Bucket{
			{Bucket: "lake", In: map[string]string{"east": "lake-east", "west": "lake-west"}},
			{Bucket: "raw", In: map[string]string{"east": "raw-east", "west": "raw-west"}},
		},
		Groups: []estate.Group{{
			Group: "orders", Tables: []estate.Table{{Table: "orders", Bucket: "lake", Path: "sales/orders"}, {Table: "items", Bucket: "lake", Path: "sales/items"}},
			Topics: []estate.Topic{{Topic: "orders"}}, ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "the app's"}}, Routing: &estate.Routing{Secret: "routes/orders"},
		}},
	}
}

// speaks are two providers, of which one has no administrator who gives rights.
func speaks(provider string, r Role) (Words, bool) {
	users := Words{May: []string{"admin:GetUser", "admin:GetPolicy", "admin:CreatePolicy", "admin:DeletePolicy", "admin:UpdatePolicyAssociation"}}
	words, known := map[string]map[Role]Words{
		"minio": {Fences: users, Grants: users},
		"aws": {
			Fences:     {May: []string{"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"}},
			Replicates: {May: []string{"s3:GetReplicationConfiguration"}, Recovery: true},
		},
	}[provider]
	return words[r], known
}

// TestPolicies holds what is made of permits against what one would write by hand.
func TestPolicies(t *testing.T) {
	for name, tc := range map[string]struct {
		use  Use
		want string
	}{
		"tables and their bucket": {
			Use{Permits: Reads(Source, Tables), Source: "east", Target: "west"},
			`storage.credentials east minio env:EAST: {"Statement":[{"Action":["s3:GetObject"],"Effect":"Allow","Resource":["arn:aws:s3:::lake-east/sales/items/*","arn:aws:s3:::lake-east/sales/orders/*"]},` +
				`{"Action":["s3:ListBucket"],"Effect":"Allow","Resource":["arn:aws:s3:::lake-east"]}],"Version":"2012-10-17"}`,
		},
		"the ledger is in no region": {
			Use{Permits: Always()},
			`ledger.credentials  s3 env:LEDGER: {"Statement":[{"Action":["s3:GetObject","s3:PutObject"],"Effect":"Allow","Resource":["arn:aws:s3:::evidence/shop/*"]},` +
				`{"Action":["s3:ListBucket"],"Effect":"Allow","Resource":["arn:aws:s3:::evidence"]}],"Version":"2012-10-17"}`,
		},
		"a fence at a MinIO": {
			Use{Permits: Administers(Source, Fences), Source: "east", Target: "west"},
			`storage.admin east minio env:EAST_ADMIN: {"Statement":[{"Action":["admin:CreatePolicy","admin:DeletePolicy","admin:GetPolicy","admin:GetUser","admin:UpdatePolicyAssociation"],` +
				`"Effect":"Allow","Resource":["arn:aws:s3:::*"]}],"Version":"2012-10-17"}`,
		},
		"a fence on AWS, where it is the bucket's policy": {
			Use{Permits: Administers(Target, Fences), Source: "east", Target: "west"},
			`storage.admin west aws env:WEST_ADMIN: {"Statement":[{"Action":["s3:DeleteBucketPolicy","s3:GetBucketPolicy","s3:PutBucketPolicy"],"Effect":"Allow",` +
				`"Resource":["arn:aws:s3:::lake-west","arn:aws:s3:::raw-west"]}],"Version":"2012-10-17"}`,
		},
		"access on AWS is given by hand": {Use{Permits: Administers(Target, Grants), Source: "east", Target: "west"}, ""},
		"what recovery sees itself on AWS": {
			Use{Permits: Administers(Target, Replicates), Source: "east", Target: "west"},
			`storage.credentials west aws vault:kv/storage/west#s3: {"Statement":[{"Action":["s3:GetReplicationConfiguration"],"Effect":"Allow","Resource":["arn:aws:s3:::lake-west","arn:aws:s3:::raw-west"]}],"Version":"2012-10-17"}`,
		},
		"routing": {
			Use{Permits: WritesRouting(Source), Source: "east", Target: "west"},
			`vault.credentials east kv env:TOKEN: path "kv/config" { capabilities = ["read"] }` + "\n" +
				`path "kv/data/routes/orders" { capabilities = ["create", "read", "update"] }` + "\n" +
				`path "kv/delete/routes/orders" { capabilities = ["update"] }` + "\n" +
				`path "kv/metadata/routes/orders" { capabilities = ["read"] }`,
		},
		"topics as they are called at the target": {
			Use{Permits: ReadsRecords(Target, Topics, Mirror), Source: "east", Target: "west", AtTarget: func(t string) string { return "e." + t }, Notes: []string{"e.checkpoints.internal", "offsets"}},
			`kafka.credentials west kafka : ` + strings.Join([]string{acl("Describe", "topic", "e.checkpoints.internal"), acl("Read", "topic", "e.checkpoints.internal"),
				acl("Describe", "topic", "e.orders"), acl("Read", "topic", "e.orders"),
				acl("Describe", "topic", "offsets"), acl("Read", "topic", "offsets")}, "\n"),
		},
		"consumer groups, by any name": {
			Use{Permits: Of(Target, Kafka, ConsumerGroups, "Read"), Source: "east", Target: "west"},
			`kafka.credentials west kafka : kafka-acls.sh --bootstrap-server BROKER --add --allow-principal User:USER --operation Read --group 'the app'\''s'`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := Policies(twoRegions(), speaks, []Use{tc.use})
			if err != nil {
				t.Fatal(err)
			}
			// The token that opens a vault also reads the credentials that lie in it.
			all = slices.DeleteFunc(all, func(p Policy) bool { return p.Region == "west" && p.Holder == Vault })
			var got []string
			for _, p := range all {
				text := p.Text()
				if p.Document != nil {
					raw, err := p.Document.JSON()
					if err != nil || !policy.Same(text, string(raw)) {
						t.Errorf("the text is not the document: %v\n%s", err, text)
					}
					text = string(raw)
				}
				got = append(got, strings.Join([]string{string(p.Holder), p.Region, p.System, string(p.Reference)}, " ")+": "+strings.TrimSpace(text))
			}
			if strings.Join(got, "\n") != tc.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tc.want)
			}
		})
	}
}

func acl(op, kind, name string) string {
	return "kafka-acls.sh --bootstrap-server BROKER --add --allow-principal User:USER --operation " + op + " --" + kind + " " + name
}

// TestCredentialsInAVault: a token reads the credentials that lie in its vault, and those
// of no other region.
func TestCredentialsInAVault(t *testing.T) {
	e := twoRegions()
	e.Groups[0].Access = &estate.Access{Readers: []estate.AccessPrincipal{{Region: "east", Name: "r", Credentials: "vault:people/east/reader"}}}
	all, err := Policies(e, speaks, []Use{{Permits: Of(Target, Vault, Sentinel, "data:read"), Source: "east", Target: "west"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"east": "people/data/east/reader", "west": "kv/data/alive kv/data/storage/west"}
	for _, p := range all {
		var paths []string
		for _, at := range p.Paths {
			paths = append(paths, at.Path)
		}
		if got := strings.Join(paths, " "); p.Holder != Vault || got != want[p.Region] {
			t.Errorf("%s in %s may read %q, want %q", p.Holder, p.Region, got, want[p.Region])
		}
		delete(want, p.Region)
	}
	if len(want) > 0 {
		t.Errorf("no policy says %v", want)
	}
}

// TestWhatCannotBeAllowed: what names nothing is said, and never passed over.
func TestWhatCannotBeAllowed(t *testing.T) {
	for name, u := range map[string]Use{
		"a region that is not there":  {Permits: Reads(Source, Tables), Source: "north", Target: "west"},
		"no region":                   {Permits: Reads(Target, Tables)},
		"a thing of another system":   {Permits: Of(Source, Storage, ConsumerGroups, "s3:GetObject"), Source: "east"},
		"somebody whom nobody allows": {Permits: Of(Source, "the boss", Tables, "s3:GetObject"), Source: "east"},
	} {
		if all, err := Policies(twoRegions(), speaks, []Use{u}); err == nil {
			t.Errorf("%s: %+v", name, all)
		}
	}
	e := twoRegions()
	e.Regions[0].Storage.Provider = "ceph"
	if _, err := Policies(e, speaks, []Use{{Permits: Administers(Source, Fences), Source: "east"}}); err == nil || !strings.Contains(err.Error(), "ceph") {
		t.Errorf("a provider that nobody knows: %v", err)
	}
}
