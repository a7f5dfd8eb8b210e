package estate

import "testing"

func TestDatasets(t *testing.T) {
	e := &Estate{Groups: []Group{
		{Tables: []Table{{Table: "orders"}, {Table: "payments"}, {Table: "topic:odd"}}},
		{Topics: []Topic{{Topic: "orders"}, {Topic: "clicks"}}},
	}}
	all := e.Datasets()
	for text, want := range map[string]Dataset{
		"payments":       {TableKind, "payments"},
		"clicks":         {TopicKind, "clicks"},
		"table:orders":   {TableKind, "orders"},
		"topic:orders":   {TopicKind, "orders"},
		"topic:odd":      {TableKind, "topic:odd"}, // a table's own name
		"orders":         {},                       // of both kinds
		"topic:payments": {},
		"none":           {},
		"":               {},
	} {
		if got, ok := all.Of(text); got != want || ok != (want != Dataset{}) {
			t.Errorf("Of(%q) = %v, %t; want %v", text, got, ok, want)
		}
	}
}
