package estate

import (
	"reflect"
	"slices"
	"testing"
)

// twin is an estate with something of every kind.
func twin() *Estate {
	return &Estate{
		Estate: "lab", ClockSkew: 1000,
		Ledger: Ledger{Endpoint: "http://l", Bucket: "b", Credentials: "env:L", SigningKey: "file:k", Signers: []string{"key-1", "key-2"}},
		Regions: []Region{
			{Region: "east", Role: Primary, Storage: Storage{Provider: "minio", Endpoint: "http://e", Credentials: "env:E", Writers: []Principal{{Name: "app", Credentials: "env:A"}}}},
			{Region: "west", Role: Standby, Storage: Storage{Provider: "minio", Endpoint: "http://w", Credentials: "env:W"}, Kafka: &Kafka{Brokers: []string{"a:1", "b:1"}, ClusterID: "c"}},
		},
		Tiers:   []Tier{{Tier: 1, RTO: 5}},
		Roles:   []Role{{Role: "commander", Method: Signed, Members: []Member{{Name: "ana", Key: "key-a"}, {Name: "ben", Key: "key-b"}}}},
		Buckets: []Bucket{{Bucket: "lake", In: map[string]string{"east": "lake-e", "west": "lake-w"}}},
		Groups: []Group{{Group: "orders", Tier: 1, Owner: "commander", Tables: []Table{{Table: "t1", Path: "t1"}, {Table: "t2", Path: "t2"}},
			Access: &Access{Readers: []AccessPrincipal{{Region: "west", Name: "r", Credentials: "env:R"}}}}},
	}
}

func TestCompare(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*Estate)
		want []Difference
	}{
		"the same":           {func(*Estate) {}, nil},
		"another key":        {func(e *Estate) { e.Roles[0].Members[0].Key = "key-x" }, []Difference{{AboutPeople, "role commander, member ana, key", "key-a", "key-x"}}},
		"a member more":      {func(e *Estate) { e.Roles[0].Members = append(e.Roles[0].Members, Member{Name: "eve", Key: "key-e"}) }, []Difference{{AboutPeople, "role commander, member eve", "", "key-e"}}},
		"a role less":        {func(e *Estate) { e.Roles = nil }, []Difference{{AboutPeople, "role commander", "ana, ben", ""}}},
		"a signer":           {func(e *Estate) { e.Ledger.Signers[1] = "key-3" }, []Difference{{AboutLedger, "ledger, signers", "key-2", ""}, {AboutLedger, "ledger, signers", "", "key-3"}}},
		"the signing key":    {func(e *Estate) { e.Ledger.SigningKey = "file:x" }, []Difference{{AboutLedger, "ledger, signing_key", "file:k", "file:x"}}},
		"an endpoint":        {func(e *Estate) { e.Regions[0].Storage.Endpoint = "http://x" }, []Difference{{AboutPlaces, "region east, storage, endpoint", "http://e", "http://x"}}},
		"a broker":           {func(e *Estate) { e.Regions[1].Kafka.Brokers = []string{"b:1", "a:1"} }, []Difference{{AboutPlaces, "region west, kafka, brokers", "a:1, b:1", "b:1, a:1"}}},
		"a cluster":          {func(e *Estate) { e.Regions[1].Kafka = nil }, []Difference{{AboutPlaces, "region west, kafka", "declared", ""}}},
		"a real bucket":      {func(e *Estate) { e.Buckets[0].In["west"] = "other" }, []Difference{{AboutPlaces, "bucket lake, in, west", "lake-w", "other"}}},
		"a credential":       {func(e *Estate) { e.Regions[0].Storage.Writers[0].Credentials = "env:X" }, []Difference{{AboutCredentials, "region east, storage, writer app, credentials", "env:A", "env:X"}}},
		"a group's":          {func(e *Estate) { e.Groups[0].Access.Readers[0].Credentials = "env:X" }, []Difference{{AboutCredentials, "group orders, access, reader west r, credentials", "env:R", "env:X"}}},
		"a table less":       {func(e *Estate) { e.Groups[0].Tables = e.Groups[0].Tables[:1] }, []Difference{{AboutGroups, "group orders, table t2", "declared", ""}}},
		"the order of them":  {func(e *Estate) { slices.Reverse(e.Groups[0].Tables) }, []Difference{{AboutGroups, "group orders, tables", "the order t1, t2", "the order t2, t1"}}},
		"skew":               {func(e *Estate) { e.ClockSkew = 2000 }, []Difference{{AboutElse, "clock_skew", "1µs", "2µs"}}},
		"an objective":       {func(e *Estate) { e.Tiers[0].RPO = 7 }, []Difference{{AboutElse, "tier 1, rpo", "", "7ns"}}},
		"the worst is first": {func(e *Estate) { e.ClockSkew, e.Roles[0].Method = 2000, Claimed }, []Difference{{AboutPeople, "role commander, method", "signed", "claimed"}, {AboutElse, "clock_skew", "1µs", "2µs"}}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := twin(), twin()
			tc.edit(b)
			if got := Compare(a, b); !slices.Equal(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// Nothing can be changed in an estate, at any depth, without a difference that names it.
func TestCompareMissesNothing(t *testing.T) {
	for n := 0; ; n++ {
		a, b := twin(), twin()
		if _, done := visit(reflect.ValueOf(b).Elem(), n); !done {
			if n < 40 {
				t.Fatalf("only %d values were changed", n)
			}
			return
		}
		before, err := a.Digest()
		if err != nil {
			t.Fatal(err)
		}
		after, err := b.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if found := Compare(a, b); (before != after) != (len(found) > 0) {
			t.Errorf("change %d: digests differ %v, found %+v", n, before != after, found)
		}
	}
}

// visit changes the nth value below v: done says that there was one. Otherwise it
// returns how many are still to go.
func visit(v reflect.Value, n int) (left int, done bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			if n == 0 {
				return 0, true
			}
			v.Set(reflect.Zero(v.Type()))
			return n - 1, false
		}
		return visit(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			if n, done = visit(v.Field(i), n); done {
				return n, true
			}
		}
		return n, false
	case reflect.Slice:
		for i := range v.Len() {
			if n, done = visit(v.Index(i), n); done {
				return n, true
			}
		}
		if n == 0 {
			v.Set(reflect.Append(v, reflect.New(v.Type().Elem()).Elem()))
		}
	case reflect.Map:
		if n == 0 {
			m := reflect.MakeMap(v.Type())
			if v.Type().Elem().Kind() == reflect.String {
				m.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf("y"))
			}
			v.Set(m)
		}
	case reflect.String:
		if n == 0 {
			v.SetString(v.String() + "x")
		}
	case reflect.Int, reflect.Int64:
		if n == 0 {
			v.SetInt(v.Int() + 1)
		}
	case reflect.Float64:
		if n == 0 {
			v.SetFloat(v.Float() + 1)
		}
	case reflect.Bool:
		if n == 0 {
			v.SetBool(!v.Bool())
		}
	}
	return n - 1, n == 0
}
