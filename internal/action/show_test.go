package action

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type shownPlan struct {
	Value string      `json:"value"`
	Many  []string    `json:"many,omitempty"`
	Moves []shownMove `json:"moves,omitempty"`
	ToGo  bool        `json:"to_go,omitempty"`
}

type shownMove struct {
	From string            `json:"from"`
	N    int               `json:"n"`
	With map[string]string `json:"with,omitempty"`
}

func TestShow(t *testing.T) {
	show := Shows[shownPlan, []shownMove]()
	for name, tc := range map[string]struct {
		plan Change
		want []string // lines, or one error
	}{
		"nothing": {Change{}, nil},
		"all of it": {
			Change{
				Data:  json.RawMessage(`{"value":"west","many":["a","b, c"],"moves":[{"from":"x; n 7","n":3},{"from":"y","n":4,"with":{"k":"v"}}]}`),
				Undo:  json.RawMessage(`[{"from":"z","n":1}]`),
				Parts: []string{"sha256:ab"},
			},
			[]string{
				"Apply reads:",
				"  value: west",
				"  many:",
				"    1: a",
				"    2: b, c",
				"  moves:",
				`    1: from "x; n 7"; n 3`,
				"    2:",
				"      from: y",
				"      n: 4",
				"      with: k v",
				"Undo will read:",
				"  1: from z; n 1",
				"Part 1 of the plan, kept beside it: sha256:ab",
			},
		},
		"a name in another case": {Change{Data: json.RawMessage(`{"value":"w","TO_GO":true}`)}, []string{"Apply reads:", "  value: w", "  to go: true"}},
		"what nobody sees":       {Change{Data: json.RawMessage("{\"value\":\"west\\u001b[2K\"}")}, []string{"Apply reads:", `  value: "west\x1b[2K"`}},
		"a name twice":           {Change{Data: json.RawMessage(`{"value":"w","value":"e"}`)}, []string{"show what apply reads: it is not JSON: duplicate"}},
		"one field more":         {Change{Data: json.RawMessage(`{"value":"w","delete":true}`)}, []string{`show what apply reads: read an action's own data: json: unknown field "delete"; do not approve it`}},
		"another type":           {Change{Undo: json.RawMessage(`{"value":3}`)}, []string{"show what undo will read: read an action's own data: "}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := show(tc.plan)
			if err != nil {
				if len(tc.want) != 1 || !strings.HasPrefix(err.Error(), tc.want[0]) {
					t.Fatalf("show = %v, want %q", err, tc.want)
				}
				return
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// An action that does not say its types shows everything, too.
func TestShowWithoutTypes(t *testing.T) {
	got, err := showAll(Change{Data: json.RawMessage(`{"a":{"b":[{"c":{"d":1}}]}}`)})
	if d := cmp.Diff([]string{"Apply reads:", "  a:", "    b:", "      1:", "        c: d 1"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if _, err := showAll(Change{Data: json.RawMessage(`{"a":1,"a":2}`)}); err == nil {
		t.Error("a name that stands twice was shown as one")
	}
}
