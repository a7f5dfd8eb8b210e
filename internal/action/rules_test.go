package action

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnfollowed(t *testing.T) {
	rules := []Rule{
		{Do: "write", Sends: []string{"put {on}/log/*", "put {bucket}/{data.moves.to}"}},
		{Do: "deny", Sends: []string{"attach {undo.name} to {on}"}},
		{Do: "record"},
	}
	write := EffectLine{On: "s3://lake/orders", Do: "write three versions"}
	deny := EffectLine{On: "user (a) at west", Do: "deny"}
	data, undo := json.RawMessage(`{"moves":[{"to":"kept/a"},{"to":"kept/b.c"}]}`), json.RawMessage(`{"name":"fence"}`)
	for name, tc := range map[string]struct {
		lines    []EffectLine
		requests []string
		unnamed  []string
		idle     []EffectLine
	}{
		"all of it":           {[]EffectLine{write, deny}, []string{"put s3://lake/orders/log/3.json", "put s3://lake/kept/b.c", "attach fence to user (a) at west"}, nil, nil},
		"one more":            {[]EffectLine{write}, []string{"put s3://lake/orders/log/3.json", "put s3://lake/orders/part-0"}, []string{"put s3://lake/orders/part-0"}, nil},
		"another place":       {[]EffectLine{write}, []string{"put s3://lake/orders/log/3.json", "put s3://lake/kept/bxc"}, []string{"put s3://lake/kept/bxc"}, nil},
		"another verb":        {[]EffectLine{write}, []string{"delete s3://lake/orders/log/3.json"}, []string{"delete s3://lake/orders/log/3.json"}, []EffectLine{write}},
		"one less":            {[]EffectLine{write, deny}, []string{"put s3://lake/kept/a"}, nil, []EffectLine{deny}},
		"no line for it":      {[]EffectLine{write}, []string{"put s3://lake/kept/a", "attach fence to user (a) at west"}, []string{"attach fence to user (a) at west"}, nil},
		"of the record alone": {[]EffectLine{{On: "orders", Do: "record it"}}, nil, nil, nil},
		"no rule for a line":  {[]EffectLine{{On: "orders", Do: "hide"}}, nil, nil, []EffectLine{{On: "orders", Do: "hide"}}},
	} {
		t.Run(name, func(t *testing.T) {
			unnamed, idle, err := Unfollowed(rules, Change{Effects: tc.lines, Data: data, Undo: undo}, tc.requests)
			if d := cmp.Diff(tc.unnamed, unnamed) + cmp.Diff(tc.idle, idle); d != "" || err != nil {
				t.Error(d, err)
			}
		})
	}
	if _, _, err := Unfollowed([]Rule{{Sends: []string{"put {what}"}}}, Change{Effects: []EffectLine{write}}, nil); err == nil {
		t.Error("{what} stands for nothing, and nobody says so")
	}
	for _, r := range []Rule{{Says: "it is put", Sends: []string{"put {what}"}}, {Sends: []string{"put {on}"}}} {
		if r.check() == nil {
			t.Errorf("a catalogue takes rule %+v", r)
		}
	}
	if unnamed, _, err := Unfollowed(rules, Change{Effects: []EffectLine{write}}, []string{"put s3://lake/"}); err != nil || len(unnamed) != 1 {
		t.Errorf("data that is not there named %q, %v", unnamed, err)
	}
}
