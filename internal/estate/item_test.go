package estate

import (
	"slices"
	"testing"
)

func TestBucketsByWhatTheyHold(t *testing.T) {
	e := &Estate{
		Buckets: []Bucket{{Bucket: "lake"}, {Bucket: "archive"}, {Bucket: "landing"}},
		Groups: []Group{
			{Group: "orders", Tier: 1, Tables: []Table{{Table: "orders", Bucket: "lake"}, {Table: "old", Bucket: "archive"}}},
			{Group: "clicks", Tier: 2, Tables: []Table{{Table: "clicks", Bucket: "lake"}}},
		},
	}
	where := func(k, v string) Filter { return Filter{Where: map[string]string{k: v}} }
	for _, tc := range []struct {
		name string
		f    Filter
		want []string
	}{
		{"all", Filter{}, []string{"archive", "lake", "landing"}},
		{"by name", where("name", "landing"), []string{"landing"}},
		{"that of a table", where("table", "old"), []string{"archive"}},
		{"those of a group's tables", where("group", "orders"), []string{"archive", "lake"}},
		{"those of a tier's tables", where("tier", "2"), []string{"lake"}},
		{"of no table", where("table", "none"), nil},
		{"of the run's groups, and of nobody", Filter{Groups: []string{"clicks"}}, []string{"lake", "landing"}},
		{"a table outside of the run's groups", Filter{Groups: []string{"clicks"}, Where: map[string]string{"table": "old"}}, nil},
	} {
		var got []string
		for _, i := range e.Items(BucketKind, tc.f) {
			got = append(got, i.Name)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestGroupsByTheirTables(t *testing.T) {
	e := &Estate{Groups: []Group{
		{Group: "orders", Tier: 1, Tables: []Table{{Table: "orders"}, {Table: "old"}}},
		{Group: "clicks", Tier: 2, Tables: []Table{{Table: "clicks"}}},
	}}
	for _, tc := range []struct {
		where map[string]string
		in    []string
		want  []string
	}{
		{nil, nil, []string{"clicks", "orders"}},
		{map[string]string{"table": "old"}, nil, []string{"orders"}},
		{map[string]string{"table": "none"}, nil, nil},
		{map[string]string{"table": "clicks", "tier": "1"}, nil, nil},
		{map[string]string{"table": "clicks"}, []string{"orders"}, nil},
	} {
		var got []string
		for _, i := range e.Items(GroupKind, Filter{Where: tc.where, Groups: tc.in}) {
			got = append(got, i.Name)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%v in %v: %v, want %v", tc.where, tc.in, got, tc.want)
		}
	}
}
