package query_test

import (
	"encoding/json"
	"errors"
	"testing"

	"breakwater/internal/query"
)

// result is an answer with columns of those names.
func result(columns []string, rows ...[]string) query.Result {
	var r query.Result
	for _, name := range columns {
		r.Columns = append(r.Columns, query.Column{Name: name})
	}
	for _, row := range rows {
		var values []json.RawMessage
		for _, v := range row {
			values = append(values, json.RawMessage(v))
		}
		r.Rows = append(r.Rows, values)
	}
	return r
}

// The order of rows has no say in a hash, every value has.
func TestHash(t *testing.T) {
	xy := []string{"x", "y"}
	one := result(xy, []string{"1", `"a"`}, []string{"2", "null"}).Hash()
	if one != result([]string{"p", "q"}, []string{"2", "null"}, []string{"1", `"a"`}).Hash() {
		t.Error("the order of rows, or the names of columns, moved the hash")
	}
	for name, other := range map[string]query.Result{
		"null as text":          result(xy, []string{"1", `"a"`}, []string{"2", `"null"`}),
		"a row less":            result(xy, []string{"1", `"a"`}),
		"a row twice":           result(xy, []string{"1", `"a"`}, []string{"2", "null"}, []string{"2", "null"}),
		"no row of one column":  result([]string{"x"}),
		"no row of two columns": result(xy),
	} {
		if other.Hash() == one {
			t.Errorf("%s left the hash", name)
		}
	}
	if result([]string{"x"}).Hash() == result(xy).Hash() {
		t.Error("the number of columns left the hash")
	}
}

func TestObjects(t *testing.T) {
	r := result([]string{"b", `a"`}, []string{"1", `"x"`}, []string{"2", "null"})
	if got, err := r.Objects(); err != nil || string(got) != `[{"b":1,"a\"":"x"},{"b":2,"a\"":null}]` {
		t.Errorf("%s, %v", got, err)
	}
	r.Columns[1].Name = "b"
	if got, err := r.Objects(); !errors.Is(err, query.ErrQuery) {
		t.Errorf("%s, %v", got, err)
	}
}
