package strictjson_test

import (
	"strings"
	"testing"

	"breakwater/internal/strictjson"
)

func TestUnmarshal(t *testing.T) {
	for raw, want := range map[string]string{
		`{"name":"a","size":3}`:     "",
		`{"NAME":"a"}`:              "", // another name
		`{"name":"a","name":"b"}`:   `it is not JSON: duplicate object member name in /name, at byte`,
		`{"name":"a`:                "it is not JSON: unexpected EOF in /name, at byte",
		`{"name":"\ud800"}`:         "it is not JSON: invalid surrogate pair",
		"{\"name\":\"\xff\"}":       "it is not JSON: invalid UTF-8 in /name, at byte",
		`{"name":3}`:                "/name is a number, which does not belong there",
		`{"size":"3"}`:              "/size is a text, which does not belong there",
		`{"size":1e2}`:              "/size is a number, which does not belong there",
		`{"in":{"size":[1]}}`:       "/in/size is a list, which does not belong there",
		`[]`:                        "it is a list, which does not belong there",
		`{"name":"a"} {"name":"b"}`: "it is not JSON: invalid character '{' after top-level value, at byte",
	} {
		var v struct {
			Name string `json:"name"`
			Size int64  `json:"size"`
			In   struct {
				Size int64 `json:"size"`
			} `json:"in"`
		}
		err := strictjson.Unmarshal([]byte(raw), &v)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) || want == "" && (got != "" || v.Name != "" && v.Name != "a") {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
		for _, word := range []string{"Go ", "json:", "jsontext", "struct", "int64"} {
			if strings.Contains(got, word) {
				t.Errorf("%s: %q says %q", raw, got, word)
			}
		}
	}
}
