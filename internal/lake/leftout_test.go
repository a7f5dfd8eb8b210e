package lake_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/recovery"
)

// TestNamedIn: a name that both a table and a topic have takes neither until it is said
// which, so that nobody leaves out a table for the sake of a topic.
func TestNamedIn(t *testing.T) {
	e := &estate.Estate{Estate: "shop", Groups: []estate.Group{
		{Group: "orders", Tables: []estate.Table{{Table: "orders"}, {Table: "refunds"}}, Topics: []estate.Topic{{Topic: "orders"}, {Topic: "clicks"}}},
	}}
	table, topic := lake.Named{Kind: "table", Name: "orders"}, lake.Named{Kind: "topic", Name: "orders"}
	for list, want := range map[string][]lake.Named{
		"":                            nil,
		" , ":                         nil,
		"refunds, clicks":             {{Kind: "table", Name: "refunds"}, {Kind: "topic", Name: "clicks"}},
		"topic:orders":                {topic},
		"table:orders":                {table},
		"topic:orders , table:orders": {topic, table},
		"topic:clicks":                {{Kind: "topic", Name: "clicks"}},
	} {
		if got, err := lake.NamedIn(e, "leave_out", list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", list, got, err, want)
		}
	}
	for list, want := range map[string]string{
		"orders":          "write table:orders or topic:orders, or both",
		"clicks,orders":   "write table:orders or topic:orders, or both",
		"order":           `leave_out names "order", and estate shop has no table or topic of that name`,
		"table:clicks":    `leave_out names "table:clicks"`,
		"database:orders": `leave_out names "database:orders"`,
	} {
		if got, err := lake.NamedIn(e, "leave_out", list); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want a refusal with %q", list, got, err, want)
		}
	}
}

// TestLeaveOutOneOfTwo: a topic is left out, and the table of its name stays.
func TestLeaveOutOneOfTwo(t *testing.T) {
	ev := lake.GroupEvidence{
		Tables: []*lake.TableEvidence{{Table: lake.Table{Name: "orders"}}},
		Topics: []recovery.TopicState{{Name: "orders"}},
	}
	ev.LeaveOut(lake.Named{Kind: "topic", Name: "orders"}, "people say so")
	if ev.Tables[0].State.LeftOut != "" || ev.Topics[0].LeftOut == "" {
		t.Errorf("table left out: %q, topic: %q; want the topic alone", ev.Tables[0].State.LeftOut, ev.Topics[0].LeftOut)
	}
	ev.LeaveOut(lake.Named{Kind: "table", Name: "orders"}, "people say so")
	if ev.Tables[0].State.LeftOut == "" {
		t.Error("the table stays, though it was named")
	}
}
