package delta_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"

	"github.com/google/go-cmp/cmp"
)

// live replays the raw actions of a version: the live adds by path and vector,
// and the last of every other kind.
func live(t *testing.T, l *delta.Log, v int64) map[string]any {
	t.Helper()
	s, err := l.Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]any{}
	pending := map[string]any{} // of one commit: its adds count after its removes
	version := int64(-1)
	flush := func() {
		for k, add := range pending {
			state[k] = add
		}
		clear(pending)
	}
	for a, err := range l.ActionsOf(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		if a.Version != version {
			flush()
			version = a.Version
		}
		var body map[string]any
		if err := json.Unmarshal(a.Body, &body); err != nil {
			t.Fatal(err)
		}
		for k, v := range body {
			if v == nil {
				delete(body, k)
			}
		}
		key := a.Kind
		switch a.Kind {
		case "add", "remove":
			f, err := l.File(a)
			if err != nil {
				t.Fatal(err)
			}
			key = f.Path + " " + f.Vector.ID()
			if a.Kind == "remove" {
				delete(state, key)
				continue
			}
			delete(body, "dataChange") // false in a checkpoint
			pending[key] = body
			continue
		case "domainMetadata":
			key += " " + body["domain"].(string)
			if body["removed"] == true {
				delete(state, key)
				continue
			}
		case "txn":
			key += " " + body["appId"].(string)
		case "commitInfo", "cdc", "sidecar", "checkpointMetadata":
			continue
		}
		state[key] = body
	}
	flush()
	return state
}

// What a checkpoint hands on is what the commits before it said, field by field.
func TestActionsFromCheckpointsAndCommitsAgree(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, truth := range deltatest.All(t) {
		with, err := deltatest.Load(truth.Name)
		if err != nil {
			t.Fatal(err)
		}
		without := with.Clone()
		for _, key := range without.Keys(truth.Prefix + "/_delta_log/") {
			if strings.Contains(key, "checkpoint") {
				without.Delete(key)
			}
		}
		at := root(truth.Prefix)
		a, err := delta.Open(t.Context(), with, at)
		if err != nil {
			t.Fatal(err)
		}
		b, err := delta.Open(t.Context(), without, at)
		if err != nil || len(b.Versions()) == 0 || b.Versions()[0].First > 0 {
			continue // no log to compare with
		}
		s, err := a.Snapshot(t.Context(), a.Head())
		if err != nil {
			t.Fatal(err)
		}
		got, want := live(t, a, a.Head()), live(t, b, a.Head())
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: the checkpoint of %d and the commits differ: %s", truth.Name, s.Start, d)
		}
		files := 0
		for k := range got {
			if !slices.Contains([]string{"protocol", "metaData"}, k) && !strings.HasPrefix(k, "txn ") && !strings.HasPrefix(k, "domainMetadata ") {
				files++
			}
		}
		if files != s.Len() {
			t.Errorf("%s: %d files in the actions, %d live", truth.Name, files, s.Len())
		}
		if s.Start > 0 {
			compared++
		}
	}
	if compared < 10 {
		t.Errorf("only %d tables have a checkpoint to compare", compared)
	}
}
