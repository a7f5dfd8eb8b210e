package rows

import (
	"strings"
	"testing"
	"time"
)

// A name that differs in case only is found where there is no choice, and refused where
// there is one.
func TestNamed(t *testing.T) {
	for names, want := range map[string]struct {
		at  int
		err string
	}{
		"a,b":   {1, ""},
		"B,b":   {1, ""},
		"a,B":   {1, ""},
		"a,c":   {-1, ""},
		"":      {-1, ""},
		"B,a,B": {-1, "in case only"},
	} {
		at, err := named(strings.Split(names, ","), "b")
		if (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) || err == nil && at != want.at {
			t.Errorf("%s: %d, %v; want %+v", names, at, err, want)
		}
	}
}

// A file's partition value is the column's by name, or null where writers may have left
// it out, and never null because its name was written otherwise.
func TestPartitionValueOfAColumn(t *testing.T) {
	text := func(s string) *string { return &s }
	cols := []column{{name: "day", physical: "day", partition: true}, {name: "Shop", physical: "Shop", partition: true}, {name: "id", physical: "id"}}
	table := &Table{columns: cols}
	for name, tc := range map[string]struct {
		values map[string]*string
		want   string // of day
		err    string
	}{
		"as it is":                   {map[string]*string{"day": text("1"), "Shop": text("a")}, "1", ""},
		"in another case":            {map[string]*string{"DAY": text("1"), "Shop": text("a")}, "1", ""},
		"both":                       {map[string]*string{"DAY": text("2"), "day": text("1")}, "1", ""},
		"two in other cases":         {map[string]*string{"DAY": text("2"), "Day": text("1")}, "", "in case only"},
		"null":                       {map[string]*string{"day": nil, "Shop": text("a")}, "null", ""},
		"left out":                   {map[string]*string{"Shop": text("a")}, "null", ""},
		"left out, other in a case":  {map[string]*string{"shop": text("a")}, "null", ""},
		"none":                       {nil, "null", ""},
		"of an unknown column":       {map[string]*string{"date": text("1"), "Shop": text("a")}, "", `has one of "date"`},
		"of a column that is no key": {map[string]*string{"id": text("1")}, "", `has one of "id"`},
	} {
		v, err := table.valueIn(&cols[0], tc.values)
		got := "null"
		if v != nil {
			got = *v
		}
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) || err == nil && got != tc.want {
			t.Errorf("%s: %s, %v; want %s %s", name, got, err, tc.want, tc.err)
		}
	}
}

// Timestamps of partitions come in every form that an engine has written.
func TestInstant(t *testing.T) {
	want := time.Date(2024, 1, 1, 4, 30, 0, 123456000, time.UTC)
	for _, s := range []string{
		"2024-01-01 04:30:00.123456", "2024-01-01T04:30:00.123456", "2024-01-01T04:30:00.123456Z", "2024-01-01 04:30:00.123456Z",
		"2024-01-01 10:00:00.123456+05:30", "2024-01-01 10:00:00.123456+0530", "2024-01-01 05:30:00.123456+01", "2024-01-01T10:00:00.123456+05:30",
		"2024-01-01T10:00:00.123456+0530", "2024-01-01T05:30:00.123456+01", "2023-12-31 23:30:00.123456 -05:00", "2024-01-01 04:30:00.123456 UTC",
	} {
		if got, err := instant(s); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{"2024-01-01": "2024-01-01T00:00:00Z", "2024-01-01 10:00:00": "2024-01-01T10:00:00Z"} {
		if got, err := instant(s); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "2024", "now", "1704083400000", "2024-01-01 25:00:00", "2024-13-01", "2024-01-01 10:00:00 Europe/Berlin", "__HIVE_DEFAULT_PARTITION__"} {
		if got, err := instant(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}
