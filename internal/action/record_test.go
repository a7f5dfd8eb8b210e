package action

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

type leftovers map[string]string // outcome data by item

func (l leftovers) Outcome(_ context.Context, _, item string) (Outcome, error) {
	data, ok := l[item]
	if !ok {
		return Outcome{}, fs.ErrNotExist
	}
	return Outcome{Summary: "done", Data: json.RawMessage(data)}, nil
}
func (leftovers) Observations(context.Context, string, string) ([]Observation, error) {
	return nil, nil
}
func (leftovers) Obligations(context.Context) ([]Obligation, error) { return nil, nil }

func TestRecord(t *testing.T) {
	type point struct {
		Group string `json:"group"`
	}
	r := Record[point]{Action: "group.recovery-point", Says: "recovery point of group %s"}
	from := leftovers{"orders": `{"group":"orders"}`, "later": `{"group":"later","new":1}`, "empty": "", "broken": `{"group":`}
	if p, o, err := r.Read(t.Context(), from, "orders"); err != nil || p.Group != "orders" || o.Summary != "done" {
		t.Errorf("Read = %+v, %+v, %v", p, o, err)
	}
	if _, _, err := r.Read(t.Context(), from, "clicks"); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "recovery point of group clicks: ") {
		t.Errorf("a step that did not run: %v", err)
	}
	for _, item := range []string{"later", "empty", "broken"} {
		if _, _, err := r.Read(t.Context(), from, item); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was read: %v", item, err)
		}
	}
}
